//! Opening a database.

use std::{
    path::Path,
    sync::{Arc, OnceLock, atomic::AtomicI64},
};

use firesteel_model::Timestamp;
use parking_lot::{Mutex, RwLock};

use super::{
    Db, DbBuilder, Inner, Retention, View,
    head_snapshot::{self, Manifest, Snapshot, Unusable},
    late,
    loading::{HeadLoader, OpenPhase, Progress},
    maintain::Maintenance,
    metrics::DbMetrics,
    report::{DamageReport, OpenReport, SnapshotReport},
};
use crate::{
    TsdbError,
    block::{Block, TMP_CREATION_SUFFIX, TMP_DELETION_SUFFIX, Ulid, repair_version},
    fs::{DirEntry, Fs, Lock, Slice},
    head::{CHUNKS_DIR, ChunkFiles, FoundChunks, Head, HeadOptions, Replay, group_chunks},
    wal::{
        page::PAGE,
        read::{Summary, read_segment, read_segment_from},
        repair::{Repair, repair},
        segments::{
            checkpoint_path, list_checkpoints, list_segments, make_dir, remove_leftovers,
            segment_path,
        },
        writer::{SegmentInfo, Writer},
    },
};

/// The directory of the log.
pub(super) const WAL_DIR: &str = "wal";
/// Where damaged blocks go.
const QUARANTINE_DIR: &str = "quarantine";
const LOCK_FILE: &str = "lock";
/// A thread that opens fewer blocks is not worth its start.
const MIN_BLOCKS_PER_THREAD: usize = 4;

pub(super) fn open(options: DbBuilder) -> Result<Db, TsdbError> {
    let (db, loader) = open_blocks_first(options)?;
    loader.run()?;
    Ok(db)
}

/// Opens the blocks. The head is left to the loader.
pub(super) fn open_blocks_first(options: DbBuilder) -> Result<(Db, HeadLoader), TsdbError> {
    let head = Arc::new(Head::new(&head_options(&options), options.dir.is_some()));
    let mut report = OpenReport::default();
    let mut blocks = Vec::new();
    let mut lock = None;
    if let Some(dir) = &options.dir {
        let fs = &*options.fs;
        make_dir(fs, dir)?;
        if options.lock {
            let path = dir.join(LOCK_FILE);
            lock = Some(fs.lock(&path).map_err(|e| match e.kind() {
                std::io::ErrorKind::WouldBlock => TsdbError::Locked { path: path.clone() },
                _ => TsdbError::io("lock", &path)(e),
            })?);
        }
        remove_unfinished(fs, dir, &mut report)?;
        blocks = open_blocks(&options, dir, &mut report)?;
        report.blocks = blocks.len();
    }
    let view = View { head_from: min_valid(&blocks), blocks: Arc::new(blocks), late: None };
    let db = assemble(options, head, view, lock, report);
    let loader = HeadLoader(Arc::clone(&db.0));
    Ok((db, loader))
}

/// Loads the head.
pub(super) fn load(inner: &Inner) -> Result<(), TsdbError> {
    // Who wants to change something waits.
    let mut maintenance = inner.maintenance.lock();
    let (options, head, progress) = (&inner.options, &inner.head, &inner.progress);
    progress.check()?;
    let mut report = inner.found.lock().clone();
    if let Some(dir) = &options.dir {
        progress.enter(OpenPhase::Snapshot);
        let fs = &*options.fs;
        let (files, mut chunks) = ChunkFiles::open(Arc::clone(&options.fs), dir)?;
        note_head_chunks(&chunks, &mut report);
        head.set_chunk_files(Arc::new(files));
        let late_chunks = std::mem::take(&mut chunks.out_of_order);
        let min_valid = inner.view.read().head_from;
        let writer = replay(inner, dir, chunks, min_valid, &mut report)?;
        progress.enter(OpenPhase::Late);
        progress.check()?;
        let late = late::read(fs, dir, head, &late_chunks, &mut report)?;
        inner.view.write().late = late;
        head.set_wal(writer);
    }
    let max_time = head.time_range().map_or(Timestamp::MIN, |r| r.1);
    maintenance.head_is_loaded(options, max_time, &report);
    inner.metrics.opened(&report);
    let _ = inner.report.set(report);
    progress.enter(OpenPhase::Done);
    Ok(())
}

