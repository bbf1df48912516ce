//! Reading pages of text. Cold: every label decoded, every value parsed; goal 1000 MB/s. Warm:
//! each line predicted from the last page; goal 60 ns per sample with the series' lookup.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firesteel_exposition::{Entry, Format, Parser};

const SERIES: usize = 10_000;

/// A page of a real node exporter, if the repository has it.
const NODE_EXPORTER: &[u8] = include_bytes!("../../crates/exposition/testdata/node_exporter.prom");

/// Prometheus' own benchmark page, if the conformance data is there.
fn families_page() -> Vec<u8> {
    let folder = std::env::var_os("FIRESTEEL_CONFORMANCE").unwrap_or_default();
    let file = std::path::Path::new(&folder).join("exposition/alltypes.237mfs.prom.txt");
    std::fs::read(file).unwrap_or_default()
}

fn cold(page: &[u8]) -> (u64, f64) {
    let mut parser = Parser::new(Format::PrometheusText, page);
    let (mut bytes, mut sum) = (0, 0.0);
    while let Some(entry) = parser.next_entry().expect("a good page") {
        if let Entry::Series(series) = entry {
            bytes += series.labels().map(|(n, v)| (n.len() + v.len()) as u64).sum::<u64>();
            sum += series.value;
        }
    }
    (bytes, sum)
}

fn warm(page: &[u8], known: &[Vec<u8>]) -> f64 {
    let mut parser = Parser::new(Format::PrometheusText, page);
    let mut sum = 0.0;
    let mut known = known.iter().peekable();
    loop {
        if let Some(sample) = known.peek().and_then(|raw| parser.next_known(raw)) {
            sum += sample.expect("a good line").value;
            known.next();
        } else if parser.next_entry().expect("a good page").is_none() {
            return sum;
        }
    }
}

fn series_of(page: &[u8]) -> Vec<Vec<u8>> {
    let mut parser = Parser::new(Format::PrometheusText, page);
    let mut all = Vec::new();
    while let Some(entry) = parser.next_entry().expect("a good page") {
        if let Entry::Series(series) = entry {
            all.push(series.raw.to_vec());
        }
    }
    all
}

fn benches(c: &mut Criterion) {
    let made = firesteel_benches::page(SERIES, 5).into_bytes();
    let families = families_page();
    let mut group = c.benchmark_group("exposition_text_cold");
    let pages =
        [("applications", &*made), ("node_exporter", NODE_EXPORTER), ("237_families", &*families)];
    for (name, page) in pages.into_iter().filter(|(_, page)| !page.is_empty()) {
        group.throughput(Throughput::Bytes(page.len() as u64));
        group.bench_function(name, |b| b.iter(|| cold(page)));
    }
    group.finish();
    let known = series_of(&made);
    let mut group = c.benchmark_group("exposition_text_warm");
    group.throughput(Throughput::Elements(known.len() as u64));
    group.bench_function("applications", |b| b.iter(|| warm(&made, &known)));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
