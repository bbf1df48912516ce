//! Writing the log.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    Tail, WalPosition,
    compress::{Compression, Compressor},
    page::{self, Encoded, PAGE, frame, framed_len},
    record::batch,
    segments::{make_dir, segment_path},
};
use crate::{
    TsdbError,
    fs::{File, Fs, Open},
};

/// Size at which a segment is closed, as Prometheus has it.
pub const DEFAULT_SEGMENT_SIZE: u64 = 128 << 20;

/// When a commit is on disk. At every level it survives the death of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the system sees fit, as with Prometheus. A power cut costs what it has not written.
    Os,
    /// After this time at most, if `Db::tick` is called so often.
    Interval(Duration),
    /// When commit returns.
    Sync,
}

impl Default for Durability {
    fn default() -> Self {
        Self::Interval(Duration::from_secs(1))
    }
}

/// The records of a batch, encoded and compressed, ready to be written. Made outside the writer's
/// lock; keeps its buffers from batch to batch.
pub struct Batch {
    bytes: Vec<u8>,
    records: Vec<(Range<usize>, Compression)>,
    /// Checksum of each record before compression.
    checksums: Vec<u32>,
    plain: Vec<u8>,
    compressor: Compressor,
    framed: usize,
    /// Newest sample in it, milliseconds.
    pub max_time: i64,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} records, {} bytes)", self.records.len(), self.bytes.len())
    }
}

impl Batch {
    /// An empty batch, whose records will be compressed or not.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self {
            bytes: Vec::new(),
            records: Vec::new(),
            checksums: Vec::new(),
            plain: Vec::new(),
            compressor: Compressor::new(compression),
            framed: 0,
            max_time: i64::MIN,
        }
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.checksums.clear();
        self.framed = 0;
        self.max_time = i64::MIN;
    }

    /// Whether it has no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds the record that `write` writes; nothing where it writes nothing.
    pub fn record(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.plain.clear();
        write(&mut self.plain);
        if self.plain.is_empty() {
            return;
        }
        let start = self.bytes.len();
        self.checksums.push(crc32c::crc32c(&self.plain));
        let compression = self.compressor.append(&mut self.plain, &mut self.bytes);
        let range = start..self.bytes.len();
        self.framed += framed_len(range.len());
        self.records.push((range, compression));
    }

    /// Adds the record that `write` writes in front of all others.
    pub fn record_first(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let n = self.records.len();
        self.record(write);
        if self.records.len() > n {
            self.records.rotate_right(1);
            self.checksums.rotate_right(1);
        }
    }

    /// Number of its records.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds the records of another batch.
    pub fn append(&mut self, other: &Self) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        let moved = |r: &Range<usize>| r.start + start..r.end + start;
        self.records.extend(other.records.iter().map(|(range, packed)| (moved(range), *packed)));
        self.checksums.extend_from_slice(&other.checksums);
        self.framed += other.framed;
    }

    /// Adds the commit record, which makes the batch atomic.
    fn close(&mut self) {
        let start = self.bytes.len();
        batch::encode_commit(&mut self.bytes, self.checksums.iter().copied());
        let range = start..self.bytes.len();
        self.framed += framed_len(range.len());
        self.records.push((range, Compression::None));
    }

    fn frame(&self, out: &mut Vec<u8>, base: u64) {
        for (range, compression) in &self.records {
            let bytes = self.bytes.get(range.clone()).unwrap_or_default();
            frame(out, base, Encoded { bytes, compression: *compression });
        }
    }
}

/// A segment of the log and the newest sample in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub index: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Its newest sample, milliseconds; `i64::MIN` where it has none.
    pub max_time: i64,
}

struct Current {
    file: Arc<dyn File>,
    path: PathBuf,
    info: SegmentInfo,
    /// Length at creation.
    empty: u64,
}

/// Writes batches into segments. One at a time: whoever holds it is the writer.
pub struct Writer {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    segment_size: u64,
    durability: Durability,
    next_index: u64,
    current: Option<Current>,
    /// Segments before the current one.
    closed: Vec<SegmentInfo>,
    /// Files with bytes that may not be on disk.
    unsynced: Vec<(PathBuf, Arc<dyn File>)>,
    /// Segments that could not be synced, to be written anew.
    lost: Vec<PathBuf>,
    buffer: Vec<u8>,
    /// What the file system said when the disk was full; `None` where it is not.
    full: Option<String>,
    /// Bytes that must be free, apart from what is written, before a full disk counts as usable.
    keep_free: u64,
    tail: Arc<Tail>,
    /// Records of series that ended while the log was followed, and the segment written then.
    ended: Vec<(u64, Vec<u8>)>,
    /// Length of the current segment before the last write to it.
    before_last: Option<u64>,
    /// What the log has counted, for metrics.
    pub counts: Counts,
}

