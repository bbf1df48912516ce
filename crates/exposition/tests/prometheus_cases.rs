//! Pages and the answers that Prometheus 3.14 gives for them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use firesteel_exposition::{Entry, Error, Format, Parser};

fn read(format: Format, page: &[u8]) -> Result<Vec<String>, Error> {
    let mut parser = Parser::new(format, page);
    let mut all = Vec::new();
    while let Some(entry) = parser.next_entry()? {
        all.push(match entry {
            Entry::Series(s) => {
                let labels = s.to_labels()?;
                let mut line = format!("{} {labels} {}", String::from_utf8_lossy(s.raw), s.value);
                if let Some(t) = s.timestamp {
                    line.push_str(&format!(" @{t}"));
                }
                if let Some(e) = s.exemplar() {
                    let e = e.to_exemplar();
                    line.push_str(&format!(" # {} {} {:?}", e.labels, e.value, e.timestamp));
                }
                line
            }
            Entry::Type { family, kind } => format!("TYPE {family} {kind}"),
            Entry::Help { family, text } => format!("HELP {family} {text:?}"),
            Entry::Unit { family, unit } => format!("UNIT {family} {unit}"),
            Entry::Comment(text) => format!("COMMENT {}", String::from_utf8_lossy(text)),
            other => panic!("{other:?}"),
        });
    }
    Ok(all)
}

fn text(page: &str) -> Vec<String> {
    read(Format::PrometheusText, page.as_bytes()).unwrap()
}

fn openmetrics(page: &str) -> Vec<String> {
    read(Format::OpenMetrics, page.as_bytes()).unwrap()
}

#[test]
fn text_tolerates_what_prometheus_tolerates() {
    let page = "# HELP d A summary.\n\
        # \tTYPE d summary\n\
        d{quantile=\"0\"} 4.9351e-05\n\
        d{quantile=\"0.25\",} 7.424100000000001e-05\n\
        d{ quantile=\"0.9\", a=\"b\"} 8.3835e-05\n\
        # TYPE h histogram\n\
        h_bucket{le=\"1\"} 423\n\
        h_bucket{le=\"+Inf\"} 1423\n\
        # Hrandom comment starting with prefix of HELP\n\
        #\n\
        w{A=\"2\",c=\"3\"} 12345\n\
        # HELP nohelp1\n\
        # HELP nohelp2 \n\
        d { quantile = \"2.0\" a = \"b\" } 8.3835e-05\n\
        some:aggregate:rate5m{a_b=\"c\"}\t1\n\
        \n\
        g 33  \t123123 \n\
        l{label=\"\\\"bar\\\"\"} 1\n\
        # HELP metric foo\0bar\n\
        n{a=\"abc\0\"}1\n\
        {\"a.b\",\"l \\n\"=\"v\nw\"} 10.0";
    let expected = [
        "HELP d \"A summary.\"",
        "TYPE d summary",
        "d{quantile=\"0\"} {__name__=\"d\", quantile=\"0.0\"} 0.000049351",
        "d{quantile=\"0.25\",} {__name__=\"d\", quantile=\"0.25\"} 0.00007424100000000001",
        "d{ quantile=\"0.9\", a=\"b\"} {__name__=\"d\", a=\"b\", quantile=\"0.9\"} 0.000083835",
        "TYPE h histogram",
        "h_bucket{le=\"1\"} {__name__=\"h_bucket\", le=\"1.0\"} 423",
        "h_bucket{le=\"+Inf\"} {__name__=\"h_bucket\", le=\"+Inf\"} 1423",
        "COMMENT # Hrandom comment starting with prefix of HELP",
        "COMMENT #",
        "w{A=\"2\",c=\"3\"} {A=\"2\", __name__=\"w\", c=\"3\"} 12345",
        "HELP nohelp1 \"\"",
        "HELP nohelp2 \"\"",
        "d { quantile = \"2.0\" a = \"b\" } {__name__=\"d\", a=\"b\", quantile=\"2.0\"} 0.000083835",
        "some:aggregate:rate5m{a_b=\"c\"} {__name__=\"some:aggregate:rate5m\", a_b=\"c\"} 1",
        "g {__name__=\"g\"} 33 @123123",
        "l{label=\"\\\"bar\\\"\"} {__name__=\"l\", label=\"\\\"bar\\\"\"} 1",
        "HELP metric \"foo\\0bar\"",
        "n{a=\"abc\0\"} {__name__=\"n\", a=\"abc\\x00\"} 1",
        "{\"a.b\",\"l \\n\"=\"v\nw\"} {__name__=\"a.b\", \"l \\n\"=\"v\\nw\"} 10",
    ];
    assert_eq!(text(page), expected);
}

