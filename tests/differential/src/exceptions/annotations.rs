//! Annotations that 3.14 words otherwise, or has and 3.5 has not.

use super::{Effect, Exception};

pub(super) const ALL: &[Exception] = &[
    Exception {
        name: "name in bucket annotations",
        reason: "annotations name the metric only where it still has a name",
        source: "util/annotations/annotations.go:212 maybeAddMetricName",
        effect: Effect::Cut("bucket label \"le\" is missing", " for metric name", " ("),
    },
    Exception {
        name: "name in monotonicity annotations",
        reason: "the annotation names buckets, samples and times, the metric only where it has a name, and the first position",
        source: "util/annotations/annotations.go:338 histogramQuantileForcedMonotonicityErr",
        effect: Effect::Cut("needed to be fixed for monotonicity", "#histogram_quantile)", " ("),
    },
    Exception {
        name: "monotonicity without observations",
        reason: "where there are no observations buckets that had to be fixed are told too",
        source: "promql/quantile.go BucketQuantile",
        effect: Effect::New("needed to be fixed for monotonicity"),
    },
    Exception {
        name: "name in annotations of mixed vectors",
        reason: "annotations name the metric only where it still has a name",
        source: "util/annotations/annotations.go:273 NewMixedClassicNativeHistogramsWarning",
        effect: Effect::Cut("a mix of classic and native histograms", " for metric name", " ("),
    },
    Exception {
        name: "name in annotations of NaN observations",
        reason: "annotations name the metric only where it still has a name",
        source: "util/annotations/annotations.go:440 NewNativeHistogramQuantileNaNResultInfo",
        effect: Effect::Cut("has NaN observations", " for metric name", " ("),
    },
    Exception {
        name: "sort warning",
        reason: "sorting in a range query is warned about",
        source: "promql/functions.go:1046 funcSort, util/annotations/annotations.go:431",
        effect: Effect::New("sort is ineffective for range queries"),
    },
    Exception {
        name: "counter reset warning",
        reason: "adding histograms with contradicting counter reset hints is warned about",
        source: "model/histogram/float_histogram.go adjustCounterReset",
        effect: Effect::New("conflicting counter resets during histogram"),
    },
    Exception {
        name: "parentheses around what is aggregated",
        reason: "annotations of aggregations point into the parentheses",
        source: "promql/engine.go:4595 unwrapParenExpr",
        effect: Effect::Position("aggregation ("),
    },
    Exception {
        name: "subqueries behind the last step",
        reason: "subqueries go on to the last step, not to the end, so that there are fewer remarks",
        source: "promql/engine.go:1968 subqueryTimeRange",
        effect: Effect::All(|q, theirs, ours| {
            let values = |a: &crate::answer::Answer| crate::answer::Answer {
                warnings: Vec::new(),
                infos: Vec::new(),
                ..a.clone()
            };
            // The worst of many values is one of fewer.
            let text = |t: &String| t.split(", got ").next().unwrap_or_default().to_owned();
            let fewer = |ours: &[String], theirs: &[String]| {
                ours.iter().all(|o| theirs.iter().any(|t| text(t) == text(o)))
            };
            q.ends_between_steps()
                && q.text.contains(':')
                && values(theirs) == values(ours)
                && fewer(&ours.warnings, &theirs.warnings)
                && fewer(&ours.infos, &theirs.infos)
        }),
    },
];
