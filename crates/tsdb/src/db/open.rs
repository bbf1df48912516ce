//! Opening a database.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use firesteel_model::Timestamp;

use super::{
    Db, DbBuilder, Inner, View,
    blocks::{delete_dir, obsolete, sort_blocks},
    builder,
    events::Event,
    head_snapshot::Snapshots,
    late,
    loading::{HeadLoader, OpenPhase, Progress},
    maintain::Maintenance,
    metrics::DbMetrics,
    quarantine,
    replay::replay,
    report::OpenReport,
    retention::Retention,
    sync::LogCare,
};
use crate::{
    TsdbError,
    block::{Block, TMP_CREATION_SUFFIX, TMP_DELETION_SUFFIX, Ulid, integrity, repair_version},
    fs::{DirEntry, Fs, Lock},
    head::{CHUNKS_DIR, ChunkFiles, FoundChunks, Head, HeadOptions},
    sync::{AtomicBool, AtomicI64, Mutex, RwLock},
    wal::segments::{make_dir, remove_leftovers},
};

/// The directory of the log.
pub(super) const WAL_DIR: &str = "wal";
const LOCK_FILE: &str = "lock";
/// A thread that opens fewer blocks is not worth its start.
const MIN_BLOCKS_PER_THREAD: usize = 4;

pub(super) fn open(options: DbBuilder) -> Result<Db, TsdbError> {
    let (db, loader) = open_blocks_first(options)?;
    loader.run()?;
    Ok(db)
}

/// Opens the blocks. The head is left to the loader.
pub(super) fn open_blocks_first(mut options: DbBuilder) -> Result<(Db, HeadLoader), TsdbError> {
    DbBuilder::check_formats(options.formats)?;
    options.make_decoded();
    let head = Arc::new(Head::new(&head_options(&options), options.dir.is_some()));
    let mut report = OpenReport::default();
    let mut blocks = Vec::new();
    let mut lock = None;
    if let Some(dir) = &options.dir {
        let fs = &*options.fs;
        if !options.read_only {
            make_dir(fs, dir)?;
        }
        if options.lock {
            let path = dir.join(LOCK_FILE);
            lock = Some(fs.lock(&path).map_err(|e| match e.kind() {
                std::io::ErrorKind::WouldBlock => TsdbError::Locked { path: path.clone() },
                _ => TsdbError::io("lock", &path)(e),
            })?);
        }
        if !options.read_only {
            remove_unfinished(fs, dir, &mut report)?;
        }
        blocks = open_blocks(&options, dir, &mut report)?;
        report.blocks = blocks.len();
    }
    let view = View { head_from: min_valid(&blocks), blocks: Arc::new(blocks) };
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
        let (files, mut chunks) = ChunkFiles::open(Arc::clone(&options.fs), dir)?;
        note_head_chunks(&chunks, &mut report);
        head.set_chunk_files(Arc::new(files));
        let late_chunks = std::mem::take(&mut chunks.out_of_order);
        let min_valid = inner.view.read().head_from;
        let (writer, logged) = replay(inner, dir, chunks, min_valid, &mut report)?;
        progress.enter(OpenPhase::Late);
        progress.check()?;
        head.set_wal(writer);
        late::restore(options, dir, head, &late_chunks, logged, &mut report)?;
        maintenance.late_chunks = !late_chunks.is_empty();
    }
    let newest = head.time_range().map_or(Timestamp::MIN, |r| r.1);
    *inner.log.lock() = LogCare::new(options, newest);
    maintenance.snapshots = Snapshots::after_load(options, &report);
    inner.metrics.opened(&report);
    announce(options, &report);
    let _ = inner.report.set(report);
    progress.enter(OpenPhase::Done);
    Ok(())
}

/// A database without files.
pub(super) fn in_memory(options: DbBuilder) -> Db {
    let head = Arc::new(Head::new(&head_options(&options), false));
    let blocks = Arc::new(Vec::new());
    let view = View { blocks, head_from: Timestamp::MIN };
    let db = assemble(options, head, view, None, OpenReport::default());
    let _ = db.0.report.set(OpenReport::default());
    db.0.progress.enter(OpenPhase::Done);
    db
}

fn head_options(options: &DbBuilder) -> HeadOptions {
    HeadOptions {
        decoded: options.decoded.clone(),
        chunk_range: options.range_ms(),
        compression: options.wal_compression,
        max_exemplars: options.max_exemplars,
        late_window: builder::millis(options.late_window),
        late_cap: options.late_cap,
        formats: options.formats,
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
        log: Mutex::new(LogCare::new(&options, Timestamp::MIN)),
        retention: Mutex::new(Retention {
            time: options.retention,
            bytes: options.retention_bytes,
            percentage: options.retention_percentage,
        }),
        metrics: DbMetrics::new(),
        progress: Progress::new(OpenPhase::Waiting),
        stale_series_threshold: Mutex::new(options.stale_series_threshold),
        rules: options.compaction_rules(),
        closing: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        block_bytes: AtomicI64::new(0),
        report: OnceLock::new(),
        found: Mutex::new(report),
        options,
    }))
}

/// Sends events of what opening has found.
fn announce(options: &DbBuilder, report: &OpenReport) {
    for (path, reason) in &report.quarantined {
        let (path, reason) = (path.clone(), reason.clone());
        options.events.send(&Event::BlockQuarantined { path, reason });
    }
    for damage in &report.damage {
        let what = format!("byte {}: {}; {}", damage.start, damage.what, damage.outcome);
        options.events.send(&Event::CorruptionFound { path: damage.path.clone(), what });
    }
    let dir = options.dir.clone().unwrap_or_default();
    for what in report.not_read.iter().chain(&report.restored) {
        let what = what.clone();
        options.events.send(&Event::CorruptionFound { path: dir.clone(), what });
    }
}

/// Samples before this lie in blocks. Blocks of late samples do not count.
pub(super) fn min_valid(blocks: &[Arc<Block>]) -> Timestamp {
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
    let open_some = |names: &[DirEntry]| -> Vec<Result<(Block, Vec<String>), TsdbError>> {
        names.iter().map(|entry| open_block(options, &dir.join(&entry.name))).collect()
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
    let (mut blocks, mut failed) = (Vec::with_capacity(names.len()), Vec::new());
    for (entry, opened) in names.iter().zip(opened) {
        match opened {
            Ok((block, notes)) => {
                report.restored.extend(notes);
                blocks.push(Arc::new(block));
            }
            Err(error) => failed.push((entry.name.clone(), error)),
        }
    }
    drop_obsolete(fs, dir, &mut blocks, &mut failed, report)?;
    for (name, error) in failed {
        let why = describe(&error);
        // What merely could not be read now stays.
        if quarantine::is_damage(&error) {
            let _ = quarantine::put_aside(fs, dir, &name, &why);
        }
        report.quarantined.push((dir.join(name), why));
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

/// Opens a block without reading its tables: it may never be asked. Returns it and what was put
/// right.
fn open_block(options: &DbBuilder, path: &Path) -> Result<(Block, Vec<String>), TsdbError> {
    let fs = &options.fs;
    let notes = integrity::check(&**fs, path)?;
    repair_version(&**fs, path)?;
    let block = Block::open(Arc::clone(fs), path)?.keeping(options.decoded.as_ref());
    block.probe()?;
    Ok((block, notes))
}

/// An error with its cause.
pub(super) fn describe(error: &TsdbError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
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
