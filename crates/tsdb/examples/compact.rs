//! Compacts three blocks into one and says what that takes.
//!
//! ```text
//! cargo run --release -p firesteel-tsdb --example compact -- [series] [directory] [head]
//! ```
//! Makes three blocks of two hours, 480 samples per series every 15 seconds, nine labels, in the
//! directory (a temporary one by default), and a newer one that stays; then opens the database and
//! compacts, beside a head of `head` series with 120 samples each, none by default. Memory is the process' anonymous memory as Linux counts it.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use firesteel_chunk::{Encoding, XorEncoder};
use firesteel_model::{
    Labels, Value,
    storage::{AppendOptions, Appendable, SeriesKey},
};
use firesteel_tsdb::{
    Db,
    block::{BlockMeta, BlockWriter, Compaction, EncodedChunk, SymbolTable, Ulid},
    fs::OsFs,
};

const RANGE: i64 = 7_200_000;
const STEP: i64 = 15_000;
const PER_CHUNK: i64 = 120;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The labels of a series: two of their values are its own, the others are shared.
fn labels(i: usize) -> Vec<(String, String)> {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    vec![
        pair("__name__", format!("metric_{:03}", i % 200)),
        pair("cluster", "eu-1".to_owned()),
        pair("container", format!("app-{}", i % 20)),
        pair("instance", format!("10.0.{}.{}:9100", i / 200 % 256, i % 200)),
        pair("job", format!("job-{}", i % 10)),
        pair("namespace", format!("ns-{}", i % 50)),
        pair("node", format!("node-{}", i / 1000)),
        pair("pod", format!("pod-{:06}", i / 200)),
        pair("series", format!("{i:07}")),
    ]
}

/// Writes a block of all series.
fn write(dir: &Path, start: i64, series: usize, rng: &mut fastrand::Rng) -> Result<()> {
    let mut all: Vec<_> = (0..series).map(labels).collect();
    all.sort_unstable();
    let mut strings: Vec<&str> =
        all.iter().flatten().flat_map(|(n, v)| [n.as_str(), v.as_str()]).collect();
    strings.sort_unstable();
    strings.dedup();
    let ulid = Ulid::generate(start, rng);
    let meta = BlockMeta::new(ulid, start, start + RANGE, Compaction::first_level(ulid));
    let table = SymbolTable::new(strings.iter().copied())?;
    let mut writer = BlockWriter::create(Arc::new(OsFs::default()), dir, meta, table)?;
    let id = |text: &str| strings.binary_search(&text).map_or(u32::MAX, |at| at as u32);
    for labels in &all {
        let pairs: Vec<_> = labels.iter().map(|(n, v)| (id(n), id(v))).collect();
        let mut value = rng.u64(..1000);
        let mut chunks = Vec::new();
        for first in (start..start + RANGE).step_by((STEP * PER_CHUNK) as usize) {
            let mut chunk = XorEncoder::new();
            for k in 0..PER_CHUNK {
                value += rng.u64(..50);
                chunk.append(first + k * STEP, value as f64)?;
            }
            chunks.push((first, first + (PER_CHUNK - 1) * STEP, chunk.bytes().to_vec()));
        }
        let chunk = |c: &'_ (i64, i64, Vec<u8>)| (c.0, c.1);
        let encoded: Vec<_> = chunks
            .iter()
            .map(|c| {
                let (mint, maxt) = chunk(c);
                EncodedChunk { mint, maxt, encoding: Encoding::Xor, data: &c.2 }
            })
            .collect();
        writer.add_series(&pairs, &encoded)?;
    }
    writer.finish()?;
    Ok(())
}

/// Fills the head with samples that are newer than all blocks.
fn fill(db: &Db, series: usize) -> Result<()> {
    const PER_COMMIT: usize = 1000;
    let first = db.blocks().iter().map(|b| b.max_time).max().unwrap_or(0);
    let mut references = Vec::with_capacity(series);
    let options = AppendOptions::default();
    for scrape in 0..PER_CHUNK {
        for part in 0..series.div_ceil(PER_COMMIT) {
            let mut appender = db.appender();
            for i in part * PER_COMMIT..series.min((part + 1) * PER_COMMIT) {
                let value = Value::Float((scrape * 30 + i as i64 % 17) as f64);
                let t = first + scrape * STEP;
                if let Some(&reference) = references.get(i) {
                    appender.append(SeriesKey::Ref(reference), t, value, &options)?;
                } else {
                    let labels = Labels::from_pairs(labels(i));
                    let key = SeriesKey::Labels(&labels);
                    references.push(appender.append(key, t, value, &options)?);
                }
            }
            appender.commit()?;
        }
    }
    Ok(())
}

/// Anonymous memory of this process, in KiB.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let series = args.next().map_or(Ok(100_000), |n| n.parse())?;
    let dir = args.next().map_or_else(
        || std::env::temp_dir().join(format!("compact-{}", std::process::id())),
        Into::into,
    );
    let head = args.next().map_or(Ok(0), |n| n.parse())?;
    if !dir.exists() {
        let mut rng = fastrand::Rng::with_seed(1);
        let start = 1_700_006_400_000 / (3 * RANGE) * (3 * RANGE);
        for n in 0..3 {
            write(&dir, start + n * RANGE, series, &mut rng)?;
        }
        write(&dir, start + 3 * RANGE, 10, &mut rng)?;
        println!("made {} with {series} series; run again to compact them", dir.display());
        return Ok(());
    }
    let db = Db::builder(&dir).retention(None).lock(false).open()?;
    fill(&db, head)?;
    let (peak, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let before = anonymous();
    let watch = {
        let (peak, done) = (Arc::clone(&peak), Arc::clone(&done));
        std::thread::spawn(move || {
            while !done.load(Ordering::Acquire) {
                peak.fetch_max(anonymous(), Ordering::AcqRel);
                std::thread::sleep(Duration::from_millis(2));
            }
        })
    };
    let began = Instant::now();
    let stats = db.compact(1_700_000_000_000)?;
    let took = began.elapsed();
    done.store(true, Ordering::Release);
    let _ = watch.join();
    let peak = peak.load(Ordering::Acquire);
    println!("made {:?}, deleted {}", stats.blocks_made, stats.blocks_deleted.len());
    for block in db.blocks() {
        let s = &block.stats;
        println!(
            "{} level {}: {} series, {} chunks, {} samples",
            block.ulid, block.compaction.level, s.num_series, s.num_chunks, s.num_samples
        );
    }
    println!("{took:.2?}; anonymous memory {before} KiB before, {peak} KiB at most");
    Ok(())
}
