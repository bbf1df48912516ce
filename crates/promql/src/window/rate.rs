//! Kernels of counters and their relatives: `rate`, `increase`, `delta`, `irate`, `idelta`,
//! `resets`, `changes`, and `rate` under the `anchored` and `smoothed` modifiers.
//!
//! Each takes one window of one series. Formulas and order of operations are those of Prometheus
//! (`promql/functions.go`), so results are equal to its bit for bit.

use super::Window;

/// What distinguishes `rate`, `increase` and `delta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateKind {
    /// Whether decreases are counter resets.
    pub(crate) counter: bool,
    /// Whether the result is per second.
    pub(crate) per_second: bool,
}

/// What the samples of a window say about its rate, before extrapolation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampled {
    pub(crate) first_t: i64,
    pub(crate) last_t: i64,
    pub(crate) intervals: usize,
    /// Value of the first sample (count of a histogram).
    pub(crate) first: f64,
    /// The increase found (count of the histogram), resets corrected.
    pub(crate) increase: f64,
    /// Start timestamp of the first sample if it lies inside the range and so marks a zero.
    pub(crate) start: Option<i64>,
}

/// By how much the sampled increase is to be multiplied so that it stands for the whole range.
///
/// The sampled interval is extended to the edge of the range where the edge is nearer than 1.1
/// average gaps, else by half a gap; a counter is never extended below its zero.
#[inline(always)]
pub(crate) fn extrapolation_factor(
    s: &Sampled,
    kind: RateKind,
    range_start: i64,
    range_end: i64,
) -> Option<f64> {
    let mut to_start = s.first_t.wrapping_sub(range_start) as f64 / 1000.0;
    let mut to_end = range_end.wrapping_sub(s.last_t) as f64 / 1000.0;
    let mut sampled = s.last_t.wrapping_sub(s.first_t) as f64 / 1000.0;
    let gap = if s.intervals > 0 { sampled / s.intervals as f64 } else { 0.0 };
    let threshold = gap * 1.1;
    if let Some(start) = s.start {
        to_start = 0.0;
        sampled = (s.last_t - start) as f64 / 1000.0;
    } else if s.intervals == 0 {
        return None;
    } else {
        if to_start >= threshold {
            to_start = gap / 2.0;
        }
        if kind.counter && s.increase > 0.0 && s.first >= 0.0 {
            let to_zero = sampled * (s.first / s.increase);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
    }
    if to_end >= threshold {
        to_end = gap / 2.0;
    }
    let mut factor = 1.0;
    if sampled != 0.0 {
        factor = (sampled + to_start + to_end) / sampled;
    }
    if kind.per_second {
        factor /= (range_end - range_start) as f64 / 1000.0;
    }
    Some(factor)
}

/// Whether the start timestamp of a sample says that the counter began anew since the one before.
pub(crate) fn is_start_reset(prev_st: i64, prev_t: i64, st: i64, t: i64) -> bool {
    if st == 0 || st >= t || st < prev_t {
        return false;
    }
    if st > prev_t {
        return true;
    }
    // It points at the previous sample: a reset for deltas, but not for cumulative series of
    // unknown start, which show by an unknown start of the previous sample.
    prev_st <= prev_t && prev_st != 0 && prev_st != prev_t
}

/// Whether a sample's start timestamp lies before the previous sample without being the same
/// start.
pub(crate) const fn starts_overlap(prev_st: i64, prev_t: i64, st: i64) -> bool {
    st != 0 && st < prev_t && st != prev_st
}

/// The start timestamp of the first sample, where it lies strictly inside the range before it.
pub(crate) fn usable_start(st: &[i64], first_t: i64, range_start: i64) -> Option<i64> {
    st.first().copied().filter(|&st| st != 0 && st > range_start && st < first_t)
}

/// Where the samples of a window lie in its range, and what follows from that alone. Scrapes are
/// regular, so it is mostly the same for window after window, and spares most divisions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Placement {
    /// From the range's begin to the first sample, from there to the last, from there to the end.
    gaps: [i64; 3],
    intervals: usize,
    to_start: f64,
    to_end: f64,
    sampled: f64,
    /// The factor of a window that its counter's zero does not cut short.
    factor: f64,
}

