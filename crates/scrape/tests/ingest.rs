//! Pages taken in against a storage in memory.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use firesteel_exposition::Format;
use firesteel_model::{
    Labels, Matcher,
    clock::ManualClock,
    is_stale_nan,
    regex::Regex,
    relabel::{Action, RelabelConfig},
    storage::{
        AppendError, AppendOptions, Appendable, Appender, BatchValues, CommitStats, Interner,
        QueryContext, Queryable, SampleBatch, SelectHints, SeriesKey, SeriesRef,
        memory::MemoryStorage, merge::MergedSeries,
    },
};
use firesteel_scrape::{IngestSettings, Ingested, Ingester, Page, Scrape, ScrapeError};

const TEXT: &str = "text/plain; version=0.0.4";
const NODE: &[u8] = include_bytes!("../../exposition/testdata/node_exporter.prom");

/// `name{labels without job and instance}` and samples as `t=v`, `stale` for a marker.
fn dump(storage: &MemoryStorage) -> Vec<String> {
    let ctx = QueryContext::background();
    let querier = storage.querier(i64::MIN, i64::MAX).unwrap();
    let matchers = [Matcher::equal("job", "j")];
    let hints = SelectHints::range(i64::MIN, i64::MAX);
    let selection = querier.select(&ctx, &matchers, &hints).unwrap();
    let mut interner = Interner::new();
    let merged = MergedSeries::new(&ctx, selection, &mut interner).unwrap();
    let mut reader = merged.reader(&ctx);
    let mut lines = Vec::new();
    for i in 0..merged.len() {
        let labels = interner.labels(merged.pairs(i));
        let name = labels.metric_name().unwrap_or_default().to_owned();
        let rest = labels.without(|n| matches!(n, "__name__" | "job" | "instance"));
        let mut line = if rest.is_empty() { name } else { format!("{name}{rest}") };
        reader.open(i).unwrap();
        let mut batch = SampleBatch::default();
        while reader.next(&mut batch).unwrap() {
            let BatchValues::Floats(values) = &batch.values else { panic!("floats") };
            for (t, v) in batch.timestamps.iter().zip(values) {
                let v = if is_stale_nan(*v) { "stale".to_owned() } else { v.to_string() };
                line.push_str(&format!(" {t}={v}"));
            }
        }
        lines.push(line);
    }
    lines.sort();
    lines
}

fn without_report(storage: &MemoryStorage) -> Vec<String> {
    let mut lines = dump(storage);
    lines.retain(|l| !l.starts_with("up ") && !l.starts_with("scrape_"));
    lines
}

fn report(storage: &MemoryStorage, name: &str) -> String {
    dump(storage).into_iter().find(|l| l.starts_with(&format!("{name} "))).unwrap_or_default()
}

fn with(change: impl FnOnce(&mut IngestSettings)) -> IngestSettings {
    let mut settings = IngestSettings::default();
    change(&mut settings);
    settings
}

struct Fixture {
    storage: MemoryStorage,
    ingester: Ingester,
    clock: ManualClock,
}

impl Fixture {
    fn new(settings: IngestSettings) -> Self {
        let target = Labels::from_pairs([("job", "j"), ("instance", "i"), ("__scheme__", "http")]);
        Self {
            storage: MemoryStorage::new(),
            ingester: Ingester::new(&target, Arc::new(settings)),
            clock: ManualClock::new(0),
        }
    }

    fn page(&mut self, time: i64, body: &str) -> Ingested {
        self.reply(time, Ok(Page { body: body.as_bytes(), content_type: TEXT }))
    }

    fn reply(&mut self, time: i64, page: Result<Page<'_>, ScrapeError>) -> Ingested {
        let scrape = Scrape { time, started: Duration::ZERO, page };
        self.ingester.ingest(&self.storage, &self.clock, scrape)
    }
}

#[test]
fn a_page_becomes_samples_markers_and_a_report() {
    let mut f = Fixture::new(IngestSettings::default());
    f.clock.advance(Duration::from_millis(250));
    let first = f.page(1000, "# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\nb 3 900\n");
    assert!(first.error.is_none() && first.storage_error.is_none());
    assert_eq!((first.scraped, first.post_relabel, first.series_added), (3, 3, 3));
    let second = f.page(2000, "# TYPE a counter\na{x=\"1\"} 4\n");
    assert_eq!((second.scraped, second.post_relabel, second.series_added), (1, 1, 0));
    let third = f.page(3000, "# TYPE a counter\na{x=\"1\"} 5\na{x=\"2\"} 6\n");
    assert_eq!(third.series_added, 1);
    assert_eq!(
        dump(&f.storage),
        [
            "a{x=\"1\"} 1000=1 2000=4 3000=5",
            "a{x=\"2\"} 1000=2 2000=stale 3000=6",
            "b 900=3",
            "scrape_duration_seconds 1000=0.25 2000=0.25 3000=0.25",
            "scrape_samples_post_metric_relabeling 1000=3 2000=1 3000=2",
            "scrape_samples_scraped 1000=3 2000=1 3000=2",
            "scrape_series_added 1000=3 2000=0 3000=1",
            "up 1000=1 2000=1 3000=1",
        ]
    );
    assert_eq!(f.ingester.metadata()[0].metadata.kind.as_str(), "counter");
}

