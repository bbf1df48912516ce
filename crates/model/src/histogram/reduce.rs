//! Histograms of a finer schema made coarser.

use super::{
    FloatHistogram, Histogram, HistogramError, HistogramLayout, HistogramProblem, MIN_SCHEMA, Span,
    bucket_indexes, span_buckets,
};

type Result<T> = std::result::Result<T, HistogramError>;

impl HistogramLayout {
    fn check_reducible(&self, to: i32) -> Result<()> {
        let from = self.schema;
        if self.is_custom() || to < MIN_SCHEMA || to >= from {
            return Err(HistogramProblem::NotReducible { from, to }.into());
        }
        Ok(())
    }
}

/// Merges the buckets that a coarser schema has as one. `by`: how much coarser, at least 1.
fn reduce<T: Copy>(
    spans: &[Span],
    counts: &[T],
    by: u32,
    add: impl Fn(T, T) -> T,
) -> Result<(Vec<Span>, Vec<T>)> {
    if let Some((i, span)) = spans.iter().enumerate().skip(1).find(|(_, s)| s.offset < 0) {
        return Err(HistogramProblem::NegativeOffset { span: i + 1, offset: span.offset }.into());
    }
    let have = counts.len();
    if span_buckets(spans) > have as u64 {
        return Err(HistogramProblem::TooFewBuckets { have }.into());
    }
    let mut merged_spans: Vec<Span> = Vec::new();
    let mut merged: Vec<T> = Vec::new();
    let mut last = 0;
    for (index, count) in bucket_indexes(spans).zip(counts.iter().copied()) {
        // A bucket ends where its index says, so it is the end that is divided. In 64 bits, as the
        // first index may be the lowest that there is.
        let target = ((i64::from(index) - 1) >> by) + 1;
        match (merged_spans.last_mut(), merged.last_mut()) {
            (Some(_), Some(sum)) if target == last => {
                *sum = add(*sum, count);
                continue;
            }
            (Some(span), _) if target == last + 1 => span.length += 1,
            (Some(_), _) => {
                merged_spans.push(Span { offset: (target - last - 1) as i32, length: 1 });
            }
            (None, _) => merged_spans.push(Span { offset: target as i32, length: 1 }),
        }
        merged.push(count);
        last = target;
    }
    Ok((merged_spans, merged))
}

fn by(from: i32, to: i32) -> u32 {
    // More than 32 leaves nothing of a bucket's index in any case.
    from.abs_diff(to).min(63)
}

impl Histogram {
    /// Lowers the resolution to exponential schema `to`.
    ///
    /// # Errors
    /// It is not lower, the buckets are custom ones, or spans and buckets do not go together. The
    /// histogram is then as it was.
    pub fn reduce_resolution(&mut self, to: i32) -> Result<()> {
        let layout = &self.layout;
        layout.check_reducible(to)?;
        let by = by(layout.schema, to);
        let side = |spans: &[Span], counts: Vec<i64>| {
            let (spans, mut counts) = reduce(spans, &counts, by, i64::wrapping_add)?;
            let mut before = 0;
            for count in &mut counts {
                (before, *count) = (*count, count.wrapping_sub(before));
            }
            Ok::<_, HistogramError>((spans, counts))
        };
        let positive = side(&layout.positive_spans, self.positive_counts().collect())?;
        let negative = side(&layout.negative_spans, self.negative_counts().collect())?;
        (self.layout.positive_spans, self.positive_deltas) = positive;
        (self.layout.negative_spans, self.negative_deltas) = negative;
        self.layout.schema = to;
        Ok(())
    }
}

impl FloatHistogram {
    /// Lowers the resolution to exponential schema `to`.
    ///
    /// # Errors
    /// As [`Histogram::reduce_resolution`].
    pub fn reduce_resolution(&mut self, to: i32) -> Result<()> {
        let layout = &self.layout;
        layout.check_reducible(to)?;
        let by = by(layout.schema, to);
        let add = |a, b| a + b;
        let positive = reduce(&layout.positive_spans, &self.positive_buckets, by, add)?;
        let negative = reduce(&layout.negative_spans, &self.negative_buckets, by, add)?;
        (self.layout.positive_spans, self.positive_buckets) = positive;
        (self.layout.negative_spans, self.negative_buckets) = negative;
        self.layout.schema = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::bucket_bound;
    use proptest::prelude::*;

    fn histogram(spans: &[(i32, u32)], deltas: &[i64]) -> Histogram {
        let positive_spans =
            spans.iter().map(|&(offset, length)| Span { offset, length }).collect();
        Histogram {
            layout: HistogramLayout { schema: 8, positive_spans, ..HistogramLayout::default() },
            positive_deltas: deltas.to_vec(),
            ..Histogram::default()
        }
    }

    #[test]
    fn refuses_what_cannot_be_reduced() {
        let mut h = histogram(&[(0, 3)], &[1, 1]);
        assert_eq!(
            h.reduce_resolution(0).unwrap_err().to_string(),
            "have 2 buckets but spans need more: \
             histogram spans specify different number of buckets than provided"
        );
        let text = h.reduce_resolution(8).unwrap_err().to_string();
        assert_eq!(text, "cannot reduce resolution from schema 8 to 8");
        let mut h = histogram(&[(0, 1), (-1, 1)], &[1, 1]);
        assert!(h.reduce_resolution(0).is_err());
        h.layout.schema = -53;
        assert!(h.reduce_resolution(-60).is_err());
        // Hostile schemas and indexes.
        let mut h = histogram(&[(i32::MIN, 2)], &[1, 1]);
        h.layout.schema = i32::MAX;
        assert_eq!(h.reduce_resolution(8), Ok(()));
    }

    proptest! {
        #[test]
        fn counts_stay_within_their_bounds(
            spans in prop::collection::vec((0..40_i32, 0..6_u32), 1..6),
            start in -600..600_i32,
            counts in prop::collection::vec(0..100_i64, 30),
            to in -4..8_i32,
        ) {
            let mut spans = spans;
            spans[0].0 = start;
            let n: u32 = spans.iter().map(|s| s.1).sum();
            let counts = &counts[..n as usize];
            let deltas: Vec<_> =
                counts.iter().scan(0, |before, c| Some(c - std::mem::replace(before, *c))).collect();
            let fine = histogram(&spans, &deltas);
            let (mut coarse, mut float) = (fine.clone(), fine.to_float());
            coarse.reduce_resolution(to).unwrap();
            float.reduce_resolution(to).unwrap();
            prop_assert_eq!(&coarse.to_float(), &float);
            // What is below each coarse bound is the same before and after.
            for index in bucket_indexes(&coarse.layout.positive_spans) {
                let bound = bucket_bound(to, index, &[]);
                let below = |h: &FloatHistogram| -> f64 {
                    h.positive_bucket_iter().filter(|b| b.upper <= bound).map(|b| b.count).sum()
                };
                prop_assert_eq!(below(&fine.to_float()), below(&float));
            }
            let total: f64 = float.positive_buckets.iter().sum();
            prop_assert_eq!(total, counts.iter().sum::<i64>() as f64);
        }
    }
}
