use proptest::prelude::*;

use super::*;
use crate::ChunkError;

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

type Columns = (Vec<i64>, Vec<i64>, Vec<u64>);

fn decoded(chunk: &[u8]) -> Result<Columns, ChunkError> {
    let (mut times, mut starts, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let n = decode(chunk, &mut times, &mut starts, &mut values)?;
    assert_eq!((times.len(), values.len()), (n, n));
    Ok((times, starts, values.into_iter().map(f64::to_bits).collect()))
}

const T: [i64; 7] = [
    1_700_000_000_000,
    1_700_000_015_000,
    1_700_000_030_000,
    1_700_000_045_003,
    1_700_000_059_990,
    1_700_000_105_000,
    1_700_009_999_999,
];

/// Written by Prometheus 3.14 (conformance vectors XOR2_7, XOR2_st_const, XOR2_st_change2).
#[test]
fn reads_prometheus_chunks() {
    let stale = f64::from_bits(STALE_NAN);
    let values = [1.0, 1.0, 2.0, 3.5, 3.5, stale, f64::INFINITY].map(f64::to_bits);
    let chunk = from_hex(
        "00070080a0abfef9623ff000000000000098755097fff000f302f7fc1c0ea8ffc00000000012c990b8467ff8",
    );
    assert_eq!(decoded(&chunk).unwrap(), (T.to_vec(), vec![], values.to_vec()));

    let chunk = from_hex("00038080a0abfef9623ff0000000000000d00f98755097ffc0");
    let start = 1_699_999_999_000;
    assert_eq!(decoded(&chunk).unwrap(), (T[..3].to_vec(), vec![start; 3], values[..3].to_vec()));

    let chunk = from_hex("00048280a0abfef9623ff0000000000000d00f98755097fffefb1e3000f302fe0ea600");
    let starts = vec![start, start, 1_700_000_020_000, 1_700_000_020_000];
    assert_eq!(decoded(&chunk).unwrap(), (T[..4].to_vec(), starts, values[..4].to_vec()));
}

fn encode(times: &[i64], starts: &[i64], values: &[u64]) -> Vec<u8> {
    let mut chunk = Xor2Encoder::new();
    for (i, &t) in times.iter().enumerate() {
        let start = starts.get(i).copied().unwrap_or(0);
        chunk.append_any(t, start, f64::from_bits(values[i])).unwrap();
    }
    chunk.bytes().to_vec()
}

#[test]
fn writes_prometheus_chunks() {
    for hex in [
        "00070080a0abfef9623ff000000000000098755097fff000f302f7fc1c0ea8ffc00000000012c990b8467ff8",
        "00038080a0abfef9623ff0000000000000d00f98755097ffc0",
        "00048280a0abfef9623ff0000000000000d00f98755097fffefb1e3000f302fe0ea600",
    ] {
        let chunk = from_hex(hex);
        let (times, starts, values) = decoded(&chunk).unwrap();
        assert_eq!(encode(&times, &starts, &values), chunk);
    }
}

/// Sizes that Prometheus' writer gives for a constant without start timestamps, which jump at
/// sample 127.
#[test]
fn sizes_are_prometheus() {
    for (n, len) in [(120, 34), (127, 35), (128, 43), (130, 50), (200, 268), (240, 393)] {
        let times: Vec<i64> = (0..n).map(|i| 1_700_000_000_000 + 15_000 * i).collect();
        let chunk = encode(&times, &[], &vec![1.0_f64.to_bits(); n as usize]);
        assert_eq!(chunk.len(), len, "{n} samples");
        assert_eq!(decoded(&chunk).unwrap().0, times);
    }
}

#[test]
fn no_chunk_is_longer_than_its_header_can_say_where_starts_change() {
    let mut chunk = Xor2Encoder::new();
    for t in 0..MAX_SAMPLES as i64 {
        chunk.append(t, 0, 1.0).unwrap();
    }
    assert_eq!(chunk.append(127, 1, 1.0), Err(ChunkError::TooManySamples));
    assert_eq!(decoded(chunk.bytes()).unwrap().1, []);
    let full = Xor2Encoder::resume(chunk.bytes()).unwrap();
    assert_eq!(full.bytes(), chunk.bytes());
}

proptest! {
    #[test]
    fn resumes_where_it_was(
        samples in crate::xor::tests::samples(120), cut in 1_usize..100, starts in 0_i64..3,
    ) {
        let start = |i: usize| if i % 50 < 25 { 5 * starts } else { starts * i as i64 };
        let mut chunk = Xor2Encoder::new();
        let mut again = Xor2Encoder::new();
        for (i, (t, v)) in samples.iter().enumerate() {
            if i == cut {
                again = Xor2Encoder::resume(chunk.bytes()).unwrap();
            }
            chunk.append(*t, start(i), *v).unwrap();
            if i >= cut {
                again.append(*t, start(i), *v).unwrap();
            }
        }
        if samples.len() > cut {
            prop_assert_eq!(again.bytes(), chunk.bytes());
        }
    }

    #[test]
    fn round_trip(samples in crate::xor::tests::samples(200), starts in 0_u8..4, seed: i64) {
        let times: Vec<i64> = samples.iter().map(|s| s.0).collect();
        let stale = |i: usize| (seed >> (i % 64)) & 7 == 7;
        let values: Vec<u64> = samples.iter().enumerate()
            .map(|(i, s)| if stale(i) { STALE_NAN } else { s.1.to_bits() }).collect();
        let start = |i: usize| match starts {
            0 => 0,
            1 => 77,
            2 => times[i].wrapping_sub(seed >> 40),
            _ => if i < 100 { 5 } else { seed.wrapping_mul(i as i64) },
        };
        let starts: Vec<i64> = (0..times.len()).map(start).collect();
        let found = decoded(&encode(&times, &starts, &values)).unwrap();
        prop_assert_eq!((found.0, found.2), (times, values));
        prop_assert!(found.1 == starts || found.1.is_empty() && starts.iter().all(|s| *s == 0));
    }

    #[test]
    fn damage_never_panics(
        cut in 0_usize..44, flips in prop::collection::vec(0_usize..352, 0..5), tail: Vec<u8>,
    ) {
        let mut chunk = from_hex(
            "00078280a0abfef9623ff000000000000098755097fff000f302f7fc1c0ea8ffc00000000012c990b8467f",
        );
        chunk.truncate(cut);
        chunk.extend_from_slice(&tail);
        for bit in flips {
            if let Some(byte) = chunk.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        let _ = decoded(&chunk);
    }

    #[test]
    fn random_bytes_never_panic(chunk: Vec<u8>) {
        let _ = decoded(&chunk);
    }
}
