//! Pages with native histograms, taken in against a storage that notes what it is given.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use firesteel_exposition::ParserOptions;
use firesteel_model::{
    Labels, Timestamp, Value,
    clock::ManualClock,
    storage::{
        AppendError, AppendOptions, Appendable, Appender, CommitStats, SeriesKey, SeriesRef,
    },
    wire::{Writer, put_varint, to_zigzag},
};
use firesteel_scrape::{IngestSettings, Ingested, Ingester, Page, Scrape, ScrapeError};

const PROTOBUF: &str = "application/vnd.google.protobuf";

#[derive(Default)]
struct Notes {
    series: Vec<Labels>,
    lines: Vec<String>,
    /// Whether references are not known any more.
    forget: bool,
}

#[derive(Default)]
struct Storage(Mutex<Notes>);

struct Transaction<'s>(&'s Storage);

impl Appendable for Storage {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Transaction(self))
    }
}

impl Appender for Transaction<'_> {
    fn append(
        &mut self,
        series: SeriesKey<'_>,
        t: Timestamp,
        value: Value<'_>,
        options: &AppendOptions<'_>,
    ) -> Result<SeriesRef, AppendError> {
        let mut notes = self.0.0.lock().unwrap();
        let (index, how) = match series {
            SeriesKey::Ref(_) if notes.forget => return Err(AppendError::UnknownSeries),
            SeriesKey::Ref(r) => (r.0 as usize - 1, "known"),
            SeriesKey::Labels(labels) => {
                let index = notes.series.iter().position(|l| l == labels);
                let index = index.unwrap_or_else(|| {
                    notes.series.push(labels.clone());
                    notes.series.len() - 1
                });
                (index, "new")
            }
        };
        let labels = &notes.series[index];
        if labels.metric_name().is_some_and(|n| n == "up" || n.starts_with("scrape_")) {
            return Ok(SeriesRef(index as u64 + 1));
        }
        let value = match value {
            Value::Float(_) if value.is_stale() => "stale".to_owned(),
            Value::Float(v) => v.to_string(),
            Value::Histogram(h) => {
                format!("h{} {} {:?}", h.layout.schema, h.count, h.positive_deltas)
            }
            Value::FloatHistogram(h) => {
                format!("f{} {} {:?}", h.layout.schema, h.count, h.positive_buckets)
            }
        };
        let exemplars: Vec<_> = options.exemplars.iter().map(|e| (e.value, e.timestamp)).collect();
        let mut line = format!("{how} {} {t} {value}", labels.without(|n| n == "job"));
        if !exemplars.is_empty() {
            line.push_str(&format!(" {exemplars:?}"));
        }
        if let Some(start) = options.start_timestamp {
            line.push_str(&format!(" since {start}"));
        }
        notes.lines.push(line);
        Ok(SeriesRef(index as u64 + 1))
    }

    fn commit(self: Box<Self>) -> Result<CommitStats, AppendError> {
        Ok(CommitStats::default())
    }
}

struct Fixture {
    storage: Storage,
    ingester: Ingester,
}

impl Fixture {
    fn new(change: impl FnOnce(&mut IngestSettings)) -> Self {
        let mut settings = IngestSettings::default();
        settings.parser.ignore_native_histograms = false;
        change(&mut settings);
        let target = Labels::from_pairs([("job", "j")]);
        Self { storage: Storage::default(), ingester: Ingester::new(&target, Arc::new(settings)) }
    }

    fn page(&mut self, time: i64, content_type: &str, body: &[u8]) -> Ingested {
        let page = Ok(Page { body, content_type });
        let scrape = Scrape { time, started: Duration::ZERO, page };
        self.ingester.ingest(&self.storage, &ManualClock::new(0), scrape)
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.storage.0.lock().unwrap().lines)
    }
}

/// A page with a counter and, if wanted, a native histogram of four buckets with a classic twin.
fn protobuf(histogram: bool) -> Vec<u8> {
    let mut page = Vec::new();
    let mut family = |name: &str, kind: u64, metric: &dyn Fn(&mut Writer<'_>)| {
        let mut message = Vec::new();
        let mut w = Writer::new(&mut message);
        w.bytes(1, name.as_bytes());
        w.varint(3, kind);
        w.message(4, metric);
        put_varint(&mut page, message.len() as u64);
        page.extend_from_slice(&message);
    };
    let exemplar = |w: &mut Writer<'_>, value: f64, seconds: Option<u64>| {
        w.message(16, |w| {
            w.double(2, value);
            if let Some(seconds) = seconds {
                w.message(3, |w| w.varint(1, seconds));
            }
        });
    };
    if histogram {
        family("d", 4, &|w| {
            w.message(7, |w| {
                w.varint(1, 8);
                w.double(2, 4.5);
                w.sint64(5, 1);
                w.message(12, |w| {
                    w.sint64(1, 1);
                    w.varint(2, 4);
                });
                w.packed_varints(13, [2_i64, 0, 0, 0].map(to_zigzag));
                w.message(3, |w| {
                    w.varint(1, 5);
                    w.double(2, 1.0);
                });
                exemplar(w, 2.0, Some(9));
                exemplar(w, 1.0, Some(3));
                exemplar(w, 3.0, None);
            });
        });
    }
    family("c_total", 0, &|w| {
        w.message(3, |w| {
            w.double(1, 1.5);
            w.message(3, |w| w.varint(1, 1));
        });
    });
    page
}