/// A database without files.
pub(super) fn in_memory(options: DbBuilder) -> Db {
    let head = Arc::new(Head::new(&head_options(&options), false));
    let blocks = Arc::new(Vec::new());
    let view = View { blocks, head_from: Timestamp::MIN, late: None };
    let db = assemble(options, head, view, None, OpenReport::default());
    let _ = db.0.report.set(OpenReport::default());
    db.0.progress.enter(OpenPhase::Done);
    db
}

fn head_options(options: &DbBuilder) -> HeadOptions {
    HeadOptions {
        chunk_range: options.range_ms(),
        compress: options.wal_compression,
        max_exemplars: options.max_exemplars,
        budget: options.budget.clone(),
    }
}

fn assemble(
    options: DbBuilder,
    head: Arc<Head>,
    view: View,
    lock: Option<Box<dyn Lock>>,
    report: OpenReport,
) -> Db {
    Db(Arc::new(Inner {
        head,
        view: RwLock::new(view),
        lock: Mutex::new(lock),
        maintenance: Mutex::new(Maintenance::new(&options)),
        retention: Mutex::new(Retention {
            time: options.retention,
            bytes: options.retention_bytes,
        }),
        metrics: DbMetrics::default(),
        progress: Progress::new(OpenPhase::Waiting),
        block_bytes: AtomicI64::new(0),
        report: OnceLock::new(),
        found: Mutex::new(report),
        options,
    }))
}

/// Samples before this lie in blocks. Blocks of late samples do not count.
fn min_valid(blocks: &[Arc<Block>]) -> Timestamp {
    let in_order = |b: &&Arc<Block>| b.meta().compaction.hints.is_empty();
    blocks.iter().filter(in_order).map(|b| b.meta().max_time).max().unwrap_or(Timestamp::MIN)
}

/// Removes what an earlier process did not finish.
fn remove_unfinished(fs: &dyn Fs, dir: &Path, report: &mut OpenReport) -> Result<(), TsdbError> {
    for entry in fs.read_dir(dir).map_err(TsdbError::io("list", dir))? {
        let unfinished = [TMP_CREATION_SUFFIX, TMP_DELETION_SUFFIX]
            .iter()
            .any(|s| entry.name.strip_suffix(s).is_some_and(|n| n.parse::<Ulid>().is_ok()));
        let old = entry.name.strip_suffix(".tmp").is_some_and(|n| n.parse::<Ulid>().is_ok());
        if entry.is_dir && (unfinished || old) {
            let path = dir.join(&entry.name);
            fs.remove_dir_all(&path).map_err(TsdbError::io("remove", &path))?;
            report.removed.push(path);
        }
    }
    remove_leftovers(fs, &dir.join(WAL_DIR))
}

/// Opens the blocks, oldest first. Those that cannot be opened are put aside.
fn open_blocks(
    options: &DbBuilder,
    dir: &Path,
    report: &mut OpenReport,
) -> Result<Vec<Arc<Block>>, TsdbError> {
    let fs = &*options.fs;
    let mut names = fs.read_dir(dir).map_err(TsdbError::io("list", dir))?;
    names.retain(|entry| entry.is_dir && entry.name.parse::<Ulid>().is_ok());
    let open_some = |names: &[DirEntry]| -> Vec<Result<Block, TsdbError>> {
        names.iter().map(|entry| open_block(&options.fs, &dir.join(&entry.name))).collect()
    };
    let share = names.len().div_ceil(options.threads()).max(MIN_BLOCKS_PER_THREAD);
    let opened: Vec<_> = if names.len() <= share {
        open_some(&names)
    } else {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                names.chunks(share).map(|names| scope.spawn(|| open_some(names))).collect();
            let parts = threads.into_iter().map(|t| t.join());
            parts.flat_map(|part| part.unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
        })
    };
    let mut blocks = Vec::with_capacity(names.len());
    for (entry, opened) in names.iter().zip(opened) {
        match opened {
            Ok(block) => blocks.push(Arc::new(block)),
            Err(error) => {
                let why = describe(&error);
                quarantine(fs, dir, &entry.name, &error);
                report.quarantined.push((dir.join(&entry.name), why));
            }
        }
    }
    super::maintain::sort_blocks(&mut blocks);
    Ok(blocks)
}

