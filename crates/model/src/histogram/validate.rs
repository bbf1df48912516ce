//! Which histograms contradict themselves.

use super::{
    FloatHistogram, Histogram, HistogramError, HistogramLayout, HistogramProblem, HistogramSide,
    MAX_SCHEMA, MIN_SCHEMA, Span, span_buckets,
};
type Result<T> = std::result::Result<T, HistogramError>;

fn on(side: HistogramSide) -> impl Fn(HistogramProblem) -> HistogramError {
    move |problem| HistogramError { side: Some(side), problem }
}

impl HistogramLayout {
    /// Checks everything but the counts, which is the same for both kinds of histograms.
    /// `no_zeros`: whether the zero bucket is empty.
    fn validate(&self, positive: usize, negative: usize, no_zeros: bool) -> Result<()> {
        use HistogramProblem as P;
        if self.is_custom() {
            self.check_custom(positive).map_err(on(HistogramSide::Custom))?;
            let problem = if !no_zeros {
                P::CustomZeroCount
            } else if self.zero_threshold != 0.0 {
                P::CustomZeroThreshold
            } else if !self.negative_spans.is_empty() {
                P::CustomNegativeSpans
            } else if negative > 0 {
                P::CustomNegativeBuckets
            } else {
                return Ok(());
            };
            return Err(problem.into());
        }
        if !(MIN_SCHEMA..=MAX_SCHEMA).contains(&self.schema) {
            return Err(P::InvalidSchema(self.schema).into());
        }
        check_spans(&self.positive_spans, 1, positive).map_err(on(HistogramSide::Positive))?;
        check_spans(&self.negative_spans, 1, negative).map_err(on(HistogramSide::Negative))
    }

    fn check_bounds_absent(&self) -> Result<()> {
        if self.is_custom() || self.custom_values.is_empty() {
            return Ok(());
        }
        Err(HistogramProblem::ExponentialWithBounds.into())
    }

    fn check_custom(&self, buckets: usize) -> std::result::Result<(), HistogramProblem> {
        use HistogramProblem as P;
        let bounds = &self.custom_values;
        let mut previous = None;
        for &current in bounds {
            match previous {
                _ if current.is_nan() => return Err(P::BoundNan),
                Some(previous) if current <= previous => {
                    return Err(P::BoundOrder { previous, current });
                }
                _ => previous = Some(current),
            }
        }
        if previous == Some(f64::INFINITY) {
            return Err(P::BoundInfinite);
        }
        check_spans(&self.positive_spans, 0, buckets)?;
        let gaps = self.positive_spans.iter().map(|s| u64::from(s.offset.unsigned_abs()));
        let spans = span_buckets(&self.positive_spans) + gaps.sum::<u64>();
        if (bounds.len() as u64) + 1 < spans {
            return Err(P::TooFewBounds { bounds: bounds.len(), spans });
        }
        Ok(())
    }
}

/// Checks spans; the first `free` of them may have a negative offset.
fn check_spans(
    spans: &[Span],
    free: usize,
    buckets: usize,
) -> std::result::Result<(), HistogramProblem> {
    let negative = spans.iter().enumerate().skip(free).find(|(_, span)| span.offset < 0);
    if let Some((i, span)) = negative {
        return Err(HistogramProblem::NegativeOffset { span: i + 1, offset: span.offset });
    }
    let needed = span_buckets(spans);
    if needed != buckets as u64 {
        return Err(HistogramProblem::BucketsMismatch { needed, have: buckets });
    }
    Ok(())
}

fn check_integers(counts: impl Iterator<Item = i64>, side: HistogramSide) -> Result<u64> {
    let mut sum = 0_u64;
    for (i, count) in counts.enumerate() {
        let Ok(positive) = u64::try_from(count) else {
            let problem = HistogramProblem::NegativeBucket { bucket: i + 1, count: count as f64 };
            return Err(on(side)(problem));
        };
        sum = sum.wrapping_add(positive);
    }
    Ok(sum)
}

fn check_floats(counts: &[f64], side: HistogramSide) -> Result<()> {
    match counts.iter().enumerate().find(|(_, count)| **count < 0.0) {
        None => Ok(()),
        Some((i, count)) => {
            Err(on(side)(HistogramProblem::NegativeBucket { bucket: i + 1, count: *count }))
        }
    }
}

impl Histogram {
    /// Checks that the parts do not contradict each other.
    ///
    /// # Errors
    /// The first of Prometheus' objections.
    pub fn validate(&self) -> Result<()> {
        let (positive, negative) = (self.positive_deltas.len(), self.negative_deltas.len());
        self.layout.validate(positive, negative, self.zero_count == 0)?;
        let negative = check_integers(self.negative_counts(), HistogramSide::Negative)?;
        self.layout.check_bounds_absent()?;
        let positive = check_integers(self.positive_counts(), HistogramSide::Positive)?;
        let buckets = negative.wrapping_add(positive).wrapping_add(self.zero_count);
        let count = self.count;
        if self.sum.is_nan() {
            if buckets > count {
                return Err(HistogramProblem::CountTooSmall { buckets, count }.into());
            }
        } else if buckets != count {
            return Err(HistogramProblem::CountMismatch { buckets, count }.into());
        }
        Ok(())
    }
}

