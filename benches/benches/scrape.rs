//! A known target's page taken in: parsed and looked up alone (into a storage that throws samples
//! away), and with append and WAL. Goals: 80 and 160 ns per sample.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use firesteel_exposition::{Families, Format, MetricValue, PROTOBUF_CONTENT_TYPE, encode_protobuf};
use firesteel_model::{
    Exemplar, Labels, Timestamp, Value,
    clock::ManualClock,
    metrics::{Family, Point},
    storage::{
        AppendError, AppendOptions, Appendable, Appender, CommitStats, SeriesKey, SeriesRef,
    },
};
use firesteel_scrape::{IngestSettings, Ingester, Page, Scrape};
use firesteel_tsdb::{Db, Durability};

const SERIES: usize = 1000;
const PAGES: u64 = 16;
const START: i64 = 1_699_999_200_000;
const TEXT: &str = "text/plain; version=0.0.4";

/// Takes everything, keeps nothing.
struct Nowhere;

impl Appendable for Nowhere {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Nothing(0))
    }
}

struct Nothing(u64);

impl Appender for Nothing {
    fn append(
        &mut self,
        series: SeriesKey<'_>,
        _t: Timestamp,
        value: Value<'_>,
        _options: &AppendOptions<'_>,
    ) -> Result<SeriesRef, AppendError> {
        black_box(value);
        Ok(match series {
            SeriesKey::Ref(known) => known,
            SeriesKey::Labels(_) => {
                self.0 += 1;
                SeriesRef(self.0)
            }
        })
    }

    fn append_exemplars(
        &mut self,
        _series: SeriesKey<'_>,
        _exemplars: &[Exemplar],
    ) -> Result<(), AppendError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitStats, AppendError> {
        Ok(CommitStats::default())
    }
}

/// The same page as protobuf.
fn protobuf(page: &str) -> Vec<u8> {
    let families = Families::parse(Format::PrometheusText, page.as_bytes()).expect("a good page");
    let families: Vec<Family> = families
        .families
        .into_iter()
        .map(|family| Family {
            name: family.name.into(),
            help: family.help.into(),
            kind: family.kind,
            points: family
                .metrics
                .iter()
                .map(|metric| {
                    let MetricValue::Float { value: Some(v), .. } = metric.value else {
                        panic!("a number")
                    };
                    let labels = metric.labels.iter();
                    (
                        labels.map(|(n, v)| (n.to_owned().into(), v.to_owned())).collect(),
                        Point::Value(v),
                    )
                })
                .collect(),
        })
        .collect();
    let mut out = Vec::new();
    encode_protobuf(&families, &mut out);
    out
}

fn known(c: &mut Criterion) {
    let text: Vec<_> = (0..PAGES).map(|n| firesteel_benches::page(SERIES, n)).collect();
    let proto: Vec<_> = text.iter().map(|page| protobuf(page)).collect();
    let text: Vec<_> = text.into_iter().map(String::into_bytes).collect();
    let target = Labels::from_pairs([("job", "bench"), ("instance", "here:9100")]);
    let mut group = c.benchmark_group("scrape_known");
    group.throughput(Throughput::Elements(SERIES as u64));
    for (format, pages, content_type) in
        [("text", &text, TEXT), ("protobuf", &proto, PROTOBUF_CONTENT_TYPE)]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Db::builder(folder.path()).durability(Durability::Os).retention(None).open();
        let db = db.expect("a fresh folder");
        for (name, storage) in [("parse_and_lookup", &Nowhere as &dyn Appendable), ("append", &db)]
        {
            let mut labels = target.to_builder();
            labels.set("format", format);
            let settings = Arc::new(IngestSettings::default());
            let mut ingester = Ingester::new(&labels.build(), settings);
            let clock = ManualClock::new(START);
            let mut n = 0;
            group.bench_function(BenchmarkId::new(name, format), |b| {
                b.iter(|| {
                    let body = &pages[n % pages.len()];
                    n += 1;
                    let (time, started) = (START + n as i64 * 1000, Duration::ZERO);
                    let page = Ok(Page { body, content_type });
                    let done = ingester.ingest(storage, &clock, Scrape { time, started, page });
                    assert!(done.error.is_none() && done.storage_error.is_none());
                    assert_eq!(done.scraped, SERIES as u64);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(all, known);
criterion_main!(all);
