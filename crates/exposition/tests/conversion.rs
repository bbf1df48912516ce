//! Text pages whose lines are not shown as they come: `_created` lines taken for start timestamps,
//! classic histograms converted. The cases are those of `TestNHCBParserOnOMParser`.

#![allow(clippy::unwrap_used, reason = "tests")]

use firesteel_exposition::{Entry, Error, Format, NativeHistogram, Parser, ParserOptions};

fn read(format: Format, page: &str, options: ParserOptions) -> Result<Vec<String>, Error> {
    let mut parser = Parser::with_options(format, page.as_bytes(), options);
    let mut all = Vec::new();
    while let Some(entry) = parser.next_entry()? {
        let series = match &entry {
            Entry::Series(s) => s,
            Entry::Histogram(h) => &h.series,
            Entry::Type { family, kind } => {
                all.push(format!("TYPE {family} {kind}"));
                continue;
            }
            _ => continue,
        };
        let labels = series.to_labels()?;
        let back = format.read_series(series.raw, series.kind(), |s| s.to_labels()).unwrap();
        assert_eq!(back.unwrap(), labels);
        let mut line = labels.to_string().replace("__name__=", "");
        match &entry {
            Entry::Histogram(h) => {
                let layout = match &h.histogram {
                    NativeHistogram::Integer(v) => {
                        let text = format!(" {} {} {:?}", v.count, v.sum, v.positive_deltas);
                        line.push_str(&text);
                        &v.layout
                    }
                    NativeHistogram::Float(v) => {
                        let text = format!(" {}f {} {:?}", v.count, v.sum, v.positive_buckets);
                        line.push_str(&text);
                        &v.layout
                    }
                };
                let spans = layout.positive_spans.iter().map(|s| (s.offset, s.length));
                line.push_str(&format!(" {:?}", spans.collect::<Vec<_>>()));
                line.push_str(&format!(" {:?}", layout.custom_values));
                for e in &h.exemplars {
                    line.push_str(&format!(" # {} {:?}", e.value, e.timestamp));
                }
            }
            _ => line.push_str(&format!(" {}", series.value)),
        }
        if let Some(t) = series.timestamp {
            line.push_str(&format!(" @{t}"));
        }
        if let Some(t) = series.start_timestamp() {
            line.push_str(&format!(" since {t}"));
        }
        if let Some(e) = series.exemplar() {
            line.push_str(&format!(" # {} {:?}", e.value, e.timestamp));
        }
        all.push(line);
    }
    Ok(all)
}

const CONVERT: ParserOptions = ParserOptions {
    ignore_native_histograms: false,
    keep_classic_histograms: false,
    convert_classic_histograms: true,
    start_timestamps: false,
};
const KEEP: ParserOptions = ParserOptions { keep_classic_histograms: true, ..CONVERT };
const WITH_START: ParserOptions = ParserOptions { start_timestamps: true, ..CONVERT };

const PAGE: &str = r#"# TYPE hhh histogram
hhh_bucket{le="+Inf"} 1 # {id="a"} 4
hhh_count 1 # {id="b"} 4
# TYPE gh gaugehistogram
gh_bucket{le="+Inf"} 1
# HELP foo Counter with and without labels.
# TYPE foo counter
foo_total 17.0 1520879607.789 # {id="counter-test"} 5
foo_created 1520872607.123
foo_total{a="b"} 17.0 1520879607.789
foo_created{a="b"} 1520872607.123
foo_total{a="c"} 17.0
# TYPE bar summary
bar_count 17.0
bar_sum 324789.3
bar{quantile="0.95"} 123.7
bar_created 1520872608.124
# TYPE baz histogram
baz_bucket{le="0.0"} 0
baz_bucket{le="+Inf"} 17
baz_count 17
baz_sum 324789.3
baz_created 1520872609.125
# TYPE fizz_created gauge
fizz_created 17.0
# TYPE something histogram
something_count 18
something_sum 324789.4
something_created 1520430001
something_bucket{le="0.0"} 1
something_bucket{le="+Inf"} 18
something_count{a="b"} 9
something_sum{a="b"} 42123.0
something_bucket{a="b",le="0.0"} 8
something_bucket{a="b",le="+Inf"} 9
something_created{a="b"} 1520430002
# TYPE yum summary
yum_count 20
yum_created 1520430003
yum{quantile="0.95"} 123.7
# EOF
"#;