#[test]
fn text_errors_are_prometheus_own() {
    for (page, error) in [
        ("a", r#"expected value after metric, got "\n" ("INVALID") while parsing: "a\n""#),
        ("a{b='c'} 1\n", r#"expected label value, got "'" ("INVALID") while parsing: "a{b='""#),
        ("a{b=\n", r#"expected label value, got "\n" ("INVALID") while parsing: "a{b=\n""#),
        (
            r#"{"a", "b = "c"}"#,
            r#"expected equal, got "c\"" ("LNAME") while parsing: "{\"a\", \"b = \"c\"""#,
        ),
        (
            r#"{"a",b\nc="d"} 1"#,
            r#"expected equal, got "\\" ("INVALID") while parsing: "{\"a\",b\\""#,
        ),
        (
            "a true\n",
            r#"strconv.ParseFloat: parsing "true": invalid syntax while parsing: "a true""#,
        ),
        (
            "something_weird{problem=\"",
            r#"expected label value, got "\"\n" ("INVALID") while parsing: "something_weird{problem=\"\n""#,
        ),
        (
            r#"empty_label_name{=""} 0"#,
            r#"expected label name, got "=\"" ("EQUAL") while parsing: "empty_label_name{=\"""#,
        ),
        ("{A}0", r#"expected equal, got "}0" ("BCLOSE") while parsing: "{A}0""#),
        ("foo 1_2\n", r#"unsupported character in float while parsing: "foo 1_2""#),
        ("foo 0x1P-3\n", r#"unsupported character in float while parsing: "foo 0x1P-3""#),
        (
            "foo 0 1_2\n",
            r#"expected next entry after timestamp, got "_" ("INVALID") while parsing: "foo 0 1_""#,
        ),
        (r#"{a="ok"} 1"#, r#"metric name not set while parsing: "{a=\"ok\"} 1""#),
        (
            "# TYPE #\n#EOF\n",
            r##"expected metric name after TYPE, got "#" ("INVALID") while parsing: "# TYPE #""##,
        ),
        (
            "a{b=\0\"ssss\"} 1\n",
            r#"expected label value, got "\x00" ("INVALID") while parsing: "a{b=\x00""#,
        ),
        (
            "a{b=\"\0",
            r#"expected label value, got "\"\x00\n" ("INVALID") while parsing: "a{b=\"\x00\n""#,
        ),
        (
            "a{b\0=\"hiih\"}\t1",
            r#"expected equal, got "\x00" ("INVALID") while parsing: "a{b\x00""#,
        ),
        (
            "a\0{b=\"ddd\"} 1",
            r#"expected value after metric, got "\x00" ("INVALID") while parsing: "a\x00""#,
        ),
        (
            "a 0 1\0",
            r#"expected next entry after timestamp, got "\x00" ("INVALID") while parsing: "a 0 1\x00""#,
        ),
        ("# TYPE a enum\n", r#"invalid metric type "enum""#),
        (
            "a 1 99999999999999999999\n",
            r#"strconv.ParseInt: parsing "99999999999999999999": value out of range while parsing: "a 1 99999999999999999999""#,
        ),
        (
            "a 1 -5\n",
            r#"expected timestamp or new record, got "-" ("INVALID") while parsing: "a 1 -""#,
        ),
        ("a{\"b\"} 1\n", r#"metric name already set while parsing: "a{\"b\"}""#),
    ] {
        let got = read(Format::PrometheusText, page.as_bytes()).unwrap_err();
        assert_eq!(got.to_string(), error, "{page:?}");
    }
    let invalid = b"ok 1\na{\xff=\"foo\"} 1\n";
    let e = read(Format::PrometheusText, invalid).unwrap_err();
    let text = r#"expected label name, got "\xff" ("INVALID") while parsing: "a{\xff""#;
    assert_eq!(e.to_string(), text);
    let place = e.syntax().unwrap();
    assert_eq!((place.offset, place.line, place.column), (7, 2, 3));
    let e = read(Format::PrometheusText, b"a{b=\"\xff\"} 1\n").unwrap_err();
    assert_eq!(e.to_string(), r#"invalid UTF-8 label value: "\"\xff\"""#);
}

#[test]
fn openmetrics_entries() {
    let page = "# HELP h A \\\"histogram\\\".\n\
        # TYPE h_seconds histogram\n\
        # UNIT h_seconds seconds\n\
        h_seconds_bucket{le=\"1\"} 0 # {id=\"a\\n\"} 0.5 1.25\n\
        h_seconds_bucket{le=\"+Inf\",} 17.0 1520879607.789 # {} 5\n\
        h_seconds_count{a=\"b\\\"\"} 17 -1.5\n\
        # TYPE i info\n\
        {\"i.info\",\"x y\"=\"1\"} 1\n\
        # HELP e \n\
        # EOF\n";
    let expected = [
        "HELP h \"A \\\"histogram\\\".\"",
        "TYPE h_seconds histogram",
        "UNIT h_seconds seconds",
        "h_seconds_bucket{le=\"1\"} {__name__=\"h_seconds_bucket\", le=\"1.0\"} 0 # {id=\"a\\\\n\"} 0.5 Some(1250)",
        "h_seconds_bucket{le=\"+Inf\",} {__name__=\"h_seconds_bucket\", le=\"+Inf\"} 17 @1520879607789 # {} 5 None",
        "h_seconds_count{a=\"b\\\"\"} {__name__=\"h_seconds_count\", a=\"b\\\"\"} 17 @-1500",
        "TYPE i info",
        "{\"i.info\",\"x y\"=\"1\"} {__name__=\"i.info\", \"x y\"=\"1\"} 1",
        "HELP e \"\"",
    ];
    assert_eq!(openmetrics(page), expected);
    assert_eq!(openmetrics("# EOF"), Vec::<String>::new());
}

#[test]
fn openmetrics_errors_are_prometheus_own() {
    for (page, error) in [
        ("", "data does not end with # EOF"),
        ("\n", r#"expected a valid start token, got "\n" ("INVALID") while parsing: "\n""#),
        ("metric", r#"expected value after metric, got "metric" ("EOF") while parsing: "metric""#),
        ("metric 1", "data does not end with # EOF"),
        ("metric 1\n", "data does not end with # EOF"),
        (r#"metric_total 1 # {aa="bb"} 4"#, "data does not end with # EOF"),
        ("a\n#EOF\n", r#"expected value after metric, got "\n" ("INVALID") while parsing: "a\n""#),
        (" a 1\n", r#"expected a valid start token, got " " ("INVALID") while parsing: " ""#),
        ("9\n#EOF\n", r#"expected a valid start token, got "9" ("INVALID") while parsing: "9""#),
        ("# TYPE u untyped\n#EOF\n", r#"invalid metric type "untyped""#),
        ("# TYPE c counter \n#EOF\n", r#"invalid metric type "counter ""#),
        (
            "#  TYPE c counter\n#EOF\n",
            r##"expected a valid start token, got "#  " ("INVALID") while parsing: "#  ""##,
        ),
        (
            "# TYPE \n#EOF\n",
            r##"expected metric name after TYPE, got "\n" ("INVALID") while parsing: "# TYPE \n""##,
        ),
        ("# TYPE m\n#EOF\n", "expected text in TYPE"),
        ("# UNIT metric suffix\n#EOF\n", r#"unit "suffix" not a suffix of metric "metric""#),
        ("# UNIT metricsuffix suffix\n", r#"unit "suffix" not a suffix of metric "metricsuffix""#),
        ("# UNIT m suffix\n#EOF\n", r#"unit "suffix" not a suffix of metric "m""#),
        ("# HELP m\n#EOF\n", "expected text in HELP"),
        (
            "a\t1\n#EOF\n",
            r#"expected value after metric, got "\t" ("INVALID") while parsing: "a\t""#,
        ),
        (
            "a 1\t2\n#EOF\n",
            r#"strconv.ParseFloat: parsing "1\t2": invalid syntax while parsing: "a 1\t2""#,
        ),
        (
            "a 1 2 \n#EOF\n",
            r#"expected next entry after timestamp, got " \n" ("INVALID") while parsing: "a 1 2 \n""#,
        ),
        (
            "a 1 2 #\n#EOF\n",
            r##"expected next entry after timestamp, got " #\n" ("TIMESTAMP") while parsing: "a 1 2 #\n""##,
        ),
        (
            "a 1 1z\n#EOF\n",
            r#"strconv.ParseFloat: parsing "1z": invalid syntax while parsing: "a 1 1z""#,
        ),
        ("# EOF\na 1", "unexpected data after # EOF"),
        ("# EOF\n\n", "unexpected data after # EOF"),
        ("# EOFa 1", "unexpected data after # EOF"),
        (
            "#\tTYPE c counter\n",
            r##"expected a valid start token, got "#\t" ("INVALID") while parsing: "#\t""##,
        ),
        ("# TYPE c  counter\n", r#"invalid metric type " counter""#),
        (
            "a 1 1 1\n# EOF\n",
            r#"expected next entry after timestamp, got " 1\n" ("TIMESTAMP") while parsing: "a 1 1 1\n""#,
        ),
        (
            "a{,b=\"c\"} 1\n# EOF\n",
            r#"expected label name, got ",b" ("COMMA") while parsing: "a{,b""#,
        ),
        (
            "a{b=\"c\"d=\"e\"} 1\n# EOF\n",
            r#"expected comma or brace close, got "d=" ("LNAME") while parsing: "a{b=\"c\"d=""#,
        ),
        (
            "a{b=\"c\",,d=\"e\"} 1\n# EOF\n",
            r#"expected label name, got ",d" ("COMMA") while parsing: "a{b=\"c\",,d""#,
        ),
        (
            "something_weird{problem=\"\n# EOF\n",
            r#"expected label value, got "\"\n" ("INVALID") while parsing: "something_weird{problem=\"\n""#,
        ),
        ("foo 0 1_2\n\n# EOF\n", r#"unsupported character in float while parsing: "foo 0 1_2""#),
        (
            "m_total 1 # {aa=bb}\n# EOF\n",
            r##"expected label value, got "b" ("INVALID") while parsing: "m_total 1 # {aa=b""##,
        ),
        (
            "m_total 1 # {aa=\"bb\"}\n# EOF\n",
            r##"expected value after exemplar labels, got "\n" ("INVALID") while parsing: "m_total 1 # {aa=\"bb\"}\n""##,
        ),
        (
            r#"m_total 1 # {aa="bb"}"#,
            r##"expected value after exemplar labels, got "}" ("EOF") while parsing: "m_total 1 # {aa=\"bb\"}""##,
        ),
        (
            "m_total 1 # {bb}",
            r##"expected equal, got "}" ("BCLOSE") while parsing: "m_total 1 # {bb}""##,
        ),
        (
            r#"m_total 1 # {bb, a="dd"}"#,
            r##"expected equal, got ", " ("COMMA") while parsing: "m_total 1 # {bb, ""##,
        ),
        (
            r#"m_total 1 # {aa="bb"} 1_2"#,
            r##"unsupported character in float while parsing: "m_total 1 # {aa=\"bb\"} 1_2""##,
        ),
        (
            r#"m_total 1 # {aa="bb",cc=}"#,
            r##"expected label value, got "}" ("INVALID") while parsing: "m_total 1 # {aa=\"bb\",cc=}""##,
        ),
        (
            "m_total 1 # {b=\"\0ss\"} 1\n",
            r##"expected label value, got "\"\x00" ("INVALID") while parsing: "m_total 1 # {b=\"\x00""##,
        ),
        (r#"{b="c",} 1"#, r#"metric name not set while parsing: "{b=\"c\",} 1""#),
        (
            "a 1 # x\n# EOF\n",
            r#"expected a valid start token, got "x" ("INVALID") while parsing: "x""#,
        ),
        (
            "a 1 2 # x\n# EOF\n",
            r##"expected next entry after timestamp, got " # x" ("INVALID") while parsing: "a 1 2 # x""##,
        ),
        (
            "a 1 \n# EOF\n",
            r##"expected a valid start token, got "\n#" ("LINEBREAK") while parsing: "\n#""##,
        ),
        ("a 1 NaN", "invalid timestamp NaN"),
        ("a 1 Inf", "invalid timestamp +Inf"),
        ("h_bucket{le=\"+Inf\"} 1 # {aa=\"bb\"} 4 -Inf", "invalid exemplar timestamp -Inf"),
        ("#", r##"expected a valid start token, got "#" ("INVALID") while parsing: "#""##),
        ("# H", r##"expected a valid start token, got "# H" ("INVALID") while parsing: "# H""##),
        (
            "a{b=\"\0",
            r#"expected label value, got "\"\x00" ("INVALID") while parsing: "a{b=\"\x00""#,
        ),
    ] {
        let got = read(Format::OpenMetrics, page.as_bytes()).unwrap_err();
        assert_eq!(got.to_string(), error, "{page:?}");
    }
}

#[test]
fn oddities_of_the_text_format_are_kept() {
    assert_eq!(text("  a 1\n"), ["  a {__name__=\"  a\"} 1"]);
    assert_eq!(text("a 1\n\0garbage{{{"), ["a {__name__=\"a\"} 1"]);
    assert_eq!(text("a-1\n"), ["a {__name__=\"a\"} -1"]);
    let e = read(Format::PrometheusText, b"a{b=\"1\",b=\"2\"} 1").unwrap_err();
    assert_eq!(e.to_string(), "label name \"b\" is not unique: invalid sample");
    assert!(read(Format::PrometheusText, b"a 1\r\n").is_err());
}

#[test]
fn a_known_series_is_read_without_its_labels() {
    let page = b"# HELP a x\na{b=\"c\"} 1\na{b=\"c\"} 2 7\na{b=\"c\"}3\nab 4\n";
    let mut parser = Parser::new(Format::PrometheusText, page);
    assert!(parser.next_known(b"a{b=\"c\"}").is_none());
    assert!(!parser.skip_known(b"# HELP a y\n", None));
    assert!(parser.skip_known(b"# HELP a x\n", None));
    let sample = parser.next_known(b"a{b=\"c\"}").unwrap().unwrap();
    assert_eq!((sample.value, sample.timestamp), (1.0, None));
    let sample = parser.next_known(b"a{b=\"c\"}").unwrap().unwrap();
    assert_eq!((sample.value, sample.timestamp), (2.0, Some(7)));
    assert!(parser.next_known(b"a{b=\"c\"}").is_none());
    assert!(matches!(parser.next_entry(), Ok(Some(Entry::Series(s))) if s.value == 3.0));
    assert!(parser.next_known(b"a").is_none());
    assert_eq!(parser.next_known(b"ab").unwrap().unwrap().value, 4.0);
    assert!(parser.next_entry().unwrap().is_none());
}

#[test]
fn a_line_of_countless_labels_is_refused() {
    let labels = |n: usize| (0..n).rev().map(|i| format!("l{i}=\"\",")).collect::<String>();
    let page = format!("m{{{}}} 1\n", labels(10_000));
    assert_eq!(text(&page).len(), 1);
    for format in [Format::PrometheusText, Format::OpenMetrics] {
        let page = format!("m{{{}}} 1\n", labels(10_001));
        let e = read(format, page.as_bytes()).unwrap_err();
        assert_eq!(e.to_string(), "more than 10000 labels");
    }
    let page = format!("m 1 # {{{}}} 1\n", labels(10_001));
    assert!(read(Format::OpenMetrics, page.as_bytes()).is_err());
}
