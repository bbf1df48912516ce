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
