//! Following the log: committed batches in order, from a position that outlives the process.

use std::{
    collections::VecDeque,
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use firesteel_model::Labels;

use super::{
    Tail, WalPosition,
    page::{Found, PAGE, Reader},
    read::{Position, Records, read_part},
    record::{
        RecordError, RecordType, exemplars, exemplars::RefExemplar, histograms,
        histograms::RefHistogram, metadata, metadata::RefMetadata, samples, samples::RefSample,
        series, tombstones, tombstones::Stone,
    },
    segments::{checkpoint_path, list_checkpoints, list_segments, segment_path},
    tail::Keep,
};
use crate::{TsdbError, fs::Fs};

/// Bytes of the log that are read at once, unless a batch is longer.
const WINDOW: u64 = 1 << 20;

/// A series of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalSeries {
    /// What later records name it by.
    pub reference: u64,
    /// Its labels.
    pub labels: Labels,
}

/// What one commit has written, decoded. Samples name series by reference; the series come before
/// them, in this batch or an earlier one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WalBatch {
    /// Series that are new to the log.
    pub series: Vec<WalSeries>,
    /// Metadata of series.
    pub metadata: Vec<RefMetadata>,
    /// Floats.
    pub samples: Vec<RefSample>,
    /// Histograms of all kinds.
    pub histograms: Vec<RefHistogram>,
    /// Exemplars.
    pub exemplars: Vec<RefExemplar>,
    /// Deleted intervals, and series that were dropped.
    pub tombstones: Vec<Stone>,
    /// Records of the batch that did not decode.
    pub bad_records: u64,
    /// Whether it comes from before the cursor's position: of such batches only series and
    /// metadata are passed on, which what follows may refer to.
    pub known: bool,
}

impl WalBatch {
    fn clear(&mut self) {
        self.series.clear();
        self.metadata.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.tombstones.clear();
        (self.bad_records, self.known) = (0, false);
    }

    fn record(&mut self, record: &[u8]) -> Result<(), RecordError> {
        let kind = RecordType::of(record);
        let state = matches!(kind, RecordType::Series | RecordType::Metadata);
        if self.known && !state {
            return Ok(());
        }
        match kind {
            RecordType::Series => series::decode(record, |reference, pairs| {
                let labels = Labels::from_pairs(pairs.iter().copied());
                self.series.push(WalSeries { reference, labels });
                Ok(())
            }),
            RecordType::Metadata => metadata::decode(record, &mut self.metadata),
            RecordType::Samples | RecordType::SamplesV2 => {
                samples::decode(record, &mut self.samples)
            }
            RecordType::Histograms
            | RecordType::FloatHistograms
            | RecordType::CustomHistograms
            | RecordType::CustomFloatHistograms
            | RecordType::HistogramsV2
            | RecordType::FloatHistogramsV2 => histograms::decode(record, &mut self.histograms),
            RecordType::Exemplars => exemplars::decode(record, &mut self.exemplars),
            RecordType::Tombstones => tombstones::decode(record, &mut self.tombstones),
            RecordType::MmapMarkers | RecordType::Ours | RecordType::Unknown => Ok(()),
        }
    }
}

/// What [`WalCursor::read`] has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalRead {
    /// A batch.
    Batch,
    /// Nothing more is written; see [`WalCursor::wait`].
    CaughtUp,
    /// A part of the log is lost: removed before it was read, or damaged.
    Skipped {
        /// Where it began.
        from: WalPosition,
        /// Where reading goes on.
        to: WalPosition,
        /// Why.
        why: String,
    },
}

/// A batch as it lies in the log.
struct Raw {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
    end: u64,
}

/// A file of the log that is being read.
struct Part {
    path: PathBuf,
    at: u64,
    ours: bool,
}

/// Reads the batches of a log in the order of their commits, from a position on. Needs no thread: the
/// owner calls [`WalCursor::read`] until it has caught up, then waits or comes back later.
pub struct WalCursor {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    tail: Arc<Tail>,
    /// Where the last batch that was handed out ends.
    position: WalPosition,
    part: Part,
    queue: VecDeque<Raw>,
    lost: VecDeque<(u64, u64, String)>,
    /// What lies before the position and is still to be read for its series, with the byte where
    /// it ends.
    before: VecDeque<(PathBuf, Option<u64>)>,
    /// The one of them that is being read.
    state: Option<(Part, Option<u64>)>,
    keep: Option<Keep>,
}

