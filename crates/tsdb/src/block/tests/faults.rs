//! Blocks on a disk that fails, loses power, or damages what it holds.

use std::{io, path::Path, sync::Arc};

use firesteel_model::storage::{LabelHints, QueryContext, Queryable, SelectHints, StorageError};

use super::{ALL, Series, old::write_version_1, open, read, sim, some_series, write};
use crate::{
    block::{Block, BlockMeta, TMP_CREATION_SUFFIX, Ulid},
    fs::{Crash, Fault, Fs, Open},
};

#[test]
fn a_failing_disk_leaves_no_block() {
    let series: Series = some_series().into_iter().take(5).collect();
    let (sim, fs) = sim();
    write(&fs, Path::new("/"), &series, 30).unwrap();
    let calls = sim.calls();
    for error in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        for after in 0..calls {
            let (sim, fs) = super::sim();
            sim.fail(Fault { kind: None, after, times: 1, error });
            let written = write(&fs, Path::new("/"), &series, 30);
            sim.heal();
            if let Ok(meta) = &written {
                let block = open(&fs, Path::new("/"), meta.as_ref().unwrap());
                assert_eq!(read(&block, ALL, &[]).unwrap(), series, "call {after}");
            }
            for entry in fs.read_dir(Path::new("/")).unwrap() {
                // A failing sync of the parent comes after the rename, a failing removal after all.
                let whole = BlockMeta::read(&*fs, &Path::new("/").join(&entry.name)).is_ok();
                let temporary = entry.name.ends_with(TMP_CREATION_SUFFIX);
                assert!(whole || temporary, "call {after}: {}", entry.name);
            }
        }
    }
}

#[test]
fn a_power_cut_leaves_a_whole_block_or_none() {
    let series: Series = some_series().into_iter().take(5).collect();
    let (sim, fs) = sim();
    write(&fs, Path::new("/"), &series, 30).unwrap();
    let calls = sim.calls();
    for after in 0..=calls {
        for mode in [Crash::DropUnsynced, Crash::Random { seed: after }, Crash::KeepAll] {
            let (sim, fs) = super::sim();
            let other = io::ErrorKind::Other;
            sim.fail(Fault { kind: None, after, times: u64::MAX, error: other });
            let written = write(&fs, Path::new("/"), &series, 30);
            sim.crash(mode);
            let entries = fs.read_dir(Path::new("/")).unwrap();
            let block = entries.iter().find(|e| e.name.parse::<Ulid>().is_ok());
            if let Some(block) = block {
                let block = Block::open(fs, &Path::new("/").join(&block.name)).unwrap();
                assert_eq!(read(&block, ALL, &[]).unwrap(), series, "call {after}, {mode:?}");
            } else {
                assert!(written.is_err(), "call {after}, {mode:?}");
            }
        }
    }
}

#[test]
fn damage_is_reported_never_a_panic() {
    let series: Series = some_series().into_iter().take(6).collect();
    let (_, fs) = sim();
    let meta = write(&fs, Path::new("/"), &series, 50).unwrap().unwrap();
    damage(&fs, &Path::new("/").join(meta.ulid.to_string()), &series);
    let (_, fs) = sim();
    let old = write_version_1(&fs, &series, 50);
    damage(&fs, old.dir(), &series);
}

/// What is searched in damaged blocks, too.
fn search(block: &Block) -> Result<(), StorageError> {
    let ctx = QueryContext::background();
    let querier = block.querier(ALL.0, ALL.1)?;
    for matchers in super::matchers() {
        let _ = querier.select(&ctx, &matchers, &SelectHints::range(ALL.0, ALL.1));
        let _ = querier.label_names(&ctx, &matchers, &LabelHints::default());
        let _ = querier.label_values(&ctx, "number", &matchers, &LabelHints { limit: 2 });
    }
    Ok(())
}

fn damage(fs: &Arc<dyn Fs>, dir: &Path, series: &Series) {
    let mut rng = fastrand::Rng::with_seed(5);
    for file in ["index", "chunks/000001", "tombstones", "meta.json"] {
        let path = dir.join(file);
        let good = fs.read_all(&path).unwrap().to_vec();
        for _ in 0..400 {
            let mut bad = good.clone();
            if rng.bool() {
                bad.truncate(rng.usize(..bad.len()));
            } else {
                let at = rng.usize(..bad.len());
                bad[at] ^= 1 << rng.u8(..8);
            }
            fs.open(&path, Open::Truncate).unwrap().append(&bad).unwrap();
            let found = Block::open(Arc::clone(fs), dir).map_err(StorageError::from);
            let found = found.and_then(|block| {
                search(&block)?;
                read(&block, ALL, &[])
            });
            if file != "meta.json"
                && let Ok(found) = found
            {
                assert_eq!(&found, series, "damage in {file} went unnoticed");
            }
        }
        fs.open(&path, Open::Truncate).unwrap().append(&good).unwrap();
    }
}
