//! Opening a database.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64},
    },
};

use firesteel_model::Timestamp;
use parking_lot::{Mutex, RwLock};

use super::{
    Db, DbBuilder, Inner, View,
    blocks::{delete_dir, obsolete, sort_blocks},
    builder,
    late::{self, Logged},
    maintain::Maintenance,
    metrics::DbMetrics,
    report::{DamageReport, OpenReport},
    retention::Retention,
    sync::LogCare,
};
use crate::{
    TsdbError,
    block::{Block, TMP_CREATION_SUFFIX, TMP_DELETION_SUFFIX, Ulid, repair_version},
    fs::{DirEntry, Fs, Lock},
    head::{CHUNKS_DIR, ChunkFiles, FoundChunks, Head, HeadOptions, Replay, group_chunks},
    wal::{
        read::{Summary, read_segment},
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
    let head = Arc::new(Head::new(&head_options(&options), options.dir.is_some()));
    let mut report = OpenReport::default();
    let mut blocks = Vec::new();
    let mut lock = None;
    let mut late_chunks = Vec::new();
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
        let (files, mut chunks) = ChunkFiles::open(Arc::clone(&options.fs), dir)?;
        note_head_chunks(&chunks, &mut report);
        head.set_chunk_files(Arc::new(files));
        late_chunks = std::mem::take(&mut chunks.out_of_order);
        let (writer, logged) =
            replay(&options, dir, &head, chunks, min_valid(&blocks), &mut report)?;
        head.set_wal(writer);
        late::restore(&options, dir, &head, &late_chunks, &logged, &mut report)?;
    }
    let view = View { head_from: min_valid(&blocks), blocks: Arc::new(blocks) };
    let maintenance = Maintenance::new(&options, !late_chunks.is_empty());
    Ok(assemble(options, head, view, lock, maintenance, report))
}

/// A database without files.
pub(super) fn in_memory(options: DbBuilder) -> Db {
    let head = Arc::new(Head::new(&head_options(&options), false));
    let blocks = Arc::new(Vec::new());
    let view = View { blocks, head_from: Timestamp::MIN };
    let maintenance = Maintenance::new(&options, false);
    assemble(options, head, view, None, maintenance, OpenReport::default())
}

fn head_options(options: &DbBuilder) -> HeadOptions {
    HeadOptions {
        chunk_range: options.range_ms(),
        compress: options.wal_compression,
        max_exemplars: options.max_exemplars,
        late_window: builder::millis(options.late_window),
        late_cap: options.late_cap,
        budget: options.budget.clone(),
    }
}

