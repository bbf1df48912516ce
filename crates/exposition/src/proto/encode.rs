//! Families written as protobuf, as Go's client library writes them.

use firesteel_model::{
    Exemplar, HistogramLayout, Labels, MetricType, Span, Timestamp,
    wire::{Writer, put_varint, to_zigzag},
};

use crate::{
    BucketValue, EscapingScheme, HistogramValue, Metric, MetricFamily, MetricValue,
    NativeHistogram,
    write::{classic_buckets, count_and_sum},
};

/// The `Content-Type` of protobuf pages as this crate writes them.
pub const PROTOBUF_CONTENT_TYPE: &str = "application/vnd.google.protobuf; \
    proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8";

/// Appends the families to `out`, each behind its length. Metrics of a kind that does not fit their
/// family's type are left out.
pub(crate) fn write_families(families: &[MetricFamily], scheme: EscapingScheme, out: &mut Vec<u8>) {
    let mut message = Vec::new();
    for family in families {
        message.clear();
        write_family(&mut Writer::new(&mut message), family, scheme);
        put_varint(out, message.len() as u64);
        out.extend_from_slice(&message);
    }
}

/// The number of a type in the messages.
pub(crate) const fn type_number(kind: MetricType) -> u64 {
    match kind {
        MetricType::Counter => 0,
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => 1,
        MetricType::Summary => 2,
        MetricType::Unknown => 3,
        MetricType::Histogram => 4,
        MetricType::GaugeHistogram => 5,
    }
}

fn write_family(w: &mut Writer<'_>, family: &MetricFamily, scheme: EscapingScheme) {
    w.bytes(1, scheme.escape(&family.name).as_bytes());
    if !family.help.is_empty() {
        w.bytes(2, family.help.as_bytes());
    }
    w.varint(3, type_number(family.kind));
    for metric in family.metrics.iter().filter(|m| fits(family.kind, &m.value)) {
        w.message(4, |w| write_metric(w, family.kind, metric, scheme));
    }
    if !family.unit.is_empty() {
        w.bytes(5, family.unit.as_bytes());
    }
}

const fn fits(kind: MetricType, value: &MetricValue) -> bool {
    match value {
        MetricValue::Summary { .. } => matches!(kind, MetricType::Summary),
        MetricValue::Histogram(_) => {
            matches!(kind, MetricType::Histogram | MetricType::GaugeHistogram)
        }
        MetricValue::Float { .. } => !matches!(
            kind,
            MetricType::Summary | MetricType::Histogram | MetricType::GaugeHistogram
        ),
    }
}

fn write_labels(w: &mut Writer<'_>, labels: &Labels, scheme: EscapingScheme) {
    for (name, value) in labels {
        w.message(1, |w| {
            w.bytes(1, scheme.escape(name).as_bytes());
            w.bytes(2, value.as_bytes());
        });
    }
}

/// A `google.protobuf.Timestamp`.
fn write_time(w: &mut Writer<'_>, field: u32, t: Timestamp) {
    w.message(field, |w| {
        w.int64(1, t.div_euclid(1000));
        w.int64(2, t.rem_euclid(1000) * 1_000_000);
    });
}

fn write_exemplar(w: &mut Writer<'_>, field: u32, exemplar: &Exemplar) {
    w.message(field, |w| {
        write_labels(w, &exemplar.labels, EscapingScheme::AllowUtf8);
        w.double(2, exemplar.value);
        if let Some(t) = exemplar.timestamp {
            write_time(w, 3, t);
        }
    });
}

fn write_metric(w: &mut Writer<'_>, kind: MetricType, metric: &Metric, scheme: EscapingScheme) {
    write_labels(w, &metric.labels, scheme);
    let start = metric.start_timestamp;
    match &metric.value {
        MetricValue::Float { value, exemplar } => {
            let field = match kind {
                MetricType::Counter => 3,
                MetricType::Unknown => 5,
                _ => 2,
            };
            w.message(field, |w| {
                w.double(1, value.unwrap_or_default());
                if kind == MetricType::Counter {
                    if let Some(exemplar) = exemplar {
                        write_exemplar(w, 2, exemplar);
                    }
                    if let Some(start) = start {
                        write_time(w, 3, start);
                    }
                }
            });
        }
        MetricValue::Summary { quantiles, count, sum } => w.message(4, |w| {
            w.varint(1, count.unwrap_or_default() as u64);
            w.double(2, sum.unwrap_or_default());
            for (quantile, v) in quantiles {
                w.message(3, |w| {
                    w.double(1, *quantile);
                    w.double(2, *v);
                });
            }
            if let Some(start) = start {
                write_time(w, 4, start);
            }
        }),
        MetricValue::Histogram(h) => w.message(7, |w| {
            write_histogram(w, h);
            if let Some(start) = start {
                write_time(w, 15, start);
            }
        }),
    }
    if let Some(t) = metric.timestamp {
        w.int64(6, t);
    }
}

/// Whether a count needs the field for floats.
fn is_whole(v: f64) -> bool {
    v.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&v)
}

fn write_histogram(w: &mut Writer<'_>, h: &HistogramValue) {
    let (count, sum) = count_and_sum(h);
    let count = count.unwrap_or_default();
    let buckets = classic_buckets(h);
    let float_native = matches!(h.native, Some(NativeHistogram::Float(_)));
    let whole = is_whole(count) && buckets.iter().all(|b| is_whole(b.count)) && !float_native;
    if whole {
        w.varint(1, count as u64);
    } else {
        w.double(4, count);
    }
    w.double(2, sum.unwrap_or_default());
    for bucket in &*buckets {
        w.message(3, |w| write_bucket(w, bucket, whole));
    }
    match &h.native {
        Some(NativeHistogram::Integer(native)) if !native.layout.is_custom() => {
            write_layout(w, &native.layout);
            w.varint(7, native.zero_count);
            w.packed_varints(10, native.negative_deltas.iter().map(|d| to_zigzag(*d)));
            w.packed_varints(13, native.positive_deltas.iter().map(|d| to_zigzag(*d)));
        }
        Some(NativeHistogram::Float(native)) if !native.layout.is_custom() => {
            write_layout(w, &native.layout);
            w.double(8, native.zero_count);
            w.packed_doubles(11, &native.negative_buckets);
            w.packed_doubles(14, &native.positive_buckets);
        }
        _ => {}
    }
    for exemplar in &h.exemplars {
        write_exemplar(w, 16, exemplar);
    }
}

fn write_bucket(w: &mut Writer<'_>, bucket: &BucketValue, whole: bool) {
    if whole {
        w.varint(1, bucket.count as u64);
    } else {
        w.double(4, bucket.count);
    }
    w.double(2, bucket.bound);
    if let Some(exemplar) = &bucket.exemplar {
        write_exemplar(w, 3, exemplar);
    }
}

fn write_layout(w: &mut Writer<'_>, layout: &HistogramLayout) {
    w.sint64(5, i64::from(layout.schema));
    w.double(6, layout.zero_threshold);
    let mut spans = |field: u32, spans: &[Span]| {
        for span in spans {
            w.message(field, |w| {
                w.sint64(1, i64::from(span.offset));
                w.varint(2, u64::from(span.length));
            });
        }
    };
    spans(9, &layout.negative_spans);
    spans(12, &layout.positive_spans);
    // A native histogram without buckets says so by a span of none.
    if layout.negative_spans.is_empty() && layout.positive_spans.is_empty() {
        w.message(12, |w| w.varint(2, 0));
    }
}