/// What must be free beyond a batch after the disk was full: for other files, and so that it is not
/// full again at once.
const MARGIN: u64 = 64 << 10;

/// Counts of a [`Writer`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Writes to files.
    pub writes: u64,
    /// Writes that failed.
    pub failed: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Batches written.
    pub batches: u64,
    /// Pages filled.
    pub pages: u64,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({:?}, next segment {})", self.dir, self.next_index)
    }
}

impl Writer {
    /// A writer whose first segment has the number `next_index`. It is made by the first write, so
    /// that a full disk is no obstacle to starting.
    #[must_use]
    pub fn new(
        fs: Arc<dyn Fs>,
        dir: &Path,
        next_index: u64,
        closed: Vec<SegmentInfo>,
        segment_size: u64,
        durability: Durability,
    ) -> Self {
        let tail = Arc::new(Tail::default());
        tail.moved_to(WalPosition { segment: next_index, offset: 0 });
        Self {
            full: None,
            keep_free: 0,
            tail,
            ended: Vec::new(),
            fs,
            dir: dir.to_owned(),
            segment_size: segment_size.max(PAGE as u64),
            durability,
            next_index,
            current: None,
            closed,
            unsynced: Vec::new(),
            lost: Vec::new(),
            buffer: Vec::new(),
            before_last: None,
            counts: Counts::default(),
        }
    }

    /// Writes batches with one write and closes each with a commit record. When it returns they
    /// are as durable as the level says.
    ///
    /// # Errors
    /// None of them is in the log then: what was written of them is cut off again. If even that
    /// fails, the segment is given up, and as the batches' commits are missing, readers leave them
    /// out.
    pub fn write(&mut self, batches: &mut [&mut Batch]) -> Result<(), TsdbError> {
        let mut needed = 0;
        for batch in &mut *batches {
            batch.close();
            needed += batch.framed as u64;
        }
        self.counts.writes += 1;
        self.before_last = None;
        let result = self.check_space(needed).and_then(|()| self.write_closed(batches, needed));
        match &result {
            Ok(()) => {
                self.counts.batches += batches.len() as u64;
                self.full = None;
                if let Some(current) = &self.current {
                    let (segment, offset) = (current.info.index, current.info.len);
                    self.tail.moved_to(WalPosition { segment, offset });
                }
            }
            Err(error) => {
                self.counts.failed += 1;
                if self.full.is_none() && error.is_out_of_space() {
                    self.full = Some(describe_io(error));
                }
            }
        }
        result
    }

    /// Refuses, once the disk was full, until there is space for more than this write: what little
    /// is there is for the work that makes space.
    fn check_space(&self, needed: u64) -> Result<(), TsdbError> {
        if self.full.is_none() {
            return Ok(());
        }
        // Where it cannot be told, the write itself will.
        let enough = needed.saturating_add(self.keep_free).saturating_add(MARGIN);
        if self.fs.space(&self.dir).is_ok_and(|space| space.free < enough) {
            let full = rustix::io::Errno::NOSPC;
            return Err(TsdbError::io("write", &self.dir)(full.into()));
        }
        Ok(())
    }

    /// What the file system said when it was full, as long as writes are refused because of that.
    #[must_use]
    pub fn full(&self) -> Option<&str> {
        self.full.as_deref()
    }

    /// Sets how many bytes must be free before writes to a full disk are tried again.
    pub const fn keep_free(&mut self, bytes: u64) {
        self.keep_free = bytes;
    }

    /// How far it is written.
    pub(crate) const fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// Takes note of a record of series that are dropped from memory: as long as segments stay for
    /// those who follow, checkpoints must have them.
    pub(crate) fn remember(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.tail.is_followed() {
            let mut record = Vec::new();
            write(&mut record);
            self.ended.push((self.last_index(), record));
        }
    }

    /// The records of dropped series that segments after `index` may name. Forgets the others.
    pub(crate) fn remembered(&mut self, index: u64) -> Vec<Vec<u8>> {
        self.ended.retain(|(segment, _)| *segment > index);
        self.ended.iter().map(|(_, record)| record.clone()).collect()
    }

