use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{ChunkError, Encoding};

/// Histograms that were sent to Prometheus 3.5 by remote write, series by series, and the chunks
/// that it then had in its head:
/// ```text
/// series <name, ends in int or float and a number>
/// sample <t> <hint> <schema> <zero threshold> <zero count> <count> <bits of sum>
///        <positive spans> <buckets> <negative spans> <buckets> <custom bounds>
/// chunk <encoding> <bytes>
/// ```
const GOLDEN: &str = include_str!("../../testdata/histograms.txt");

struct Owned {
    t: i64,
    hint: CounterReset,
    layout: Layout,
    sum: f64,
    count: u64,
    zero_count: u64,
    positive: Vec<u64>,
    negative: Vec<u64>,
}

fn list<T>(text: &str, f: impl Fn(&str) -> T) -> Vec<T> {
    if text == "-" { Vec::new() } else { text.split(',').map(f).collect() }
}

fn spans(text: &str) -> Vec<Span> {
    list(text, |s| {
        let (offset, length) = s.split_once(':').unwrap();
        Span { offset: offset.parse().unwrap(), length: length.parse().unwrap() }
    })
}

fn parse(line: &str) -> Owned {
    let f: Vec<&str> = line.split(' ').collect();
    let number = |s: &str| s.parse::<u64>().unwrap();
    Owned {
        t: f[1].parse().unwrap(),
        // Numbered as Prometheus' hints.
        hint: [CounterReset::Unknown, CounterReset::Reset, CounterReset::NotReset]
            .get(f[2].parse::<usize>().unwrap())
            .copied()
            .unwrap_or(CounterReset::Gauge),
        layout: Layout {
            schema: f[3].parse().unwrap(),
            zero_threshold: f[4].parse().unwrap(),
            positive_spans: spans(f[8]),
            negative_spans: spans(f[10]),
            custom_values: list(f[12], |s| s.parse().unwrap()),
        },
        zero_count: number(f[5]),
        count: number(f[6]),
        sum: f64::from_bits(u64::from_str_radix(f[7], 16).unwrap()),
        positive: list(f[9], number),
        negative: list(f[11], number),
    }
}

impl Owned {
    /// Calls `f` with the sample, its counts integer or float.
    fn with<R>(&self, float: bool, start: i64, f: impl FnOnce(&Sample<'_>) -> R) -> R {
        let deltas = |counts: &[u64]| {
            let mut before = 0;
            let delta = |&c: &u64| c as i64 - std::mem::replace(&mut before, c as i64);
            counts.iter().map(delta).collect::<Vec<_>>()
        };
        let floats = |counts: &[u64]| counts.iter().map(|&c| c as f64).collect::<Vec<_>>();
        let (p, n) = (deltas(&self.positive), deltas(&self.negative));
        let (fp, fn_) = (floats(&self.positive), floats(&self.negative));
        let counts = if float {
            SampleCounts::Float {
                count: self.count as f64,
                zero_count: self.zero_count as f64,
                positive: &fp,
                negative: &fn_,
            }
        } else {
            SampleCounts::Integer {
                count: self.count,
                zero_count: self.zero_count,
                positive: &p,
                negative: &n,
            }
        };
        let Self { t, hint, ref layout, sum, .. } = *self;
        f(&Sample { t, start, hint, layout, sum, counts })
    }
}

/// When Prometheus' head takes a chunk for full (`histogramsAppendPreprocessor`): at the end of its
/// two hours, or so that chunks of about 1024 bytes and ten samples at least fill them evenly.
struct Full {
    first: i64,
    next_at: i64,
    predicted: bool,
}

impl Full {
    const RANGE: i64 = 7_200_000;

    fn of(first: i64) -> Self {
        Self { first, next_at: (first / Self::RANGE + 1) * Self::RANGE, predicted: false }
    }

