//! Checking everything on disk.

use std::{
    collections::HashSet,
    fmt,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Db, head_snapshot,
    open::{WAL_DIR, describe},
};
use crate::{
    TsdbError,
    block::{
        Integrity, Ulid,
        verify::{self as block, Cost, Watch},
    },
    fs::Fs,
    head::{CHUNKS_DIR, check_chunk_file},
    wal::{
        WalPosition,
        read::{Records, read_segment},
        record::{
            RecordError, RecordType, exemplars, histograms, markers, metadata, samples, series,
            tombstones,
        },
        segments::{checkpoint_path, list_checkpoints, list_segments, segment_path},
    },
};

/// The directory of Prometheus' log of late samples.
const WBL_DIR: &str = "wbl";
/// Findings beyond so many are counted only.
const MAX_FINDINGS: usize = 10_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is lost.
    Note,
    /// Some samples are lost, or will be at the next start.
    Loss,
    /// A whole block cannot be used.
    Block,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes, where that is known.
    pub offset: Option<u64>,
    /// What was found and what was expected.
    pub what: String,
    /// What it costs.
    pub consequence: &'static str,
    /// What can be done.
    pub remedy: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, what, consequence, remedy, .. } = self;
        write!(f, "{}", path.display())?;
        if let Some(offset) = self.offset {
            write!(f, ", byte {offset}")?;
        }
        write!(f, ": {what}: {consequence}; {remedy}")
    }
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// What is not as it should be, in the order in which it was met.
    pub findings: Vec<Finding>,
    /// Findings beyond the first 10 000.
    pub more_findings: u64,
    /// Blocks that were checked.
    pub blocks: usize,
    /// Segments of logs and files of head chunks that were checked.
    pub files: usize,
    /// Bytes that were checked; those read twice count twice.
    pub bytes: u64,
    /// Whether it was ended before all was checked.
    pub cancelled: bool,
}

impl VerifyReport {
    /// Whether nothing is lost.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.more_findings == 0 && self.findings.iter().all(|f| f.severity == Severity::Note)
    }
}

/// How far a check is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// What is being checked.
    pub path: PathBuf,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes of all that will be checked, about.
    pub total: u64,
}

/// Checks a data directory without opening it as a database: every checksum of blocks, logs and head
/// chunks, and what can be checked without one. Changes nothing. `watch` is told of progress every
/// some hundred kilobytes and ends the check by breaking. Memory: the largest segment of a log (none
/// where the file system maps), eight bytes per series of the log, four per series of a block.
///
/// A process may have the directory open meanwhile; what it just writes may look damaged then. Use
/// [`Db::verify`] in that process.
///
/// # Errors
/// The file system's. Missing and damaged files are findings.
pub fn verify_directory(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    watch: &mut dyn FnMut(&VerifyProgress) -> ControlFlow<()>,
) -> Result<VerifyReport, TsdbError> {
    run(fs, dir, None, false, watch).map(|done| done.0)
}

impl Db {
    /// Checks everything on disk, as [`verify_directory`] does, while the database goes on. Blocks
    /// whose index is damaged are put aside; damaged chunks are left out of queries from now on.
    ///
    /// # Errors
    /// The file system's.
    pub fn verify(
        &self,
        watch: &mut dyn FnMut(&VerifyProgress) -> ControlFlow<()>,
    ) -> Result<VerifyReport, TsdbError> {
        let inner = &self.0;
        let Some(dir) = &inner.options.dir else { return Ok(VerifyReport::default()) };
        let end = inner.head.with_wal(|wal| wal.tail().end());
        let describe_blocks = inner.options.describe_blocks;
        let (report, damaged) = run(&inner.options.fs, dir, end, describe_blocks, watch)?;
        let maintenance = inner.maintenance.lock();
        for (ulid, reason) in damaged {
            if inner.view.read().blocks.iter().any(|b| b.meta().ulid == ulid) {
                inner.quarantine(ulid, &reason)?;
            }
        }
        let blocks = Arc::clone(&inner.view.read().blocks);
        for finding in report.findings.iter().filter(|f| f.severity == Severity::Loss) {
            let Some(offset) = finding.offset else { continue };
            for block in blocks.iter().filter(|b| finding.path.starts_with(b.dir())) {
                block.note_damaged_chunk(&finding.path, offset, &finding.what);
            }
        }
        drop(maintenance);
        Ok(report)
    }
}

