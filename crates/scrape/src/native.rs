//! Native histograms made coarser, so that they fit what a job allows.

use firesteel_exposition::NativeHistogram;
use firesteel_model::{
    histogram::{MAX_RESERVED_SCHEMA, MAX_SCHEMA, MIN_SCHEMA},
    storage::AppendError,
};

use crate::ScrapeError;

/// The finest schema whose buckets grow by at least this factor. Source: `pickSchema` in
/// `scrape/scrape.go`.
pub(crate) fn schema_of(min_bucket_factor: f64) -> i32 {
    let factor = if min_bucket_factor > 1.0 { min_bucket_factor } else { 1.00271 };
    let schema = (-factor.log2().log2()).floor();
    schema.clamp(f64::from(MIN_SCHEMA), f64::from(MAX_SCHEMA)) as i32
}

/// Schema and number of buckets.
fn size(h: &NativeHistogram) -> (i32, u64) {
    let (schema, buckets) = match h {
        NativeHistogram::Integer(h) => {
            (h.layout.schema, h.positive_deltas.len() + h.negative_deltas.len())
        }
        NativeHistogram::Float(h) => {
            (h.layout.schema, h.positive_buckets.len() + h.negative_buckets.len())
        }
    };
    (schema, buckets as u64)
}

fn reduce(h: &mut NativeHistogram, schema: i32) -> Result<(), ScrapeError> {
    let reduced = match h {
        NativeHistogram::Integer(h) => h.reduce_resolution(schema),
        NativeHistogram::Float(h) => h.reduce_resolution(schema),
    };
    reduced.map_err(|e| AppendError::InvalidHistogram(e.to_string()).into())
}

/// Lowers the resolution to `max_schema` and then until there are at most `limit` buckets (0: any
/// number). Custom buckets cannot be made fewer.
pub(crate) fn fit(h: &mut NativeHistogram, max_schema: i32, limit: u64) -> Result<(), ScrapeError> {
    let (schema, _) = size(h);
    if max_schema < MAX_SCHEMA && schema > max_schema && schema <= MAX_RESERVED_SCHEMA {
        reduce(h, max_schema)?;
    }
    loop {
        let (schema, buckets) = size(h);
        if limit == 0 || buckets <= limit {
            return Ok(());
        }
        if schema <= MIN_SCHEMA || schema > MAX_SCHEMA {
            return Err(ScrapeError::BucketLimit);
        }
        reduce(h, schema - 1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firesteel_model::{Histogram, HistogramLayout, Span, histogram::CUSTOM_BUCKETS_SCHEMA};

    fn histogram(schema: i32, buckets: u32) -> NativeHistogram {
        let positive_spans = vec![Span { offset: 0, length: buckets }];
        NativeHistogram::Integer(Histogram {
            layout: HistogramLayout { schema, positive_spans, ..HistogramLayout::default() },
            positive_deltas: std::iter::once(1).chain((1..buckets).map(|_| 0)).collect(),
            ..Histogram::default()
        })
    }

    #[test]
    fn factors_lead_to_schemas() {
        for (factor, schema) in [
            (0.0, 8),
            (1.0, 8),
            (1.002, 8),
            (1.1, 2),
            (1.2, 1),
            (1.42, 0),
            (2.0, 0),
            (4.0, -1),
            (256.0, -3),
            (65536.0, -4),
            (70000.0, -4),
        ] {
            assert_eq!(schema_of(factor), schema, "{factor}");
        }
    }

    #[test]
    fn histograms_are_made_to_fit() {
        let mut h = histogram(3, 16);
        fit(&mut h, 8, 0).unwrap();
        assert_eq!(size(&h), (3, 16));
        fit(&mut h, 2, 0).unwrap();
        assert_eq!(size(&h).0, 2);
        fit(&mut h, 8, 4).unwrap();
        assert!(size(&h).1 <= 4);
        let mut custom = histogram(CUSTOM_BUCKETS_SCHEMA, 16);
        fit(&mut custom, -4, 0).unwrap();
        assert!(matches!(fit(&mut custom, 8, 4), Err(ScrapeError::BucketLimit)));
        let mut sparse = histogram(-4, 4);
        assert!(matches!(fit(&mut sparse, 8, 1), Err(ScrapeError::BucketLimit)));
    }
}