/// Opens a block without reading its tables: it may never be asked.
fn open_block(fs: &Arc<dyn Fs>, path: &Path) -> Result<Block, TsdbError> {
    repair_version(&**fs, path)?;
    let block = Block::open(Arc::clone(fs), path)?;
    block.probe()?;
    Ok(block)
}

/// An error with its cause.
pub(super) fn describe(error: &TsdbError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Moves a damaged block out of the way, so that Prometheus starts, too. What merely could not be
/// read now stays. Whether it was moved.
pub(super) fn quarantine(fs: &dyn Fs, dir: &Path, name: &str, error: &TsdbError) -> bool {
    let damaged = match error {
        TsdbError::Corrupt { .. } => true,
        TsdbError::Io { source, .. } => matches!(
            source.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    };
    let to = dir.join(QUARANTINE_DIR);
    if damaged
        && fs.create_dir_all(&to).is_ok()
        && fs.rename(&dir.join(name), &to.join(name)).is_ok()
    {
        let _ = fs.sync_dir(&to);
        let _ = fs.sync_dir(dir);
        return true;
    }
    false
}

/// Puts into the report what of the head chunks is not read.
fn note_head_chunks(chunks: &FoundChunks, report: &mut OpenReport) {
    if chunks.unknown > 0 {
        let n = chunks.unknown;
        report.not_read.push(format!("{n} chunks of unknown encoding in {CHUNKS_DIR}"));
    }
    for (path, offset, what) in &chunks.damage {
        report.not_read.push(format!("{} from byte {offset}: {what}", path.display()));
    }
}

/// Replays the newest checkpoint and the segments after it.
fn replay(
    inner: &Inner,
    dir: &Path,
    chunks: FoundChunks,
    min_valid: Timestamp,
    report: &mut OpenReport,
) -> Result<Writer, TsdbError> {
    let (options, head, progress) = (&inner.options, &inner.head, &inner.progress);
    let (fs, wal) = (&*options.fs, dir.join(WAL_DIR));
    let checkpoints = list_checkpoints(fs, &wal)?;
    let snapshot = load_snapshot(options, dir, head, min_valid, report)?;
    let mut chunks = chunks.chunks;
    if let Some(snapshot) = &snapshot {
        chunks.retain(|(_, chunk)| snapshot.manifest.is_later(chunk));
    }
    progress.check()?;
    progress.enter(OpenPhase::Log);
    let threads = options.threads();
    let (read, stats, unknown) =
        head.replay(threads, min_valid, group_chunks(chunks), |replay| match &snapshot {
            None => read_log(fs, &wal, &checkpoints, replay, report, progress),
            Some(snapshot) => {
                if let Err(error) = head.image_records_into(snapshot, replay) {
                    // What few series have; the samples are all there.
                    report.not_read.push(format!("{}: {error}", snapshot.path.display()));
                }
                replay.take_known_chunks();
                read_tail(fs, &wal, &checkpoints, &snapshot.manifest, replay, report, progress)
            }
        });
    let LogRead { next, infos, old } = read?;
    (report.replay, report.unknown_series) = (stats, unknown);
    // A checkpoint covers these; only its last step was missing.
    for segment in old {
        let _ = fs.remove_file(&segment_path(&wal, segment));
    }
    for &checkpoint in checkpoints.iter().rev().skip(1) {
        let _ = fs.remove_dir_all(&checkpoint_path(&wal, checkpoint));
    }
    Ok(Writer::new(
        Arc::clone(&options.fs),
        &wal,
        next,
        infos,
        options.wal_segment_size,
        options.durability,
    ))
}

/// What reading the log has found.
struct LogRead {
    /// Number of the segment to come.
    next: u64,
    infos: Vec<SegmentInfo>,
    /// Segments that the checkpoint covers.
    old: Vec<u64>,
}

/// Replays the newest of the checkpoints and the segments after it.
fn read_log(
    fs: &dyn Fs,
    wal: &Path,
    checkpoints: &[u64],
    replay: &mut Replay<'_>,
    report: &mut OpenReport,
    progress: &Progress,
) -> Result<LogRead, TsdbError> {
    let mut first = 0;
    if let Some(&newest) = checkpoints.last() {
        let path = checkpoint_path(wal, newest);
        for segment in list_segments(fs, &path)? {
            replay_segment(fs, &segment_path(&path, segment), 0, replay, report)?;
        }
        report.checkpoint = Some(newest);
        first = newest + 1;
    }
    let (old, segments): (Vec<_>, Vec<_>) =
        list_segments(fs, wal)?.into_iter().partition(|&s| s < first);
    progress.segments(segments.iter().copied());
    let mut next = segments.first().copied().unwrap_or(first);
    let mut infos = Vec::with_capacity(segments.len());
    for segment in segments {
        let mut path = segment_path(wal, segment);
        if segment != next {
            // Prometheus refuses to start where a number is missing.
            let to = segment_path(wal, next);
            report.not_read.push(format!("log segments {next} to {}: missing", segment - 1));
            if fs.rename(&path, &to).is_ok() {
                path = to;
            } else {
                next = segment;
            }
        }
        replay.newest = Timestamp::MIN;
        let len = replay_segment(fs, &path, 0, replay, report)?;
        infos.push(SegmentInfo { index: next, len, max_time: replay.newest });
        report.segments += 1;
        progress.replayed(next, replay.decoded);
        progress.check()?;
        next += 1;
    }
    note_bad_records(replay, report);
    Ok(LogRead { next, infos, old })
}

/// Fills the head from the newest snapshot, if it fits the log. Returns it.
fn load_snapshot(
    options: &DbBuilder,
    dir: &Path,
    head: &Head,
    min_valid: Timestamp,
    report: &mut OpenReport,
) -> Result<Option<Snapshot>, TsdbError> {
    let fs = &*options.fs;
    let Some((path, found)) = head_snapshot::find(fs, dir, &dir.join(WAL_DIR))? else {
        return Ok(None);
    };
    let mut entry = SnapshotReport { path: path.clone(), ..SnapshotReport::default() };
    let loaded = found.and_then(|snapshot| {
        let stats = head.read_image(&snapshot, min_valid, options.threads())?;
        Ok((snapshot, stats))
    });
    let used = match loaded {
        Ok((snapshot, stats)) => {
            (entry.series, entry.chunks, entry.bytes) = (stats.series, stats.chunks, snapshot.size);
            Some(snapshot)
        }
        Err(why) => {
            if let Unusable::Damaged(what) = &why {
                report.not_read.push(format!("{}: {what}", path.display()));
            }
            let (Unusable::Damaged(what) | Unusable::Outdated(what)) = why;
            entry.unused = Some(what);
            // The log has everything.
            let _ = fs.remove_file(&path);
            None
        }
    };
    report.snapshot = Some(entry);
    Ok(used)
}

/// Replays what was logged after a snapshot.
fn read_tail(
    fs: &dyn Fs,
    wal: &Path,
    checkpoints: &[u64],
    manifest: &Manifest,
    replay: &mut Replay<'_>,
    report: &mut OpenReport,
    progress: &Progress,
) -> Result<LogRead, TsdbError> {
    report.checkpoint = checkpoints.last().copied();
    let first = report.checkpoint.map_or(0, |n| n + 1);
    let (old, present): (Vec<_>, Vec<_>) =
        list_segments(fs, wal)?.into_iter().partition(|&s| s < first);
    let known = manifest.segments.iter().filter(|s| s.index >= first);
    let mut infos: Vec<_> = known.copied().collect();
    let from = manifest.from;
    progress.segments(present.iter().copied().filter(|&s| s >= from.segment));
    for segment in present.into_iter().filter(|&s| s >= from.segment) {
        let path = segment_path(wal, segment);
        let started = infos.pop_if(|s| s.index == segment);
        let offset = if started.is_some() { from.offset } else { 0 };
        replay.newest = started.map_or(Timestamp::MIN, |s| s.max_time);
        let len = replay_segment(fs, &path, offset, replay, report)?;
        infos.push(SegmentInfo { index: segment, len, max_time: replay.newest });
        report.segments += 1;
        progress.replayed(segment, replay.decoded);
        progress.check()?;
    }
    note_bad_records(replay, report);
    let next = infos.last().map_or(from.segment, |s| s.index + 1).max(from.segment);
    Ok(LogRead { next, infos, old })
}

fn note_bad_records(replay: &Replay<'_>, report: &mut OpenReport) {
    if let Some(error) = &replay.first_error {
        report.not_read.push(format!("records that do not decode, the first: {error}"));
    }
}

/// Replays a segment, from the end of a batch on, and repairs it. Returns its length.
fn replay_segment(
    fs: &dyn Fs,
    path: &Path,
    from: u64,
    replay: &mut Replay<'_>,
    report: &mut OpenReport,
) -> Result<u64, TsdbError> {
    let (data, summary) = if from == 0 {
        let data = fs.read_all(path).map_err(TsdbError::io("read", path))?;
        let summary = read_segment(&data, |records| replay.batch(records));
        (data, summary)
    } else {
        read_from(fs, path, from, replay)?
    };
    if let Some(damage) = summary.damage.iter().find(|d| d.unsupported) {
        // Not damage: going on would leave out, and in the end delete, what is sound.
        return Err(TsdbError::corrupt(path, damage.start as u64, damage.what.clone()));
    }
    report.unclosed_records += summary.unclosed;
    report.replayed_bytes += data.len() as u64;
    let outcome = match repair(fs, path, &data, &summary) {
        Ok(Repair::None) => "nothing done".to_owned(),
        Ok(Repair::Cut) => format!("cut off at byte {}", summary.end),
        Ok(Repair::Rewritten) => "rewritten without it".to_owned(),
        Err(error) => format!("not repaired: {}", describe(&error)),
    };
    for damage in &summary.damage {
        report.damage.push(DamageReport {
            path: path.to_owned(),
            start: damage.start as u64,
            end: damage.end as u64,
            what: damage.what.clone(),
            outcome: outcome.clone(),
        });
    }
    let len = fs.metadata(path).map_or(data.len() as u64, |m| m.len);
    Ok(len)
}

/// Replays a segment of ours from the end of a batch on. Where something is wrong the whole segment
/// is read again, to repair it.
fn read_from(
    fs: &dyn Fs,
    path: &Path,
    from: u64,
    replay: &mut Replay<'_>,
) -> Result<(Slice, Summary), TsdbError> {
    let base = from / PAGE as u64 * PAGE as u64;
    let len = fs.metadata(path).map_err(TsdbError::io("stat", path))?.len;
    let data = fs.read(path, base..len).map_err(TsdbError::io("read", path))?;
    let at = (from - base) as usize;
    let summary = read_segment_from(&data, at, |records| replay.batch(records));
    if summary.damage.is_empty() && summary.unclosed == 0 {
        return Ok((data, summary));
    }
    let data = fs.read_all(path).map_err(TsdbError::io("read", path))?;
    let summary = read_segment(&data, |_| ());
    Ok((data, summary))
}
