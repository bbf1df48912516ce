//! The real Prometheus reads what we write, and we what it writes.

use std::{path::Path, process::Command, sync::Arc};

use firesteel_model::{
    Labels,
    storage::{BatchValues, QueryContext, Queryable, SampleBatch, SelectHints},
};

use super::{ALL, Series, labels_of, open, read, some_series, write};
use crate::{
    block::{Block, Ulid},
    fs::{Fs, OsFs},
    testing::{conformance, peer},
};

/// Runs promtool on a data directory with a single block.
fn promtool(command: &[&str], db: &Path) -> Option<String> {
    let out = Command::new(peer("promtool")?).arg("tsdb").args(command).arg(db).output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && errors.is_empty(), "{command:?}: {errors}");
    Some(String::from_utf8(out.stdout).unwrap())
}

/// As `promtool tsdb dump` prints float samples.
fn dump(series: &Series) -> String {
    let mut out = String::new();
    for (labels, samples) in series {
        for (t, v) in samples {
            out += &format!("{labels} {v} {t}\n");
        }
    }
    out
}

#[test]
fn prometheus_reads_our_block() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("wal")).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(OsFs::new());
    let series = some_series();
    let meta = write(&fs, dir.path(), &series, 30).unwrap().unwrap();
    let Some(found) = promtool(&["dump"], dir.path()) else { return };
    assert_eq!(found, dump(&series));
    let list = promtool(&["list"], dir.path()).unwrap();
    assert!(list.contains(&meta.ulid.to_string()), "{list}");
    let analysis = promtool(&["analyze"], dir.path()).unwrap();
    assert!(analysis.contains("Total Series: 40"), "{analysis}");
    // Mapped files read the same.
    let mapped: Arc<dyn Fs> = Arc::new(OsFs::mapped());
    assert_eq!(read(&open(&mapped, dir.path(), &meta), ALL, &[]).unwrap(), series);
}

/// The only block in a data directory of the conformance data.
fn conformance_block(db: &Path) -> Block {
    let fs: Arc<dyn Fs> = Arc::new(OsFs::new());
    let entries = fs.read_dir(db).unwrap();
    let ulid = entries.iter().find(|e| e.name.parse::<Ulid>().is_ok()).unwrap();
    Block::open(fs, &db.join(&ulid.name)).unwrap()
}

/// As `promtool tsdb dump` prints the samples of a batch.
fn dump_batch(labels: &Labels, batch: &SampleBatch, out: &mut String) {
    for (i, t) in batch.timestamps.iter().enumerate() {
        match &batch.values {
            BatchValues::Floats(values) => {
                let v = firesteel_model::float::format_f(values[i]);
                *out += &format!("{labels} {v} {t}\n");
            }
            // Enough to tell histograms apart.
            BatchValues::Histograms(h) => {
                let row = h.row(i).unwrap();
                let all = row.positive_buckets.iter().chain(&row.negative_buckets).sum::<f64>();
                assert_eq!(all + row.zero_count, row.count, "{labels} {t}");
                let (count, sum) = (row.count, firesteel_model::float::format_f(row.sum));
                *out += &format!("{labels} {{count:{count}, sum:{sum}, ...}} {t}\n");
            }
        }
    }
}

fn dump_block(block: &Block) -> String {
    let ctx = QueryContext::background();
    let hints = SelectHints::range(ALL.0, ALL.1);
    let selection = block.querier(ALL.0, ALL.1).unwrap().select(&ctx, &[], &hints).unwrap();
    let mut out = String::new();
    for set in selection.sets {
        let mut reader = set.reader(&ctx);
        let mut batch = SampleBatch::default();
        for index in 0..set.len() {
            let labels = labels_of(&*set, index).unwrap();
            reader.open(index).unwrap();
            while reader.next(&mut batch).unwrap() {
                dump_batch(&labels, &batch, &mut out);
            }
        }
    }
    out
}

/// The blocks that Prometheus 3.14 wrote: as check_dir.py counts them, and sample by sample as
/// promtool dumps them.
#[test]
fn reads_prometheus_blocks() {
    for (name, oracle) in [("tsdb/db_xor", true), ("tsdb/db_xor2st", false)] {
        let Some(db) = conformance(name) else { continue };
        let block = conformance_block(&db);
        let stats = &block.meta().stats;
        assert_eq!((stats.num_samples, stats.num_series, stats.num_chunks), (9600, 20, 80));
        assert_eq!(block.tombstones().len(), 1);
        let ours = dump_block(&block);
        if !oracle {
            // Prometheus 3.5 does not know XOR2; the same samples are in the other block.
            let Some(other) = conformance("tsdb/db_xor") else { continue };
            assert!(ours == dump_block(&conformance_block(&other)), "XOR2 differs from XOR");
            continue;
        }
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("wal")).unwrap();
        copy_dir(block.dir(), &copy.path().join(block.meta().ulid.to_string()));
        let Some(theirs) = promtool(&["dump"], copy.path()) else { continue };
        // promtool looks for floats and then for float histograms first, and loses a sample each
        // time where a series has integer histograms.
        let histograms = ours.lines().filter(|l| l.contains("{count:")).count();
        assert_eq!(histograms, 480);
        let mut lost = 2;
        let ours: Vec<&str> = ours
            .lines()
            .filter(|l| {
                let skip = lost > 0 && l.contains("{count:");
                lost -= usize::from(skip);
                !skip
            })
            .collect();
        assert_eq!(ours.len(), theirs.lines().count());
        for (ours, theirs) in ours.into_iter().zip(theirs.lines()) {
            let (head, tail) = ours.split_once("...").unwrap_or((ours, ""));
            let same = theirs.starts_with(head) && theirs.ends_with(tail);
            assert!(same, "ours {ours}\ntheirs {theirs}");
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            std::fs::write(to, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