    /// The oldest segment that must stay for those who follow the log.
    #[must_use]
    pub fn needed(&self) -> Option<u64> {
        let all = || self.closed.iter().chain(self.current.as_ref().map(|c| &c.info));
        self.tail.needed(|from| all().filter(|s| s.index >= from).map(|s| s.len).sum())
    }

    fn write_closed(&mut self, batches: &mut [&mut Batch], needed: u64) -> Result<(), TsdbError> {
        if self
            .current
            .as_ref()
            .is_some_and(|c| c.info.len > c.empty && c.info.len + needed > self.segment_size)
        {
            self.cut();
        }
        if self.current.is_none() {
            self.current = Some(self.create()?);
        }
        let Some(current) = &mut self.current else { unreachable!("just made") };
        let before = current.info.len;
        self.buffer.clear();
        for batch in &*batches {
            batch.frame(&mut self.buffer, before);
        }
        let written = current
            .file
            .append(&self.buffer)
            .map_err(TsdbError::io("write", &current.path))
            .and_then(|_| match self.durability {
                Durability::Sync => {
                    current.file.sync().map_err(TsdbError::io("sync", &current.path))
                }
                Durability::Os | Durability::Interval(_) => Ok(()),
            });
        if let Err(error) = written {
            let synced = matches!(&error, TsdbError::Io { action: "sync", .. });
            let cut = current.file.set_len(before);
            // After a failed sync nothing is known about the file's state on disk.
            if cut.is_err() || synced {
                self.give_up();
            }
            return Err(error);
        }
        self.before_last = Some(before);
        current.info.len = before + self.buffer.len() as u64;
        for batch in &*batches {
            current.info.max_time = current.info.max_time.max(batch.max_time);
        }
        self.counts.bytes += self.buffer.len() as u64;
        self.counts.pages += current.info.len / PAGE as u64 - before / PAGE as u64;
        if self.durability != Durability::Sync
            && self.unsynced.last().is_none_or(|u| u.0 != current.path)
        {
            self.unsynced.push((current.path.clone(), Arc::clone(&current.file)));
        }
        // A huge batch must not hold its memory for ever.
        if self.buffer.capacity() > 4 << 20 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Takes the last write back, if it has worked and nothing has happened since. Returns whether it
    /// is gone from the log.
    pub fn take_back(&mut self) -> bool {
        let (Some(before), Some(current)) = (self.before_last.take(), &mut self.current) else {
            return false;
        };
        if current.file.set_len(before).is_err() {
            return false;
        }
        current.info.len = before;
        self.tail.moved_to(WalPosition { segment: current.info.index, offset: before });
        // After a power cut it may be there again: the caller was told that it failed, which leaves
        // both open.
        if self.durability == Durability::Sync && current.file.sync().is_err() {
            self.give_up();
        }
        true
    }

    fn create(&mut self) -> Result<Current, TsdbError> {
        let index = self.next_index;
        make_dir(&*self.fs, &self.dir)?;
        let path = segment_path(&self.dir, index);
        let file = self.fs.open(&path, Open::CreateNew).map_err(TsdbError::io("create", &path))?;
        let mut marker = Vec::new();
        batch::encode_marker(&mut marker);
        let mut bytes = Vec::new();
        frame(&mut bytes, 0, Encoded { bytes: &marker, compression: Compression::None });
        let made = file
            .append(&bytes)
            .map_err(TsdbError::io("write", &path))
            .and_then(|_| self.fs.sync_dir(&self.dir).map_err(TsdbError::io("sync", &self.dir)));
        if let Err(error) = made {
            // An empty segment is harmless, a missing number is not.
            if self.fs.remove_file(&path).is_err() {
                self.next_index += 1;
            }
            return Err(error);
        }
        self.next_index += 1;
        let len = bytes.len() as u64;
        Ok(Current { file, path, info: SegmentInfo { index, len, max_time: i64::MIN }, empty: len })
    }

    fn give_up(&mut self) {
        self.before_last = None;
        if let Some(current) = self.current.take() {
            self.closed.push(current.info);
        }
    }

    /// Closes the current segment: fills its last page, as Prometheus does. The next write begins
    /// a new one.
    pub fn cut(&mut self) {
        self.before_last = None;
        let Some(current) = self.current.take() else { return };
        let fill = (PAGE as u64 - current.info.len % PAGE as u64) % PAGE as u64;
        // Readers do without the zeros, so a failure does not matter.
        if fill > 0 && current.file.append(&vec![0; fill as usize]).is_err() {
            let _ = current.file.set_len(current.info.len);
        }
        self.unsynced.retain(|u| u.0 != current.path);
        self.unsynced.push((current.path, current.file));
        self.closed.push(current.info);
    }

    /// Hands out the files with bytes that may not be on disk, so that the caller can sync them
    /// without holding up the writer.
    pub fn take_unsynced(&mut self) -> Vec<(PathBuf, Arc<dyn File>)> {
        std::mem::take(&mut self.unsynced)
    }

    /// Takes note that a file could not be synced. Nothing is known any more about its state on
    /// disk, and a later sync that succeeds means nothing: the next write begins a new segment, and
    /// this one has to be written anew, see [`Writer::take_lost`].
    pub fn sync_failed(&mut self, path: PathBuf) {
        self.counts.failed += 1;
        if self.current.as_ref().is_some_and(|c| c.path == path) {
            self.give_up();
        }
        if !self.lost.contains(&path) {
            self.lost.push(path);
        }
    }

    /// Hands out the segments that have to be written anew.
    pub fn take_lost(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.lost)
    }

