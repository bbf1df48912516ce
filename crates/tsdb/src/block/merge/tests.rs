//! Merged blocks against a map.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_chunk::{Encoding, Xor2Encoder, XorEncoder};
use firesteel_model::{Histogram, HistogramLayout, Labels, Span, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::{
    block::{
        Compaction, EncodedChunk, Interval, SymbolTable, Tombstones, Ulid, chunks::ChunkWindow,
    },
    fs::{Fs, SimFs, Window},
    head::{HistogramSample, Made, decode_histograms, encode_histograms},
    wal::record::histograms::AnyHistogram,
};

/// What a sample says, as text.
type Dump = BTreeMap<Labels, BTreeMap<Timestamp, String>>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Float,
    /// With start timestamps.
    Started,
    Histogram,
}

/// A series of a block: times of samples and how many make a chunk.
#[derive(Clone, Debug)]
struct Part {
    series: usize,
    kind: Kind,
    times: BTreeSet<i64>,
    per_chunk: usize,
    value: u8,
}

#[derive(Clone, Debug)]
struct Spec {
    parts: Vec<Part>,
    range: (i64, i64),
    deleted: Vec<(usize, i64, i64)>,
}

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let kind =
        prop_oneof![4 => Just(Kind::Float), 1 => Just(Kind::Started), 2 => Just(Kind::Histogram)];
    let times = (0_i64..300, prop::collection::btree_set(0_i64..200, 1..60))
        .prop_map(|(from, set)| set.into_iter().map(|t| t + from).collect());
    let part = (0_usize..6, kind, times, 1_usize..40, any::<u8>()).prop_map(
        |(series, kind, times, per_chunk, value)| Part { series, kind, times, per_chunk, value },
    );
    let deleted = (0_usize..6, 0_i64..500, 0_i64..80).prop_map(|(s, t, n)| (s, t, t + n));
    let spec = (
        prop::collection::vec(part, 1..7),
        prop_oneof![Just((0, 500)), (0_i64..200, 200_i64..500)],
        prop::collection::vec(deleted, 0..4),
    )
        .prop_map(|(mut parts, range, deleted)| {
            parts.sort_by_key(|p| p.series);
            parts.dedup_by_key(|p| p.series);
            Spec { parts, range, deleted }
        });
    prop::collection::vec(spec, 1..5)
}

fn labels(series: usize) -> Labels {
    let (name, number) = (format!("m{}", series % 2), series.to_string());
    Labels::from_pairs([("__name__", name.as_str()), ("number", number.as_str())])
}

fn histogram(t: i64, value: u8) -> HistogramSample {
    let n = u64::from(value) + 1 + t as u64;
    let length = 2 + u32::from(value % 2);
    let mut deltas = vec![0_i64; length as usize];
    deltas[0] = n as i64;
    let h = Histogram {
        layout: HistogramLayout {
            schema: 1,
            zero_threshold: 0.001,
            positive_spans: vec![Span { offset: 0, length }],
            ..HistogramLayout::default()
        },
        count: n * u64::from(length),
        sum: t as f64 * 0.5,
        positive_deltas: deltas,
        ..Histogram::default()
    };
    HistogramSample { t, start: 0, value: AnyHistogram::Int(h).into() }
}

fn print(sample: &HistogramSample) -> String {
    let (kind, h) = match &*sample.value {
        AnyHistogram::Int(h) => ("integers", h.to_float()),
        AnyHistogram::Float(h) => ("floats", h.clone()),
    };
    // A chunk may give a sample empty buckets that its neighbours need.
    let buckets: Vec<_> =
        h.bucket_iter().filter(|b| b.count != 0.0).map(|b| (b.lower, b.upper, b.count)).collect();
    let (schema, zero_threshold) = (h.layout.schema, h.layout.zero_threshold);
    format!("{} {kind} {schema} {zero_threshold} {} {} {buckets:?}", sample.start, h.count, h.sum)
}

fn encode(part: &Part) -> Vec<Made> {
    let times: Vec<i64> = part.times.iter().copied().collect();
    let mut made = Vec::new();
    for times in times.chunks(part.per_chunk) {
        let (mint, maxt) = (times[0], times[times.len() - 1]);
        let v = |t: i64| (t + i64::from(part.value)) as f64;
        match part.kind {
            Kind::Float => {
                let mut chunk = XorEncoder::new();
                times.iter().for_each(|&t| chunk.append(t, v(t)).unwrap());
                let data = chunk.bytes().to_vec();
                made.push(Made { mint, maxt, encoding: Encoding::Xor, data });
            }
            Kind::Started => {
                let mut chunk = Xor2Encoder::new();
                times.iter().for_each(|&t| chunk.append(t, t - 7, v(t)).unwrap());
                let data = chunk.bytes().to_vec();
                made.push(Made { mint, maxt, encoding: Encoding::Xor2, data });
            }
            Kind::Histogram => {
                let all: Vec<_> = times.iter().map(|&t| histogram(t, part.value)).collect();
                assert_eq!(encode_histograms(&all, all.iter().any(|h| h.start != 0), &mut made), 0);
            }
        }
    }
    made
}