    fn is_full(&mut self, chunk: &HistogramAppender, t: i64) -> bool {
        let (bytes, last) = (chunk.bytes().len(), chunk.time_range().1);
        let range_end = (self.first / Self::RANGE + 1) * Self::RANGE;
        if !self.predicted && bytes >= 256 {
            let fill = (last - self.first + 1) as f64 * (1024.0 / bytes as f64);
            let chunks = (range_end - self.first) as f64 / fill;
            if chunks > 1.0 {
                let each = (range_end - self.first) as f64 / chunks.floor();
                self.next_at = (self.first as f64 + each) as i64;
            }
            self.predicted = true;
        }
        (t >= self.next_at || bytes >= 2048) && (chunk.num_samples() >= 10 || t >= range_end)
    }
}

/// Appends as Prometheus' head does.
fn chunks(encoding: Encoding, float: bool, samples: &[Owned]) -> Vec<HistogramAppender> {
    let mut done: Vec<HistogramAppender> = Vec::new();
    let mut full = Full::of(0);
    for (i, sample) in samples.iter().enumerate() {
        let start = 1_699_999_000_000 + (i as i64 / 5) * 1_000;
        sample.with(float, start, |s| {
            let begun = match done.last_mut() {
                Some(open) if !full.is_full(open, s.t) => match open.append(s).unwrap() {
                    Appended::Began(next) => Some(*next),
                    Appended::Added | Appended::Recoded => None,
                },
                previous => {
                    full = Full::of(s.t);
                    Some(HistogramAppender::begin(encoding, previous.as_deref(), s).unwrap())
                }
            };
            if let Some(next) = begun {
                // Prometheus does not predict again where a sample itself begins a chunk.
                full = Full { predicted: full.predicted, ..Full::of(s.t) };
                done.push(next);
            }
        });
    }
    done
}

fn golden() -> Vec<(&'static str, Vec<Owned>, Vec<&'static str>)> {
    let mut all: Vec<(_, Vec<_>, Vec<_>)> = Vec::new();
    for line in GOLDEN.lines() {
        if let Some(name) = line.strip_prefix("series ") {
            all.push((name, Vec::new(), Vec::new()));
        } else if let Some((_, samples, chunks)) = all.last_mut() {
            match line.strip_prefix("chunk ") {
                Some(chunk) => chunks.push(chunk),
                None => samples.push(parse(line)),
            }
        }
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn same_chunks_as_prometheus() {
    let all = golden();
    assert!(all.len() > 20);
    for (name, samples, expected) in all {
        let float = name.contains("float");
        let encoding = if float { Encoding::FloatHistogram } else { Encoding::Histogram };
        let found: Vec<_> = chunks(encoding, float, &samples)
            .iter()
            .map(|c| format!("{} {}", c.encoding().id(), hex(c.bytes())))
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// Buckets that are not empty, by side and index.
type Buckets = BTreeMap<(bool, i64), u64>;

fn buckets(layout: &Layout, counts: impl Iterator<Item = u64>) -> Buckets {
    let index = |negative: bool, spans: &[Span]| {
        let mut next = 0;
        let indexes = spans.iter().flat_map(|s| {
            let first = next + i64::from(s.offset);
            next = first + i64::from(s.length);
            first..next
        });
        indexes.map(|i| (negative, i)).collect::<Vec<_>>()
    };
    let mut indexes = index(false, &layout.positive_spans);
    indexes.extend(index(true, &layout.negative_spans));
    indexes.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
}

/// The rows of a chunk: time, start, sum's bits, count, zero count, buckets.
fn rows(found: &Histograms) -> Vec<(i64, i64, u64, u64, u64, Buckets)> {
    let (layout, n) = (&found.layout, found.layout.num_buckets());
    let side = layout.num_positive();
    (0..found.times.len())
        .map(|i| {
            let (count, zero_count, row) = match &found.counts {
                Counts::Integer { counts, zero_counts, deltas } => {
                    let (mut sum, row) = (0, &deltas[i * n..(i + 1) * n]);
                    let absolute = row.iter().enumerate().map(|(k, d)| {
                        sum = if k == side { *d } else { sum + d };
                        sum as u64
                    });
                    (counts[i], zero_counts[i], absolute.collect::<Vec<_>>())
                }
                Counts::Float { counts, zero_counts, buckets } => {
                    let row = buckets[i * n..(i + 1) * n].iter().map(|b| *b as u64).collect();
                    (counts[i] as u64, zero_counts[i] as u64, row)
                }
            };
            let start = found.starts.get(i).copied().unwrap_or(0);
            let buckets = buckets(layout, row.into_iter());
            (found.times[i], start, found.sums[i].to_bits(), count, zero_count, buckets)
        })
        .collect()
}

/// Whatever is recoded, what is read is what was appended.
#[test]
fn nothing_is_lost_in_recoding() {
    for id in [2, 3, 5, 6] {
        let encoding = Encoding::from_id(id).unwrap();
        for (name, samples, _) in golden() {
            let made = chunks(encoding, id % 3 == 0, &samples);
            let found: Vec<_> =
                made.iter().flat_map(|c| rows(&decode(encoding, c.bytes()).unwrap())).collect();
            assert_eq!(found.len(), samples.len());
            for (i, (found, sent)) in found.iter().zip(&samples).enumerate() {
                let start = 1_699_999_000_000 + (i as i64 / 5) * 1_000;
                let start = if id > 4 { start } else { 0 };
                assert_eq!((found.0, found.1, found.2), (sent.t, start, sent.sum.to_bits()));
                if found.2 != STALE_NAN {
                    let counts = sent.positive.iter().chain(&sent.negative).copied();
                    let sent = (sent.count, sent.zero_count, buckets(&sent.layout, counts));
                    assert_eq!((found.3, found.4, found.5.clone()), sent, "{name} {encoding}");
                }
            }
        }
    }
}

#[test]
fn resumes_where_it_was() {
    for id in [2, 3, 5, 6] {
        let encoding = Encoding::from_id(id).unwrap();
        for (_, samples, _) in golden() {
            for chunk in chunks(encoding, id % 3 == 0, &samples) {
                let mut again = HistogramAppender::resume(encoding, chunk.bytes()).unwrap();
                assert_eq!(again.bytes(), chunk.bytes());
                assert_eq!(again.time_range(), chunk.time_range());
                let mut chunk = chunk;
                samples[3].with(id % 3 == 0, 7, |s| {
                    let text = |a: &mut HistogramAppender| match a.append(s).unwrap() {
                        Appended::Began(next) => format!("began {}", hex(next.bytes())),
                        Appended::Added => format!("added {}", hex(a.bytes())),
                        Appended::Recoded => format!("recoded {}", hex(a.bytes())),
                    };
                    assert_eq!(text(&mut again), text(&mut chunk));
                });
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (_, samples, _) = golden().swap_remove(0);
    let error = |encoding, float| {
        let begun = samples[0].with(float, 0, |s| HistogramAppender::begin(encoding, None, s));
        begun.unwrap_err()
    };
    assert_eq!(error(Encoding::Xor, false), ChunkError::WrongEncoding { id: 1 });
    assert_eq!(error(Encoding::Histogram, true), ChunkError::WrongEncoding { id: 2 });
    assert_eq!(error(Encoding::FloatHistogramSt, false), ChunkError::WrongEncoding { id: 6 });
    let mut bad = parse(GOLDEN.lines().nth(1).unwrap());
    bad.positive.pop();
    let begun = bad.with(false, 0, |s| HistogramAppender::begin(Encoding::Histogram, None, s));
    assert!(matches!(begun.unwrap_err(), ChunkError::BadLayout { .. }));
    let empty = HistogramAppender::resume(Encoding::Histogram, &[0, 0, 0]).unwrap_err();
    assert_eq!(empty, ChunkError::Short { len: 3, samples: 0 });
}

proptest! {
    #[test]
    fn any_spans_are_survived(
        all in prop::collection::vec(
            (prop::collection::vec((any::<i32>(), 0_u32..5), 0..4), 0_usize..4, any::<u64>()),
            1..12,
        ),
        float: bool,
    ) {
        let encoding = if float { Encoding::FloatHistogram } else { Encoding::Histogram };
        let mut open: Option<HistogramAppender> = None;
        for (t, (spans, hint, seed)) in all.into_iter().enumerate() {
            let spans: Vec<_> =
                spans.iter().map(|&(offset, length)| Span { offset, length }).collect();
            let layout = Layout { positive_spans: spans, ..Layout::default() };
            let n = layout.num_positive() as u64;
            let sample = Owned {
                t: t as i64,
                hint: CounterReset::from_bits(hint as u8),
                layout,
                sum: 1.0,
                count: t as u64,
                zero_count: 0,
                positive: (0..n).map(|i| seed >> (i % 64) & 3).collect(),
                negative: Vec::new(),
            };
            sample.with(float, 0, |s| match &mut open {
                Some(chunk) => {
                    if let Appended::Began(next) = chunk.append(s).unwrap() {
                        open = Some(*next);
                    }
                }
                None => open = Some(HistogramAppender::begin(encoding, None, s).unwrap()),
            });
            let chunk = open.as_ref().unwrap();
            prop_assert_eq!(decode(encoding, chunk.bytes()).unwrap().times.len(), chunk.num_samples());
        }
    }
}