impl Placement {
    fn new(gaps: [i64; 3], intervals: usize, per_second: Option<f64>) -> Self {
        let [mut to_start, sampled, mut to_end] = gaps.map(|ms| ms as f64 / 1000.0);
        let gap = sampled / intervals as f64;
        let threshold = gap * 1.1;
        if to_start >= threshold {
            to_start = gap / 2.0;
        }
        if to_end >= threshold {
            to_end = gap / 2.0;
        }
        let mut new = Self { gaps, intervals, to_start, to_end, sampled, factor: 0.0 };
        new.factor = new.factor(to_start, per_second);
        new
    }

    #[inline]
    fn factor(&self, to_start: f64, per_second: Option<f64>) -> f64 {
        let factor = if self.sampled == 0.0 {
            1.0
        } else {
            (self.sampled + to_start + self.to_end) / self.sampled
        };
        per_second.map_or(factor, |seconds| factor / seconds)
    }
}

/// [`extrapolated`] for window after window, without start timestamps. `seconds` is the length of
/// the range if the result is per second.
#[inline(always)]
pub(crate) fn extrapolated_next(
    w: &Window<'_>,
    counter: bool,
    seconds: Option<f64>,
    last_placement: &mut Placement,
) -> Option<f64> {
    let ([first_t, .., last_t], [first, .., last]) = (w.ts, w.vs) else { return None };
    let gaps = [
        first_t.wrapping_sub(w.range_start),
        last_t.wrapping_sub(*first_t),
        w.range_end.wrapping_sub(*last_t),
    ];
    let intervals = w.ts.len() - 1;
    // Number by number: as arrays they would be compared by way of memory, which takes longer than
    // all the rest.
    let [a, b, c] = last_placement.gaps;
    let moved = (a ^ gaps[0]) | (b ^ gaps[1]) | (c ^ gaps[2]);
    if moved != 0 || last_placement.intervals != intervals {
        *last_placement = Placement::new(gaps, intervals, seconds);
    }
    let p = &*last_placement;
    let mut increase = last - first;
    if !counter {
        return Some(increase * p.factor);
    }
    for &at in w.resets {
        increase += w.vs[(at - w.base) as usize - 1];
    }
    // The counter's zero can only be near where less was there at first than came along.
    let far = *first >= increase && p.sampled >= p.to_start;
    if increase > 0.0 && *first >= 0.0 && !far {
        let to_zero = p.sampled * (first / increase);
        if to_zero < p.to_start {
            return Some(increase * p.factor(to_zero, seconds));
        }
    }
    Some(increase * p.factor)
}

/// `rate`, `increase` or `delta` of a window of floats.
#[inline(always)]
pub(crate) fn extrapolated(w: &Window<'_>, kind: RateKind) -> Option<f64> {
    if !w.st.is_empty() && kind.counter {
        return extrapolated_with_starts(w, kind);
    }
    let n = w.vs.len();
    if n < 2 {
        return None;
    }
    let (first, last) = (w.vs[0], w.vs[n - 1]);
    let mut increase = last - first;
    if kind.counter {
        for &at in w.resets {
            increase += w.vs[(at - w.base) as usize - 1];
        }
    }
    let sampled = Sampled {
        first_t: w.ts[0],
        last_t: w.ts[n - 1],
        intervals: n - 1,
        first,
        increase,
        start: None,
    };
    Some(increase * extrapolation_factor(&sampled, kind, w.range_start, w.range_end)?)
}

/// A counter's rate where start timestamps are known: they reveal resets and zeros.
fn extrapolated_with_starts(w: &Window<'_>, kind: RateKind) -> Option<f64> {
    let (&first, &last) = (w.vs.first()?, w.vs.last()?);
    let (&first_t, &last_t) = (w.ts.first()?, w.ts.last()?);
    let mut increase = last - first;
    for i in 1..w.vs.len() {
        let reset = w.vs[i] < w.vs[i - 1]
            || i < w.st.len() && is_start_reset(w.st[i - 1], w.ts[i - 1], w.st[i], w.ts[i]);
        if reset {
            increase += w.vs[i - 1];
        }
    }
    let start = usable_start(w.st, first_t, w.range_start);
    let intervals = w.vs.len() - 1;
    let sampled = Sampled { first_t, last_t, intervals, first, increase, start };
    let factor = extrapolation_factor(&sampled, kind, w.range_start, w.range_end)?;
    if start.is_some() {
        increase += first;
    }
    Some(increase * factor)
}

