//! Taking late samples in when a database is opened: those of the out-of-order log and of
//! Prometheus' out-of-order chunks, and those that the log has and the out-of-order log has not.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use hashbrown::HashSet;

use super::WBL_DIR;
use crate::{
    TsdbError,
    db::{DbBuilder, OpenReport, replay::mend},
    fs::Fs,
    head::{Decoded, Head, LateSample, LateValue, Sealed, decode_samples, late_samples},
    wal::{
        Compression,
        read::{Position, Records, Summary, read_segment},
        record::{
            RecordError, RecordType,
            batch::{self, Batch as Ours},
            histograms, samples,
        },
        repair::retain,
        segments::{list_segments, remove_leftovers, segment_path},
        writer::{Batch, SegmentInfo, Writer},
    },
};

/// Samples that are gathered before they are made into chunks.
const FOLD: usize = 1 << 20;

/// What the log says about late samples.
#[derive(Debug, Default)]
pub(in crate::db) struct Logged {
    /// Segments, those of the checkpoint too, with the numbers of the late samples in each.
    pub(in crate::db) segments: Vec<(PathBuf, Vec<u64>)>,
    /// Whether nothing was ever cut off its beginning, so that no late record means no late sample.
    pub(in crate::db) whole: bool,
    /// Whether it had damage that may have taken some, and that no power cut has left.
    pub(in crate::db) damaged: bool,
    /// The last number that was in what a head snapshot stands for; the out-of-order log has been on
    /// disk up to there.
    pub(in crate::db) floor: Option<u64>,
    /// Segments that were not replayed, or not from their beginning, because of that snapshot.
    pub(in crate::db) older: Vec<PathBuf>,
}

impl Logged {
    /// The last number that was in it, as far as that is known.
    fn newest(&self) -> Option<u64> {
        self.numbers().chain(self.floor).max().or(self.whole.then_some(0))
    }

    /// Looks for numbers in the segments that were not replayed.
    fn read_older(&mut self, fs: &dyn Fs) -> Result<(), TsdbError> {
        let older = std::mem::take(&mut self.older);
        self.segments.retain(|s| !older.contains(&s.0));
        let mut read = Vec::with_capacity(older.len() + self.segments.len());
        for path in older {
            let data = fs.read_all(&path).map_err(TsdbError::io("read", &path))?;
            let mut numbers = Vec::new();
            read_segment(&data, Position::Older, |records| {
                numbers.extend(records.iter().filter_map(late_samples).map(|l| l.1));
            });
            read.push((path, numbers));
        }
        read.append(&mut self.segments);
        self.segments = read;
        Ok(())
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        self.segments.iter().flat_map(|s| s.1.iter().copied())
    }
}

/// Samples on their way into the head, by series.
struct Gathered<'a> {
    head: &'a Head,
    series: BTreeMap<u32, Vec<LateSample>>,
    waiting: usize,
    taken: u64,
    unknown: usize,
    bad: usize,
    first_error: Option<String>,
}

