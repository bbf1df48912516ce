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

proptest! {
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