impl fmt::Debug for WalCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalCursor({:?} at {:?})", self.dir, self.position)
    }
}

/// Whether the segment begins with our marker.
fn is_ours(fs: &dyn Fs, path: &Path) -> bool {
    let len = fs.metadata(path).map_or(0, |m| m.len.min(PAGE as u64));
    let Ok(data) = fs.read(path, 0..len) else { return false };
    let mut reader = Reader::new(&data);
    let first = reader.read_next();
    matches!(first, Some(Found::Record { bytes, .. }) if RecordType::of(bytes) == RecordType::Ours)
}

impl WalCursor {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        dir: &Path,
        tail: Arc<Tail>,
        from: Option<WalPosition>,
    ) -> Result<Self, TsdbError> {
        let position = from.unwrap_or_else(|| tail.end());
        let part = Part { path: PathBuf::new(), at: 0, ours: false };
        let mut cursor = Self {
            fs,
            dir: dir.to_owned(),
            tail,
            position,
            part,
            queue: VecDeque::new(),
            lost: VecDeque::new(),
            before: VecDeque::new(),
            state: None,
            keep: None,
        };
        cursor.enter(position);
        cursor.look_back()?;
        Ok(cursor)
    }

    /// Where the last batch that was read ends: what to keep, and to begin with another time.
    #[must_use]
    pub const fn position(&self) -> WalPosition {
        self.position
    }

    /// Keeps the segments from its position on from being removed by checkpoints, as long as they
    /// are not more than `limit` bytes; the oldest go first then.
    pub fn keep_segments(&mut self, limit: u64) {
        self.keep = Some(Keep::new(&self.tail, self.position, limit));
    }

    /// Waits until there is more to read; false where nothing came in time.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        if !self.queue.is_empty() || !self.lost.is_empty() {
            return true;
        }
        self.tail.wait(self.position, timeout)
    }

    /// Begins with a segment.
    fn enter(&mut self, position: WalPosition) {
        let path = segment_path(&self.dir, position.segment);
        let ours = position.offset > 0 && is_ours(&*self.fs, &path);
        self.part = Part { path, at: position.offset, ours };
        self.set(position);
    }

    fn set(&mut self, position: WalPosition) {
        self.position = position;
        if let Some(keep) = &self.keep {
            keep.set(position);
        }
    }

    /// Lists what has to be read for the series before the position.
    fn look_back(&mut self) -> Result<(), TsdbError> {
        self.before.clear();
        let fs = &*self.fs;
        let mut first = 0;
        if let Some(&newest) = list_checkpoints(fs, &self.dir)?.last() {
            let checkpoint = checkpoint_path(&self.dir, newest);
            for segment in list_segments(fs, &checkpoint)? {
                self.before.push_back((segment_path(&checkpoint, segment), None));
            }
            first = newest + 1;
        }
        for segment in list_segments(fs, &self.dir)? {
            let path = segment_path(&self.dir, segment);
            if segment >= first && segment < self.position.segment {
                self.before.push_back((path, None));
            } else if segment == self.position.segment && self.position.offset > 0 {
                self.before.push_back((path, Some(self.position.offset)));
            }
        }
        Ok(())
    }

    /// Reads on. Does not wait. `out` is filled where the answer is [`WalRead::Batch`].
    ///
    /// # Errors
    /// The file system's; nothing is lost then, another call tries again.
    pub fn read(&mut self, out: &mut WalBatch) -> Result<WalRead, TsdbError> {
        out.clear();
        if self.read_before(out)? {
            return Ok(WalRead::Batch);
        }
        loop {
            let segment = self.position.segment;
            if let Some((from, to, why)) = self.lost.pop_front() {
                let [from, to] = [from, to].map(|offset| WalPosition { segment, offset });
                return Ok(WalRead::Skipped { from, to, why });
            }
            if let Some(raw) = self.queue.pop_front() {
                decode(&raw, out);
                self.set(WalPosition { segment, offset: raw.end });
                return Ok(WalRead::Batch);
            }
            let end = self.tail.end();
            if segment > end.segment || (segment == end.segment && self.part.at > end.offset) {
                let first = list_segments(&*self.fs, &self.dir)?.first().copied();
                let to = WalPosition { segment: first.unwrap_or(end.segment), offset: 0 };
                return self.skip(to, "the position lies after the end of the log");
            }
            let whole = segment < end.segment;
            if !whole && self.part.at == end.offset {
                return Ok(WalRead::CaughtUp);
            }
            let limit = if whole {
                match self.fs.metadata(&self.part.path) {
                    Ok(found) => found.len,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return self.gone(end),
                    Err(e) => return Err(TsdbError::io("stat", &self.part.path)(e)),
                }
            } else {
                end.offset
            };
            if self.part.at >= limit {
                self.enter(WalPosition { segment: segment + 1, offset: 0 });
                continue;
            }
            let Self { fs, part, queue, lost, .. } = self;
            match fill(&**fs, part, limit, queue, lost) {
                Err(TsdbError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return self.gone(end);
                }
                other => other?,
            }
        }
    }

    /// The segment is not there any more.
    fn gone(&mut self, end: WalPosition) -> Result<WalRead, TsdbError> {
        let segment = self.position.segment;
        let there = list_segments(&*self.fs, &self.dir)?;
        let next = there.into_iter().find(|&s| s > segment).unwrap_or(end.segment);
        let why = "the segments were removed before they were read";
        self.skip(WalPosition { segment: next, offset: 0 }, why)
    }

    fn skip(&mut self, to: WalPosition, why: &str) -> Result<WalRead, TsdbError> {
        let from = self.position;
        self.enter(to);
        self.state = None;
        self.look_back()?;
        Ok(WalRead::Skipped { from, to, why: why.to_owned() })
    }

    /// Reads the series before the position; false where all were read.
    fn read_before(&mut self, out: &mut WalBatch) -> Result<bool, TsdbError> {
        loop {
            let Some((part, limit)) = &mut self.state else {
                let Some((path, limit)) = self.before.pop_front() else { return Ok(false) };
                self.state = Some((Part { path, at: 0, ours: false }, limit));
                continue;
            };
            let (mut queue, mut lost) = (VecDeque::new(), VecDeque::new());
            let done =
                self.fs.metadata(&part.path).map_err(TsdbError::io("stat", &part.path)).and_then(
                    |found| {
                        let limit = limit.map_or(found.len, |limit| limit.min(found.len));
                        if part.at >= limit {
                            return Ok(true);
                        }
                        fill(&*self.fs, part, limit, &mut queue, &mut lost).map(|()| false)
                    },
                );
            match done {
                Ok(false) => {}
                Ok(true) => {
                    self.state = None;
                    continue;
                }
                Err(TsdbError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    // A checkpoint has taken its place since.
                    self.state = None;
                    self.look_back()?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            out.known = true;
            for raw in &queue {
                decode(raw, out);
            }
            // Damage before the position was reported when it was read first, or at the start.
            if !out.series.is_empty() || !out.metadata.is_empty() {
                return Ok(true);
            }
            out.known = false;
        }
    }
}

fn decode(raw: &Raw, out: &mut WalBatch) {
    for range in &raw.ranges {
        if out.record(raw.bytes.get(range.clone()).unwrap_or_default()).is_err() {
            out.bad_records += 1;
        }
    }
}

/// Reads batches of a file into `queue`, at least one unless there is none up to `limit`.
fn fill(
    fs: &dyn Fs,
    part: &mut Part,
    limit: u64,
    queue: &mut VecDeque<Raw>,
    lost: &mut VecDeque<(u64, u64, String)>,
) -> Result<(), TsdbError> {
    let base = part.at / PAGE as u64 * PAGE as u64;
    let mut window = WINDOW;
    loop {
        let end = limit.min(base + window);
        let data = fs.read(&part.path, base..end).map_err(TsdbError::io("read", &part.path))?;
        let start = (part.at - base) as usize;
        let mut push = |records: Records<'_>, end: usize| {
            let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
            for record in records.iter() {
                let start = bytes.len();
                bytes.extend_from_slice(record);
                ranges.push(start..bytes.len());
            }
            queue.push_back(Raw { bytes, ranges, end: base + end as u64 });
        };
        let summary = read_part(&data, start, part.ours, Position::Older, &mut push);
        if base == 0 && start == 0 {
            part.ours = summary.ours;
        }
        let whole = end == limit;
        if !whole && summary.end == start {
            window *= 2;
            continue;
        }
        // What lies after the last batch is read again, unless the file ends there.
        let done = if whole { data.len() } else { summary.end };
        for damage in summary.damage.iter().filter(|d| d.end <= done) {
            let (from, to) = (base + damage.start as u64, base + damage.end as u64);
            lost.push_back((from, to, damage.what.clone()));
        }
        part.at = base + done as u64;
        return Ok(());
    }
}
