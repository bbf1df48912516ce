//! Targets of the storage: its files, one at a time, replaced by any bytes.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use firesteel_model::{
    Histogram, HistogramLayout, Labels, Matcher, Span, Value,
    clock::ManualClock,
    storage::{
        AppendOptions, Appendable, Interner, LabelHints, QueryContext, Queryable, SampleBatch,
        SelectHints, SeriesKey, StorageError, merge::MergedSeries,
    },
};
use firesteel_tsdb::{
    Db, WalPosition,
    block::{Block, Tombstones},
    fs::{Fs, Open, SimFs},
    verify_directory,
    wal::follow::{WalBatch, WalRead},
};

const DIR: &str = "/data";

/// A small directory with a block, a log and head chunks, and the block in it.
fn golden() -> &'static (SimFs, PathBuf) {
    static GOLDEN: OnceLock<(SimFs, PathBuf)> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let fs = SimFs::new();
        let db = open(&fs).unwrap();
        for t in 0..400 {
            write(&db, t * 10);
        }
        db.flush_full_ranges(0).unwrap();
        for t in 400..600 {
            write(&db, t * 10);
        }
        assert_eq!(query(&db).unwrap(), 600 * 4 + 600 * 3);
        let _ = db.tick(0);
        let block = Path::new(DIR).join(db.blocks()[0].ulid.to_string());
        db.close().unwrap();
        (fs, block)
    })
}

fn open(fs: &SimFs) -> Result<Db, firesteel_tsdb::TsdbError> {
    Db::builder(DIR)
        .fs(Arc::new(fs.clone()))
        .clock(Arc::new(ManualClock::new(0)))
        .block_range(Duration::from_millis(1500))
        .retention(None)
        .reserve(0)
        .seed(5)
        .open()
}

fn write(db: &Db, t: i64) {
    let mut a = db.appender();
    let none = AppendOptions::default();
    for i in 0..4 {
        let instance = format!("host-{i}");
        let labels = Labels::from_pairs([("__name__", "up"), ("instance", &instance)]);
        let key = SeriesKey::Labels(&labels);
        if i < 3 {
            // Sound checksums may say that the head is of another age.
            let _ = a.append(key, t, Value::Float((t * i) as f64), &none);
            continue;
        }
        let layout = HistogramLayout {
            positive_spans: vec![Span { offset: 1, length: 2 }],
            ..HistogramLayout::default()
        };
        let histogram = Histogram {
            layout,
            count: 5,
            sum: t as f64,
            positive_deltas: vec![2, 1],
            ..Histogram::default()
        };
        let _ = a.append(key, t, Value::Histogram(&histogram), &none);
    }
    a.commit().unwrap();
}

/// Reads everything that a query can reach.
fn query(from: &dyn Queryable) -> Result<usize, StorageError> {
    let (mint, maxt) = (i64::MIN, i64::MAX);
    let ctx = QueryContext::background();
    let querier = from.querier(mint, maxt)?;
    let hints = LabelHints::default();
    let matchers = [Matcher::equal("__name__", "up"), Matcher::not_equal("instance", "host-1")];
    let _ = querier.label_names(&ctx, &[], &hints);
    let _ = querier.label_values(&ctx, "instance", &matchers, &hints);
    let mut samples = 0;
    for matchers in [&matchers[..0], &matchers[..]] {
        let selection = querier.select(&ctx, matchers, &SelectHints::range(mint, maxt))?;
        let mut interner = Interner::new();
        let merged = MergedSeries::new(&ctx, selection, &mut interner)?;
        let mut reader = merged.reader(&ctx);
        let mut batch = SampleBatch::default();
        for series in 0..merged.len() {
            let _ = interner.labels(merged.pairs(series));
            if reader.open(series).is_err() {
                continue;
            }
            while let Ok(true) = reader.next(&mut batch) {
                samples += batch.len();
            }
        }
    }
    Ok(samples)
}

fn replace(fs: &SimFs, path: &Path, data: &[u8]) {
    fs.open(path, Open::Truncate).unwrap().append(data).unwrap();
}

fn verify(fs: &SimFs) {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    verify_directory(&fs, Path::new(DIR), &mut |_| ControlFlow::Continue(())).unwrap();
}

/// The block with a file replaced: read alone, checked, and as a part of its database.
fn block(name: &str, data: &[u8]) {
    let (golden, block) = golden();
    let fs = golden.fork();
    replace(&fs, &block.join(name), data);
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    if let Ok(block) = Block::open(Arc::clone(&shared), block) {
        let _ = query(&block);
    }
    verify(&fs);
    database(&fs);
}

