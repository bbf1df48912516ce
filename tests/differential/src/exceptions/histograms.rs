//! Values of histograms, and what is made of them.

use super::{
    Effect, Exception,
    query::SUMS,
    shape::{counts_agree, error, proportional, same_shape, told},
};
use crate::answer::Answer;

/// Functions that say whether a metric is a counter or a gauge.
const TYPED: [&str; 5] = ["rate", "increase", "irate", "delta", "idelta"];

pub(super) const ALL: &[Exception] = &[
    Exception {
        name: "histograms in subqueries",
        reason: "3.5 changes histograms of a subquery while a later step still reads them: it stumbles over the result, or buckets and counts no more agree",
        source: "CHANGELOG.md #16879, promql/functions.go histogramRate",
        effect: Effect::All(|q, theirs, ours| {
            let stumbles =
                error(theirs).starts_with("unexpected error: runtime error: index out of range");
            q.native()
                && q.has(&["subquery"])
                && ours.error.is_none()
                && (stumbles || !counts_agree(theirs) && counts_agree(ours))
        }),
    },
    Exception {
        name: "custom buckets reconciled",
        reason: "custom buckets with other bounds are reconciled, no more refused",
        source: "model/histogram/float_histogram.go:365 intersectCustomBucketBounds",
        effect: Effect::All(|q, theirs, ours| {
            q.text.contains("moving_seconds")
                && (told(theirs, "custom bucket") || told(ours, "custom bucket"))
        }),
    },
    Exception {
        name: "NaN in mad_over_time",
        reason: "the deviation is NaN where a sample is",
        source: "promql/functions.go:1455 funcMadOverTime",
        effect: Effect::All(|q, theirs, ours| {
            q.has(&["mad_over_time"])
                && theirs.error == ours.error
                && (q.filters()
                    || same_shape(theirs, ours, |a, b| {
                        q.node.outermost() != "mad_over_time" || a == b || b == "NaN"
                    }))
        }),
    },
    Exception {
        name: "texts of sums of histograms",
        reason: "sums and averages of histograms are compensated; texts, resets and differences show it",
        source: "model/histogram/float_histogram.go KahanAdd",
        effect: Effect::All(|q, theirs, ours| {
            const SHOWS: [&str; 4] = ["count_values", "resets", "changes", "%"];
            q.native() && q.around(&SHOWS, &SUMS) && theirs.error == ours.error
        }),
    },
    Exception {
        name: "fractions in the first classic bucket",
        reason: "the first bucket begins at 0 if it ends above; what ends at 0 is not interpolated",
        source: "promql/quantile.go BucketFraction lowerBound",
        effect: Effect::All(|q, theirs, ours| {
            q.has(&["histogram_fraction"])
                && q.text.contains("latency_seconds_bucket")
                && theirs.error == ours.error
                && (q.filters() || same_shape(theirs, ours, |_, _| true))
        }),
    },
    Exception {
        name: "negative histograms",
        reason: "a histogram times a negative number is a gauge, and so is a difference",
        source: "model/histogram/float_histogram.go Mul, Div, promql/engine.go vectorElemBinop",
        effect: Effect::All(|q, theirs, ours| {
            let rest = |a: &Answer| {
                let mut a = a.clone();
                a.warnings.retain(|text| !text.contains("this native histogram metric is not a"));
                a
            };
            q.native()
                && q.around(&TYPED, &["subquery"])
                && q.around(&["subquery"], &["*", "/", "unary", "-"])
                && rest(theirs) == rest(ours)
        }),
    },
    Exception {
        name: "zero point of histograms",
        reason: "rates of native histograms are not extrapolated to before the counter was zero",
        source: "promql/functions.go durationToZero",
        effect: Effect::All(|q, theirs, ours| {
            let rates = ["rate", "increase"];
            let n = q.count("rate") + q.count("increase");
            q.native()
                && theirs.error == ours.error
                && match n {
                    0 => false,
                    1 if rates.contains(&&*q.node.outermost()) && !q.has(&["subquery"]) => {
                        proportional(theirs, ours)
                    }
                    _ => q.filters() || same_shape(theirs, ours, |_, _| true),
                }
        }),
    },
    Exception {
        name: "sums of histograms",
        reason: "sums and averages of histograms are compensated",
        source: "model/histogram/float_histogram.go KahanAdd",
        effect: Effect::Rounding(|q| q.native() && q.has(&SUMS), 1e-10),
    },
    Exception {
        name: "fractions of histograms",
        reason: "the share of a bucket is multiplied last",
        source: "promql/quantile.go:430, model/histogram Bucket.FractionBelow",
        effect: Effect::Rounding(|q| q.has(&["histogram_fraction"]), 1e-10),
    },
];