impl Gathered<'_> {
    fn push(&mut self, series: u64, t: i64, value: LateValue) {
        let Some(id) = self.head.series_of(series) else {
            self.unknown += 1;
            return;
        };
        self.series.entry(id).or_default().push(LateSample { t, epoch: 0, value });
        self.waiting += 1;
        if self.waiting >= FOLD {
            self.fold();
        }
    }

    /// Hands over to the head what has been gathered. Markers of Prometheus' log say that samples so
    /// far lie in a chunk, too; that is where twice the same comes from.
    fn fold(&mut self) {
        for (id, mut samples) in std::mem::take(&mut self.series) {
            samples.sort_by_key(|s| s.t);
            samples.dedup_by_key(|s| s.t);
            self.taken += samples.len() as u64;
            self.head.fill_late(id, &samples);
        }
        self.waiting = 0;
    }

    fn bad(&mut self, what: &dyn std::fmt::Display) {
        self.bad += 1;
        self.first_error.get_or_insert_with(|| what.to_string());
    }

    fn chunk(&mut self, series: u64, chunk: &Sealed) {
        let data = chunk.data.memory().unwrap_or_default();
        match decode_samples(chunk.encoding, data) {
            Ok(Decoded::Floats(all)) => {
                for s in all {
                    self.push(series, s.t, LateValue::Float(s.v, s.start));
                }
            }
            Ok(Decoded::Histograms(all)) => {
                for h in all {
                    self.push(series, h.t, LateValue::Histogram(h.value, h.start));
                }
            }
            Err(error) => self.bad(&error),
        }
    }

    fn record(&mut self, record: &[u8]) {
        if let Err(error) = self.samples(record) {
            self.bad(&error);
        }
    }

    fn samples(&mut self, record: &[u8]) -> Result<(), RecordError> {
        match RecordType::of(record) {
            RecordType::Samples | RecordType::SamplesV2 => {
                let mut all = Vec::new();
                let result = samples::decode(record, &mut all);
                for s in all {
                    self.push(s.series, s.t, LateValue::Float(s.v, s.start));
                }
                result
            }
            RecordType::Histograms
            | RecordType::FloatHistograms
            | RecordType::CustomHistograms
            | RecordType::CustomFloatHistograms
            | RecordType::HistogramsV2
            | RecordType::FloatHistogramsV2 => {
                let mut all = Vec::new();
                let result = histograms::decode(record, &mut all);
                for h in all {
                    self.push(h.series, h.t, LateValue::Histogram(h.value.into(), h.start));
                }
                result
            }
            _ => Ok(()),
        }
    }
}

/// What the out-of-order log says about itself.
#[derive(Default)]
struct Numbers {
    seen: HashSet<u64>,
    /// Numbers up to this are in blocks, and so are segments before this.
    done: (u64, u64),
}

impl Numbers {
    fn batch(&mut self, records: Records<'_>) {
        for record in records.iter().filter(|r| RecordType::of(r) == RecordType::Ours) {
            match batch::decode(record) {
                Ok(Ours::Late { number, .. }) => {
                    self.seen.insert(number);
                }
                Ok(Ours::Done { number, segment }) => {
                    self.done = (self.done.0.max(number), self.done.1.max(segment));
                }
                _ => {}
            }
        }
    }

    fn newest(&self) -> u64 {
        self.seen.iter().copied().max().unwrap_or(0).max(self.done.0)
    }
}

/// Fills the head with late samples and gives it the out-of-order log. The log has been replayed.
pub(in crate::db) fn restore(
    options: &DbBuilder,
    dir: &Path,
    head: &Head,
    chunks: &[(u64, Sealed)],
    mut logged: Logged,
    report: &mut OpenReport,
) -> Result<(), TsdbError> {
    let (fs, wbl) = (&*options.fs, dir.join(WBL_DIR));
    if !options.read_only {
        remove_leftovers(fs, &wbl)?;
    }
    let (numbers, damaged) = look_through(fs, &wbl)?;
    if logged.floor.is_some_and(|floor| damaged || numbers.newest() < floor) {
        // The log may still have what is gone.
        logged.read_older(fs)?;
    }
    let mut gathered = Gathered {
        head,
        series: BTreeMap::new(),
        waiting: 0,
        taken: 0,
        unknown: 0,
        bad: 0,
        first_error: None,
    };
    for (series, chunk) in chunks {
        gathered.chunk(*series, chunk);
    }
    let newest_logged = logged.newest();
    // What only the out-of-order log has is the rest of batches that a power cut has taken: they
    // were never as durable as was promised, and half of them is worse than nothing.
    let last_whole = newest_logged.filter(|_| !logged.damaged).unwrap_or(u64::MAX);
    let (mut infos, mut next) = (Vec::new(), 0);
    for segment in list_segments(fs, &wbl)? {
        let path = segment_path(&wbl, segment);
        next = segment + 1;
        if segment < numbers.done.1 {
            if !options.read_only {
                fs.remove_file(&path).map_err(TsdbError::io("remove", &path))?;
            }
            continue;
        }
        let len = read(fs, &path, last_whole, &mut gathered, report)?;
        infos.push(SegmentInfo { index: segment, len, max_time: i64::MIN });
    }
    let (size, durability) = (options.wal_segment_size, options.durability);
    let next = next.max(numbers.done.1);
    let mut writer = Writer::new(Arc::clone(&options.fs), &wbl, next, infos, size, durability);
    let missing: HashSet<u64> =
        logged.numbers().filter(|n| *n > numbers.done.0 && !numbers.seen.contains(n)).collect();
    let complete = catch_up(options, &logged, &missing, &mut writer, &mut gathered)?;
    gathered.fold();
    report.late_samples = gathered.taken;
    if let Some(error) = &gathered.first_error {
        let n = gathered.bad;
        let what = format!("{n} records or chunks of out-of-order samples, the first: {error}");
        report.not_read.push(what);
    }
    if gathered.unknown > 0 {
        let what = format!("{} out-of-order samples of unknown series", gathered.unknown);
        report.not_read.push(what);
    }
    let newest = newest_logged.unwrap_or(0).max(numbers.newest());
    if last_whole == u64::MAX && newest_logged.is_some_and(|n| n < newest) {
        // So that the next start does not take what damage has left for the rest of a power cut.
        let mut note = Batch::new(Compression::None);
        note.record(|out| batch::encode_late(out, 0, newest));
        let _ = head.with_wal(|wal| wal.write(&mut [&mut note]));
    }
    head.set_wbl(writer, newest);
    if !complete {
        head.set_wbl_behind();
    }
    Ok(())
}