const DIR: &str = "/blocks";

fn write(fs: &Arc<dyn Fs>, spec: &Spec, n: usize) -> Arc<Block> {
    let all: Vec<Labels> = spec.parts.iter().map(|p| labels(p.series)).collect();
    let strings: BTreeSet<&str> =
        all.iter().flat_map(Labels::iter).flat_map(|(n, v)| [n, v]).collect();
    let ulid = Ulid::generate(n as i64, &mut fastrand::Rng::with_seed(n as u64));
    let meta = BlockMeta::new(ulid, spec.range.0, spec.range.1, Compaction::first_level(ulid));
    let symbols = SymbolTable::new(strings).unwrap();
    let mut writer = BlockWriter::create(Arc::clone(fs), Path::new(DIR), meta, symbols).unwrap();
    let mut sorted: Vec<_> = spec.parts.iter().zip(&all).collect();
    sorted.sort_by_key(|p| p.1);
    for (part, labels) in sorted {
        let symbols = writer.symbols().unwrap();
        let id = |s| symbols.find(s).unwrap();
        let labels: Vec<_> = labels.iter().map(|(n, v)| (id(n), id(v))).collect();
        let made = encode(part);
        fn chunk(m: &Made) -> EncodedChunk<'_> {
            EncodedChunk { mint: m.mint, maxt: m.maxt, encoding: m.encoding, data: &m.data }
        }
        let chunks: Vec<_> = made.iter().map(chunk).collect();
        writer.add_series(&labels, &chunks).unwrap();
    }
    writer.finish().unwrap();
    let block = Block::open(Arc::clone(fs), &Path::new(DIR).join(ulid.to_string())).unwrap();
    let ids: Vec<_> = series_of(&block).into_iter().map(|(id, labels, _)| (labels, id)).collect();
    let mut stones = Tombstones::default();
    for &(series, mint, maxt) in &spec.deleted {
        if let Some((_, id)) = ids.iter().find(|(l, _)| *l == labels_of(series)) {
            stones.add(u64::from(*id), Interval { mint, maxt });
        }
    }
    block.set_tombstones(stones).unwrap();
    Arc::new(block)
}

fn labels_of(series: usize) -> Labels {
    labels(series)
}

type Chunks = Vec<(i64, i64, Encoding, Vec<u8>)>;

/// All series of a block with their numbers and chunks, as they lie there.
fn series_of(block: &Block) -> Vec<(u32, Labels, Chunks)> {
    let files = block.files().unwrap();
    let mut ids = Vec::new();
    files
        .index
        .postings(&mut Window::default(), files.index.table().all().unwrap(), &mut ids)
        .unwrap();
    let mut out = Vec::new();
    for id in ids {
        let (mut window, mut chunk_window) = (Window::default(), ChunkWindow::default());
        let entry = files.index.series(&mut window, id).unwrap();
        let mut pairs = Vec::new();
        entry.labels(&mut pairs).unwrap();
        let flat: Vec<u32> = pairs.iter().flat_map(|p| [p.0, p.1]).collect();
        let mut texts = Vec::new();
        let symbols = files.index.symbols();
        symbols.resolve(files.index.source(), &flat, &mut |_, t| texts.push(t.to_owned())).unwrap();
        let labels = Labels::from_sorted(texts.chunks(2).map(|p| (&*p[0], &*p[1])));
        let mut chunks = Vec::new();
        for chunk in entry.chunks().unwrap() {
            let chunk = chunk.unwrap();
            let (encoding, data) = files.chunks.read(&mut chunk_window, chunk.reference).unwrap();
            chunks.push((chunk.mint, chunk.maxt, encoding, data.to_vec()));
        }
        out.push((id, labels, chunks));
    }
    out
}

fn dump(block: &Block) -> Dump {
    let mut out = Dump::new();
    for (_, labels, chunks) in series_of(block) {
        let samples = out.entry(labels).or_default();
        for (mint, maxt, encoding, data) in chunks {
            let found: Vec<(i64, String)> = if encoding.is_float() {
                let (mut times, mut starts, mut values) = (vec![], vec![], vec![]);
                if encoding == Encoding::Xor {
                    firesteel_chunk::xor::decode(&data, &mut times, &mut values).unwrap();
                } else {
                    firesteel_chunk::xor2::decode(&data, &mut times, &mut starts, &mut values)
                        .unwrap();
                }
                starts.resize(times.len(), 0);
                times
                    .iter()
                    .zip(starts.iter().zip(&values))
                    .map(|(&t, (s, v))| (t, format!("{s} {v}")))
                    .collect()
            } else {
                let all = decode_histograms(encoding, &data).unwrap();
                all.iter().map(|h| (h.t, print(h))).collect()
            };
            assert_eq!((found[0].0, found[found.len() - 1].0), (mint, maxt));
            for (t, text) in found {
                assert_eq!(samples.insert(t, text), None, "twice at {t}");
            }
        }
    }
    out
}

