//! Empty buckets left out.

use super::{FloatHistogram, Histogram, Span, bucket_indexes};

/// Spans and absolute counts without empty buckets, but for runs of at most `gap` of them between
/// others, which cost less than a span. Linear in the number of counts (and `gap`).
fn compact<T: Copy>(
    spans: &[Span],
    counts: impl Iterator<Item = T>,
    gap: u32,
    zero: T,
    is_zero: impl Fn(T) -> bool,
) -> (Vec<Span>, Vec<T>) {
    let (mut out, mut kept): (Vec<Span>, Vec<T>) = (Vec::new(), Vec::new());
    let mut next = 0_i32;
    for (index, count) in bucket_indexes(spans).zip(counts) {
        if is_zero(count) {
            continue;
        }
        let offset = index.wrapping_sub(next);
        match (out.last_mut(), u32::try_from(offset)) {
            (Some(span), Ok(empty)) if empty <= gap => {
                kept.extend((0..empty).map(|_| zero));
                span.length = span.length.wrapping_add(empty).wrapping_add(1);
            }
            _ => out.push(Span { offset, length: 1 }),
        }
        kept.push(count);
        next = index.wrapping_add(1);
    }
    (out, kept)
}

fn deltas(counts: &mut [i64]) {
    let mut before = 0_i64;
    for count in counts {
        (before, *count) = (*count, count.wrapping_sub(before));
    }
}

impl Histogram {
    /// Leaves out empty buckets at the ends of spans, and runs of more than `gap` of them within;
    /// joins spans that are at most `gap` apart. The histogram means the same afterwards.
    /// Source: `compactBuckets` in `model/histogram/generic.go`.
    pub fn compact(&mut self, gap: u32) {
        let is_zero = |count: i64| count == 0;
        let layout = &self.layout;
        let (spans, mut positive) =
            compact(&layout.positive_spans, self.positive_counts(), gap, 0, is_zero);
        let (negative_spans, mut negative) =
            compact(&layout.negative_spans, self.negative_counts(), gap, 0, is_zero);
        deltas(&mut positive);
        deltas(&mut negative);
        (self.layout.positive_spans, self.positive_deltas) = (spans, positive);
        (self.layout.negative_spans, self.negative_deltas) = (negative_spans, negative);
    }
}

impl FloatHistogram {
    /// As [`Histogram::compact`].
    pub fn compact(&mut self, gap: u32) {
        let is_zero = |count: f64| count == 0.0;
        let layout = &self.layout;
        let counts = self.positive_buckets.iter().copied();
        let positive = compact(&layout.positive_spans, counts, gap, 0.0, is_zero);
        let counts = self.negative_buckets.iter().copied();
        let negative = compact(&layout.negative_spans, counts, gap, 0.0, is_zero);
        (self.layout.positive_spans, self.positive_buckets) = positive;
        (self.layout.negative_spans, self.negative_buckets) = negative;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::HistogramLayout;

    fn compacted(spans: &[(i32, u32)], counts: &[f64], gap: u32) -> (Vec<(i32, u32)>, Vec<f64>) {
        let positive_spans =
            spans.iter().map(|&(offset, length)| Span { offset, length }).collect();
        let mut h = FloatHistogram {
            layout: HistogramLayout { positive_spans, ..HistogramLayout::default() },
            positive_buckets: counts.to_vec(),
            ..FloatHistogram::default()
        };
        h.compact(gap);
        let spans = h.layout.positive_spans.iter().map(|s| (s.offset, s.length)).collect();
        (spans, h.positive_buckets)
    }

    // The cases are those of `TestHistogramCompact` and `TestFloatHistogramCompact`.
    #[test]
    fn empty_buckets_go_where_that_is_cheaper() {
        for (spans, counts, gap, want_spans, want) in [
            (
                &[(-2, 1), (2, 3)][..],
                &[1.0, 3.3, 4.2, 0.1][..],
                0,
                &[(-2, 1), (2, 3)][..],
                &[1.0, 3.3, 4.2, 0.1][..],
            ),
            (&[(-2, 1), (0, 3)], &[1.0, 3.3, 4.2, 0.1], 0, &[(-2, 4)], &[1.0, 3.3, 4.2, 0.1]),
            (
                &[(-2, 2), (2, 0), (3, 3)],
                &[1.0, 3.3, 4.2, 0.1, 3.3],
                0,
                &[(-2, 2), (5, 3)],
                &[1.0, 3.3, 4.2, 0.1, 3.3],
            ),
            (
                &[(-4, 4), (3, 3), (2, 1)],
                &[0.0, 0.0, 1.0, 3.3, 4.2, 0.1, 0.0, 0.0],
                0,
                &[(-2, 2), (3, 2)],
                &[1.0, 3.3, 4.2, 0.1],
            ),
            (&[(-2, 4), (5, 3)], &[0.0; 7], 0, &[], &[]),
            (
                &[(-4, 6), (3, 6)],
                &[0.0, 0.0, 1.0, 0.0, 3.3, 0.0, 0.0, 4.2, 0.1, 3.3, 0.0, 0.0],
                0,
                &[(-2, 1), (1, 1), (5, 3)],
                &[1.0, 3.3, 4.2, 0.1, 3.3],
            ),
            (
                &[(-4, 6), (3, 6)],
                &[0.0, 0.0, 1.0, 0.0, 3.3, 0.0, 0.0, 4.2, 0.1, 3.3, 0.0, 0.0],
                1,
                &[(-2, 3), (5, 3)],
                &[1.0, 0.0, 3.3, 4.2, 0.1, 3.3],
            ),
            (
                &[(0, 2), (2, 2)],
                &[1.0, 2.0, 3.0, 4.0],
                2,
                &[(0, 6)],
                &[1.0, 2.0, 0.0, 0.0, 3.0, 4.0],
            ),
            (&[(0, 2), (3, 2)], &[1.0, 2.0, 3.0, 4.0], 2, &[(0, 2), (3, 2)], &[1.0, 2.0, 3.0, 4.0]),
        ] {
            let (got_spans, got) = compacted(spans, counts, gap);
            assert_eq!((&got_spans[..], &got[..]), (want_spans, want), "{spans:?}");
        }
        // Nonsense survives, for validation to object to.
        assert_eq!(compacted(&[(0, 2), (-1, 1)], &[1.0; 3], 0).0, [(0, 2), (-1, 1)]);
    }

    #[test]
    fn integers_stay_differences() {
        let mut h = Histogram {
            layout: HistogramLayout {
                positive_spans: vec![Span { offset: 0, length: 6 }],
                ..HistogramLayout::default()
            },
            positive_deltas: vec![0, 2, -2, 0, 0, 5],
            ..Histogram::default()
        };
        h.compact(2);
        assert_eq!(
            h.layout.positive_spans,
            [Span { offset: 1, length: 1 }, Span { offset: 3, length: 1 }]
        );
        assert_eq!(h.positive_deltas, [2, 3]);
    }
}
