//! Values of histograms, and what is made of them.

use super::{
    Effect, Exception,
    query::SUMS,
    shape::{error, proportional, same_shape, spoiled, told},
};
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
                && (stumbles || spoiled(theirs, ours))
        }),
    },
    Exception {
        name: "custom buckets reconciled",
        reason: "custom buckets with other bounds are reconciled, no more refused",
        source: "model/histogram/float_histogram.go:365 intersectCustomBucketBounds",
        effect: Effect::All(|q, theirs, ours| {
            q.text.contains("moving_seconds")
                && (["custom bucket", "incompatible bucket layout"].iter())
                    .any(|text| told(theirs, text) || told(ours, text))
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
        reason: "sums and averages of histograms are compensated; texts, resets, remainders and what is rounded show it",
        source: "model/histogram/float_histogram.go KahanAdd",
        effect: Effect::All(|q, theirs, ours| {
            const SHOWS: [&str; 7] =
                ["count_values", "resets", "changes", "%", "round", "ceil", "floor"];
            q.native() && q.around(&SHOWS, &SUMS) && theirs.error == ours.error
        }),
    },
    Exception {
        name: "differences of sums of histograms",
        reason: "sums and averages of histograms are compensated; little is left of a difference but how they were rounded",
        source: "model/histogram/float_histogram.go KahanAdd",
        effect: Effect::All(|q, theirs, ours| {
            q.native()
                && q.has(&["subquery"])
                && q.around(&TYPED, &SUMS)
                && theirs.error == ours.error
                && (q.filters() || same_shape(theirs, ours, |_, _| true))
        }),
    },
    Exception {
        name: "fractions in the first classic bucket",
        reason: "the first bucket begins at 0 if it ends above; what ends at 0 is not interpolated",
        source: "promql/quantile.go BucketFraction lowerBound",
        effect: Effect::All(|q, theirs, ours| {
            q.has(&["histogram_fraction"])
                && q.text.contains("latency_seconds_bucket")
                && (q.filters()
                    || theirs.error == ours.error && same_shape(theirs, ours, |_, _| true))
        }),
    },
    Exception {
        name: "negative histograms",
        reason: "a histogram times a negative number is a gauge, and so is a difference",
        source: "model/histogram/float_histogram.go Mul, Div, promql/engine.go vectorElemBinop",
        effect: Effect::Without(
            |q| {
                q.native()
                    && q.around(&TYPED, &["subquery"])
                    && q.around(&["subquery"], &["*", "/", "unary", "-"])
            },
            "this native histogram metric is not a",
        ),
    },
    Exception {
        name: "statistics without buckets",
        reason: "where only sums and counts are asked for buckets are not read, in the outermost function and in all selectors too, so that resets of gauges are found by count, and histograms are equal without them",
        source: "promql/engine.go detectHistogramStatsDecoding",
        effect: Effect::All(|q, theirs, ours| {
            const STATISTICS: [&str; 3] = ["histogram_count", "histogram_sum", "histogram_avg"];
            let gauges = q.text.contains("queue_seconds") || q.text.contains("float_seconds");
            q.around(&STATISTICS, &["==", "!="]) && q.native() && theirs.error == ours.error
                || gauges
                    && q.around(&STATISTICS, &["rate", "increase", "irate"])
                    && theirs.error == ours.error
                    && (q.filters() || same_shape(theirs, ours, |_, _| true))
        }),
    },
    Exception {
        name: "schemas of statistics",
        reason: "that exponential and custom buckets are mixed is said where only sums and counts are asked for, too",
        source: "promql/histogram_stats_iterator.go:97 Schema",
        effect: Effect::All(|q, theirs, ours| {
            let mixed = "a mix of histograms with exponential and custom buckets";
            let layout = "incompatible bucket layout";
            q.has(&["histogram_count", "histogram_sum", "histogram_avg"])
                && (told(ours, mixed) && !told(theirs, mixed)
                    || told(theirs, layout) && !told(ours, layout))
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
        name: "averages of infinite histograms",
        reason: "a mean is a sum divided as long as that is finite, then goes on without taking differences of infinities",
        source: "promql/engine.go:3790 histogramIncrementalMean",
        effect: Effect::All(|q, theirs, ours| {
            let infinite = |v: &str| v == "NaN" || v.ends_with("Inf");
            q.native()
                && q.has(&["avg", "avg_over_time"])
                && same_shape(theirs, ours, |a, b| a == b || infinite(a) && infinite(b))
                && !same_shape(theirs, ours, |a, b| a == b)
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