/// A check under way.
struct Run<'a> {
    report: VerifyReport,
    progress: VerifyProgress,
    watch: &'a mut dyn FnMut(&VerifyProgress) -> ControlFlow<()>,
    /// Bytes since the watcher was told last.
    untold: u64,
    /// Why the block being checked cannot be used.
    unusable: Option<String>,
}

/// How often the watcher is told.
const STEP: u64 = 256 << 10;

impl Run<'_> {
    fn add(&mut self, finding: Finding) {
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(finding);
        } else {
            self.report.more_findings += 1;
        }
    }

    fn finding(
        &mut self,
        severity: Severity,
        place: (&Path, Option<u64>),
        what: impl Into<String>,
        (consequence, remedy): (&'static str, &'static str),
    ) {
        let (path, offset) = (place.0.to_owned(), place.1);
        self.add(Finding { severity, path, offset, what: what.into(), consequence, remedy });
    }

    /// Counts bytes; false where the check is ended.
    fn count(&mut self, bytes: u64) -> bool {
        self.report.bytes += bytes;
        self.progress.bytes += bytes;
        self.untold += bytes;
        if self.untold >= STEP {
            self.tell();
        }
        !self.report.cancelled
    }

    fn tell(&mut self) {
        self.untold = 0;
        self.report.cancelled |= (self.watch)(&self.progress).is_break();
    }
}

impl Watch for Run<'_> {
    fn found(&mut self, error: TsdbError, cost: Cost) {
        let (path, offset, what) = match error {
            TsdbError::Corrupt { path, offset, what } => (path, Some(offset), what),
            TsdbError::Io { ref path, .. } => (path.clone(), None, describe(&error)),
            ref other => (self.progress.path.clone(), None, describe(other)),
        };
        let (severity, text) = match cost {
            Cost::Block => (
                Severity::Block,
                (
                    "the block cannot be read whole",
                    "restore the block from a backup; it is put aside at the next start",
                ),
            ),
            Cost::Chunk => (
                Severity::Loss,
                (
                    "the samples of this chunk are lost",
                    "restore the block from a backup; queries leave the chunk out",
                ),
            ),
            Cost::Nothing => (
                Severity::Note,
                (
                    "nothing is lost unless another finding says so",
                    "restore the file, or remove the integrity file if the change was meant",
                ),
            ),
        };
        if cost == Cost::Block && self.unusable.is_none() {
            self.unusable = Some(format!("{}: {what}", path.display()));
        }
        self.finding(severity, (&path, offset), what, text);
    }

    fn read(&mut self, bytes: u64) -> bool {
        self.count(bytes)
    }
}

type Damaged = Vec<(Ulid, String)>;

fn run(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    end: Option<WalPosition>,
    describe_blocks: bool,
    watch: &mut dyn FnMut(&VerifyProgress) -> ControlFlow<()>,
) -> Result<(VerifyReport, Damaged), TsdbError> {
    let progress = VerifyProgress { total: size(&**fs, dir, 3)?, ..VerifyProgress::default() };
    let report = VerifyReport::default();
    let mut run = Run { report, progress, watch, untold: 0, unusable: None };
    let mut damaged = Vec::new();
    for entry in fs.read_dir(dir).map_err(TsdbError::io("list", dir))? {
        let Ok(ulid) = entry.name.parse::<Ulid>() else { continue };
        if !entry.is_dir || run.report.cancelled {
            continue;
        }
        let place = dir.join(&entry.name);
        run.progress.path.clone_from(&place);
        run.tell();
        let before = run.report.findings.len();
        block::verify(fs, &place, &mut run)?;
        let unusable = run.unusable.take();
        // Compaction or retention may have removed it meanwhile.
        if !fs.exists(&place).map_err(TsdbError::io("look for", &place))? {
            run.report.findings.truncate(before);
            continue;
        }
        run.report.blocks += 1;
        if let Some(why) = unusable {
            damaged.push((ulid, why));
        } else if describe_blocks
            && run.report.findings.len() == before
            && !run.report.cancelled
            && Integrity::read(&**fs, &place).is_ok_and(|found| found.is_none())
        {
            Integrity::describe(&**fs, &place)?.write(&**fs, &place)?;
        }
    }
    run.logs(&**fs, dir, end)?;
    run.head_chunks(&**fs, dir, end.is_some())?;
    run.head_snapshots(&**fs, dir)?;
    run.tell();
    Ok((run.report, damaged))
}