#[test]
fn bad_replies_fail_the_scrape_and_end_all_series() {
    let cases: Vec<(Result<Page<'_>, ScrapeError>, &str)> = vec![
        (
            Ok(Page { body: b"a 2\nnot a metric\n", content_type: TEXT }),
            "strconv.ParseFloat: parsing \"a\": invalid syntax while parsing: \"not a\" (line 2, column 5)",
        ),
        (
            Ok(Page { body: b"<html>", content_type: "text/html" }),
            "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target",
        ),
        (
            Ok(Page { body: b"a 2\n", content_type: "" }),
            "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target",
        ),
        (
            Ok(Page { body: b"a 2\n", content_type: "application/openmetrics-text" }),
            "data does not end with # EOF (line 2, column 1)",
        ),
        (
            Ok(Page { body: b"a 2\na{b=\"1\",b=\"2\"} 3\n", content_type: TEXT }),
            "label name \"b\" is not unique: invalid sample",
        ),
        (Err(ScrapeError::BodySize), "body size limit exceeded"),
        (
            Err(ScrapeError::Status("500 Internal Server Error".into())),
            "server returned HTTP status 500 Internal Server Error",
        ),
        (Err(ScrapeError::Fetch("connection refused".into())), "connection refused"),
    ];
    for (reply, text) in cases {
        let mut f = Fixture::new(IngestSettings::default());
        f.page(1000, "a 1\nb 1\n");
        let failed = f.reply(2000, reply);
        assert_eq!(failed.error.unwrap().to_string(), text);
        assert!(f.reply(3000, Err(ScrapeError::Fetch("x".into()))).error.is_some());
        f.page(4000, "a 4\n");
        assert_eq!(
            without_report(&f.storage),
            ["a 1000=1 2000=stale 4000=4", "b 1000=1 2000=stale"]
        );
        assert_eq!(report(&f.storage, "up"), "up 1000=1 2000=0 3000=0 4000=1");
    }
}

#[test]
fn pages_that_keep_failing_leave_one_marker() {
    let mut f = Fixture::new(with(|s| s.sample_limit = 2));
    f.page(1000, "a 1\nb 1\n");
    for t in 2..6 {
        assert!(f.page(t * 1000, "a 1\nb 1\nc 1\n").error.is_some());
    }
    assert_eq!(without_report(&f.storage), ["a 1000=1 2000=stale", "b 1000=1 2000=stale"]);
    assert_eq!(
        report(&f.storage, "scrape_series_added"),
        "scrape_series_added 1000=2 2000=0 3000=0 4000=0 5000=0"
    );
}

#[test]
fn an_empty_page_is_a_good_one_without_samples() {
    let mut f = Fixture::new(IngestSettings::default());
    f.page(1000, "a 1\n");
    let empty = f.reply(2000, Ok(Page { body: b"", content_type: "" }));
    assert!(empty.error.is_none());
    assert_eq!(without_report(&f.storage), ["a 1000=1 2000=stale"]);
    assert_eq!(report(&f.storage, "up"), "up 1000=1 2000=1");
}

#[test]
fn a_fallback_reads_pages_of_unknown_type() {
    let settings = with(|s| {
        s.fallback = Some(Format::PrometheusText);
    });
    let mut f = Fixture::new(settings);
    let page = f.reply(1000, Ok(Page { body: b"a 1\n", content_type: "text/html" }));
    assert!(page.error.is_none() && page.warning.unwrap().contains("using fallback"));
    assert_eq!(without_report(&f.storage), ["a 1000=1"]);
}

#[test]
fn duplicates_and_late_samples_are_counted_not_fatal() {
    let mut f = Fixture::new(IngestSettings::default());
    f.page(1000, "a 1\nlate 1 500\n");
    let page = f.page(2000, "a 2\na 3\nlate 2 400\nfuture 1 99999999\n");
    assert!(page.error.is_none());
    assert_eq!((page.duplicates, page.out_of_order, page.out_of_bounds), (1, 1, 1));
    assert_eq!((page.scraped, page.post_relabel), (4, 4));
    assert_eq!(without_report(&f.storage), ["a 1000=1 2000=2", "late 500=1"]);
}

