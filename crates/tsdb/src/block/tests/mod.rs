//! Blocks written and read back.

mod faults;
mod old;
mod prometheus;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use firesteel_chunk::{Encoding, XorEncoder};
use firesteel_model::{
    Labels, MatchOp, Matcher,
    budget::Budget,
    storage::{
        BatchValues, LabelHints, QueryContext, Queryable, SampleBatch, SelectHints, SeriesSet,
        Shard, StorageError,
    },
};
use proptest::prelude::*;

use super::*;
use crate::{
    TsdbError,
    fs::{Fs, SimFs},
    testing::{any_labels, any_matchers, satisfies},
};

type Series = BTreeMap<Labels, Vec<(i64, f64)>>;

/// Writes series into a block, some samples per chunk.
fn write(
    fs: &Arc<dyn Fs>,
    parent: &Path,
    series: &Series,
    per_chunk: usize,
) -> Result<Option<BlockMeta>, TsdbError> {
    let times = || series.values().flatten().map(|s| s.0);
    let (mint, maxt) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let ulid = Ulid::generate(maxt, &mut fastrand::Rng::with_seed(7));
    let meta = BlockMeta::new(ulid, mint, maxt + 1, Compaction::first_level(ulid));
    let strings: BTreeSet<&str> =
        series.keys().flat_map(Labels::iter).flat_map(|(n, v)| [n, v]).collect();
    let symbols = SymbolTable::new(strings).unwrap();
    let mut writer = BlockWriter::create(Arc::clone(fs), parent, meta, symbols)?;
    writer.set_segment_size(300);
    for (labels, samples) in series {
        let symbols = writer.symbols().unwrap();
        let id = |s| symbols.find(s).unwrap();
        let labels: Vec<_> = labels.iter().map(|(n, v)| (id(n), id(v))).collect();
        let chunks: Vec<_> = samples
            .chunks(per_chunk)
            .map(|samples| {
                let mut chunk = XorEncoder::new();
                for &(t, v) in samples {
                    chunk.append(t, v).unwrap();
                }
                (samples[0].0, samples[samples.len() - 1].0, chunk.bytes().to_vec())
            })
            .collect();
        let chunks: Vec<_> = chunks
            .iter()
            .map(|(mint, maxt, data)| EncodedChunk {
                mint: *mint,
                maxt: *maxt,
                encoding: Encoding::Xor,
                data,
            })
            .collect();
        writer.add_series(&labels, &chunks)?;
    }
    writer.finish()
}

fn labels_of(set: &dyn SeriesSet, index: usize) -> Result<Labels, StorageError> {
    let mut pairs = Vec::new();
    set.labels(index, &mut pairs)?;
    let ids: Vec<u32> = pairs.iter().flat_map(|p| [p.0, p.1]).collect();
    let mut texts = Vec::new();
    set.dictionary().resolve(&ids, &mut |_, text| texts.push(text.to_owned()))?;
    Ok(Labels::from_sorted(texts.chunks(2).map(|p| (&*p[0], &*p[1]))))
}

/// What a query finds.
fn read(
    source: &dyn Queryable,
    (mint, maxt): (i64, i64),
    matchers: &[Matcher],
) -> Result<Series, StorageError> {
    let ctx = QueryContext::background();
    let hints = SelectHints::range(mint, maxt);
    let mut out = Series::new();
    for set in source.querier(mint, maxt)?.select(&ctx, matchers, &hints)?.sets {
        let mut reader = set.reader(&ctx);
        let mut batch = SampleBatch::default();
        for index in 0..set.len() {
            let labels = labels_of(&*set, index)?;
            reader.open(index)?;
            let mut samples = Vec::new();
            while reader.next(&mut batch)? {
                if let BatchValues::Floats(values) = &batch.values {
                    samples.extend(batch.timestamps.iter().copied().zip(values.iter().copied()));
                }
            }
            assert!(out.insert(labels, samples).is_none(), "a series came twice");
        }
    }
    Ok(out)
}