fn assemble(
    options: DbBuilder,
    head: Arc<Head>,
    view: View,
    lock: Option<Box<dyn Lock>>,
    maintenance: Maintenance,
    report: OpenReport,
) -> Db {
    let newest = head.time_range().map_or(Timestamp::MIN, |r| r.1);
    Db(Arc::new(Inner {
        head,
        view: RwLock::new(view),
        lock: Mutex::new(lock),
        maintenance: Mutex::new(maintenance),
        log: Mutex::new(LogCare::new(&options, newest)),
        retention: Mutex::new(Retention {
            time: options.retention,
            bytes: options.retention_bytes,
            percentage: options.retention_percentage,
        }),
        stale_series_threshold: Mutex::new(options.stale_series_threshold),
        rules: options.compaction_rules(),
        closing: AtomicBool::new(false),
        metrics: DbMetrics::new(&report),
        block_bytes: AtomicI64::new(0),
        report,
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
    let share = names.len().div_ceil(options.open_threads.max(1)).max(MIN_BLOCKS_PER_THREAD);
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
    let (mut blocks, mut failed) = (Vec::with_capacity(names.len()), Vec::new());
    for (entry, opened) in names.iter().zip(opened) {
        match opened {
            Ok(block) => blocks.push(Arc::new(block)),
            Err(error) => failed.push((entry.name.clone(), error)),
        }
    }
    drop_obsolete(fs, dir, &mut blocks, &mut failed, report)?;
    for (name, error) in failed {
        quarantine(fs, dir, &name, &error);
        report.quarantined.push((dir.join(name), describe(&error)));
    }
    sort_blocks(&mut blocks);
    Ok(blocks)
}

/// Deletes what an earlier process had compacted, or emptied, and not deleted any more.
fn drop_obsolete(
    fs: &dyn Fs,
    dir: &Path,
    blocks: &mut Vec<Arc<Block>>,
    failed: &mut Vec<(String, TsdbError)>,
    report: &mut OpenReport,
) -> Result<(), TsdbError> {
    let gone = obsolete(blocks);
    // What is damaged of these was damaged by the deletion, or does not matter any more.
    let damaged = failed.extract_if(.., |f| f.0.parse().is_ok_and(|u| gone.contains(&u)));
    let damaged: Vec<Ulid> = damaged.filter_map(|f| f.0.parse().ok()).collect();
    let whole = blocks.iter().map(|b| b.meta().ulid).filter(|u| gone.contains(u));
    for ulid in whole.chain(damaged) {
        delete_dir(fs, dir, ulid)?;
        report.removed.push(dir.join(ulid.to_string()));
    }
    blocks.retain(|b| !gone.contains(&b.meta().ulid));
    Ok(())
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
    options: &DbBuilder,
    dir: &Path,
    head: &Head,
    chunks: FoundChunks,
    min_valid: Timestamp,
    report: &mut OpenReport,
) -> Result<(Writer, Logged), TsdbError> {
    let mut logged = Logged::default();
    let (fs, wal) = (&*options.fs, dir.join(WAL_DIR));
    let mut replay = head.replay(min_valid, group_chunks(chunks.chunks));
    let checkpoints = list_checkpoints(fs, &wal)?;
    let mut first = 0;
    if let Some(&newest) = checkpoints.last() {
        let path = checkpoint_path(&wal, newest);
        for segment in list_segments(fs, &path)? {
            let path = segment_path(&path, segment);
            replay_segment(fs, &path, &mut replay, report)?;
            logged.segments.push((path, std::mem::take(&mut replay.late)));
        }
        report.checkpoint = Some(newest);
        first = newest + 1;
    }
    let (old, segments): (Vec<_>, Vec<_>) =
        list_segments(fs, &wal)?.into_iter().partition(|&s| s < first);
    logged.whole = checkpoints.is_empty() && segments.first() == Some(&0);
    let mut next = segments.first().copied().unwrap_or(first);
    let mut infos = Vec::with_capacity(segments.len());
    for segment in segments {
        let mut path = segment_path(&wal, segment);
        if segment != next {
            // Prometheus refuses to start where a number is missing.
            let to = segment_path(&wal, next);
            report.not_read.push(format!("log segments {next} to {}: missing", segment - 1));
            logged.damaged = true;
            if fs.rename(&path, &to).is_ok() {
                path = to;
            } else {
                next = segment;
            }
        }
        replay.newest = Timestamp::MIN;
        let len = replay_segment(fs, &path, &mut replay, report)?;
        head.note_old_log(path.clone());
        if head.many_wait()
            && let Err(error) = head.spill()
        {
            tracing::warn!(%error, "chunks of the head stay in memory");
        }
        infos.push(SegmentInfo { index: next, len, max_time: replay.newest });
        logged.segments.push((path, std::mem::take(&mut replay.late)));
        report.segments += 1;
        next += 1;
    }
    if let Some(error) = &replay.first_error {
        report.not_read.push(format!("records that do not decode, the first: {error}"));
    }
    (report.replay, report.unknown_series) = replay.finish();
    // A checkpoint covers these; only its last step was missing.
    for segment in old {
        let _ = fs.remove_file(&segment_path(&wal, segment));
    }
    for &checkpoint in checkpoints.iter().rev().skip(1) {
        let _ = fs.remove_dir_all(&checkpoint_path(&wal, checkpoint));
    }
    // What a power cut leaves is in the newest segments.
    let old = logged.segments.get(..logged.segments.len().saturating_sub(2)).unwrap_or_default();
    let is_old = |d: &&DamageReport| old.iter().any(|s| s.0 == d.path);
    logged.damaged |= report.damage.iter().filter(is_old).any(|d| !d.torn);
    let (size, durability) = (options.wal_segment_size, options.durability);
    let writer = Writer::new(Arc::clone(&options.fs), &wal, next, infos, size, durability);
    Ok((writer, logged))
}

/// Replays a segment and repairs it. Returns its length.
fn replay_segment(
    fs: &dyn Fs,
    path: &Path,
    replay: &mut Replay<'_>,
    report: &mut OpenReport,
) -> Result<u64, TsdbError> {
    let data = fs.read_all(path).map_err(TsdbError::io("read", path))?;
    let summary = read_segment(&data, |records| replay.batch(records));
    mend(fs, path, &data, &summary, report)?;
    let len = fs.metadata(path).map_or(data.len() as u64, |m| m.len);
    Ok(len)
}

/// Repairs a segment in which `summary` was found, and reports it.
pub(super) fn mend(
    fs: &dyn Fs,
    path: &Path,
    data: &[u8],
    summary: &Summary,
    report: &mut OpenReport,
) -> Result<(), TsdbError> {
    if let Some(damage) = summary.damage.iter().find(|d| d.unsupported) {
        // Not damage: going on would leave out, and in the end delete, what is sound.
        return Err(TsdbError::corrupt(path, damage.start as u64, damage.what.clone()));
    }
    report.unclosed_records += summary.unclosed;
    let outcome = match repair(fs, path, data, summary) {
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
            torn: damage.torn,
        });
    }
    Ok(())
}
