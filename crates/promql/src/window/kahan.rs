//! Compensated summation.
//!
//! Neumaier's variant of Kahan's algorithm. Order of operations and the treatment of infinities
//! follow Prometheus' `util/kahansum`, so sums are equal to its bit for bit.

/// Adds `inc` to a sum with compensation `c`; returns both.
#[inline(always)]
pub(crate) fn add(inc: f64, sum: f64, c: f64) -> (f64, f64) {
    let t = sum + inc;
    let c = if t.is_infinite() {
        0.0
    } else if sum.abs() >= inc.abs() {
        c + ((sum - t) + inc)
    } else {
        c + ((inc - t) + sum)
    };
    (t, c)
}

/// The compensated sum of `values`.
#[inline]
pub(crate) fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut c) = (0.0, 0.0);
    for &v in values {
        (sum, c) = add(v, sum, c);
    }
    if sum.is_infinite() { sum } else { sum + c }
}

/// The compensated mean of `values`, which must not be empty. As long as the plain sum does not
/// overflow the mean is sum by count, from there on it is calculated incrementally.
#[inline]
pub(crate) fn mean(values: &[f64]) -> f64 {
    let Some((&first, rest)) = values.split_first() else { return f64::NAN };
    let (mut sum, mut c) = (first, 0.0);
    for &v in rest {
        (sum, c) = add(v, sum, c);
    }
    if sum.is_finite() {
        // It never overflowed, then.
        let count = values.len() as f64;
        return sum / count + c / count;
    }
    let mut mean = RunningMean::new(first);
    for &v in rest {
        mean.add(v);
    }
    mean.value()
}

/// A mean in the making; see [`mean`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningMean {
    /// The sum, or the mean once `incremental` is set.
    pub(crate) sum: f64,
    pub(crate) c: f64,
    pub(crate) count: f64,
    pub(crate) incremental: bool,
}

impl RunningMean {
    #[inline(always)]
    pub(crate) const fn new(first: f64) -> Self {
        Self { sum: first, c: 0.0, count: 1.0, incremental: false }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, v: f64) {
        self.count += 1.0;
        if !self.incremental {
            let (sum, c) = add(v, self.sum, self.c);
            if !sum.is_infinite() {
                (self.sum, self.c) = (sum, c);
                return;
            }
            self.make_incremental(self.count - 1.0);
        }
        let q = (self.count - 1.0) / self.count;
        (self.sum, self.c) = add(v / self.count, q * self.sum, q * self.c);
    }

    fn make_incremental(&mut self, count: f64) {
        self.incremental = true;
        self.sum /= count;
        self.c /= count;
    }

    /// Adds what another mean has seen.
    pub(crate) fn merge(&mut self, other: &Self) {
        if !self.incremental && !other.incremental {
            let (sum, c) = add(other.sum, self.sum, self.c);
            if !sum.is_infinite() {
                (self.sum, self.c) = (sum, c + other.c);
                self.count += other.count;
                return;
            }
        }
        let mut other = *other;
        if !self.incremental {
            self.make_incremental(self.count);
        }
        if !other.incremental {
            other.make_incremental(other.count);
        }
        let total = self.count + other.count;
        let (mine, theirs) = (self.count / total, other.count / total);
        let (sum, c) = add(other.sum * theirs, self.sum * mine, self.c * mine);
        (self.sum, self.c) = (sum, c + other.c * theirs);
        self.count = total;
    }

    #[inline]
    pub(crate) fn value(&self) -> f64 {
        if self.incremental {
            self.sum + self.c
        } else {
            self.sum / self.count + self.c / self.count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_plain_addition_loses() {
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(sum(&[]), 0.0);
    }

    #[test]
    fn the_mean_survives_overflow() {
        assert_eq!(mean(&[f64::MAX, f64::MAX]), f64::MAX);
        assert_eq!(mean(&[1.0, 2.0, 3.0]), 2.0);
        assert_eq!(mean(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    #[test]
    fn merged_means_agree_with_one_pass() {
        for (a, b) in [(&[1.0, 2.0][..], &[3.0, 10.0][..]), (&[f64::MAX], &[f64::MAX, f64::MAX])] {
            let one = |v: &[f64]| {
                let mut m = RunningMean::new(v[0]);
                v[1..].iter().for_each(|&x| m.add(x));
                m
            };
            let mut merged = one(a);
            merged.merge(&one(b));
            let all: Vec<f64> = a.iter().chain(b).copied().collect();
            assert!((merged.value() / mean(&all) - 1.0).abs() < 1e-15);
        }
    }
}