impl FloatHistogram {
    /// Checks that the parts do not contradict each other. Unlike for integers, the count is not
    /// compared with the buckets: floats add up with errors.
    ///
    /// # Errors
    /// The first of Prometheus' objections.
    pub fn validate(&self) -> Result<()> {
        let (positive, negative) = (self.positive_buckets.len(), self.negative_buckets.len());
        self.layout.validate(positive, negative, self.zero_count == 0.0)?;
        check_floats(&self.negative_buckets, HistogramSide::Negative)?;
        if self.zero_count < 0.0 {
            return Err(HistogramProblem::NegativeZeroBucket(self.zero_count).into());
        }
        self.layout.check_bounds_absent()?;
        if self.count < 0.0 {
            return Err(HistogramProblem::NegativeCount(self.count).into());
        }
        check_floats(&self.positive_buckets, HistogramSide::Positive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::CUSTOM_BUCKETS_SCHEMA;

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    fn exponential() -> Histogram {
        Histogram {
            layout: HistogramLayout {
                schema: 1,
                positive_spans: vec![span(-1, 2), span(1, 1)],
                negative_spans: vec![span(0, 1)],
                ..HistogramLayout::default()
            },
            zero_count: 1,
            count: 8,
            sum: 1.0,
            positive_deltas: vec![1, 1, 0],
            negative_deltas: vec![2],
            ..Histogram::default()
        }
    }

    fn custom() -> Histogram {
        Histogram {
            layout: HistogramLayout {
                schema: CUSTOM_BUCKETS_SCHEMA,
                positive_spans: vec![span(0, 2)],
                custom_values: vec![1.0, 2.0],
                ..HistogramLayout::default()
            },
            count: 3,
            positive_deltas: vec![1, 1],
            ..Histogram::default()
        }
    }

    #[test]
    fn accepts_what_is_sound() {
        for histogram in [exponential(), custom(), Histogram::default()] {
            assert_eq!(histogram.validate(), Ok(()));
            assert_eq!(histogram.to_float().validate(), Ok(()));
        }
        let with_nan = Histogram { sum: f64::NAN, count: 100, ..exponential() };
        assert_eq!(with_nan.validate(), Ok(()));
    }

    #[test]
    fn objects_with_prometheus_texts() {
        type Change = fn(&mut Histogram);
        #[rustfmt::skip]
        let rows: &[(fn() -> Histogram, Change, &str)] = &[
            (exponential, |h| h.layout.schema = 9, "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema 9"),
            (exponential, |h| h.layout.positive_spans[1].offset = -1, "positive side: span number 2 with offset -1: histogram has a span whose offset is negative"),
            (exponential, |h| h.layout.negative_spans[0].length = u32::MAX, "negative side: spans need 4294967295 buckets, have 1 buckets: histogram spans specify different number of buckets than provided"),
            (exponential, |h| h.positive_deltas[2] = -3, "positive side: bucket number 3 has observation count of -1: histogram has a bucket whose observation count is negative"),
            (exponential, |h| h.layout.custom_values.push(1.0), "histogram with exponential schema must not have custom bounds"),
            (exponential, |h| h.count = 9, "8 observations found in buckets, but the Count field is 9: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)"),
            (exponential, |h| (h.count, h.sum) = (7, f64::NAN), "8 observations found in buckets, but the Count field is 7: histogram's observation count should be at least the number of observations found in the buckets"),
            (custom, |h| h.layout.custom_values[0] = f64::NAN, "custom buckets: histogram custom bounds must not be NaN"),
            (custom, |h| h.layout.custom_values[1] = 1.0, "custom buckets: previous bound is 1.000000 and current is 1.000000: histogram custom bounds must be in strictly increasing order"),
            (custom, |h| h.layout.custom_values[1] = f64::INFINITY, "custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite"),
            (custom, |h| h.layout.positive_spans[0].offset = -1, "custom buckets: span number 1 with offset -1: histogram has a span whose offset is negative"),
            (custom, |h| h.layout.positive_spans[0].offset = 2, "custom buckets: only 2 custom bounds defined which is insufficient to cover total span length of 4: histogram custom bounds are too few"),
            (custom, |h| h.zero_count = 1, "custom buckets: must have zero count of 0"),
            (custom, |h| h.layout.zero_threshold = 1.0, "custom buckets: must have zero threshold of 0"),
            (custom, |h| h.layout.negative_spans.push(span(0, 0)), "custom buckets: must not have negative spans"),
            (custom, |h| h.negative_deltas.push(0), "custom buckets: must not have negative buckets"),
        ];
        for (base, change, text) in rows {
            let mut histogram = base();
            change(&mut histogram);
            assert_eq!(histogram.validate().unwrap_err().to_string(), *text);
        }
        let base = exponential().to_float();
        let zero = FloatHistogram { zero_count: -1.5, ..base.clone() };
        assert_eq!(
            zero.validate().unwrap_err().to_string(),
            "zero bucket has observation count of -1.5: \
             histogram has a bucket whose observation count is negative"
        );
        let count = FloatHistogram { count: -1.0, ..base };
        assert_eq!(
            count.validate().unwrap_err().to_string(),
            "observation count is  -1: histogram's observation count is negative"
        );
    }
}
