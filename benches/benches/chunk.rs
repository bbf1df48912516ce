//! Encoding and decoding of XOR chunks of 120 samples, by how the values move. Goals for decoding:
//! 2.5 / 6.5 / 6 / 3.5 ns per sample for constant / slow counter / counter / gauge.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firesteel_benches::Pattern;
use firesteel_chunk::{XorEncoder, xor};

const SAMPLES: u64 = 120;

fn samples(pattern: Pattern) -> Vec<(i64, f64)> {
    (0..SAMPLES).map(|n| (1_700_000_000_000 + n as i64 * 15_000, pattern.value(7, n))).collect()
}

fn encoded(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut encoder = XorEncoder::new();
    for &(t, v) in samples {
        encoder.append(t, v).expect("120 samples fit");
    }
    encoder.bytes().to_vec()
}

fn benches(c: &mut Criterion) {
    let patterns = [
        ("constant", Pattern::Constant),
        ("slow_counter", Pattern::SlowCounter),
        ("counter", Pattern::Counter),
        ("gauge", Pattern::Gauge),
    ];
    let mut group = c.benchmark_group("xor_decode");
    group.throughput(Throughput::Elements(SAMPLES));
    for (name, pattern) in patterns {
        let chunk = encoded(&samples(pattern));
        let (mut times, mut values) = (Vec::new(), Vec::new());
        group.bench_function(name, |b| {
            b.iter(|| {
                times.clear();
                values.clear();
                xor::decode(&chunk, &mut times, &mut values).expect("a good chunk")
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("xor_encode");
    group.throughput(Throughput::Elements(SAMPLES));
    for (name, pattern) in patterns {
        let samples = samples(pattern);
        let mut encoder = XorEncoder::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                encoder.clear();
                for &(t, v) in &samples {
                    encoder.append(t, v).expect("120 samples fit");
                }
                encoder.bytes().len()
            });
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