/// Bytes of the files below a directory.
fn size(fs: &dyn Fs, dir: &Path, depth: usize) -> Result<u64, TsdbError> {
    let mut total = 0;
    for entry in fs.read_dir(dir).map_err(TsdbError::io("list", dir))? {
        let path = dir.join(&entry.name);
        total += match (entry.is_dir, depth) {
            (false, _) => fs.metadata(&path).map_or(0, |m| m.len),
            (true, 0) => 0,
            (true, _) => size(fs, &path, depth - 1).unwrap_or(0),
        };
    }
    Ok(total)
}

/// Series that a log defines, and records that are wrong.
#[derive(Default)]
struct Log {
    known: HashSet<u64>,
    undefined: HashSet<u64>,
    first_error: Option<RecordError>,
}

impl Log {
    fn batch(&mut self, records: Records<'_>) {
        for record in records.iter() {
            if let Err(error) = self.record(record) {
                self.first_error.get_or_insert(error);
            }
        }
    }

    fn uses(&mut self, reference: u64) {
        if !self.known.contains(&reference) {
            self.undefined.insert(reference);
        }
    }

    fn record(&mut self, record: &[u8]) -> Result<(), RecordError> {
        match RecordType::of(record) {
            RecordType::Series => series::decode(record, |reference, _| {
                self.known.insert(reference);
                Ok(())
            }),
            RecordType::Samples | RecordType::SamplesV2 => {
                let mut all = Vec::new();
                let done = samples::decode(record, &mut all);
                all.iter().for_each(|s| self.uses(s.series));
                done
            }
            RecordType::Histograms
            | RecordType::FloatHistograms
            | RecordType::CustomHistograms
            | RecordType::CustomFloatHistograms
            | RecordType::HistogramsV2
            | RecordType::FloatHistogramsV2 => {
                let mut all = Vec::new();
                let done = histograms::decode(record, &mut all);
                all.iter().for_each(|h| self.uses(h.series));
                done
            }
            RecordType::Exemplars => exemplars::decode(record, &mut Vec::new()),
            RecordType::Metadata => metadata::decode(record, &mut Vec::new()),
            RecordType::Tombstones => tombstones::decode(record, &mut Vec::new()),
            RecordType::MmapMarkers => markers::decode(record, &mut Vec::new()),
            RecordType::Ours | RecordType::Unknown => Ok(()),
        }
    }
}