const ALL: (i64, i64) = (i64::MIN, i64::MAX);

/// 40 series, 100 samples each.
fn some_series() -> Series {
    let series = |i: i64| {
        let name = format!("metric_{}", i % 4);
        let instance = format!("host-{}", i % 10);
        let number = i.to_string();
        let labels = [("__name__", &*name), ("instance", &*instance), ("number", &*number)];
        let samples = (0..100).map(|k| (k * 1000 + i % 3, (k * i) as f64)).collect();
        // Every fifth series has no instance.
        let labels = labels.into_iter().filter(|l| l.0 != "instance" || i % 5 != 0);
        (Labels::from_pairs(labels), samples)
    };
    (0..40).map(series).collect()
}

fn sim() -> (SimFs, Arc<dyn Fs>) {
    let sim = SimFs::new();
    (sim.clone(), Arc::new(sim))
}

fn open(fs: &Arc<dyn Fs>, parent: &Path, meta: &BlockMeta) -> Block {
    Block::open(Arc::clone(fs), &parent.join(meta.ulid.to_string())).unwrap()
}

#[test]
fn reads_back_what_was_written() {
    let (_, fs) = sim();
    let series = some_series();
    let meta = write(&fs, Path::new("/"), &series, 30).unwrap().unwrap();
    let stats = (meta.stats.num_series, meta.stats.num_chunks, meta.stats.num_samples);
    assert_eq!(stats, (40, 160, 4000));
    let block = open(&fs, Path::new("/"), &meta);
    assert_eq!(*block.meta(), meta);
    assert_eq!(read(&block, ALL, &[]).unwrap(), series);
    let chunks = fs.read_dir(&block.dir().join("chunks")).unwrap();
    assert!(chunks.len() > 10, "{chunks:?}");
    let files: u64 = chunks
        .iter()
        .map(|e| fs.metadata(&block.dir().join("chunks").join(&e.name)).unwrap().len)
        .sum();
    let index = fs.metadata(&block.dir().join("index")).unwrap().len;
    let small = ["meta.json", "tombstones"].iter();
    let small: u64 = small.map(|n| fs.metadata(&block.dir().join(n)).unwrap().len).sum();
    assert_eq!(block.size().unwrap(), files + index + small);
}

#[test]
fn an_empty_block_is_none() {
    let (_, fs) = sim();
    assert_eq!(write(&fs, Path::new("/"), &Series::new(), 30).unwrap(), None);
    assert_eq!(fs.read_dir(Path::new("/")).unwrap(), []);
}

#[test]
fn clips_to_the_range_and_to_the_block() {
    let (_, fs) = sim();
    let series = some_series();
    let meta = write(&fs, Path::new("/"), &series, 30).unwrap().unwrap();
    let block = open(&fs, Path::new("/"), &meta);
    let (mint, maxt) = (29_001, 60_000);
    let mut expected = series;
    for samples in expected.values_mut() {
        samples.retain(|s| (mint..=maxt).contains(&s.0));
    }
    assert_eq!(read(&block, (mint, maxt), &[]).unwrap(), expected);
    assert_eq!(read(&block, (200_000, 300_000), &[]).unwrap(), Series::new());
    assert!(block.overlaps(0, 0) && !block.overlaps(-5, -1));
    assert!(block.overlaps(99_002, 99_002) && !block.overlaps(99_003, 100_000));

    // A range that the block was cut down to.
    let mut meta = meta;
    (meta.min_time, meta.max_time) = (10_000, 20_000);
    meta.write(&*fs, block.dir()).unwrap();
    let block = Block::open(fs, block.dir()).unwrap();
    let times = |s: Series| s.into_values().flatten().map(|s| s.0).collect::<BTreeSet<_>>();
    let found = times(read(&block, ALL, &[]).unwrap());
    assert_eq!((found.first(), found.last()), (Some(&10_000), Some(&19_002)));
}

