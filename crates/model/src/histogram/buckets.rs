//! Walking over buckets.

use super::{FloatHistogram, Histogram, HistogramLayout, Span, bucket_bound};

/// A bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether observations equal to the lower bound count.
    pub lower_inclusive: bool,
    /// Whether observations equal to the upper bound count.
    pub upper_inclusive: bool,
    /// Observations in it.
    pub count: f64,
    /// Its number within its side; 0 for the zero bucket.
    pub index: i32,
}

/// How many buckets spans describe.
#[must_use]
pub fn span_buckets(spans: &[Span]) -> u64 {
    spans.iter().map(|span| u64::from(span.length)).sum()
}

/// The numbers of the buckets that spans describe, in order. Spans may claim up to 2^32 buckets
/// each: zip it with the counts. Numbers beyond 32 bits wrap.
pub fn bucket_indexes(spans: &[Span]) -> impl Iterator<Item = i32> + Clone + '_ {
    spans
        .iter()
        .scan(0_i32, |next, span| {
            let first = next.wrapping_add(span.offset);
            *next = first.wrapping_add(span.length.cast_signed());
            Some((first, span.length))
        })
        .flat_map(|(first, length)| (0..length).map(move |i| first.wrapping_add(i.cast_signed())))
}

impl HistogramLayout {
    fn positive(&self, index: i32, count: f64) -> Bucket {
        let lower = bucket_bound(self.schema, index.wrapping_sub(1), &self.custom_values);
        let upper = bucket_bound(self.schema, index, &self.custom_values);
        let custom = self.is_custom();
        Bucket {
            lower,
            upper,
            lower_inclusive: if custom { index == 0 } else { lower < 0.0 },
            upper_inclusive: custom || upper > 0.0,
            count,
            index,
        }
    }

    fn negative(&self, index: i32, count: f64) -> Bucket {
        let mirrored = self.positive(index, count);
        Bucket {
            lower: -mirrored.upper,
            upper: -mirrored.lower,
            lower_inclusive: true,
            upper_inclusive: false,
            ..mirrored
        }
    }

    /// The zero bucket with this count.
    #[must_use]
    pub const fn zero(&self, count: f64) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count,
            index: 0,
        }
    }
}

impl FloatHistogram {
    /// The positive buckets in ascending order, empty ones too.
    pub fn positive_bucket_iter(&self) -> impl Iterator<Item = Bucket> + '_ {
        let layout = &self.layout;
        bucket_indexes(&layout.positive_spans)
            .zip(&self.positive_buckets)
            .map(|(index, count)| layout.positive(index, *count))
    }

    /// The negative buckets from the one next to zero on, empty ones too.
    pub fn negative_bucket_iter(&self) -> impl Iterator<Item = Bucket> + '_ {
        let layout = &self.layout;
        bucket_indexes(&layout.negative_spans)
            .zip(&self.negative_buckets)
            .map(|(index, count)| layout.negative(index, *count))
    }

    /// All buckets that are not empty, in ascending order. Allocates if there are negative ones.
    pub fn bucket_iter(&self) -> impl Iterator<Item = Bucket> + '_ {
        let negative: Vec<_> = self.negative_bucket_iter().collect();
        let zero = (!self.layout.is_custom()).then(|| self.layout.zero(self.zero_count));
        negative
            .into_iter()
            .rev()
            .chain(zero)
            .chain(self.positive_bucket_iter())
            .filter(|bucket| bucket.count != 0.0)
    }
}

impl Histogram {
    /// The counts of the positive buckets.
    pub fn positive_counts(&self) -> impl Iterator<Item = i64> + '_ {
        absolute(&self.positive_deltas)
    }

    /// The counts of the negative buckets.
    pub fn negative_counts(&self) -> impl Iterator<Item = i64> + '_ {
        absolute(&self.negative_deltas)
    }
}

fn absolute(deltas: &[i64]) -> impl Iterator<Item = i64> + '_ {
    deltas.iter().scan(0_i64, |sum, delta| {
        *sum = sum.wrapping_add(*delta);
        Some(*sum)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_number_their_buckets() {
        let span = |offset, length| Span { offset, length };
        let spans = [span(-2, 2), span(1, 1), span(0, 0), span(3, 2)];
        assert_eq!(bucket_indexes(&spans).collect::<Vec<_>>(), [-2, -1, 1, 5, 6]);
        assert_eq!(span_buckets(&spans), 5);
        let hostile = [span(i32::MAX, u32::MAX), span(i32::MIN, u32::MAX)];
        assert_eq!(bucket_indexes(&hostile).take(2).collect::<Vec<_>>(), [i32::MAX, i32::MIN]);
    }
}