/// Opens the database, reads it, and opens it again: it must be whole by then.
fn database(fs: &SimFs) {
    if let Ok(db) = open(fs) {
        let _ = query(&db);
        let _ = db.tick(0);
        drop(db);
        let db = open(fs).unwrap();
        assert!(db.open_report().damage.is_empty(), "{}", db.open_report());
        write(&db, 1_000_000_000);
    }
}

fn seed(path: &Path) -> Vec<u8> {
    golden().0.read_all(path).unwrap().to_vec()
}

fn block_seed(name: &str) -> Vec<Vec<u8>> {
    vec![seed(&golden().1.join(name))]
}

fn segments() -> Vec<PathBuf> {
    let (fs, wal) = (&golden().0, Path::new(DIR).join("wal"));
    let entries = fs.read_dir(&wal).unwrap();
    entries.iter().filter(|e| !e.is_dir).map(|e| wal.join(&e.name)).collect()
}

/// A segment of the log.
pub fn wal(data: &[u8]) {
    let fs = SimFs::new();
    let dir = Path::new(DIR).join("wal");
    fs.create_dir_all(&dir).unwrap();
    replace(&fs, &dir.join("00000000"), data);
    verify(&fs);
    let copy = fs.fork();
    if let Ok(db) = open(&copy) {
        // Followed as it was before it was repaired.
        replace(&copy, &dir.join("00000000"), data);
        let mut cursor = db.wal_cursor(Some(WalPosition::default())).unwrap();
        let mut batch = WalBatch::default();
        for _ in 0..100_000 {
            match cursor.read(&mut batch) {
                Ok(WalRead::CaughtUp) | Err(_) => break,
                Ok(WalRead::Batch | WalRead::Skipped { .. }) => {}
            }
        }
    }
    database(&fs);
}

pub(crate) fn wal_seeds() -> Vec<Vec<u8>> {
    segments().iter().map(|path| seed(path)).collect()
}

/// The index of a block.
pub fn index(data: &[u8]) {
    block("index", data);
}

pub(crate) fn index_seeds() -> Vec<Vec<u8>> {
    block_seed("index")
}

/// The chunks of a block.
pub fn chunks(data: &[u8]) {
    block("chunks/000001", data);
}

pub(crate) fn chunks_seeds() -> Vec<Vec<u8>> {
    block_seed("chunks/000001")
}

/// The description of a block.
pub fn meta_json(data: &[u8]) {
    // Without an integrity file, which would restore it.
    let (golden, block) = golden();
    let fs = golden.fork();
    fs.remove_file(&block.join("integrity")).unwrap();
    replace(&fs, &block.join("meta.json"), data);
    database(&fs);
    self::block("meta.json", data);
}

pub(crate) fn meta_seeds() -> Vec<Vec<u8>> {
    block_seed("meta.json")
}

/// The deletions of a block.
pub fn tombstones(data: &[u8]) {
    block("tombstones", data);
}

pub(crate) fn stone_seeds() -> Vec<Vec<u8>> {
    let fs = SimFs::new();
    let mut stones = Tombstones::default();
    for i in 0..20 {
        let (mint, maxt) = (i * 37, i * 37 + 20);
        stones.add(1 + i as u64 % 5, firesteel_tsdb::block::Interval { mint, maxt });
    }
    stones.write(&fs, Path::new("/")).unwrap();
    let mut seeds = block_seed("tombstones");
    seeds.push(fs.read_all(Path::new("/tombstones")).unwrap().to_vec());
    seeds
}

/// A file of closed chunks of the head.
pub fn head_chunks(data: &[u8]) {
    let fs = golden().0.fork();
    let dir = Path::new(DIR).join("chunks_head");
    fs.create_dir_all(&dir).unwrap();
    let name = fs.read_dir(&dir).unwrap().first().map_or("000001".to_owned(), |e| e.name.clone());
    replace(&fs, &dir.join(name), data);
    verify(&fs);
    database(&fs);
}

pub(crate) fn head_seeds() -> Vec<Vec<u8>> {
    let mut file = vec![0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];
    for i in 0..3_u64 {
        let start = file.len();
        for x in [i + 1, 6000, 7000] {
            file.extend_from_slice(&x.to_be_bytes());
        }
        file.extend_from_slice(&[if i == 1 { 0x81 } else { 1 }, 3, 7, 8, 9]);
        let crc = crc32c::crc32c(&file[start..]);
        file.extend_from_slice(&crc.to_be_bytes());
    }
    let mut seeds = vec![file];
    let dir = Path::new(DIR).join("chunks_head");
    for entry in golden().0.read_dir(&dir).unwrap_or_default() {
        seeds.push(seed(&dir.join(entry.name)));
    }
    seeds
}

/// The integrity file of a block.
pub fn integrity(data: &[u8]) {
    block("integrity", data);
}

pub(crate) fn integrity_seeds() -> Vec<Vec<u8>> {
    block_seed("integrity")
}
