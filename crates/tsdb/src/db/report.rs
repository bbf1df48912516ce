//! What opening a database found.

use std::{fmt, path::PathBuf};

use crate::head::ReplayStats;

/// What was found, read, left out and put right when a database was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Blocks that were opened.
    pub blocks: usize,
    /// The checkpoint that was read.
    pub checkpoint: Option<u64>,
    /// Segments of the log that were read, those of the checkpoint not counted.
    pub segments: usize,
    /// Bytes of the log that were read, the checkpoint's included.
    pub replayed_bytes: u64,
    /// The head snapshot that was found.
    pub snapshot: Option<SnapshotReport>,
    /// What was taken from the log.
    pub replay: ReplayStats,
    /// Samples that had come out of order, and that are not in blocks yet.
    pub late_samples: u64,
    /// Series references that the log uses and does not define.
    pub unknown_series: usize,
    /// Damaged places in the log.
    pub damage: Vec<DamageReport>,
    /// Records of batches that had not been committed; they were left out.
    pub unclosed_records: u64,
    /// Blocks that could not be opened, and why.
    pub quarantined: Vec<(PathBuf, String)>,
    /// Unfinished work of an earlier process that was removed.
    pub removed: Vec<PathBuf>,
    /// Files of blocks that were damaged and could be restored, and what else is to be known of
    /// sound blocks.
    pub restored: Vec<String>,
    /// What is there and was not read, and why.
    pub not_read: Vec<String>,
}

/// A head snapshot, from which the log is replayed only in part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// Its file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Series taken from it.
    pub series: u64,
    /// Chunks of floats taken from it.
    pub chunks: u64,
    /// Why it was not used, and all of the log was replayed.
    pub unused: Option<String>,
}

/// A damaged place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamageReport {
    /// The segment.
    pub path: PathBuf,
    /// Where the damage begins, bytes.
    pub start: u64,
    /// Where reading went on.
    pub end: u64,
    /// What was wrong.
    pub what: String,
    /// What was done about the segment.
    pub outcome: String,
    /// Whether it is but the end of a segment that was not written whole.
    pub torn: bool,
}

impl OpenReport {
    /// Whether everything was as a clean stop leaves it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
            && self.unclosed_records == 0
            && self.quarantined.is_empty()
            && self.restored.is_empty()
            && self.unknown_series == 0
            && self.not_read.is_empty()
            && self.replay.bad_records == 0
    }
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = &self.replay;
        write!(
            f,
            "{} blocks; log: {} segments, {} series, {} samples, {} histograms",
            self.blocks, self.segments, r.series, r.floats, r.histograms
        )?;
        match &self.snapshot {
            None => {}
            Some(SnapshotReport { unused: Some(why), .. }) => {
                write!(f, ", head snapshot not used: {why}")?;
            }
            Some(s) => {
                let (series, chunks) = (s.series, s.chunks);
                write!(f, ", head snapshot: {series} series, {chunks} chunks")?;
            }
        }
        if let Some(n) = self.checkpoint {
            write!(f, ", checkpoint {n}")?;
        }
        if self.late_samples > 0 {
            write!(f, ", {} out-of-order samples", self.late_samples)?;
        }
        for d in &self.damage {
            let path = d.path.display();
            write!(f, "; {path}, bytes {} to {}: {}; {}", d.start, d.end, d.what, d.outcome)?;
        }
        if self.unclosed_records > 0 {
            write!(f, "; {} records were never committed: left out", self.unclosed_records)?;
        }
        if self.unknown_series > 0 {
            write!(f, "; {} series references are undefined", self.unknown_series)?;
        }
        for (path, why) in &self.quarantined {
            write!(f, "; block {} is put aside: {why}", path.display())?;
        }
        for what in &self.restored {
            write!(f, "; {what}")?;
        }
        for what in &self.not_read {
            write!(f, "; not read: {what}")?;
        }
        Ok(())
    }
}
