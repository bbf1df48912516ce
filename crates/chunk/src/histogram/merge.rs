//! Bucket layouts of which each has buckets that the other lacks.
//!
//! What comes out is what Prometheus makes of them (`tsdb/chunkenc/histogram_meta.go`), down to
//! how the spans are cut, since that stands in the chunk.

use super::Span;

/// A number that stands in a bucket.
pub(super) trait Count: Copy + Default + PartialOrd {
    /// What a bucket holds, where the bucket before it holds `before` and `raw` is written for it.
    fn after(before: Self, raw: Self) -> Self;
    /// What is written for a bucket that holds `self`, where the one before it holds `before`.
    fn raw(self, before: Self) -> Self;
    /// Whether nothing is in the bucket.
    fn is_empty(self) -> bool;
}

/// Buckets are differences.
impl Count for i64 {
    fn after(before: Self, raw: Self) -> Self {
        before.wrapping_add(raw)
    }

    fn raw(self, before: Self) -> Self {
        self.wrapping_sub(before)
    }

    fn is_empty(self) -> bool {
        self == 0
    }
}

/// Buckets are absolute.
impl Count for f64 {
    fn after(_: Self, raw: Self) -> Self {
        raw
    }

    fn raw(self, _: Self) -> Self {
        self
    }

    fn is_empty(self) -> bool {
        self == 0.0
    }
}

/// Who has a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    Both,
    Chunk,
    Sample,
}

/// The buckets of a chunk and of a sample together, on one side of zero.
#[derive(Debug, Default)]
pub(super) struct Merge {
    /// Not filled where neither lacks any.
    buckets: Vec<Has>,
    /// The spans of all of them; not filled likewise.
    spans: Vec<Span>,
    /// Whether the chunk lacks some.
    pub(super) chunk_lacks: bool,
    /// Whether the sample lacks some.
    pub(super) sample_lacks: bool,
}

/// Who is to get the buckets that it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Widen {
    Chunk,
    Sample,
}

impl Merge {
    /// Puts two layouts together, without looking at their counts.
    pub(super) fn of(chunk: &[Span], sample: &[Span]) -> Self {
        if chunk == sample {
            return Self::default();
        }
        Self::compare(indexes(chunk).map(|i| (i, 0.0)), indexes(sample).map(|i| (i, 0.0)))
            .unwrap_or_default()
    }

    /// Puts the buckets of two counters together. `None` if one has become less: then there was a
    /// reset. An empty one may be gone.
    pub(super) fn of_counters<T: Count>(
        (chunk, before): (&[Span], impl Iterator<Item = T>),
        (sample, now): (&[Span], impl Iterator<Item = T>),
    ) -> Option<Self> {
        let (mut before, mut now) = (absolute(before), absolute(now));
        if chunk == sample {
            let fell = before.by_ref().zip(&mut now).any(|(before, now)| before > now);
            return (!fell).then(Self::default);
        }
        Self::compare(indexes(chunk).zip(before), indexes(sample).zip(now))
    }

    /// The spans of all buckets, cut where there are gaps only. `sample` are the sample's.
    pub(super) fn spans(&self, sample: &[Span]) -> Vec<Span> {
        if !self.buckets.is_empty() {
            return self.spans.clone();
        }
        let own = || indexes(sample).map(|i| (i, 0.0));
        Self::compare(own(), own()).unwrap_or_default().spans
    }

    fn compare<T: Count>(
        mut chunk: impl Iterator<Item = (i64, T)>,
        mut sample: impl Iterator<Item = (i64, T)>,
    ) -> Option<Self> {
        let mut merge = Self::default();
        let mut last = 0;
        let (mut a, mut b) = (chunk.next(), sample.next());
        loop {
            let (index, has) = match (a, b) {
                (None, None) => return Some(merge),
                (Some(a), Some(b)) if a.0 == b.0 => {
                    if a.1 > b.1 {
                        return None;
                    }
                    (a.0, Has::Both)
                }
                (Some(a), b) if b.is_none_or(|b| a.0 < b.0) => {
                    if !a.1.is_empty() {
                        return None;
                    }
                    (a.0, Has::Chunk)
                }
                (_, Some(b)) => (b.0, Has::Sample),
                (Some(_), None) => return Some(merge),
            };
            merge.push(has, index, &mut last);
            if has != Has::Sample {
                a = chunk.next();
            }
            if has != Has::Chunk {
                b = sample.next();
            }
        }
    }