/// What the merged block must hold.
fn expected(specs: &[Spec]) -> Dump {
    let mut out = Dump::new();
    for spec in specs {
        for part in &spec.parts {
            for &t in &part.times {
                let deleted = |d: &(usize, i64, i64)| d.0 == part.series && d.1 <= t && t <= d.2;
                if t < spec.range.0 || t >= spec.range.1 || spec.deleted.iter().any(deleted) {
                    continue;
                }
                let v = (t + i64::from(part.value)) as f64;
                let text = match part.kind {
                    Kind::Float => format!("0 {v}"),
                    Kind::Started => format!("{} {v}", t - 7),
                    Kind::Histogram => print(&histogram(t, part.value)),
                };
                // The first has it.
                out.entry(labels(part.series)).or_default().entry(t).or_insert(text);
            }
        }
    }
    out
}

fn merged(
    fs: &Arc<dyn Fs>,
    blocks: &[Arc<Block>],
    budget: &Budget,
    stop: bool,
) -> Result<Option<Block>, TsdbError> {
    let metas: Vec<_> = blocks.iter().map(|b| b.meta()).collect();
    let metas: Vec<&BlockMeta> = metas.iter().map(|m| &**m).collect();
    let ulid = Ulid::generate(999, &mut fastrand::Rng::with_seed(999));
    let meta = BlockMeta::new(ulid, 0, 500, Compaction::of_parents(&metas));
    let stop = || stop;
    let target = Target { fs, parent: Path::new(DIR), budget, stop: &stop };
    let made = merge(blocks, meta, &target)?;
    Ok(made.map(|meta| {
        let block = Block::open(Arc::clone(fs), &Path::new(DIR).join(ulid.to_string())).unwrap();
        assert_eq!(*block.meta(), meta);
        block
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::testing::cases(150), ..ProptestConfig::default() })]
    #[test]
    fn holds_what_its_parts_held(specs in specs()) {
        let fs: Arc<dyn Fs> = Arc::new(SimFs::new());
        let blocks: Vec<_> = specs.iter().enumerate().map(|(n, s)| write(&fs, s, n)).collect();
        let result = merged(&fs, &blocks, &Budget::unlimited(), false).unwrap();
        let expected = expected(&specs);
        prop_assert_eq!(result.is_none(), expected.is_empty());
        if let Some(block) = result {
            let found = dump(&block);
            let samples: usize = found.values().map(BTreeMap::len).sum();
            prop_assert_eq!(block.meta().stats.num_samples, samples as u64);
            prop_assert_eq!(found, expected);
        }
    }
}

fn part(series: usize, times: std::ops::Range<i64>) -> Part {
    Part { series, kind: Kind::Float, times: times.collect(), per_chunk: 30, value: 1 }
}

#[test]
fn chunks_that_nothing_touches_are_copied() {
    let fs: Arc<dyn Fs> = Arc::new(SimFs::new());
    let specs = [
        Spec { parts: vec![part(1, 0..200), part(2, 0..90)], range: (0, 200), deleted: vec![] },
        Spec {
            parts: vec![part(0, 200..300), part(1, 200..400), part(2, 30..60)],
            range: (0, 400),
            deleted: vec![(1, 250, 250)],
        },
    ];
    let blocks: Vec<_> = specs.iter().enumerate().map(|(n, s)| write(&fs, s, n)).collect();
    let block = merged(&fs, &blocks, &Budget::unlimited(), false).unwrap().unwrap();
    let before: Vec<_> = blocks.iter().flat_map(|b| series_of(b)).collect();
    let mut anew = Vec::new();
    for (_, labels, chunks) in series_of(&block) {
        let known: Vec<_> =
            before.iter().filter(|b| b.1 == labels).flat_map(|b| b.2.clone()).collect();
        anew.extend(chunks.into_iter().filter(|c| !known.contains(c)).map(|c| (c.0, c.1)));
    }
    // The one with the deleted sample; the chunk that both blocks have is there once.
    assert_eq!(anew, [(230, 259)]);
    assert_eq!(dump(&block), expected(&specs));
    assert_eq!(block.meta().compaction.level, 2);
}

#[test]
fn gives_up_without_a_trace() {
    let fs: Arc<dyn Fs> = Arc::new(SimFs::new());
    let spec = Spec { parts: vec![part(1, 0..200)], range: (0, 200), deleted: vec![] };
    let blocks = [write(&fs, &spec, 1)];
    let before = fs.read_dir(Path::new(DIR)).unwrap();
    let stopped = merged(&fs, &blocks, &Budget::unlimited(), true);
    assert!(matches!(stopped, Err(TsdbError::Canceled)), "{stopped:?}");
    let small = Budget::root("test", 1000);
    let refused = merged(&fs, &blocks, &small, false);
    assert!(matches!(refused, Err(TsdbError::Limit(_))), "{refused:?}");
    assert_eq!(small.used(), 0);
    assert_eq!(fs.read_dir(Path::new(DIR)).unwrap(), before);
}
