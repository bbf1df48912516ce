use proptest::prelude::*;

use super::*;
use crate::Encoding;

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

const HIST: &str = "000300748ca4946317f0000c5e7f2b40063648064cccccccccccd18dd86f83a98c547487e230a36693\
                    fffffffffffe00";
const HIST_ST: &str = "000380748ca4946317f0000c5e7f2b40063648064cccccccccccd18dd86d00ff83a98c547487e23\
                       0a36693fffffffffffe00";
const FLOAT: &str = "000300748ca4946317f0000c5e7f2b4002015000000000000200000000000000020193333333333331f\
                     f800000000000020000000000000001ff80000000000001ff8000000000000200c0000000000007c1d4\
                     c6b17bb01e90fe12fffec0784bfff84bfffa85fb491dfac2f6693ffffffffffffb01eb0bd80f603960";
const FLOAT_ST: &str = "000380748ca4946317f0000c5e7f2b4002015000000000000200000000000000020193333333333\
                        331ff800000000000020000000000000001ff80000000000001ff8000000000000200c000000000\
                        0006807fc1d4c6b17bb01e90fe12fffec0784bfff84bfffa85fb491dfac2f6693ffffffffffffb0\
                        1eb0bd80f603960";
const NHCB: &str = "00010000ee5c664ade9c5fe00018bcfe56800b1007800000000000231880";

/// What the conformance vectors hold: schema 1, zero threshold 2^-128, three samples.
fn expected(starts: Vec<i64>, counts: Counts) -> Histograms {
    Histograms {
        counter_reset: CounterReset::Unknown,
        layout: Layout {
            schema: 1,
            zero_threshold: 2_f64.powi(-128),
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 2 }],
            negative_spans: vec![Span { offset: 0, length: 1 }],
            custom_values: vec![],
        },
        times: (0..3).map(|i| 1_700_000_000_000 + 15_000 * i).collect(),
        starts,
        sums: [1.0, 2.0, 3.0].map(|i| 18.4 * i).to_vec(),
        counts,
    }
}

/// Written by Prometheus 3.14 (conformance vectors hist_3, histST_3, floathist_3, floathistST_3).
#[test]
fn reads_prometheus_chunks() {
    let integers = Counts::Integer {
        counts: vec![13, 23, 33],
        zero_counts: vec![2, 3, 4],
        deltas: vec![1, 1, -1, 0, 6, 2, 1, -1, 0, 11, 3, 1, -1, 0, 16],
    };
    let floats = Counts::Float {
        counts: vec![13.0, 23.0, 33.0],
        zero_counts: vec![2.0, 3.0, 4.0],
        buckets: [1, 2, 1, 1, 6, 2, 3, 2, 2, 11, 3, 4, 3, 3, 16].map(f64::from).to_vec(),
    };
    let starts = || vec![1_699_999_999_000; 3];
    let read = |encoding, hex| decode(encoding, &from_hex(hex)).unwrap();
    assert_eq!(read(Encoding::Histogram, HIST), expected(vec![], integers.clone()));
    assert_eq!(read(Encoding::HistogramSt, HIST_ST), expected(starts(), integers));
    assert_eq!(read(Encoding::FloatHistogram, FLOAT), expected(vec![], floats.clone()));
    assert_eq!(read(Encoding::FloatHistogramSt, FLOAT_ST), expected(starts(), floats));
}

/// Conformance vector nhcb_1.
#[test]
fn reads_custom_buckets() {
    let found = decode(Encoding::Histogram, &from_hex(NHCB)).unwrap();
    assert_eq!(found.layout.schema, CUSTOM_BUCKETS_SCHEMA);
    assert_eq!(found.layout.custom_values, [0.005, 2.5]);
    assert_eq!((found.sums, found.times), (vec![7.5], vec![1_700_000_000_000]));
    let counts = Counts::Integer { counts: vec![6], zero_counts: vec![0], deltas: vec![1, 1, 1] };
    assert_eq!(found.counts, counts);
}