#[test]
fn created_lines_say_when_counting_began() {
    assert_eq!(
        read(Format::OpenMetrics, PAGE, WITH_START).unwrap(),
        [
            "TYPE hhh histogram",
            r#"{"hhh"} 1 0 [1] [(0, 1)] [] # 4 None # 4 None"#,
            "TYPE gh gaugehistogram",
            r#"{"gh_bucket", le="+Inf"} 1"#,
            "TYPE foo counter",
            r#"{"foo_total"} 17 @1520879607789 since 1520872607123 # 5 None"#,
            r#"{"foo_total", a="b"} 17 @1520879607789 since 1520872607123"#,
            r#"{"foo_total", a="c"} 17"#,
            "TYPE bar summary",
            r#"{"bar_count"} 17 since 1520872608124"#,
            r#"{"bar_sum"} 324789.3 since 1520872608124"#,
            r#"{"bar", quantile="0.95"} 123.7 since 1520872608124"#,
            "TYPE baz histogram",
            r#"{"baz"} 17 324789.3 [17] [(1, 1)] [0.0] since 1520872609125"#,
            "TYPE fizz_created gauge",
            r#"{"fizz_created"} 17"#,
            "TYPE something histogram",
            r#"{"something"} 18 324789.4 [1, 16] [(0, 2)] [0.0] since 1520430001000"#,
            r#"{"something", a="b"} 9 42123 [8, -7] [(0, 2)] [0.0] since 1520430002000"#,
            "TYPE yum summary",
            r#"{"yum_count"} 20 since 1520430003000"#,
            r#"{"yum", quantile="0.95"} 123.7 since 1520430003000"#,
        ]
    );
    // Without the option they are series.
    let plain = read(Format::OpenMetrics, PAGE, ParserOptions::default()).unwrap();
    assert!(plain.contains(&r#"{"foo_created", a="b"} 1520872607.123"#.to_owned()));
}

#[test]
fn classic_histograms_are_gathered() {
    let page = r#"# TYPE h histogram
h_bucket{le="0.0"} 1 # {id="x"} -2.0
h_bucket{le="1.0"} 16 # {id="x"} 0.5 12.5
h_bucket{le="+Inf"} 18
h_count 18
h_sum 3.5
h_bucket{b="c",le="0.5",a="b"} 1.5
h_bucket{a="b",b="c",le="+Inf"} 2
# TYPE g gauge
g 1
# EOF
"#;
    let converted = [
        "TYPE h histogram",
        r#"{"h"} 18 3.5 [1, 14, -13] [(0, 3)] [0.0, 1.0] # -2 None # 0.5 Some(12500)"#,
        r#"{"h", a="b", b="c"} 2f 0 [1.5, 0.5] [(0, 2)] [0.5]"#,
        "TYPE g gauge",
        r#"{"g"} 1"#,
    ];
    assert_eq!(read(Format::OpenMetrics, page, CONVERT).unwrap(), converted);
    let text: String = page
        .lines()
        .filter(|l| *l != "# EOF")
        .map(|l| match l.split_once(" # ") {
            Some((line, _)) => format!("{line}\n"),
            None => format!("{l}\n"),
        })
        .collect();
    let text = read(Format::PrometheusText, &text, KEEP).unwrap();
    assert_eq!(text.len(), 12);
    assert_eq!(text[1], r#"{"h_bucket", le="0.0"} 1"#);
    assert_eq!(text[6], r#"{"h"} 18 3.5 [1, 14, -13] [(0, 3)] [0.0, 1.0]"#);
}

#[test]
fn what_is_no_sound_histogram_is_left_out() {
    for (lines, expected) in [
        // Counts that go down, or do not fit the total.
        ("h_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 3\nh_count 5\n", vec![]),
        ("h_bucket{le=\"1\"} 5\nh_count 3\n", vec![]),
        ("h_bucket{le=\"+Inf\"} 5\nh_count 3\n", vec![]),
        ("h_bucket{le=\"1\"} -5\n", vec![]),
        // In any order, one twice.
        (
            "h_bucket{le=\"2\"} 5\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"1\"} 4\n",
            vec![r#"{"h"} 5 0 [3, -1] [(0, 2)] [1.0, 2.0]"#],
        ),
        ("h_count 3\n", vec![r#"{"h"} 3 0 [3] [(0, 1)] []"#]),
        // Not of this family, or without a bound.
        ("i_count 3\nh_bucket 4\n", vec![r#"{"i_count"} 3"#, r#"{"h_bucket"} 4"#]),
    ] {
        let page = format!("# TYPE h histogram\n{lines}");
        let entries = read(Format::PrometheusText, &page, CONVERT).unwrap();
        assert_eq!(entries[1..], expected, "{lines}");
    }
    // What comes behind a bad one is not spoiled.
    let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_count 3\nh_count{a=\"b\"} 3\n";
    let entries = read(Format::PrometheusText, page, CONVERT).unwrap();
    assert_eq!(entries[1..], [r#"{"h", a="b"} 3 0 [3] [(0, 1)] []"#]);
}

#[test]
fn predictions_hold_where_lines_are_converted() {
    let options = [CONVERT, KEEP, WITH_START];
    for options in options {
        let expected = read(Format::OpenMetrics, PAGE, options).unwrap();
        // A parser that is asked for what it may not predict says so.
        let mut parser = Parser::with_options(Format::OpenMetrics, PAGE.as_bytes(), options);
        let mut n = 0;
        loop {
            assert!(!parser.skip_known(b"# TYPE hhh histogram\n", None));
            if parser.next_known(b"hhh_count").is_some() {
                panic!("predicted");
            }
            match parser.next_entry().unwrap() {
                None => break,
                Some(Entry::Help { .. }) => {}
                Some(_) => n += 1,
            }
        }
        assert_eq!(n, expected.len());
    }
}