#[test]
fn deleted_samples_stay_away() {
    let (_, fs) = sim();
    let mut series = some_series();
    let meta = write(&fs, Path::new("/"), &series, 30).unwrap().unwrap();
    let block = open(&fs, Path::new("/"), &meta);
    let all = read(&block, ALL, &[]).unwrap();
    assert_eq!(all, series);
    let files = block.files().unwrap();
    let mut ids = Vec::new();
    let at = files.index.table().all().unwrap();
    files.index.postings(&mut crate::fs::Window::default(), at, &mut ids).unwrap();
    let mut stones = Tombstones::default();
    // A part of the first series, a whole chunk of the second, all of the third.
    stones.add(ids[0].into(), Interval { mint: 5_000, maxt: 50_000 });
    stones.add(ids[1].into(), Interval { mint: 0, maxt: 29_999 });
    stones.add(ids[2].into(), Interval { mint: 0, maxt: 1_000_000 });
    block.set_tombstones(stones.clone()).unwrap();
    let mut keys: Vec<Labels> = series.keys().cloned().collect();
    keys.truncate(3);
    series.get_mut(&keys[0]).unwrap().retain(|s| !(5_000..=50_000).contains(&s.0));
    series.get_mut(&keys[1]).unwrap().retain(|s| s.0 > 29_999);
    series.remove(&keys[2]);
    assert_eq!(read(&block, ALL, &[]).unwrap(), series);
    let again = Block::open(fs, block.dir()).unwrap();
    assert_eq!(*again.tombstones(), stones);
    assert_eq!(read(&again, ALL, &[]).unwrap(), series);
}

fn matchers() -> Vec<Vec<Matcher>> {
    let m = |op, name, value| Matcher::new(op, name, value).unwrap();
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    vec![
        vec![m(Equal, "__name__", "metric_1")],
        vec![m(Equal, "__name__", "none")],
        vec![m(Equal, "none", "x")],
        vec![m(Equal, "none", "")],
        vec![m(Equal, "instance", "")],
        vec![m(NotEqual, "instance", "")],
        vec![m(NotEqual, "instance", "host-3")],
        vec![m(Regex, "instance", "host-[1-3]")],
        vec![m(NotRegex, "instance", "host-[1-3]")],
        vec![m(Regex, "instance", "host-1|host-9|other")],
        vec![m(Regex, "instance", ".*")],
        vec![m(Regex, "instance", ".+")],
        vec![m(NotRegex, "instance", ".*")],
        vec![m(NotRegex, "instance", ".+")],
        vec![m(Regex, "instance", "|host-2")],
        vec![m(NotRegex, "instance", "|host-2")],
        vec![m(Equal, "__name__", "metric_2"), m(NotEqual, "instance", "host-2")],
        vec![m(Regex, "__name__", "metric_.*"), m(Regex, "number", "[0-9]"), m(Equal, "none", "")],
        vec![
            m(Regex, "number", "1.*"),
            m(NotRegex, "number", ".*1"),
            m(Regex, "instance", "host.*"),
        ],
    ]
}

#[test]
fn matchers_pick_what_they_say() {
    let (_, fs) = sim();
    let series = some_series();
    let meta = write(&fs, Path::new("/"), &series, 200).unwrap().unwrap();
    let block = open(&fs, Path::new("/"), &meta);
    for matchers in matchers() {
        let expected: Vec<_> = series.keys().filter(|l| satisfies(l, &matchers)).collect();
        let found = read(&block, ALL, &matchers).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), expected, "{matchers:?}");

        check_labels(&block, &found, &matchers);
    }
}

