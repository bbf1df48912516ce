//! Protobuf pages and the entries that Prometheus makes of them.

#![allow(clippy::unwrap_used, reason = "tests")]

use firesteel_exposition::{
    Entry, Error, Format, NativeHistogram, Parser, ParserOptions, encode_protobuf,
};
use firesteel_model::{
    MetricType,
    metrics::{Families, Point},
    wire::{Writer, put_varint},
};

fn read(page: &[u8], options: ParserOptions) -> Result<Vec<String>, Error> {
    let mut parser = Parser::with_options(Format::Protobuf, page, options);
    let mut all = Vec::new();
    while let Some(entry) = parser.next_entry()? {
        all.push(match entry {
            Entry::Series(s) => {
                let mut line = format!("{} {}", s.to_labels()?, s.value);
                if let Some(t) = s.timestamp {
                    line.push_str(&format!(" @{t}"));
                }
                if let Some(t) = s.start_timestamp() {
                    line.push_str(&format!(" since {t}"));
                }
                if let Some(e) = s.exemplar() {
                    let e = e.to_exemplar();
                    line.push_str(&format!(" # {} {} {:?}", e.labels, e.value, e.timestamp));
                }
                // What stands for the series leads back to it.
                let back = Format::Protobuf.read_series(s.raw, s.kind(), |s| s.to_labels());
                assert_eq!(back.unwrap().unwrap(), s.to_labels()?);
                line
            }
            Entry::Histogram(h) => {
                let mut line = format!("{} ", h.series.to_labels()?);
                let layout = match &h.histogram {
                    NativeHistogram::Integer(v) => {
                        line.push_str(&format!("{} {} {:?}", v.count, v.sum, v.positive_deltas));
                        &v.layout
                    }
                    NativeHistogram::Float(v) => {
                        line.push_str(&format!("{}f {} {:?}", v.count, v.sum, v.positive_buckets));
                        &v.layout
                    }
                };
                let spans = layout.positive_spans.iter().map(|s| (s.offset, s.length));
                line.push_str(&format!(" s{} {:?}", layout.schema, spans.collect::<Vec<_>>()));
                if !layout.custom_values.is_empty() {
                    line.push_str(&format!(" {:?}", layout.custom_values));
                }
                for e in &h.exemplars {
                    line.push_str(&format!(" # {} {} {:?}", e.labels, e.value, e.timestamp));
                }
                line
            }
            Entry::Type { family, kind } => {
                let text = format!("TYPE {family} {kind}");
                assert_eq!(
                    Format::Protobuf.family_of(parser.entry_text()).as_deref(),
                    Some(&*family)
                );
                text
            }
            Entry::Help { family, text } => format!("HELP {family} {text:?}"),
            Entry::Unit { family, unit } => format!("UNIT {family} {unit}"),
            other => panic!("{other:?}"),
        });
    }
    Ok(all)
}

