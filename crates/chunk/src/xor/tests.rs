use proptest::prelude::*;

use super::*;
use crate::ChunkError;

fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut encoder = XorEncoder::new();
    for &(t, v) in samples {
        encoder.append(t, v).unwrap();
    }
    encoder.bytes().to_vec()
}

fn decoded(chunk: &[u8]) -> Result<Vec<(i64, u64)>, ChunkError> {
    let (mut times, mut values) = (vec![42], vec![42.0]);
    let n = decode(chunk, &mut times, &mut values)?;
    assert_eq!((times.len(), values.len()), (n + 1, n + 1));
    Ok(times[1..].iter().copied().zip(values[1..].iter().map(|v| v.to_bits())).collect())
}

fn bits(samples: &[(i64, f64)]) -> Vec<(i64, u64)> {
    samples.iter().map(|(t, v)| (*t, v.to_bits())).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// Written by Prometheus 3.14 (conformance vectors XOR_7 and XOR_dod_edges).
#[test]
fn same_bytes_as_prometheus() {
    let t0 = 1_700_000_000_000;
    let times = [0, 15_000, 30_000, 45_003, 59_990, 105_000, 9_999_999];
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let values = [1.0, 1.0, 2.0, 3.5, 3.5, stale, f64::INFINITY];
    let samples: Vec<_> = times.iter().map(|t| t0 + t).zip(values).collect();
    let chunk = from_hex(
        "000780a0abfef9623ff000000000000098753097ffe000f605dff831d51f17bffe000000000001f000000\
         0000964c8580000000000000020",
    );
    assert_eq!(encode(&samples), chunk);
    assert_eq!(decoded(&chunk).unwrap(), bits(&samples));

    let samples = [0, 1000, 2000, 11_192, 20_000, 20_617].map(|t| (t, 0.0));
    let chunk = from_hex("0006000000000000000000e80714000be8050008");
    assert_eq!(encode(&samples), chunk);
    assert_eq!(decoded(&chunk).unwrap(), bits(&samples));
}

#[test]
fn empty_and_full() {
    assert_eq!(XorEncoder::new().bytes(), b"");
    assert_eq!(decoded(&[0, 0]), Ok(vec![]));
    assert_eq!(decoded(&[0]), Err(ChunkError::Short { len: 1, samples: 0 }));
    assert_eq!(decoded(&[255, 255, 0]), Err(ChunkError::Short { len: 3, samples: 65_535 }));
    let mut encoder = XorEncoder::new();
    for t in 0..65_535 {
        encoder.append(t, 1.0).unwrap();
    }
    assert_eq!(encoder.append(65_535, 1.0), Err(ChunkError::TooManySamples));
    assert_eq!(decoded(encoder.bytes()).unwrap().len(), 65_535);
}

#[test]
fn a_full_buffer_changes_nothing() {
    let mut buffer = [0; 40];
    let mut state = XorState::new();
    let mut fitted = 0;
    while state.append(&mut buffer, fitted * 1_000, fitted as f64 * 0.3).is_ok() {
        fitted += 1;
    }
    let samples: Vec<_> = (0..fitted).map(|i| (i * 1_000, i as f64 * 0.3)).collect();
    assert_eq!(decoded(&buffer[..state.len()]).unwrap(), bits(&samples));
    assert!(buffer.len() - state.len() < MAX_SAMPLE_LEN);
}

#[test]
fn a_bad_window_is_refused() {
    // 2 samples: t 0, v 0, delta 1, then "11", 31 leading zeros, 63 significant bits.
    let mut chunk = vec![0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0b1111_1111, 0b1111_1000];
    chunk.extend_from_slice(&[0; 16]);
    let expected = ChunkError::BadWindow { bit: 88, leading: 31, significant: 63 };
    assert_eq!(decoded(&chunk), Err(expected));
}

/// Series as they are: steady or jittered times; constant, counting or noisy values; any bits.
pub(crate) fn samples(max: usize) -> impl Strategy<Value = Vec<(i64, f64)>> {
    let step = prop_oneof![
        6 => Just(15_000_i64),
        3 => 14_990_i64..15_010,
        1 => 0_i64..1 << 22,
        1 => any::<i64>(),
    ];
    let change = prop_oneof![
        5 => Just((0, 0.0)),
        3 => (0.0..100.0).prop_map(|d| (1, d)),
        1 => any::<f64>().prop_map(|v| (2, v)),
        1 => any::<u64>().prop_map(|b| (2, f64::from_bits(b))),
    ];
    (any::<i64>(), any::<f64>(), prop::collection::vec((step, change), 0..max)).prop_map(
        |(t0, v0, steps)| {
            let (mut t, mut v) = (t0 >> 20, v0);
            let mut out = Vec::new();
            for (step, (kind, x)) in steps {
                out.push((t, v));
                t = t.wrapping_add(step);
                match kind {
                    1 => v += x,
                    2 => v = x,
                    _ => {}
                }
            }
            out
        },
    )
}

proptest! {
    /// Refused where it does not fit, byte by byte, and then written as if nothing had been.
    #[test]
    fn a_buffer_that_grows_by_bytes_has_the_same_chunk(samples in samples(150)) {
        let (mut state, mut buffer) = (XorState::new(), Vec::new());
        for &(t, v) in &samples {
            while let Err(error) = state.append(&mut buffer, t, v) {
                prop_assert_eq!(error, ChunkError::NoRoom);
                buffer.push(0xff);
            }
            prop_assert_eq!(state.len(), buffer.len());
        }
        prop_assert_eq!(buffer, encode(&samples));
    }

    #[test]
    fn round_trip(samples in samples(300)) {
        let chunk = encode(&samples);
        if !samples.is_empty() {
            prop_assert_eq!(decoded(&chunk).unwrap(), bits(&samples));
        }
    }

    #[test]
    fn resuming_writes_the_same(samples in samples(60), split in 0_usize..60) {
        let split = split.min(samples.len());
        let mut encoder = XorEncoder::new();
        for &(t, v) in &samples[..split] {
            encoder.append(t, v).unwrap();
        }
        if split > 0 {
            let again = XorEncoder::resume(encoder.bytes()).unwrap();
            prop_assert_eq!(again.state(), encoder.state());
            let stored = XorState::from_bytes(&encoder.state().to_bytes(), encoder.bytes());
            prop_assert_eq!(stored.as_ref(), Some(encoder.state()));
            encoder = again;
        }
        for &(t, v) in &samples[split..] {
            encoder.append(t, v).unwrap();
        }
        prop_assert_eq!(encoder.bytes(), encode(&samples));
    }

    #[test]
    fn ranges_are_what_the_whole_has_in_them(
        steps in prop::collection::vec((1_i64..20_000, -3_i32..3), 1..200),
        a in 0_i64..2_000_000, b in 0_i64..2_000_000,
    ) {
        let mut t = 0;
        let samples: Vec<_> = steps.iter().map(|(d, v)| { t += d; (t, f64::from(*v)) }).collect();
        let chunk = encode(&samples);
        let (mut times, mut values) = (Vec::new(), Vec::new());
        let n = decode_range(&chunk, a, b, &mut times, &mut values).unwrap();
        let expected: Vec<_> =
            samples.iter().copied().filter(|(t, _)| (a..=b).contains(t)).collect();
        prop_assert_eq!(n, expected.len());
        prop_assert_eq!(times.into_iter().zip(values).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn damage_never_panics(
        samples in samples(100), cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut chunk = encode(&samples);
        chunk.truncate(cut.index(chunk.len() + 1).max(2));
        for flip in flips {
            let bit = flip.index(chunk.len().max(1) * 8);
            if let Some(byte) = chunk.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        let _ = decoded(&chunk);
        let _ = resume(&chunk);
        let _ = decode_range(&chunk, 0, 1 << 40, &mut Vec::new(), &mut Vec::new());
    }

    #[test]
    fn a_cut_chunk_is_an_error(samples in samples(100), cut in any::<prop::sample::Index>()) {
        prop_assume!(!samples.is_empty());
        let mut chunk = encode(&samples);
        chunk.truncate(cut.index(chunk.len()));
        prop_assert!(decoded(&chunk).is_err());
    }

    #[test]
    fn random_bytes_never_panic(chunk: Vec<u8>) {
        let _ = decoded(&chunk);
        let _ = resume(&chunk);
    }
}