#[test]
fn timestamps_of_their_own() {
    // Not tracked by default: no marker.
    let mut f = Fixture::new(IngestSettings::default());
    f.page(1000, "a 1 900\n");
    f.page(2000, "b 1\n");
    assert_eq!(without_report(&f.storage), ["a 900=1", "b 2000=1"]);
    // A series that begins to give timestamps ends as what it was.
    f.page(3000, "b 2 2500\n");
    assert_eq!(without_report(&f.storage), ["a 900=1", "b 2000=1 2500=2 3000=stale"]);
    let settings = with(|s| {
        s.track_timestamps_staleness = true;
    });
    let mut f = Fixture::new(settings);
    f.page(1000, "a 1 900\n");
    f.page(2000, "b 1\n");
    assert_eq!(without_report(&f.storage), ["a 900=1 2000=stale", "b 2000=1"]);
    let settings = with(|s| {
        s.honor_timestamps = false;
    });
    let mut f = Fixture::new(settings);
    f.page(1000, "a 1 900\n");
    assert_eq!(without_report(&f.storage), ["a 1000=1"]);
}

#[test]
fn the_sample_limit_counts_what_relabelling_leaves() {
    let drop_b = RelabelConfig {
        source_labels: vec!["__name__".into()],
        regex: Regex::anchored("b").unwrap(),
        ..RelabelConfig::new(Action::Drop)
    };
    let settings = with(|s| {
        s.sample_limit = 2;
        s.metric_relabel = vec![drop_b];
        s.extra_metrics = true;
    });
    let mut f = Fixture::new(settings);
    assert!(f.page(1000, "a 1\nb 1\nc 1\n").error.is_none());
    let over = f.page(2000, "a 1\nb 1\nc 1\nd 1\n");
    assert_eq!(over.error.unwrap().to_string(), "sample limit exceeded");
    assert_eq!((over.scraped, over.post_relabel), (4, 3));
    assert_eq!(without_report(&f.storage), ["a 1000=1 2000=stale", "c 1000=1 2000=stale"]);
    assert_eq!(report(&f.storage, "scrape_sample_limit"), "scrape_sample_limit 1000=2 2000=2");
    assert_eq!(
        report(&f.storage, "scrape_timeout_seconds"),
        "scrape_timeout_seconds 1000=10 2000=10"
    );
    f.reply(3000, Err(ScrapeError::BodySize));
    assert_eq!(
        report(&f.storage, "scrape_body_size_bytes"),
        "scrape_body_size_bytes 1000=12 2000=16 3000=-1"
    );
}

#[test]
fn a_real_page_again_and_again() {
    let mut f = Fixture::new(IngestSettings::default());
    let body = std::str::from_utf8(NODE).unwrap();
    let first = f.page(1000, body);
    let series = NODE.split(|b| *b == b'\n').filter(|l| !l.is_empty() && l[0] != b'#').count();
    assert_eq!((first.scraped, first.series_added), (series as u64, series as u64));
    let families = f.ingester.metadata();
    assert!(families.iter().any(|m| m.family == "node_load1" && !m.metadata.help.is_empty()));
    let per_series = f.ingester.memory() / series;
    assert!(per_series <= 250, "{per_series} bytes per series, metadata lines included");
    for t in 2..5 {
        let again = f.page(t * 1000, body);
        assert_eq!((again.scraped, again.series_added), (series as u64, 0));
    }
    assert_eq!(f.ingester.metadata(), families);
    // The order changes: the same series.
    let lines: Vec<&str> = body.lines().collect();
    let reversed: String = lines.iter().rev().map(|l| format!("{l}\n")).collect();
    let turned = f.page(6000, &reversed);
    assert_eq!((turned.scraped, turned.series_added), (series as u64, 0));
    assert!(dump(&f.storage).iter().all(|l| !l.contains("stale")));
}

#[test]
fn an_ended_target_leaves_markers_everywhere() {
    let mut f = Fixture::new(IngestSettings::default());
    f.page(1000, "a 1\nb 1\n");
    f.page(1500, "a 1\n");
    let moody = Moody { inner: f.storage.clone(), ..Moody::default() };
    f.ingester.end(&moody, 2000).unwrap();
    let ended = |l: &String| l.ends_with("2000=stale") || l.starts_with("b ");
    assert!(dump(&f.storage).iter().all(ended), "{:?}", dump(&f.storage));
}

