//! Properties that hold for every input.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::borrow::Cow;

use firesteel_exposition::{Entry, Format, Parser, encode_openmetrics, encode_text};
use firesteel_model::{
    Labels, METRIC_NAME, MetricType,
    metrics::{Families, Family, Point},
};
use proptest::prelude::*;

const FORMATS: [Format; 2] = [Format::PrometheusText, Format::OpenMetrics];

/// Pieces of pages: what scanners trip over, put together at random.
fn page() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"# HELP ",
        b"# TYPE ",
        b"# UNIT ",
        b"# EOF",
        b"#",
        b" # {",
        b"a",
        b"a_b:c",
        b"le",
        b"{",
        b"}",
        b"=",
        b",",
        b"\"",
        b"\\",
        b"\\\"",
        b"\\n",
        b" ",
        b"  ",
        b"\t",
        b"\n",
        b"\0",
        b"\xff",
        b"\xc3\xa9",
        b"1",
        b"-1.5e3",
        b"NaN",
        b"+Inf",
        b"99999999999999999999",
        b"1e999",
        b"histogram",
        b"counter",
        b"a{b=\"c\"} 1\n",
        b"{\"a.b\",c=\"d\"} 2 3\n",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|p| p.concat())
}

fn walk(format: Format, page: &[u8]) -> usize {
    let mut parser = Parser::new(format, page);
    let mut entries = 0;
    let mut raws = Vec::new();
    loop {
        match parser.next_entry() {
            Ok(Some(Entry::Series(s))) => {
                let _ = s.to_labels();
                let _ = s.exemplar().map(|e| e.to_exemplar());
                raws.push((s.raw.to_vec(), s.value.to_bits(), s.timestamp));
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(e) => {
                let place = e.syntax().expect("a syntax error");
                assert!(place.offset <= page.len() && place.line >= 1 && place.column >= 1);
                assert!(e.to_string().len() < 6000);
                break;
            }
        }
        entries += 1;
    }
    // Where the quick reading of a known series answers, it answers the same.
    let mut parser = Parser::new(format, page);
    let mut expected = raws.into_iter();
    let mut next = expected.next();
    while let Some((raw, value, timestamp)) = &next {
        if let Some(Ok(s)) = parser.next_known(raw) {
            assert_eq!((s.value.to_bits(), s.timestamp), (*value, *timestamp));
            next = expected.next();
        } else if let Ok(Some(Entry::Series(s))) = parser.next_entry() {
            assert_eq!(
                (s.raw.to_vec(), s.value.to_bits(), s.timestamp),
                (raw.clone(), *value, *timestamp)
            );
            next = expected.next();
        }
    }
    entries
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(page in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in FORMATS {
            walk(format, &page);
        }
    }

    #[test]
    fn pieces_of_pages_never_panic(page in page()) {
        for format in FORMATS {
            walk(format, &page);
        }
    }

    #[test]
    fn content_types_never_panic(header in "\\PC{0,40}") {
        let _ = Format::from_content_type(&header, None);
    }

    #[test]
    fn what_is_written_reads_back(families in families()) {
        for format in FORMATS {
            let mut page = Vec::new();
            match format {
                Format::OpenMetrics => encode_openmetrics(&families, &mut page),
                _ => encode_text(&families, &mut page),
            }
            let expected: Vec<_> = families.iter().flat_map(|f| samples(f, format)).collect();
            let mut got = Vec::new();
            let mut helps = Vec::new();
            let mut parser = Parser::new(format, &page);
            while let Some(entry) = parser.next_entry().expect("our own page") {
                match entry {
                    Entry::Series(s) => {
                        got.push((s.to_labels().expect("no duplicates"), s.value.to_bits()));
                    }
                    Entry::Help { text, .. } => helps.push(text.into_owned()),
                    _ => {}
                }
            }
            prop_assert_eq!(got, expected);
            let expected: Vec<_> =
                families.iter().filter(|f| !f.help.is_empty()).map(|f| f.help.to_string()).collect();
            prop_assert_eq!(helps, expected);
        }
    }
}

fn samples(family: &Family, format: Format) -> Vec<(Labels, u64)> {
    let openmetrics = format == Format::OpenMetrics;
    let name = match family.kind {
        MetricType::Counter if openmetrics && !family.name.ends_with("_total") => {
            format!("{}_total", family.name)
        }
        _ => family.name.to_string(),
    };
    family
        .points
        .iter()
        .map(|(labels, point)| {
            let Point::Value(v) = point else { unreachable!("values only") };
            let pairs = labels.iter().map(|(n, v)| (n.as_ref(), v.as_str()));
            let v = if v.is_nan() { f64::from_bits(0x7ff8_0000_0000_0001) } else { *v };
            (Labels::from_pairs(pairs.chain([(METRIC_NAME, name.as_str())])), v.to_bits())
        })
        .collect()
}

fn families() -> impl Strategy<Value = Vec<Family>> {
    let name = "[a-z_:.\u{e9} \"\\\\\n]{1,8}";
    let labels =
        prop::collection::btree_map("[a-z.\u{e9}\"\\\\]{1,6}", "[a-z\u{e9}\"\\\\\n ]{0,6}", 0..4);
    let point = (labels, any::<f64>());
    let family = (
        name,
        "[a-z\u{e9}\"\\\\ ]{0,10}x",
        prop::sample::select(&[MetricType::Counter, MetricType::Gauge, MetricType::Unknown][..]),
        prop::collection::vec(point, 0..4),
    );
    let family = family.prop_map(|(name, help, kind, points)| Family {
        name: Cow::Owned(name),
        help: Cow::Owned(help),
        kind,
        points: points
            .into_iter()
            .map(|(labels, v)| {
                (labels.into_iter().map(|(n, v)| (Cow::Owned(n), v)).collect(), Point::Value(v))
            })
            .collect(),
    });
    prop::collection::vec(family, 0..4)
}

#[test]
fn a_page_of_every_kind_of_point() {
    let mut families = Families::new();
    families.counter("requests_total", "All \"requests\".\nReally.", 3.0);
    families.gauge("temperature", "", -1.5);
    let buckets = vec![(0.1, 1), (1.0, 2), (f64::INFINITY, 3)];
    let histogram = Point::Histogram { buckets, count: 3, sum: 4.5 };
    families.add("latency_seconds", MetricType::Histogram, "L", &[("path", "/\"x\"")], histogram);
    let summary = Point::Summary { quantiles: vec![(0.5, f64::NAN)], count: 0, sum: 0.0 };
    families.add("size", MetricType::Summary, "S", &[], summary);
    let families = families.into_sorted();
    let mut text = Vec::new();
    encode_text(&families, &mut text);
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "# HELP latency_seconds L\n\
         # TYPE latency_seconds histogram\n\
         latency_seconds_bucket{path=\"/\\\"x\\\"\",le=\"0.1\"} 1\n\
         latency_seconds_bucket{path=\"/\\\"x\\\"\",le=\"1\"} 2\n\
         latency_seconds_bucket{path=\"/\\\"x\\\"\",le=\"+Inf\"} 3\n\
         latency_seconds_sum{path=\"/\\\"x\\\"\"} 4.5\n\
         latency_seconds_count{path=\"/\\\"x\\\"\"} 3\n\
         # HELP requests_total All \"requests\".\\nReally.\n\
         # TYPE requests_total counter\n\
         requests_total 3\n\
         # HELP size S\n\
         # TYPE size summary\n\
         size{quantile=\"0.5\"} NaN\n\
         size_sum 0\n\
         size_count 0\n\
         # TYPE temperature gauge\n\
         temperature -1.5\n"
    );
    let mut page = Vec::new();
    encode_openmetrics(&families, &mut page);
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("# TYPE requests counter\nrequests_total 3.0\n"), "{page}");
    assert!(page.contains("le=\"1.0\"} 2\n") && page.ends_with("# EOF\n"), "{page}");
}
