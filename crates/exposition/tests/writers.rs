//! Families written and read again.
#![allow(clippy::unwrap_used, reason = "tests")]

use firesteel_exposition::{
    EscapingScheme, Families, Format, HistogramValue, Metric, MetricFamily, MetricValue,
    NativeHistogram, check_openmetrics,
};
use firesteel_model::{
    Exemplar, FloatHistogram, Histogram, HistogramLayout, Labels, MetricType, Span,
    histogram::CUSTOM_BUCKETS_SCHEMA,
};

const EVERYTHING: &[u8] = include_bytes!("../testdata/everything.om");
const NODE: &[u8] = include_bytes!("../testdata/node_exporter.prom");

fn again(families: &Families, format: Format, scheme: EscapingScheme) -> Families {
    let mut page = Vec::new();
    families.write(format, scheme, &mut page);
    Families::parse(format, &page).unwrap()
}

#[test]
fn text_comes_back_as_it_was() {
    let plain = EscapingScheme::AllowUtf8;
    let everything = Families::parse(Format::OpenMetrics, EVERYTHING).unwrap();
    let mut page = Vec::new();
    everything.write(Format::OpenMetrics, plain, &mut page);
    check_openmetrics(&page).unwrap();
    let back = Families::parse(Format::OpenMetrics, &page).unwrap();
    // As texts, for there is a NaN.
    assert_eq!(format!("{back:?}"), format!("{everything:?}"));
    let node = Families::parse(Format::PrometheusText, NODE).unwrap();
    assert_eq!(again(&node, Format::PrometheusText, plain), node);
    assert_eq!(again(&node, Format::Protobuf, plain), node);
}

fn layout(schema: i32, custom_values: Vec<f64>) -> HistogramLayout {
    let spans = vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }];
    let negative_spans =
        if custom_values.is_empty() { vec![Span { offset: -2, length: 1 }] } else { Vec::new() };
    let zero_threshold = if custom_values.is_empty() { 1e-9 } else { 0.0 };
    HistogramLayout { schema, zero_threshold, positive_spans: spans, negative_spans, custom_values }
}

fn native(native: NativeHistogram, exemplars: Vec<Exemplar>) -> Families {
    let value = HistogramValue { native: Some(native), exemplars, ..HistogramValue::default() };
    let metric = Metric {
        labels: Labels::from_pairs([("zone.name", "a")]),
        timestamp: Some(1_700_000_000_123),
        start_timestamp: Some(1_600_000_000_000),
        value: MetricValue::Histogram(value),
    };
    let family = MetricFamily {
        name: "took.seconds".to_owned(),
        kind: MetricType::Histogram,
        help: "Time.".to_owned(),
        unit: String::new(),
        metrics: vec![metric],
    };
    Families { families: vec![family] }
}

#[test]
fn protobuf_has_native_histograms() {
    let integer = Histogram {
        layout: layout(3, Vec::new()),
        zero_count: 1,
        count: 8,
        sum: 3.5,
        positive_deltas: vec![2, -1, 2],
        negative_deltas: vec![1],
        ..Histogram::default()
    };
    let exemplar = Exemplar {
        labels: Labels::from_pairs([("trace_id", "x")]),
        value: 0.5,
        timestamp: Some(1_700_000_000_001),
    };
    let float = FloatHistogram {
        layout: layout(3, Vec::new()),
        zero_count: 1.5,
        count: 8.0,
        sum: 3.5,
        positive_buckets: vec![2.0, 1.0, 2.5],
        negative_buckets: vec![1.0],
        ..FloatHistogram::default()
    };
    for (families, name) in [
        (native(NativeHistogram::Integer(integer), vec![exemplar]), "integer"),
        (native(NativeHistogram::Float(float), Vec::new()), "float"),
    ] {
        let plain = EscapingScheme::AllowUtf8;
        assert_eq!(again(&families, Format::Protobuf, plain), families, "{name}");
        // The escaped names are all that differs.
        let escaped = again(&families, Format::Protobuf, EscapingScheme::Underscores);
        assert_eq!(escaped.families[0].name, "took_seconds");
        assert!(escaped.families[0].metrics[0].labels.has("zone_name"));
        let mut text = Vec::new();
        families.write(Format::PrometheusText, EscapingScheme::Dots, &mut text);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "# HELP took_dot_seconds Time.\n# TYPE took_dot_seconds histogram\n\
             took_dot_seconds_bucket{zone_dot_name=\"a\",le=\"+Inf\"} 8 1700000000123\n\
             took_dot_seconds_sum{zone_dot_name=\"a\"} 3.5 1700000000123\n\
             took_dot_seconds_count{zone_dot_name=\"a\"} 8 1700000000123\n",
            "{name}"
        );
    }
}

#[test]
fn custom_buckets_are_written_as_classic_ones() {
    let custom = Histogram {
        layout: layout(CUSTOM_BUCKETS_SCHEMA, vec![1.0, 2.0, 3.0]),
        count: 6,
        sum: 3.5,
        positive_deltas: vec![2, -1, 2],
        ..Histogram::default()
    };
    let families = native(NativeHistogram::Integer(custom), Vec::new());
    for format in [Format::PrometheusText, Format::OpenMetrics, Format::Protobuf] {
        let read = again(&families, format, EscapingScheme::AllowUtf8);
        let MetricValue::Histogram(h) = &read.families[0].metrics[0].value else { panic!() };
        let buckets: Vec<_> = h.buckets.iter().map(|b| (b.bound, b.count)).collect();
        assert_eq!(buckets, [(1.0, 2.0), (2.0, 3.0), (3.0, 3.0), (f64::INFINITY, 6.0)]);
        assert_eq!((h.count, h.sum), (Some(6.0), Some(3.5)));
    }
}