/// Writes a chunk again from what was read of it.
fn encode(encoding: Encoding, found: &Histograms) -> Result<Vec<u8>, crate::ChunkError> {
    let mut chunk = HistogramEncoder::new(encoding, found.counter_reset, found.layout.clone())?;
    let n = found.layout.num_buckets();
    for (i, &t) in found.times.iter().enumerate() {
        let (start, sum) = (found.starts.get(i).copied().unwrap_or(0), found.sums[i]);
        match &found.counts {
            Counts::Integer { counts, zero_counts, deltas } => {
                let row = &deltas[i * n..(i + 1) * n];
                chunk.append_integer(t, start, (counts[i], zero_counts[i], sum), row)?;
            }
            Counts::Float { counts, zero_counts, buckets } => {
                let row = &buckets[i * n..(i + 1) * n];
                chunk.append_float(t, start, (counts[i], zero_counts[i], sum), row)?;
            }
        }
    }
    Ok(chunk.bytes().to_vec())
}

#[test]
fn writes_prometheus_chunks() {
    for (encoding, hex) in [
        (Encoding::Histogram, HIST),
        (Encoding::HistogramSt, HIST_ST),
        (Encoding::FloatHistogram, FLOAT),
        (Encoding::FloatHistogramSt, FLOAT_ST),
        (Encoding::Histogram, NHCB),
    ] {
        let chunk = from_hex(hex);
        assert_eq!(
            encode(encoding, &decode(encoding, &chunk).unwrap()).unwrap(),
            chunk,
            "{encoding}"
        );
    }
}