/// Finds the numbers in the out-of-order log, and whether it is damaged.
fn look_through(fs: &dyn Fs, wbl: &Path) -> Result<(Numbers, bool), TsdbError> {
    let (mut numbers, mut damaged) = (Numbers::default(), false);
    for segment in list_segments(fs, wbl)? {
        let path = segment_path(wbl, segment);
        let data = fs.read_all(&path).map_err(TsdbError::io("read", &path))?;
        let summary = read_segment(&data, Position::Older, |records| numbers.batch(records));
        damaged |= !summary.damage.is_empty();
    }
    Ok((numbers, damaged))
}

/// The number of a batch of the out-of-order log; 0 of Prometheus' batches.
fn number(records: Records<'_>) -> u64 {
    records.iter().find_map(late_samples).map_or(0, |l| l.1)
}

/// Reads a segment of the out-of-order log and repairs it. Batches with a number above `last` are
/// removed. Returns its length.
fn read(
    fs: &dyn Fs,
    path: &Path,
    last: u64,
    gathered: &mut Gathered<'_>,
    report: &mut OpenReport,
) -> Result<u64, TsdbError> {
    let data = fs.read_all(path).map_err(TsdbError::io("read", path))?;
    let mut beyond = 0;
    // What damage took a part of is taken whole from the log.
    let summary: Summary = read_segment(&data, Position::Newest, |records| {
        if number(records) > last {
            beyond += records.len() as u64;
            return;
        }
        records.iter().for_each(|record| gathered.record(record));
    });
    mend(fs, path, &data, &summary, report)?;
    if beyond > 0 {
        report.unclosed_records += beyond;
        retain(fs, path, &data, &summary, |records| number(records) <= last)?;
    }
    Ok(fs.metadata(path).map_or(data.len() as u64, |m| m.len))
}

/// Takes late samples out of the log that the out-of-order log lacks, and adds them to it. False
/// where the latter does not work.
fn catch_up(
    options: &DbBuilder,
    logged: &Logged,
    missing: &HashSet<u64>,
    writer: &mut Writer,
    gathered: &mut Gathered<'_>,
) -> Result<bool, TsdbError> {
    let mut complete = true;
    for (path, numbers) in &logged.segments {
        if !numbers.iter().any(|n| missing.contains(n)) {
            continue;
        }
        let data = options.fs.read_all(path).map_err(TsdbError::io("read", path))?;
        let mut batch = Batch::new(options.wal_compression);
        read_segment(&data, Position::Older, |records| {
            batch.clear();
            let mut late = 0;
            for record in records.iter() {
                if let Some((n, number)) = late_samples(record) {
                    late = if missing.contains(&number) { n + 1 } else { 0 };
                }
                if late > 0 {
                    late -= 1;
                    gathered.record(record);
                    batch.record(|out| out.extend_from_slice(record));
                }
            }
            if !batch.is_empty() {
                complete &= writer.write(&mut [&mut batch]).is_ok();
            }
        });
    }
    Ok(complete)
}