/// Names and values of labels, with and without a limit, are those of the series that were found.
fn check_labels(block: &Block, found: &Series, matchers: &[Matcher]) {
    let ctx = QueryContext::background();
    let querier = block.querier(ALL.0, ALL.1).unwrap();
    let cut = |all: &BTreeSet<&str>, limit: usize| {
        let n = if limit == 0 { all.len() } else { limit };
        all.iter().take(n).map(|s| (*s).to_owned()).collect::<Vec<_>>()
    };
    for limit in [0, 1, 2] {
        let hints = LabelHints { limit };
        let names: BTreeSet<_> = found.keys().flat_map(|l| l.iter()).map(|l| l.0).collect();
        let result = querier.label_names(&ctx, matchers, &hints).unwrap();
        assert_eq!(result.values, cut(&names, limit), "names of {matchers:?}");
        assert_eq!(result.truncated, limit > 0 && names.len() > limit);
        for name in ["a", "b", "instance", "number", "nope"] {
            let values: BTreeSet<_> = found.keys().filter_map(|l| l.get(name)).collect();
            let result = querier.label_values(&ctx, name, matchers, &hints).unwrap();
            assert_eq!(result.values, cut(&values, limit), "{name} of {matchers:?}");
            assert_eq!(result.truncated, limit > 0 && values.len() > limit);
        }
    }
}

#[test]
fn shards_share_the_series_and_limits_cut_them() {
    let (_, fs) = sim();
    let series = some_series();
    let meta = write(&fs, Path::new("/"), &series, 200).unwrap().unwrap();
    let block = open(&fs, Path::new("/"), &meta);
    let (ctx, querier) = (QueryContext::background(), block.querier(ALL.0, ALL.1).unwrap());
    let select = |shard, limit| {
        let hints = SelectHints { shard, limit, ..SelectHints::range(ALL.0, ALL.1) };
        let sets = querier.select(&ctx, &[], &hints).unwrap().sets;
        let all = |set: &Arc<dyn SeriesSet>| {
            (0..set.len()).map(|i| labels_of(&**set, i).unwrap()).collect::<Vec<_>>()
        };
        sets.iter().flat_map(all).collect::<Vec<_>>()
    };
    let mut found = BTreeSet::new();
    for index in 0..3 {
        for labels in select(Some(Shard { index, count: 3 }), 0) {
            assert_eq!(labels.prom_hash() % 3, index);
            assert!(found.insert(labels));
        }
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), series.keys().cloned().collect::<Vec<_>>());
    assert_eq!(select(None, 7).len(), 7);
}

#[test]
fn searches_stay_within_the_budget() {
    let (_, fs) = sim();
    let meta = write(&fs, Path::new("/"), &some_series(), 200).unwrap().unwrap();
    let block = open(&fs, Path::new("/"), &meta);
    let mut ctx = QueryContext::background();
    ctx.budget = Budget::root("query", 1000);
    let querier = block.querier(ALL.0, ALL.1).unwrap();
    let hints = SelectHints::range(ALL.0, ALL.1);
    assert!(matches!(querier.select(&ctx, &[], &hints), Err(StorageError::Budget(_))));
    let app = [Matcher::equal("__name__", "metric_1")];
    let values = querier.label_values(&ctx, "number", &app, &LabelHints::default());
    assert!(matches!(values, Err(StorageError::Budget(_))));
    assert_eq!(ctx.budget.used(), 0);
}

#[test]
fn label_names_and_values_of_all() {
    let (_, fs) = sim();
    let meta = write(&fs, Path::new("/"), &some_series(), 200).unwrap().unwrap();
    let querier = open(&fs, Path::new("/"), &meta).querier(ALL.0, ALL.1).unwrap();
    let ctx = QueryContext::background();
    let hints = LabelHints::default();
    let names = querier.label_names(&ctx, &[], &hints).unwrap();
    assert_eq!(names.values, ["__name__", "instance", "number"]);
    let values = querier.label_values(&ctx, "number", &[], &hints).unwrap();
    let numbers: BTreeSet<_> = (0..40).map(|n: i32| n.to_string()).collect();
    assert_eq!(values.values, numbers.into_iter().collect::<Vec<_>>());
    assert_eq!(querier.label_values(&ctx, "none", &[], &hints).unwrap().values, [""; 0]);
    let few = querier.label_values(&ctx, "number", &[], &LabelHints { limit: 3 }).unwrap();
    assert!(few.truncated && few.values == ["0", "1", "10"]);
}