    fn push(&mut self, has: Has, index: i64, last: &mut i64) {
        let gap = index - *last - 1;
        match self.spans.last_mut() {
            Some(span) if gap == 0 => span.length += 1,
            Some(_) => self.spans.push(Span { offset: gap as i32, length: 1 }),
            None => self.spans.push(Span { offset: index as i32, length: 1 }),
        }
        *last = index;
        self.buckets.push(has);
        self.chunk_lacks |= has == Has::Sample;
        self.sample_lacks |= has == Has::Chunk;
    }

    /// Appends `values`, the buckets of the chunk or of the sample, to `out`, with empty ones where
    /// it lacks them.
    pub(super) fn widen<T: Count>(&self, whose: Widen, values: &[T], out: &mut Vec<T>) {
        if !self.chunk_lacks && !self.sample_lacks {
            out.extend_from_slice(values);
            return;
        }
        let lacking = match whose {
            Widen::Chunk => Has::Sample,
            Widen::Sample => Has::Chunk,
        };
        let mut values = absolute(values.iter().copied());
        let mut before = T::default();
        for has in &self.buckets {
            let value =
                if *has == lacking { T::default() } else { values.next().unwrap_or_default() };
            out.push(value.raw(before));
            before = value;
        }
    }
}

fn absolute<T: Count>(raw: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    raw.scan(T::default(), |before, raw| {
        *before = T::after(*before, raw);
        Some(*before)
    })
}

/// The index of each bucket.
fn indexes(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut next = 0_i64;
    spans.iter().flat_map(move |span| {
        let first = next + i64::from(span.offset);
        next = first + i64::from(span.length);
        first..next
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(spans: &[(i32, u32)]) -> Vec<Span> {
        spans.iter().map(|&(offset, length)| Span { offset, length }).collect()
    }

    /// The example of the comment at `expandIntSpansAndBuckets` in Prometheus.
    #[test]
    fn new_buckets_within_and_between_spans() {
        let before = spans(&[(0, 2), (2, 1), (3, 2), (3, 1), (1, 1)]);
        let after = spans(&[(0, 3), (1, 1), (1, 4), (3, 3)]);
        let old = [6_i64, -3, 0, -1, 2, 1, -4];
        let new = [6_i64, -3, -3, 3, -3, 0, 2, 2, 1, -5, 1];
        let merge =
            Merge::of_counters((&before, old.iter().copied()), (&after, new.iter().copied()))
                .unwrap();
        assert_eq!((merge.chunk_lacks, merge.sample_lacks), (true, false));
        let mut out = Vec::new();
        merge.widen(Widen::Chunk, &old, &mut out);
        assert_eq!(out, new);
        assert_eq!(merge.spans, after);
    }

    #[test]
    fn a_bucket_may_go_only_if_it_is_empty() {
        let (before, after) = (spans(&[(-2, 3)]), spans(&[(-2, 1), (1, 2)]));
        let merge = |old: [f64; 3], new: [f64; 3]| {
            Merge::of_counters((&before, old.into_iter()), (&after, new.into_iter()))
        };
        assert!(merge([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]).is_none());
        assert!(merge([1.0, 0.0, 2.0], [1.0, 1.0, 1.0]).is_none());
        let merge = merge([1.0, 0.0, 1.0], [1.0, 1.0, 1.0]).unwrap();
        assert!(merge.chunk_lacks && merge.sample_lacks);
        assert_eq!(merge.spans, spans(&[(-2, 4)]));
        let mut out = Vec::new();
        merge.widen(Widen::Sample, &[1.0, 2.0, 3.0], &mut out);
        assert_eq!(out, [1.0, 0.0, 2.0, 3.0]);
    }

    #[test]
    fn empty_spans_only_move_on() {
        let merge = Merge::of(&spans(&[(1, 0), (2, 1), (3, 0), (-1, 1)]), &spans(&[(5, 1)]));
        // Buckets 3, 5 and 6.
        assert_eq!(merge.spans, spans(&[(3, 1), (1, 2)]));
        assert_eq!(indexes(&spans(&[(1, 0), (2, 1), (3, 0), (-1, 1)])).collect::<Vec<_>>(), [3, 6]);
    }
}