impl Run<'_> {
    /// Checks the log, its newest checkpoint, and the log of late samples.
    fn logs(&mut self, fs: &dyn Fs, dir: &Path, end: Option<WalPosition>) -> Result<(), TsdbError> {
        let wal = dir.join(WAL_DIR);
        let mut log = Log::default();
        let mut first = 0;
        if let Some(&newest) = list_checkpoints(fs, &wal)?.last() {
            let checkpoint = checkpoint_path(&wal, newest);
            for segment in list_segments(fs, &checkpoint)? {
                self.segment(fs, &segment_path(&checkpoint, segment), None, &mut log)?;
            }
            first = newest + 1;
        }
        let mut next = None;
        for segment in list_segments(fs, &wal)?.into_iter().filter(|s| *s >= first) {
            let limit = end.filter(|end| end.segment == segment).map(|end| end.offset);
            // What was begun after this check is for the next one.
            if end.is_some_and(|end| segment > end.segment) {
                break;
            }
            let path = segment_path(&wal, segment);
            if next.is_some_and(|next| next != segment) {
                let text = ("what they held is lost", "restore them from a backup");
                self.finding(Severity::Loss, (&path, None), "segments before it are missing", text);
            }
            next = Some(segment + 1);
            self.segment(fs, &path, limit, &mut log)?;
        }
        let known = std::mem::take(&mut log.known);
        self.undefined(&wal, &log);
        let wbl = dir.join(WBL_DIR);
        let mut late = Log { known, ..Log::default() };
        for segment in list_segments(fs, &wbl)? {
            self.segment(fs, &segment_path(&wbl, segment), None, &mut late)?;
        }
        self.undefined(&wbl, &late);
        Ok(())
    }

    fn undefined(&mut self, dir: &Path, log: &Log) {
        if !log.undefined.is_empty() {
            let what = format!("{} series references are not defined", log.undefined.len());
            let text = ("their samples are lost", "nothing; they are left out at a start");
            self.finding(Severity::Loss, (dir, None), what, text);
        }
        if let Some(error) = &log.first_error {
            let what = format!("records do not decode, the first: {error}");
            let text = ("what they held is lost", "nothing; they are left out at a start");
            self.finding(Severity::Loss, (dir, None), what, text);
        }
    }

    fn segment(
        &mut self,
        fs: &dyn Fs,
        path: &Path,
        limit: Option<u64>,
        log: &mut Log,
    ) -> Result<(), TsdbError> {
        if self.report.cancelled {
            return Ok(());
        }
        path.clone_into(&mut self.progress.path);
        let read = match limit {
            Some(limit) => fs.read(path, 0..limit),
            None => fs.read_all(path),
        };
        let data = match read {
            Ok(data) => data,
            // A checkpoint has removed it meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(TsdbError::io("read", path)(e)),
        };
        let summary = read_segment(&data, |records| log.batch(records));
        for damage in &summary.damage {
            let text = if damage.torn {
                ("a commit that was under way is lost", "nothing; it is cut off at a start")
            } else {
                ("the records here are lost", "nothing; they are left out at a start")
            };
            let what = format!("up to byte {}: {}", damage.end, damage.what);
            self.finding(Severity::Loss, (path, Some(damage.start as u64)), what, text);
        }
        if summary.unclosed > 0 && summary.damage.is_empty() {
            let what = format!("{} records of a commit that did not end", summary.unclosed);
            let text = ("nothing that was acknowledged is lost", "nothing; a start cuts them off");
            self.finding(Severity::Note, (path, Some(summary.end as u64)), what, text);
        }
        self.report.files += 1;
        self.count(data.len() as u64);
        Ok(())
    }

    /// Checks head snapshots.
    fn head_snapshots(&mut self, fs: &dyn Fs, dir: &Path) -> Result<(), TsdbError> {
        for path in head_snapshot::list(fs, dir)?.0 {
            if self.report.cancelled {
                return Ok(());
            }
            self.progress.path.clone_from(&path);
            let checked = head_snapshot::check(fs, &path);
            // A newer one may have taken its place meanwhile.
            let Ok(bytes) = fs.metadata(&path).map(|m| m.len) else { continue };
            if let Err(what) = checked {
                let text = ("this file is not read", "nothing; a start replays the whole log");
                self.finding(Severity::Note, (&path, None), what, text);
            }
            self.report.files += 1;
            self.count(bytes);
        }
        Ok(())
    }

    /// Checks the closed chunks of the head. Of a database that is open the newest file is being
    /// written, and what looks cut off in it may merely not be there yet.
    fn head_chunks(&mut self, fs: &dyn Fs, dir: &Path, live: bool) -> Result<(), TsdbError> {
        let dir = dir.join(CHUNKS_DIR);
        if !fs.exists(&dir).map_err(TsdbError::io("look for", &dir))? {
            return Ok(());
        }
        let entries = fs.read_dir(&dir).map_err(TsdbError::io("list", &dir))?;
        let is_number = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        let names: Vec<_> =
            entries.into_iter().filter(|e| !e.is_dir && is_number(&e.name)).collect();
        for (i, entry) in names.iter().enumerate() {
            if self.report.cancelled {
                return Ok(());
            }
            let path = dir.join(&entry.name);
            self.progress.path.clone_from(&path);
            let bytes = match fs.read_all(&path) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(TsdbError::io("read", &path)(e)),
            };
            let newest = i + 1 == names.len();
            if let Err((offset, what)) = check_chunk_file(&bytes)
                && !(live && newest)
            {
                let text = (
                    "this file from here on, and later files, are not read",
                    "nothing; a start takes the samples from the log",
                );
                self.finding(Severity::Loss, (&path, Some(offset)), what, text);
            }
            self.report.files += 1;
            self.count(bytes.len() as u64);
        }
        Ok(())
    }
}