#[test]
fn native_histograms_come_and_go() {
    let mut f = Fixture::new(|_| {});
    let first = f.page(1000, PROTOBUF, &protobuf(true));
    assert!(first.error.is_none(), "{:?}", first.error);
    assert_eq!((first.scraped, first.post_relabel, first.series_added), (2, 2, 2));
    assert_eq!(
        f.lines(),
        [
            r#"new {__name__="d"} 1000 h1 8 [2, 0, 0, 0] [(1.0, Some(3000)), (2.0, Some(9000))]"#,
            r#"new {__name__="c_total"} 1000 1.5"#,
        ]
    );
    assert_eq!(f.ingester.metadata().len(), 2);
    let second = f.page(2000, PROTOBUF, &protobuf(true));
    assert_eq!((second.scraped, second.series_added), (2, 0));
    assert!(f.lines().iter().all(|l| l.starts_with("known")));
    // References that are gone come again with their labels.
    f.storage.0.lock().unwrap().forget = true;
    assert!(f.page(3000, PROTOBUF, &protobuf(true)).error.is_none());
    assert!(f.lines().iter().all(|l| l.starts_with("new")));
    f.storage.0.lock().unwrap().forget = false;
    f.page(4000, PROTOBUF, &protobuf(false));
    let lines = f.lines();
    assert!(lines.contains(&r#"known {__name__="d"} 4000 stale"#.to_owned()), "{lines:?}");
    assert_eq!(f.ingester.metadata().len(), 2);
}

#[test]
fn what_the_job_says_of_histograms() {
    let names = |f: &Fixture| -> Vec<String> {
        let name = |l: &String| l.split(['"']).nth(1).unwrap_or_default().to_owned();
        let mut names: Vec<_> = f.lines().iter().map(name).collect();
        names.dedup();
        names
    };
    let options = |ignore, keep, convert| ParserOptions {
        ignore_native_histograms: ignore,
        keep_classic_histograms: keep,
        convert_classic_histograms: convert,
        start_timestamps: false,
    };
    for (parser, expected) in [
        (options(false, false, false), &["d", "c_total"][..]),
        (options(false, true, false), &["d", "d_count", "d_sum", "d_bucket", "c_total"]),
        (options(true, false, false), &["d_count", "d_sum", "d_bucket", "c_total"]),
        (options(true, false, true), &["d", "c_total"]),
        (options(true, true, true), &["d_count", "d_sum", "d_bucket", "d", "c_total"]),
    ] {
        let mut f = Fixture::new(|s| s.parser = parser);
        assert!(f.page(1000, PROTOBUF, &protobuf(true)).error.is_none());
        assert_eq!(names(&f), expected, "{parser:?}");
    }
    let mut f = Fixture::new(|s| s.parser.start_timestamps = true);
    f.page(1000, PROTOBUF, &protobuf(false));
    assert_eq!(f.lines(), [r#"new {__name__="c_total"} 1000 1.5 since 1000"#]);
}

#[test]
fn histograms_with_too_many_buckets_are_made_coarser_or_fail_the_scrape() {
    let mut f = Fixture::new(|s| s.bucket_limit = 2);
    assert!(f.page(1000, PROTOBUF, &protobuf(true)).error.is_none());
    assert!(f.lines()[0].contains(" h0 8 [4, 0]"), "schema 0 has two buckets");
    let mut f = Fixture::new(|s| s.max_schema = -1);
    assert!(f.page(1000, PROTOBUF, &protobuf(true)).error.is_none());
    assert!(f.lines()[0].contains(" h-1 8 "));
    let mut f = Fixture::new(|s| {
        s.bucket_limit = 1;
        s.parser.convert_classic_histograms = true;
        s.parser.ignore_native_histograms = true;
    });
    let result = f.page(1000, PROTOBUF, &protobuf(true));
    assert!(matches!(result.error, Some(ScrapeError::BucketLimit)));
    assert_eq!((result.scraped, result.post_relabel), (2, 2));
}

#[test]
fn classic_histograms_of_text_are_converted() {
    let mut f = Fixture::new(|s| s.parser.convert_classic_histograms = true);
    let page = b"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 2\nh_count 3\nh_count{a=\"b\"} 0\n# TYPE g gauge\ng 1\n";
    for (time, how) in [(1000, "new"), (2000, "known")] {
        let result = f.page(time, "text/plain", page);
        assert!(result.error.is_none());
        assert_eq!(result.scraped, 3);
        assert_eq!(
            f.lines(),
            [
                format!(r#"{how} {{__name__="h"}} {time} h-53 3 [1, 1]"#),
                format!(r#"{how} {{__name__="h", a="b"}} {time} h-53 0 []"#),
                format!(r#"{how} {{__name__="g"}} {time} 1"#),
            ]
        );
    }
    f.storage.0.lock().unwrap().forget = true;
    assert!(f.page(3000, "text/plain", page).error.is_none());
    assert_eq!(f.lines()[1], r#"new {__name__="h", a="b"} 3000 h-53 0 []"#);
}