/// A family with these metrics.
fn family(name: &str, kind: u64, metrics: &[&dyn Fn(&mut Writer<'_>)]) -> Vec<u8> {
    let mut message = Vec::new();
    let mut w = Writer::new(&mut message);
    w.bytes(1, name.as_bytes());
    w.bytes(2, b"Help.");
    w.varint(3, kind);
    for metric in metrics {
        w.message(4, |w| metric(w));
    }
    let mut page = Vec::new();
    put_varint(&mut page, message.len() as u64);
    page.extend_from_slice(&message);
    page
}

fn label(w: &mut Writer<'_>, name: &str, value: &str) {
    w.message(1, |w| {
        w.bytes(1, name.as_bytes());
        w.bytes(2, value.as_bytes());
    });
}

fn time(w: &mut Writer<'_>, field: u32, seconds: i64, nanos: i64) {
    w.message(field, |w| {
        w.int64(1, seconds);
        w.int64(2, nanos);
    });
}

fn exemplar(w: &mut Writer<'_>, field: u32, id: &str, value: f64, seconds: Option<i64>) {
    w.message(field, |w| {
        label(w, "id", id);
        w.double(2, value);
        if let Some(seconds) = seconds {
            time(w, 3, seconds, 500_000_000);
        }
    });
}

/// A histogram with two classic buckets and, if wanted, native ones.
fn histogram(w: &mut Writer<'_>, native: bool) {
    w.message(7, |w| {
        w.varint(1, 7);
        w.double(2, 12.5);
        for (count, bound) in [(2, 1.0), (5, 2.5)] {
            w.message(3, |w| {
                w.varint(1, count);
                w.double(2, bound);
                exemplar(w, 3, "b", bound, (bound > 1.0).then_some(20));
            });
        }
        if native {
            w.sint64(5, 3);
            w.double(6, 0.001);
            w.varint(7, 1);
            w.message(12, |w| {
                w.sint64(1, -2);
                w.varint(2, 3);
            });
            w.packed_varints(13, [2_u64, 3, 8].map(|v| v)); // +1, -2, +4
            exemplar(w, 16, "n", 1.5, Some(10));
            exemplar(w, 16, "without a time", 1.5, None);
        }
        time(w, 15, 5, 0);
    });
}

const BOTH: ParserOptions = ParserOptions {
    ignore_native_histograms: false,
    keep_classic_histograms: true,
    convert_classic_histograms: false,
    start_timestamps: false,
};

#[test]
fn simple_types() {
    let mut page = family(
        "c_total",
        0,
        &[&|w| {
            label(w, "a", "b");
            w.message(3, |w| {
                w.double(1, 1.5);
                exemplar(w, 2, "x", 0.5, None);
                time(w, 3, 1, 5_000_000);
            });
            w.int64(6, 1234);
        }],
    );
    page.extend(family(
        "g",
        1,
        &[&|w| w.message(2, |w| w.double(1, -1.0)), &|w| label(w, "l", "")],
    ));
    page.extend(family("u", 3, &[&|w| w.message(5, |w| w.double(1, 3.0))]));
    page.extend(family("without_metrics", 9, &[]));
    page.extend(family(
        "s",
        2,
        &[
            &|w| {
                w.message(4, |w| {
                    w.varint(1, 4);
                    w.double(2, 8.0);
                    w.message(3, |w| {
                        w.double(1, 0.5);
                        w.double(2, 2.0);
                    });
                    w.message(3, |w| {
                        w.double(1, 1.0);
                        w.double(2, f64::INFINITY);
                    });
                });
            },
            &|_| {},
        ],
    ));
    assert_eq!(
        read(&page, ParserOptions::default()).unwrap(),
        [
            "HELP c_total \"Help.\"",
            "TYPE c_total counter",
            r#"{__name__="c_total", a="b"} 1.5 @1234 since 1005 # {id="x"} 0.5 None"#,
            "HELP g \"Help.\"",
            "TYPE g gauge",
            r#"{__name__="g"} -1"#,
            r#"{__name__="g"} 0"#,
            "HELP u \"Help.\"",
            "TYPE u unknown",
            r#"{__name__="u"} 3"#,
            "HELP s \"Help.\"",
            "TYPE s summary",
            r#"{__name__="s_count"} 4"#,
            r#"{__name__="s_sum"} 8"#,
            r#"{__name__="s", quantile="0.5"} 2"#,
            r#"{__name__="s", quantile="1.0"} inf"#,
            r#"{__name__="s_count"} 0"#,
            r#"{__name__="s_sum"} 0"#,
        ]
    );
}

const CLASSIC: [&str; 5] = [
    r#"{__name__="h_count"} 7 since 5000"#,
    r#"{__name__="h_sum"} 12.5 since 5000"#,
    r#"{__name__="h_bucket", le="1.0"} 2 since 5000 # {id="b"} 1 None"#,
    r#"{__name__="h_bucket", le="2.5"} 5 since 5000 # {id="b"} 2.5 Some(20500)"#,
    r#"{__name__="h_bucket", le="+Inf"} 7 since 5000"#,
];
const NATIVE: &str = r#"{__name__="h"} 7 12.5 [1, -2, 4] s3 [(-2, 3)] # {id="n"} 1.5 Some(10500)"#;
const CONVERTED: &str =
    r#"{__name__="h"} 7 12.5 [2, 1, -1] s-53 [(0, 3)] [1.0, 2.5] # {id="b"} 2.5 Some(20500)"#;

fn samples(page: &[u8], options: ParserOptions) -> Vec<String> {
    read(page, options).unwrap().split_off(2)
}

#[test]
fn histograms_are_what_is_asked_for() {
    let classic = family("h", 4, &[&|w| histogram(w, false)]);
    let native = family("h", 4, &[&|w| histogram(w, true)]);
    let plain = ParserOptions::default();
    assert_eq!(samples(&classic, plain), CLASSIC);
    // The buckets say -2: (1), -1: (-1)? No: what they say is kept, storages validate it.
    assert_eq!(samples(&native, plain), [NATIVE]);
    assert_eq!(samples(&native, BOTH), [&[NATIVE][..], &CLASSIC[..]].concat());
    let ignoring = ParserOptions { ignore_native_histograms: true, ..plain };
    assert_eq!(samples(&native, ignoring), CLASSIC);
    let converting = ParserOptions { convert_classic_histograms: true, ..plain };
    assert_eq!(samples(&classic, converting), [CONVERTED]);
    assert_eq!(samples(&native, converting), [NATIVE]);
    let all = ParserOptions { convert_classic_histograms: true, ..BOTH };
    assert_eq!(samples(&classic, all), [&CLASSIC[..], &[CONVERTED][..]].concat());
    let ignoring = ParserOptions { ignore_native_histograms: true, ..converting };
    assert!(samples(&native, ignoring)[0].starts_with(r#"{__name__="h"} 7 12.5 [2, 1, -1] s-53"#));
    // A family may have both.
    let both = family(
        "h",
        4,
        &[&|w| histogram(w, true), &|w| histogram(w, false), &|w| histogram(w, true)],
    );
    assert_eq!(samples(&both, plain), [&[NATIVE][..], &CLASSIC[..], &[NATIVE][..]].concat());
}

#[test]
fn float_histograms_and_gauges() {
    let page = family(
        "h",
        5,
        &[&|w| {
            w.message(7, |w| {
                w.double(4, 5.5);
                w.double(2, 1.0);
                w.message(12, |w| w.varint(2, 3));
                w.packed_doubles(14, &[0.0, 2.5, 3.0]);
            });
        }],
    );
    let mut parser = Parser::new(Format::Protobuf, &page);
    let mut found = None;
    while let Some(entry) = parser.next_entry().unwrap() {
        if let Entry::Histogram(h) = entry {
            found = Some(h.histogram);
        }
    }
    let Some(NativeHistogram::Float(h)) = found else { panic!("{found:?}") };
    assert_eq!(h.counter_reset_hint, firesteel_model::histogram::CounterResetHint::Gauge);
    // The empty bucket is gone.
    assert_eq!((h.positive_buckets, h.layout.positive_spans[0].offset), (vec![2.5, 3.0], 1));
}

#[test]
fn an_empty_span_makes_a_native_histogram() {
    let page = family(
        "h",
        4,
        &[&|w| {
            w.message(7, |w| w.message(12, |_| {}));
        }],
    );
    assert_eq!(samples(&page, ParserOptions::default()), [r#"{__name__="h"} 0 0 [] s0 []"#]);
}

#[test]
fn what_is_wrong_is_refused() {
    let errors = |page: &[u8]| read(page, ParserOptions::default()).unwrap_err().to_string();
    assert_eq!(errors(&[0x80; 6]), "clientpb: invalid varint encountered");
    assert_eq!(
        errors(&[5, 1]),
        "clientpb: insufficient length of buffer, expected at least 6 bytes, got 2 bytes"
    );
    let metric: &dyn Fn(&mut Writer<'_>) = &|w| w.message(2, |w| w.double(1, 1.0));
    assert_eq!(errors(&family("", 1, &[metric])), "invalid metric name: ");
    assert_eq!(errors(&family("a", 6, &[metric])), "unknown metric type for metric \"a\": 6");
    let bad = family("a", 1, &[&|w| label(w, "", "x")]);
    assert_eq!(errors(&bad), "invalid label name: ");
    let bad = family("a", 1, &[&|w| w.message(1, |w| w.bytes(2, b"\xff"))]);
    assert_eq!(errors(&bad), "invalid label value: \u{fffd}");
    let bad = family("a", 4, &[&|w| w.message(7, |w| w.message(12, |w| w.varint(2, 1 << 31)))]);
    assert_eq!(
        errors(&bad),
        "histogram \"a\": positive side: spans require 2147483648 buckets, have 0"
    );
    let bad = family("a", 1, &[&|w| w.varint(2, 1)]);
    assert!(errors(&bad).starts_with("protobuf: unexpected wire type Varint at byte "));
    // Cut anywhere, a page is an error or shorter.
    let page = family("h", 4, &[&|w| histogram(w, true), &|w| histogram(w, false)]);
    for end in 0..page.len() {
        let _ = read(&page[..end], BOTH);
    }
}

#[test]
fn what_is_written_reads_back() {
    let mut families = Families::new();
    families.add("c_total", MetricType::Counter, "A counter.", &[("a", "b")], Point::Value(3.0));
    families.gauge("g", "", -1.0);
    let buckets = vec![(0.5, 1), (f64::INFINITY, 2)];
    let point = Point::Histogram { buckets, count: 2, sum: 1.25 };
    families.add("h", MetricType::Histogram, "A histogram.", &[], point);
    let point = Point::Summary { quantiles: vec![(0.9, 7.0)], count: 1, sum: 7.0 };
    families.add("s", MetricType::Summary, "A summary.", &[], point);
    let mut page = Vec::new();
    encode_protobuf(&families.into_sorted(), &mut page);
    let entries = read(&page, ParserOptions::default()).unwrap();
    let samples: Vec<_> = entries.iter().filter(|e| e.starts_with('{')).collect();
    assert_eq!(
        samples,
        [
            r#"{__name__="c_total", a="b"} 3"#,
            r#"{__name__="g"} -1"#,
            r#"{__name__="h_count"} 2"#,
            r#"{__name__="h_sum"} 1.25"#,
            r#"{__name__="h_bucket", le="0.5"} 1"#,
            r#"{__name__="h_bucket", le="+Inf"} 2"#,
            r#"{__name__="s_count"} 1"#,
            r#"{__name__="s_sum"} 7"#,
            r#"{__name__="s", quantile="0.9"} 7"#,
        ]
    );
}
