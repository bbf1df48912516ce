//! The trim operators: a histogram without its observations above or below a value.

use firesteel_model::FloatHistogram;

use super::{Bucket, compact, is_custom, negative_buckets, positive_buckets};

/// The middle of what remains of a bucket.
fn midpoint(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    if lower.is_infinite() {
        return if upper.is_infinite() {
            0.0
        } else if upper > 0.0 {
            upper / 2.0
        } else {
            upper
        };
    }
    if upper.is_infinite() {
        return lower;
    }
    if linear {
        return (lower + upper) / 2.0;
    }
    let mean = (lower * upper).abs().sqrt();
    if positive { mean } else { -mean }
}

fn finite_or_zero(v: f64) -> f64 {
    if v.is_infinite() { 0.0 } else { v }
}

/// What remains of a bucket that ends nowhere, and its middle. Where nothing is known about the
/// spread of its observations it is dropped as a whole.
fn trim_infinite(b: &Bucket, at: f64, keep_below: bool) -> (f64, f64) {
    if b.lower == f64::NEG_INFINITY {
        if keep_below {
            if at >= b.upper {
                return (b.count, 0.0);
            }
            if at > 0.0 && b.upper > 0.0 && b.upper != f64::INFINITY {
                return (b.count * at / b.upper, at / 2.0);
            }
            if b.upper <= 0.0 {
                return (b.count, at);
            }
            return (0.0, finite_or_zero(b.upper));
        }
        if at <= b.lower {
            return (b.count, 0.0);
        }
        if at >= 0.0 && b.upper > at && b.upper != f64::INFINITY {
            return (b.count * (1.0 - at / b.upper), (at + b.upper) / 2.0);
        }
        return (0.0, finite_or_zero(b.upper));
    }
    if !keep_below && at >= b.lower { (b.count, at) } else { (0.0, finite_or_zero(b.lower)) }
}

/// What remains of a bucket that the value cuts, and its middle.
fn trim_bucket(b: &Bucket, at: f64, keep_below: bool, positive: bool, linear: bool) -> (f64, f64) {
    if b.lower == f64::NEG_INFINITY || b.upper == f64::INFINITY {
        return trim_infinite(b, at, keep_below);
    }
    let below = if at <= b.lower {
        0.0
    } else if at >= b.upper {
        b.count
    } else {
        b.count * b.fraction_below(at, linear)
    };
    if keep_below {
        (below, midpoint(b.lower, at, positive, linear))
    } else {
        (b.count - below, midpoint(at, b.upper, positive, linear))
    }
}

fn trim_zero(h: &FloatHistogram, at: f64, keep_below: bool, sides: (bool, bool)) -> (f64, f64) {
    let (negative, positive) = sides;
    let threshold = h.layout.zero_threshold;
    let lower = if positive && !negative { 0.0 } else { -threshold };
    let upper = if negative && !positive { 0.0 } else { threshold };
    let count = h.zero_count;
    let whole = (count, (lower + upper) / 2.0);
    let share = |width: f64| count * (width / (upper - lower));
    match (at <= lower, at >= upper) {
        (true, _) => {
            if keep_below {
                (0.0, 0.0)
            } else {
                whole
            }
        }
        (_, true) => {
            if keep_below {
                whole
            } else {
                (0.0, 0.0)
            }
        }
        _ if keep_below => (share(at - lower), (lower + at) / 2.0),
        _ => (share(upper - at), (at + upper) / 2.0),
    }
}

/// The histogram without observations above (`keep_below`) or below `at`. Count and sum are
/// estimated anew where something was cut.
pub(crate) fn trim(h: &mut FloatHistogram, at: f64, keep_below: bool) {
    let linear = is_custom(h);
    let (mut count, mut sum, mut trimmed) = (0.0, 0.0, false);
    let mut sides = [false, false];
    for (side, positive) in [(0, true), (1, false)] {
        let buckets: Vec<Bucket> =
            if positive { positive_buckets(h).collect() } else { negative_buckets(h).collect() };
        for (i, b) in buckets.iter().enumerate().filter(|(_, b)| b.count != 0.0) {
            sides[side] = true;
            let inside = if keep_below { b.upper <= at } else { b.lower >= at };
            let cut = if keep_below { b.lower < at } else { b.upper > at };
            let (kept, middle) = if inside {
                (b.count, midpoint(b.lower, b.upper, positive, linear))
            } else if cut {
                trim_bucket(b, at, keep_below, positive, linear)
            } else {
                (0.0, 0.0)
            };
            count += kept;
            sum += middle * kept;
            if kept != b.count || !inside && !cut {
                trimmed = true;
                let counts =
                    if positive { &mut h.positive_buckets } else { &mut h.negative_buckets };
                if let Some(slot) = counts.get_mut(i) {
                    *slot = kept;
                }
            }
        }
    }
    if h.zero_count > 0.0 {
        let (kept, middle) = trim_zero(h, at, keep_below, (sides[1], sides[0]));
        trimmed |= kept != h.zero_count;
        h.zero_count = kept;
        sum += middle * kept;
        count += kept;
    }
    if trimmed {
        h.count = count;
        h.sum = sum;
        compact(h);
    }
}