    /// Whether a closed segment may not be on disk.
    #[must_use]
    pub fn has_closed_unsynced(&self) -> bool {
        let current = self.current.as_ref().map(|c| &c.path);
        !self.lost.is_empty() || self.unsynced.iter().any(|(path, _)| Some(path) != current)
    }

    /// The durability level.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// Number of the newest segment; of the one to come where there is none.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.current.as_ref().map_or(self.next_index, |c| c.info.index)
    }

    /// The current segment, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<SegmentInfo> {
        self.current.as_ref().map(|c| c.info)
    }

    /// The closed segments, oldest first.
    #[must_use]
    pub fn closed(&self) -> &[SegmentInfo] {
        &self.closed
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.closed.iter().chain(self.current.as_ref().map(|c| &c.info)).map(|s| s.len).sum()
    }

    /// Removes the closed segments up to and with `index`, oldest first.
    ///
    /// # Errors
    /// The system's; what was removed until then stays removed.
    pub fn remove_through(&mut self, index: u64) -> Result<(), TsdbError> {
        while let Some(first) = self.closed.first().filter(|s| s.index <= index) {
            let path = segment_path(&self.dir, first.index);
            match self.fs.remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(TsdbError::io("remove", &path)(e));
                }
                _ => {
                    self.unsynced.retain(|u| u.0 != path);
                    self.closed.remove(0);
                }
            }
        }
        Ok(())
    }
}

fn describe_io(error: &TsdbError) -> String {
    let cause = std::error::Error::source(error).map(|s| format!(": {s}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// Writes records into a segment that is not part of the live log: a checkpoint's, a repaired one.
pub struct PlainSegment {
    file: Arc<dyn File>,
    path: PathBuf,
    buffer: Vec<u8>,
    written: u64,
}

impl PlainSegment {
    /// Makes (or empties) the file.
    ///
    /// # Errors
    /// The system's.
    pub fn create(fs: &dyn Fs, path: &Path) -> Result<Self, TsdbError> {
        let file = fs.open(path, Open::Truncate).map_err(TsdbError::io("create", path))?;
        Ok(Self { file, path: path.to_owned(), buffer: Vec::new(), written: 0 })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The system's.
    pub fn record(&mut self, record: Encoded<'_>) -> Result<(), TsdbError> {
        frame(&mut self.buffer, self.written, record);
        if self.buffer.len() >= 1 << 20 { self.flush() } else { Ok(()) }
    }

    /// Adds the records of a batch, without a commit record.
    ///
    /// # Errors
    /// The system's.
    pub fn batch(&mut self, batch: &Batch) -> Result<(), TsdbError> {
        batch.frame(&mut self.buffer, self.written);
        if self.buffer.len() >= 1 << 20 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), TsdbError> {
        self.file.append(&self.buffer).map_err(TsdbError::io("write", &self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Fills the last page, and brings all to disk.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self) -> Result<(), TsdbError> {
        let fill = (page::PAGE as u64 - self.len() % PAGE as u64) % PAGE as u64;
        self.buffer.resize(self.buffer.len() + fill as usize, 0);
        self.flush()?;
        self.file.sync().map_err(TsdbError::io("sync", &self.path))
    }
}
