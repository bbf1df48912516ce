//! Families written as protobuf, as Go's client library writes them.

use firesteel_model::{
    METRIC_NAME, MetricType,
    metrics::{Family, MetricLabel, Point},
    wire::{Writer, put_varint},
};

/// The `Content-Type` of what [`encode_protobuf`] writes.
pub const PROTOBUF_CONTENT_TYPE: &str = "application/vnd.google.protobuf; \
    proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8";

/// Appends the families to `out` as `io.prometheus.client.MetricFamily` messages, each behind its
/// length. Points of a kind that does not fit their family's type are left out.
pub fn encode_protobuf(families: &[Family], out: &mut Vec<u8>) {
    let mut message = Vec::new();
    for family in families {
        message.clear();
        write_family(&mut Writer::new(&mut message), family);
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

fn write_family(w: &mut Writer<'_>, family: &Family) {
    w.bytes(1, family.name.as_bytes());
    if !family.help.is_empty() {
        w.bytes(2, family.help.as_bytes());
    }
    w.varint(3, type_number(family.kind));
    for (labels, point) in &family.points {
        if fits(family.kind, point) {
            w.message(4, |w| write_metric(w, family.kind, labels, point));
        }
    }
}

const fn fits(kind: MetricType, point: &Point) -> bool {
    match point {
        Point::Summary { .. } => matches!(kind, MetricType::Summary),
        Point::Histogram { .. } => {
            matches!(kind, MetricType::Histogram | MetricType::GaugeHistogram)
        }
        Point::Value(_) => !matches!(
            kind,
            MetricType::Summary | MetricType::Histogram | MetricType::GaugeHistogram
        ),
    }
}

fn write_metric(w: &mut Writer<'_>, kind: MetricType, labels: &[MetricLabel], point: &Point) {
    for (name, value) in labels.iter().filter(|(n, v)| !v.is_empty() && n != METRIC_NAME) {
        w.message(1, |w| {
            w.bytes(1, name.as_bytes());
            w.bytes(2, value.as_bytes());
        });
    }
    match point {
        Point::Value(v) => {
            let field = match kind {
                MetricType::Counter => 3,
                MetricType::Unknown => 5,
                _ => 2,
            };
            w.message(field, |w| w.double(1, *v));
        }
        Point::Summary { quantiles, count, sum } => w.message(4, |w| {
            w.varint(1, *count);
            w.double(2, *sum);
            for (quantile, v) in quantiles {
                w.message(3, |w| {
                    w.double(1, *quantile);
                    w.double(2, *v);
                });
            }
        }),
        Point::Histogram { buckets, count, sum } => w.message(7, |w| {
            w.varint(1, *count);
            w.double(2, *sum);
            for (bound, count) in buckets {
                w.message(3, |w| {
                    w.varint(1, *count);
                    w.double(2, *bound);
                });
            }
        }),
    }
}
