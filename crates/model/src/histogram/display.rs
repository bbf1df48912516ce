//! Histograms as Prometheus prints them: `{count:3, sum:4.5, (1,2]:3}`.

use std::fmt;

use super::{Bucket, FloatHistogram, Histogram};
use crate::float::write_g;

fn g(v: f64) -> String {
    let mut out = String::new();
    write_g(&mut out, v);
    out
}

/// `(1,2]:3`, brackets where a bound belongs to the bucket.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let (lower, upper, count) = (g(self.lower), g(self.upper), g(self.count));
        write!(f, "{open}{lower},{upper}{close}:{count}")
    }
}

/// Count, sum and the buckets that are not empty, in ascending order.
impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", g(self.count), g(self.sum))?;
        for bucket in self.bucket_iter() {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

/// As [`FloatHistogram`]'s, the counts as integers.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", self.count, g(self.sum))?;
        for bucket in self.to_float().bucket_iter() {
            let text = bucket.to_string();
            let bounds = text.rsplit_once(':').map_or("", |(bounds, _)| bounds);
            // Exact up to 2^53, beyond which Prometheus' integers have digits that floats lack.
            write!(f, ", {bounds}:{:.0}", bucket.count)?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HistogramLayout, Span};

    #[test]
    fn prints_as_prometheus_does() {
        let spans = vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }];
        let mut histogram = Histogram {
            layout: HistogramLayout {
                schema: 0,
                zero_threshold: 0.001,
                positive_spans: spans.clone(),
                negative_spans: spans,
                custom_values: Vec::new(),
            },
            zero_count: 2,
            count: 1_000_012,
            sum: -2.5,
            positive_deltas: vec![1, -1, 1_000_000],
            negative_deltas: vec![1, 1, 0],
            ..Histogram::default()
        };
        assert_eq!(
            histogram.to_string(),
            "{count:1000012, sum:-2.5, [-8,-4):2, [-2,-1):2, [-1,-0.5):1, [-0.001,0.001]:2, \
             (0.5,1]:1, (4,8]:1000000}"
        );
        assert_eq!(
            histogram.to_float().to_string(),
            "{count:1.000012e+06, sum:-2.5, [-8,-4):2, [-2,-1):2, [-1,-0.5):1, \
             [-0.001,0.001]:2, (0.5,1]:1, (4,8]:1e+06}"
        );
        histogram.layout = HistogramLayout {
            schema: -53,
            zero_threshold: 0.0,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            negative_spans: Vec::new(),
            custom_values: vec![5.0, 10.0],
        };
        histogram.positive_deltas = vec![1, 1, 1];
        assert_eq!(
            histogram.to_float().to_string(),
            "{count:1.000012e+06, sum:-2.5, [-Inf,5]:1, (5,10]:2, (10,+Inf]:3}"
        );
    }
}