/// Whether two samples of a window overlap by their start timestamps.
pub(crate) fn has_start_overlap(ts: &[i64], st: &[i64]) -> bool {
    (1..st.len().min(ts.len())).any(|i| starts_overlap(st[i - 1], ts[i - 1], st[i]))
}

/// `irate` (`counter`) or `idelta` of a window of floats: the last two samples.
#[inline]
pub(crate) fn instant(w: &Window<'_>, counter: bool) -> Option<f64> {
    let n = w.vs.len();
    if n < 2 {
        return None;
    }
    let (prev, last) = (w.vs[n - 2], w.vs[n - 1]);
    let interval = w.ts[n - 1] - w.ts[n - 2];
    if interval == 0 {
        return None;
    }
    let started = counter
        && w.st.len() == n
        && is_start_reset(w.st[n - 2], w.ts[n - 2], w.st[n - 1], w.ts[n - 1]);
    let change = if counter && (last < prev || started) { last } else { last - prev };
    Some(if counter { change / (interval as f64 / 1000.0) } else { change })
}

/// Number of resets in a window of floats.
#[inline]
pub(crate) fn resets(w: &Window<'_>) -> Option<f64> {
    if w.vs.is_empty() {
        return None;
    }
    if w.st.is_empty() {
        return Some(w.resets.len() as f64);
    }
    let resets = (1..w.vs.len()).filter(|&i| {
        w.vs[i] < w.vs[i - 1]
            || i < w.st.len() && is_start_reset(w.st[i - 1], w.ts[i - 1], w.st[i], w.ts[i])
    });
    Some(resets.count() as f64)
}

/// Number of changes of value in a window of floats; from NaN to NaN is none.
#[inline]
pub(crate) fn changes(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let changed = |p: &[f64]| p[0] != p[1] && !(p[0].is_nan() && p[1].is_nan());
    Some(values.windows(2).filter(|p| changed(p)).count() as f64)
}

/// The value at `t` on the line between two points. A counter that fell is taken to rise from 0.
pub(crate) fn interpolate(p1: (i64, f64), p2: (i64, f64), t: i64, counter: bool) -> f64 {
    let y1 = if counter && p2.1 < p1.1 { 0.0 } else { p1.1 };
    y1 + (p2.1 - y1) * (t - p1.0) as f64 / (p2.0 - p1.0) as f64
}