#[test]
fn order_is_kept() {
    let (_, fs) = sim();
    let ulid = Ulid::default();
    let meta = BlockMeta::new(ulid, 0, 10, Compaction::first_level(ulid));
    let symbols = SymbolTable::new(["a", "b", "c"]).unwrap();
    assert!(SymbolTable::new(["b", "a"]).is_err() && SymbolTable::new(["a", "a"]).is_err());
    let mut writer = BlockWriter::create(Arc::clone(&fs), Path::new("/"), meta, symbols).unwrap();
    let mut xor = XorEncoder::new();
    xor.append(1, 1.0).unwrap();
    let chunk =
        |mint, maxt| EncodedChunk { mint, maxt, encoding: Encoding::Xor, data: xor.bytes() };
    writer.add_series(&[(0, 1), (1, 0)], &[chunk(1, 1)]).unwrap();
    for (labels, chunks, what) in [
        (&[(0, 1), (1, 0)][..], vec![chunk(1, 1)], "the same series"),
        (&[(0, 1)][..], vec![chunk(1, 1)], "a series before it"),
        (&[(1, 0), (0, 0)][..], vec![chunk(1, 1)], "unsorted labels"),
        (&[(0, 9)][..], vec![chunk(1, 1)], "an unknown symbol"),
        (&[(0, 2)][..], vec![chunk(1, 3), chunk(3, 4)], "chunks that touch"),
        (&[(0, 2)][..], vec![chunk(3, 1)], "a chunk that ends before it begins"),
    ] {
        let error = writer.add_series(labels, &chunks);
        assert!(matches!(error, Err(TsdbError::Invalid(_))), "{what}: {error:?}");
    }
    writer.add_series(&[(0, 2)], &[chunk(1, 1), chunk(2, 2)]).unwrap();
    let meta = writer.finish().unwrap().unwrap();
    assert_eq!(read(&open(&fs, Path::new("/"), &meta), ALL, &[]).unwrap().len(), 2);
}

fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    prop::collection::vec((1_i64..50_000, -3_i32..3), 1..60).prop_map(|steps| {
        let mut t = -100_000;
        let step = |(d, v)| {
            t += d;
            (t, f64::from(v))
        };
        steps.into_iter().map(step).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::testing::cases(64)))]
    #[test]
    fn any_block_reads_back(
        series in prop::collection::btree_map(any_labels(), samples(), 1..40),
        per_chunk in 1_usize..40, mint in -150_000_i64..500_000, len in 0_i64..500_000,
        matchers in any_matchers(),
    ) {
        let (_, fs) = sim();
        let meta = write(&fs, Path::new("/"), &series, per_chunk).unwrap().unwrap();
        let block = open(&fs, Path::new("/"), &meta);
        prop_assert_eq!(&read(&block, ALL, &[]).unwrap(), &series);
        let mut expected = series.clone();
        expected.retain(|labels, _| satisfies(labels, &matchers));
        prop_assert_eq!(&read(&block, ALL, &matchers).unwrap(), &expected);
        check_labels(&block, &expected, &matchers);
        let mut expected = series;
        let maxt = mint + len;
        for samples in expected.values_mut() {
            samples.retain(|s| (mint..=maxt).contains(&s.0));
        }
        let mut found = read(&block, (mint, maxt), &[]).unwrap();
        // A series with a chunk around the range but no sample in it may come.
        found.retain(|_, s| !s.is_empty());
        expected.retain(|_, s| !s.is_empty());
        prop_assert_eq!(found, expected);
    }
}