#[test]
fn stale_samples_end_a_chunk() {
    let layout = expected(vec![], Counts::default()).layout;
    let stale = f64::from_bits(STALE_NAN);
    let new = || HistogramEncoder::new(Encoding::Histogram, CounterReset::Gauge, layout.clone());
    let mut chunk = new().unwrap();
    chunk.append_integer(10, 0, (13, 2, 18.4), &[1, 1, -1, 0, 6]).unwrap();
    chunk.append_integer(20, 0, (23, 3, 18.5), &[2, 1, -1, 0, 8]).unwrap();
    chunk.append_integer(30, 0, (0, 0, stale), &[]).unwrap();
    chunk.append_integer(40, 0, (0, 0, stale), &[]).unwrap();
    let error = chunk.append_integer(50, 0, (1, 1, 1.0), &[0; 5]).unwrap_err();
    assert_eq!(error, crate::ChunkError::AfterStale);
    let found = decode(Encoding::Histogram, chunk.bytes()).unwrap();
    assert_eq!(
        (found.counter_reset, &found.times[..]),
        (CounterReset::Gauge, &[10, 20, 30, 40][..])
    );
    assert_eq!(found.sums[2].to_bits(), STALE_NAN);
    let Counts::Integer { deltas, .. } = found.counts else { panic!("integers") };
    assert_eq!(deltas, [1, 1, -1, 0, 6, 2, 1, -1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

    let mut chunk = new().unwrap();
    chunk.append_integer(10, 0, (0, 0, stale), &[]).unwrap();
    let found = decode(Encoding::Histogram, chunk.bytes()).unwrap();
    assert_eq!((found.layout, found.times), (Layout::default(), vec![10]));
    let error = new().unwrap().append_integer(10, 0, (1, 1, 1.0), &[0; 4]).unwrap_err();
    assert!(matches!(error, crate::ChunkError::BadLayout { .. }));
}

/// Any but -0, which the format turns into 0 in thresholds and bounds.
fn float() -> impl Strategy<Value = f64> {
    any::<f64>().prop_map(|v| if v == 0.0 { 0.0 } else { v })
}

fn layout() -> impl Strategy<Value = Layout> {
    let spans = || {
        let span = (-3_i32..300, 0_u32..4).prop_map(|(offset, length)| Span { offset, length });
        prop::collection::vec(span, 0..4)
    };
    let threshold =
        prop_oneof![Just(0.0), Just(0.001), (-243_i32..11).prop_map(|e| 2_f64.powi(e)), float(),];
    let bounds = prop::collection::vec(
        prop_oneof![float(), (0_u32..40_000_000).prop_map(|n| f64::from(n) / 1000.0)],
        0..5,
    );
    let schema = prop_oneof![-4_i32..9, Just(CUSTOM_BUCKETS_SCHEMA)];
    (schema, threshold, spans(), spans(), bounds).prop_map(
        |(schema, zero_threshold, positive_spans, negative_spans, bounds)| Layout {
            schema,
            zero_threshold,
            positive_spans,
            negative_spans,
            custom_values: if schema == CUSTOM_BUCKETS_SCHEMA { bounds } else { vec![] },
        },
    )
}

/// Columns of bits, so that NaNs compare.
fn histograms() -> impl Strategy<Value = (Encoding, Histograms)> {
    let number = || prop_oneof![4 => -20_i64..20, 1 => any::<i64>()];
    (layout(), 1_usize..30, 2_u8..7, any::<i64>())
        .prop_flat_map(move |(layout, n, id, t0)| {
            let buckets = layout.num_buckets() * n;
            let column = move |n| prop::collection::vec(number(), n..=n);
            (Just(layout), Just(id), Just(t0 >> 16), column(n * 5), column(buckets))
        })
        .prop_map(|(layout, id, t0, numbers, buckets)| {
            let encoding = Encoding::from_id(if id == 4 { 2 } else { id }).unwrap();
            let columns: Vec<&[i64]> = numbers.chunks(numbers.len() / 5).collect();
            let floats = |v: &[i64]| v.iter().map(|x| *x as f64 / 8.0).collect::<Vec<_>>();
            let unsigned = |v: &[i64]| v.iter().map(|x| *x as u64).collect::<Vec<_>>();
            let float = matches!(encoding, Encoding::FloatHistogram | Encoding::FloatHistogramSt);
            let starts = matches!(encoding, Encoding::HistogramSt | Encoding::FloatHistogramSt);
            let counts = if float {
                Counts::Float {
                    counts: floats(columns[1]),
                    zero_counts: floats(columns[2]),
                    buckets: floats(&buckets),
                }
            } else {
                Counts::Integer {
                    counts: unsigned(columns[1]),
                    zero_counts: unsigned(columns[2]),
                    deltas: buckets,
                }
            };
            let mut t = t0;
            let mut step = |d: &i64| {
                t = t.wrapping_add(*d);
                t
            };
            let histograms = Histograms {
                counter_reset: CounterReset::NotReset,
                layout,
                times: columns[0].iter().map(&mut step).collect(),
                starts: if starts { columns[4].to_vec() } else { vec![] },
                sums: floats(columns[3]),
                counts,
            };
            (encoding, histograms)
        })
}

proptest! {
    #[test]
    fn round_trip((encoding, histograms) in histograms()) {
        let chunk = encode(encoding, &histograms).unwrap();
        let mut found = decode(encoding, &chunk).unwrap();
        if found.starts.is_empty() && histograms.starts.iter().all(|s| *s == 0) {
            found.starts.clone_from(&histograms.starts);
        }
        // NaN thresholds and bounds compare by their text.
        prop_assert_eq!(format!("{found:?}"), format!("{histograms:?}"));
    }
}

#[test]
fn floats_are_refused() {
    let error = decode(Encoding::Xor, &from_hex(HIST)).unwrap_err();
    assert_eq!(error, crate::ChunkError::WrongEncoding { id: 1 });
}

proptest! {
    #[test]
    fn damage_never_panics(
        which in 0_usize..5, cut in 0_usize..200,
        flips in prop::collection::vec(0_usize..1000, 0..5), tail: Vec<u8>,
    ) {
        let (encoding, hex) = [
            (Encoding::Histogram, HIST),
            (Encoding::HistogramSt, HIST_ST),
            (Encoding::FloatHistogram, FLOAT),
            (Encoding::FloatHistogramSt, FLOAT_ST),
            (Encoding::Histogram, NHCB),
        ][which];
        let mut chunk = from_hex(hex);
        chunk.truncate(cut);
        chunk.extend_from_slice(&tail);
        for bit in flips {
            if let Some(byte) = chunk.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        let _ = decode(encoding, &chunk);
    }

    #[test]
    fn random_bytes_never_panic(chunk: Vec<u8>, which in 2_u8..7) {
        let _ = Encoding::from_id(which).map(|e| decode(e, &chunk));
    }
}