/// A storage that forgets series and can be full.
#[derive(Default)]
struct Moody {
    inner: MemoryStorage,
    forget: bool,
    full: bool,
}

struct MoodyAppender<'a>(Box<dyn Appender + 'a>, &'a Moody);

impl Appendable for Moody {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(MoodyAppender(self.inner.appender(), self))
    }
}

impl Appender for MoodyAppender<'_> {
    fn append(
        &mut self,
        series: SeriesKey<'_>,
        t: i64,
        value: firesteel_model::Value<'_>,
        options: &AppendOptions<'_>,
    ) -> Result<SeriesRef, AppendError> {
        // Another loop may have begun with the target: what ends it must not go in between.
        let marker = matches!(value, firesteel_model::Value::Float(v) if is_stale_nan(v));
        assert_eq!(options.reject_out_of_order, marker);
        if self.1.forget && matches!(series, SeriesKey::Ref(_)) {
            return Err(AppendError::UnknownSeries);
        }
        self.0.append(series, t, value, options)
    }

    fn commit(self: Box<Self>) -> Result<CommitStats, AppendError> {
        if self.1.full {
            return Err(AppendError::OutOfSpace("no room".into()));
        }
        self.0.commit()
    }
}

#[test]
fn series_that_the_storage_forgot_come_again_with_their_labels() {
    let mut f = Fixture::new(IngestSettings::default());
    let mut moody = Moody { inner: f.storage.clone(), ..Moody::default() };
    let mut read = |moody: &Moody, time: i64, body: &str| {
        let page = Ok(Page { body: body.as_bytes(), content_type: TEXT });
        f.ingester.ingest(moody, &f.clock, Scrape { time, started: Duration::ZERO, page })
    };
    let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\n";
    read(&moody, 1000, page);
    moody.forget = true;
    let again = read(&moody, 2000, page);
    assert!(again.error.is_none() && again.storage_error.is_none());
    moody.full = true;
    let full = read(&moody, 3000, page);
    assert!(full.storage_error.unwrap().to_string().contains("no space"));
    assert_eq!(without_report(&f.storage), ["h_bucket{le=\"1.0\"} 1000=1 2000=1"]);
    assert_eq!(report(&f.storage, "up"), "up 1000=1 2000=1");
}

#[test]
fn changed_settings_keep_what_stays_true() {
    let mut f = Fixture::new(IngestSettings::default());
    f.page(1000, "a 1\n");
    let other = with(|s| {
        s.extra_metrics = true;
    });
    f.ingester.set_settings(Arc::new(other));
    assert_eq!(f.page(2000, "a 2\n").series_added, 0);
    let other = with(|s| {
        s.honor_labels = true;
    });
    f.ingester.set_settings(Arc::new(other));
    assert_eq!(f.page(3000, "a 3\n").series_added, 1);
    assert_eq!(without_report(&f.storage), ["a 1000=1 2000=2 3000=3"]);
    // A series that new rules drop is ended.
    let drop_a = RelabelConfig {
        source_labels: vec!["__name__".into()],
        regex: Regex::anchored("a").unwrap(),
        ..RelabelConfig::new(Action::Drop)
    };
    f.page(4000, "a 4\nb 4\n");
    f.ingester.set_settings(Arc::new(with(|s| s.metric_relabel = vec![drop_a])));
    f.page(5000, "a 5\nb 5\n");
    assert_eq!(
        without_report(&f.storage),
        ["a 1000=1 2000=2 3000=3 4000=4 5000=stale", "b 4000=4 5000=5"]
    );
}

#[test]
fn types_and_units_become_labels() {
    let mut f = Fixture::new(with(|s| s.type_and_unit_labels = true));
    let body = "# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total{__type__=\"mine\",x=\"1\"} 1\n\
        # TYPE b gauge\nb{__unit__=\"mine\"} 2\n# TYPE c unknown\nc 3\n# EOF\n";
    for time in [1000, 2000] {
        let content_type = "application/openmetrics-text; version=1.0.0";
        let out = f.reply(time, Ok(Page { body: body.as_bytes(), content_type }));
        assert!(out.error.is_none());
    }
    assert_eq!(
        without_report(&f.storage),
        [
            "a_seconds_total{__type__=\"counter\", __unit__=\"seconds\", x=\"1\"} 1000=1 2000=1",
            "b{__type__=\"gauge\", __unit__=\"mine\"} 1000=2 2000=2",
            "c 1000=3 2000=3",
        ]
    );
}