/// `sort.Search` of Go over `0..n`: the first index for which `f` holds, else `n`.
pub(crate) fn search(n: usize, f: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low) / 2;
        if f(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

/// `rate`, `increase` or `delta` of floats under `anchored` or `smoothed`: no extrapolation; the
/// values at the edges are the last sample before (`anchored`) or interpolated (`smoothed`). The
/// window holds samples beyond the range.
pub(crate) fn extended(w: &Window<'_>, kind: RateKind, smoothed: bool) -> Option<f64> {
    let mut last = w.ts.len().checked_sub(1)?;
    let (start, end) = (w.range_start, w.range_end);
    let mut first = search(last, |i| w.ts[i] > start).saturating_sub(1);
    if smoothed {
        last = search(last, |i| w.ts[i] >= end);
    }
    if w.ts[last] <= start || smoothed && w.ts[first] > end {
        return None;
    }
    let point = |i: usize| (w.ts[i], w.vs[i]);
    let left = if smoothed && w.ts[first] < start {
        interpolate(point(first), point(first + 1), start, kind.counter)
    } else {
        w.vs[first]
    };
    let right = if smoothed && last > 0 && w.ts[last] > end {
        interpolate(point(last - 1), point(last), end, kind.counter)
    } else {
        w.vs[last]
    };
    let mut result = right - left;
    if kind.counter {
        // The edges have taken care of resets next to them.
        if w.ts[first] <= start {
            first += 1;
        }
        let stop = if w.ts[last] >= end { last } else { last + 1 };
        let mut prev = left;
        let mut correction = 0.0;
        for &v in w.vs.get(first..stop).unwrap_or_default().iter().chain([&right]) {
            if v < prev {
                correction += prev;
            }
            prev = v;
        }
        result += correction;
    }
    if kind.per_second {
        result /= (end - start) as f64 / 1000.0;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::super::tests::window;
    use super::*;

    const RATE: RateKind = RateKind { counter: true, per_second: true };
    const INCREASE: RateKind = RateKind { counter: true, per_second: false };
    const DELTA: RateKind = RateKind { counter: false, per_second: false };

    #[test]
    fn extrapolates_to_near_edges_only() {
        // Samples each 10 s over the whole range of a minute.
        let ts: Vec<i64> = (1..=6).map(|i| i * 10_000).collect();
        let vs: Vec<f64> = (11..=16).map(f64::from).collect();
        let (w, _) = (&window(&ts, &vs, 0, 60_000), ());
        assert_eq!(extrapolated(&w.get(), INCREASE), Some(6.0));
        assert_eq!(extrapolated(&w.get(), RATE), Some(5.0 * (60.0 / 50.0 / 60.0)));
        // Only the middle: half a gap at both ends.
        let w = window(&ts[2..4], &vs[2..4], 0, 60_000);
        assert_eq!(extrapolated(&w.get(), DELTA), Some(2.0));
    }

    proptest::proptest! {
        #[test]
        fn window_after_window_agrees_with_each_for_itself(
            samples in proptest::collection::vec((1_i64..40_000, -2_i8..20), 0..40),
            starts in proptest::collection::vec((0_i64..60_000, 1_i64..90_000), 1..5),
            kind in 0_usize..3,
        ) {
            let mut ts = Vec::new();
            let mut vs = Vec::new();
            for (gap, v) in samples {
                ts.push(ts.last().copied().unwrap_or(0) + gap);
                vs.push(f64::from(v));
            }
            let kind = [RATE, INCREASE, DELTA][kind];
            let mut memo = Placement::default();
            for (start, range) in starts {
                let end = start + range;
                let (from, to) =
                    (ts.partition_point(|t| *t <= start), ts.partition_point(|t| *t <= end));
                let w = window(&ts[from..to], &vs[from..to], start, end);
                let seconds = kind.per_second.then_some(range as f64 / 1000.0);
                let got = extrapolated_next(&w.get(), kind.counter, seconds, &mut memo);
                let want = extrapolated(&w.get(), kind);
                proptest::prop_assert_eq!(got.map(f64::to_bits), want.map(f64::to_bits));
            }
        }
    }

    #[test]
    fn a_counter_does_not_start_below_zero() {
        let w = window(&[50_000, 60_000], &[1.0, 11.0], 0, 60_000);
        assert_eq!(extrapolated(&w.get(), INCREASE), Some(10.0 * (11.0 / 10.0)));
    }

    #[test]
    fn resets_add_what_was_lost() {
        let w = window(&[10_000, 20_000, 30_000, 40_000], &[5.0, 7.0, 1.0, 3.0], 0, 40_000);
        assert_eq!(resets(&w.get()), Some(1.0));
        let got = extrapolated(&w.get(), INCREASE).unwrap();
        assert_eq!(got, (3.0 - 5.0 + 7.0) * ((30.0 + 10.0 + 0.0) / 30.0));
        assert_eq!(instant(&w.get(), true), Some(0.2));
    }

    #[test]
    fn one_sample_gives_nothing() {
        let w = window(&[10_000], &[5.0], 0, 40_000);
        assert_eq!(extrapolated(&w.get(), RATE), None);
        assert_eq!(instant(&w.get(), true), None);
        assert_eq!(resets(&w.get()), Some(0.0));
    }

    #[test]
    fn nan_to_nan_is_no_change() {
        assert_eq!(changes(&[1.0, 1.0, 2.0, f64::NAN, f64::NAN, 2.0]), Some(3.0));
        assert_eq!(changes(&[]), None);
    }

    #[test]
    fn anchored_takes_the_sample_before_the_range() {
        let w = window(&[0, 30_000, 90_000], &[1.0, 3.0, 8.0], 15_000, 90_000);
        assert_eq!(extended(&w.get(), INCREASE, false), Some(7.0));
        let got = extended(&w.get(), INCREASE, true).unwrap();
        assert_eq!(got, 8.0 - 2.0);
    }
}
