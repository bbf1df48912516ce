//! Where Prometheus 3.14, which we follow, and 3.5.3, which is asked, are known to differ.
//!
//! An exception takes out of both answers what may differ, or says how much values may; what is
//! left must still be the same.

use crate::{
    answer::{Answer, Point, Series},
    compare::{self, Order, Precision},
    generate::Question,
    subject::When,
    tree::Node,
};

/// A known difference.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Its name in the report.
    pub name: &'static str,
    /// What 3.14 does otherwise.
    pub reason: &'static str,
    /// Where 3.14 does it.
    pub source: &'static str,
    /// What it does to two answers.
    effect: Effect,
}

#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Parts of texts of annotations, from the first to the second text, are not looked at.
    Cut(&'static str, &'static str, &'static str),
    /// The positions of annotations with this text are not looked at.
    Position(&'static str),
    /// Annotations of ours with this text are not looked at.
    New(&'static str),
    /// Errors of theirs say the second text instead of the first.
    Reworded(&'static str, &'static str),
    /// The two series that an error with this text names may come in any order.
    Pair(&'static str),
    /// In queries of which this is true values may differ by this part of them.
    Rounding(fn(&Query<'_>) -> bool, f64),
    /// Queries of which this is true may differ altogether.
    All(fn(&Query<'_>, &Answer, &Answer) -> bool),
}

/// What an exception sees of a query.
#[derive(Debug)]
pub struct Query<'a> {
    node: &'a Node,
    text: String,
    when: When,
}

impl Query<'_> {
    fn has(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.count(name) > 0)
    }

    /// How often a function, operator or form occurs. What was damaged has no names but in its text.
    fn count(&self, name: &str) -> usize {
        if self.node.name == "damaged" {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.chars().all(word) {
                return self.text.split(|c| !word(c)).filter(|w| *w == name).count();
            }
            return self.text.matches(name).count();
        }
        let mut n = 0;
        self.node.names(&mut |other| n += usize::from(other == name));
        n
    }

    /// The name of what is outermost.
    fn outermost(&self) -> &str {
        if self.node.name == "damaged" {
            return self.text.split(['(', ' ']).next().unwrap_or_default();
        }
        self.node.name
    }

    /// Whether something in it may drop samples because of their value, or pick some.
    fn filters(&self) -> bool {
        const NAMES: [&str; 16] = [
            "==",
            "!=",
            ">",
            "<",
            ">=",
            "<=",
            "topk",
            "bottomk",
            "limitk",
            "count_values",
            "and",
            "unless",
            "or",
            "sort",
            "sort_desc",
            "clamp",
        ];
        self.has(&NAMES)
    }

    /// Whether a range query's last step is before its end.
    fn ends_between_steps(&self) -> bool {
        matches!(self.when, When::Range { start, end, step } if (end - start) % step != 0)
    }

    /// Whether it reads native histograms.
    fn native(&self) -> bool {
        const FAMILIES: [&str; 7] = [
            "request_seconds",
            "coarsening_seconds",
            "float_seconds",
            "queue_seconds",
            "custom_seconds",
            "moving_seconds",
            "mixed",
        ];
        FAMILIES.iter().any(|name| self.text.contains(name))
    }
}

/// All known differences.
pub const EXCEPTIONS: &[Exception] = &[
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
        name: "custom buckets reconciled",
        reason: "custom buckets with other bounds are reconciled, no more refused",
        source: "model/histogram/float_histogram.go:365 intersectCustomBucketBounds",
        effect: Effect::All(|q, theirs, ours| {
            let told =
                |a: &Answer, what| a.warnings.iter().chain(&a.infos).any(|t| t.contains(what));
            q.text.contains("moving_seconds")
                && (told(theirs, "custom bucket") || told(ours, "custom bucket"))
        }),
    },
    Exception {
        name: "order of duplicates",
        reason: "the two series of the same match group are named in order",
        source: "promql/engine.go:3267 dupl1, dupl2",
        effect: Effect::Pair("found duplicate series for the match group"),
    },
    Exception {
        name: "expected durations",
        reason: "parse errors say what else may stand there",
        source: "promql/parser/parse.go, generated_parser.y offset_duration_expr",
        effect: Effect::Reworded(
            "expected number or duration",
            "expected number, duration, step(), or range()",
        ),
    },
    Exception {
        name: "NaN in mad_over_time",
        reason: "the deviation is NaN where a sample is",
        source: "promql/functions.go funcMadOverTime",
        effect: Effect::All(|q, theirs, ours| {
            q.has(&["mad_over_time"])
                && theirs.error == ours.error
                && (q.filters()
                    || same_shape(theirs, ours, |a, b| {
                        q.outermost() != "mad_over_time" || a == b || b == "NaN"
                    }))
        }),
    },
    Exception {
        name: "matches that are filtered out",
        reason: "one-to-one matches are checked before a comparison or mixed types drop them",
        source: "promql/engine.go:3277 matchedSigsPresent",
        effect: Effect::All(|_, theirs, ours| {
            let text = "multiple matches for labels: many-to-one matching must be explicit";
            theirs.error.is_none() && ours.error.as_ref().is_some_and(|e| e.1.starts_with(text))
        }),
    },
    Exception {
        name: "parentheses around what is aggregated",
        reason: "annotations of aggregations point into the parentheses",
        source: "promql/engine.go:4595 unwrapParenExpr",
        effect: Effect::Position("aggregation ("),
    },
    Exception {
        name: "name of @ in parse errors",
        reason: "@ has a name in parse errors",
        source: "promql/parser/lex.go:210",
        effect: Effect::Reworded("\"<Item 57400>\" <op:@>", "<op:@>"),
    },
    Exception {
        name: "position of operators in parse errors",
        reason: "the position of an operator behind an aggregation is no more one off",
        source: "promql/parser/parse.go:767 opRange",
        effect: Effect::All(|q, theirs, ours| {
            let text = |a: &Answer| {
                let error = a.error.as_ref()?;
                error.1.split_once("parse error: ").map(|t| t.1.to_owned())
            };
            q.has(&["on", "ignoring", "bool"])
                && text(theirs).is_some()
                && text(theirs) == text(ours)
        }),
    },
    Exception {
        name: "series that become the same",
        reason: "series with the same labels are one where they have no samples at the same time",
        source: "promql/engine.go:4323 mergeSeriesWithSameLabelset",
        effect: Effect::All(|_, theirs, ours| {
            let text = "vector cannot contain metrics with the same labelset";
            ours.error.is_none() && theirs.error.as_ref().is_some_and(|e| e.1 == text)
        }),
    },
    Exception {
        name: "order of ties",
        reason: "which of equal values is picked depends on the order in storage or of an unstable sort",
        source: "promql/functions.go:1046 funcSort",
        effect: Effect::All(|q, theirs, ours| {
            q.has(&["topk", "bottomk", "limitk"])
                && q.has(&["sort", "sort_desc"])
                && theirs.error == ours.error
                && theirs.series.len() == ours.series.len()
        }),
    },
    Exception {
        name: "durations that are NaN",
        reason: "an offset in parentheses goes on with the operator that follows",
        source: "promql/durations.go, generated_parser.y offset_duration_expr",
        effect: Effect::All(|q, _, ours| {
            if !q.text.contains("offset (") {
                return false;
            }
            const WORDS: [&str; 2] = ["duration is NaN", "duration is out of range"];
            ours.error.as_ref().is_some_and(|e| WORDS.iter().any(|word| e.1.contains(word)))
        }),
    },
    Exception {
        name: "errors in ranges",
        reason: "duration expressions may stand in ranges, so parse errors expect more there",
        source: "promql/parser/lex.go:507, generated_parser.y",
        effect: Effect::All(|q, theirs, ours| {
            const WORDS: [&str; 4] = [
                "unexpected colon",
                "in subquery selector",
                "expected number or duration",
                "in duration expression",
            ];
            let known = |a: &Answer| {
                a.error.as_ref().is_some_and(|e| WORDS.iter().any(|w| e.1.contains(w)))
            };
            q.node.name == "damaged" && ours.error.is_some() && known(theirs)
        }),
    },
    Exception {
        name: "texts of sums of histograms",
        reason: "sums and averages of histograms are compensated; texts, resets and differences show it",
        source: "model/histogram/float_histogram.go KahanAdd",
        effect: Effect::All(|q, theirs, ours| {
            q.native()
                && q.has(&["count_values", "resets", "changes", "delta", "idelta"])
                && q.has(&["sum", "avg", "sum_over_time", "avg_over_time"])
                && theirs.error == ours.error
        }),
    },
    Exception {
        name: "parameters that are NaN",
        reason: "the parameter of topk, bottomk and limitk must be an int64, whatever is aggregated",
        source: "promql/engine.go:1662",
        effect: Effect::All(|_, _, ours| {
            ours.error
                .as_ref()
                .is_some_and(|e| e.1 == "Parameter value is NaN" || e.1.ends_with("flows int64"))
        }),
    },
    Exception {
        name: "text in parentheses",
        reason: "a text in parentheses is no more an internal error",
        source: "promql/engine.go PreprocessExpr",
        effect: Effect::All(|q, _, _| q.node.kind == crate::tree::Kind::Text),
    },
    Exception {
        name: "fractions in the first classic bucket",
        reason: "the first bucket begins at 0 if it ends above; what ends at 0 is not interpolated",
        source: "promql/quantile.go BucketFraction lowerBound",
        effect: Effect::All(|q, _, _| {
            q.has(&["histogram_fraction"]) && q.text.contains("latency_seconds_bucket")
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
            q.native() && q.has(&["*", "/", "unary", "-"]) && rest(theirs) == rest(ours)
        }),
    },
    Exception {
        name: "info",
        reason: "info series are found by their labels, not by a position in another list; errors name the series",
        source: "promql/info.go:297 infoSigs",
        effect: Effect::All(|q, theirs, ours| {
            let failed = theirs.error.is_some() || ours.error.is_some();
            let found = |a: &Answer| a.series.len();
            q.has(&["info"])
                && (failed
                    || q.filters()
                    || matches!(q.when, When::Range { .. })
                    || found(theirs) <= found(ours))
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
                    1 if rates.contains(&q.outermost()) && !q.text.contains(':') => {
                        proportional(theirs, ours)
                    }
                    _ => q.filters() || same_shape(theirs, ours, |_, _| true),
                }
        }),
    },
    Exception {
        name: "order of label values of which one is empty",
        reason: "natsort finds an empty text behind any other and any other behind it, so the order is that of the swaps of an unstable sort",
        source: "promql/functions.go:1075 natsort.Compare",
        effect: Effect::All(|q, theirs, ours| {
            let sorted = |a: &Answer| {
                let mut a = a.clone();
                a.series.sort_by(|a, b| a.labels.cmp(&b.labels));
                a
            };
            q.outermost().starts_with("sort_by_label") && sorted(theirs) == sorted(ours)
        }),
    },
    Exception {
        name: "sign of a quantile that is zero",
        reason: "0 and -0 are equal to the unstable sort, so either may be in the middle",
        source: "promql/quantile.go:727 sort.Sort",
        effect: Effect::All(|q, theirs, ours| {
            let zero = |text: &str| text == "0" || text == "-0";
            q.has(&["quantile", "quantile_over_time"])
                && same_shape(theirs, ours, |a, b| a == b || zero(a) && zero(b))
        }),
    },
    Exception {
        name: "subqueries behind the last step",
        reason: "subqueries go on to the last step, not to the end, so that there are fewer remarks",
        source: "promql/engine.go:1968 subqueryTimeRange",
        effect: Effect::All(|q, theirs, ours| {
            let values =
                |a: &Answer| Answer { warnings: Vec::new(), infos: Vec::new(), ..a.clone() };
            q.ends_between_steps() && q.text.contains(':') && values(theirs) == values(ours)
        }),
    },
    Exception {
        name: "order of operations on two vectors",
        reason: "what limitk takes of the result of a binary operation follows the order of a map, each time anew",
        source: "promql/engine.go:1584 seriess",
        effect: Effect::All(|q, theirs, ours| {
            q.count("limitk") > 1
                && q.has(&["or", "and", "unless", "on", "ignoring"])
                && theirs.error == ours.error
        }),
    },
    Exception {
        name: "remainders of sums of histograms",
        reason: "sums and averages of histograms are compensated, and a remainder shows each digit",
        source: "model/histogram/float_histogram.go KahanAdd",
        effect: Effect::All(|q, theirs, ours| {
            q.native()
                && q.has(&["%"])
                && q.has(&["sum", "avg", "sum_over_time", "avg_over_time"])
                && same_shape(theirs, ours, |_, _| true)
        }),
    },
    Exception {
        name: "sums of histograms",
        reason: "sums and averages of histograms are compensated",
        source: "model/histogram/float_histogram.go KahanAdd",
        effect: Effect::Rounding(
            |q| q.native() && q.has(&["sum", "avg", "sum_over_time", "avg_over_time"]),
            1e-10,
        ),
    },
    Exception {
        name: "fractions of histograms",
        reason: "the share of a bucket is multiplied last",
        source: "promql/quantile.go:430, model/histogram Bucket.FractionBelow",
        effect: Effect::Rounding(|q| q.has(&["histogram_fraction"]), 1e-10),
    },
];

/// Compares under the exceptions. If nothing differs then, the names of those that were needed.
#[must_use]
pub fn excepted(
    question: &Question,
    theirs: &Answer,
    ours: &Answer,
    order: Order,
    mut precision: Precision,
) -> Option<&'static str> {
    let query =
        Query { node: &question.node, text: question.node.to_string(), when: question.when };
    let (mut theirs, mut ours) = (theirs.clone(), ours.clone());
    let mut last = None;
    for exception in EXCEPTIONS {
        match exception.effect {
            Effect::Reworded(from, to) => {
                let Some((_, text)) = theirs.error.as_mut().filter(|e| e.1.contains(from)) else {
                    continue;
                };
                *text = text.replace(from, to);
            }
            Effect::Cut(what, from, to) => {
                let mut changed = false;
                // Where theirs are several by name, ours is one, at the last position.
                let count = |a: &Answer| {
                    a.warnings.iter().chain(&a.infos).filter(|t| t.contains(what)).count()
                };
                let merged = count(&theirs) != count(&ours);
                for list in
                    [&mut theirs.warnings, &mut theirs.infos, &mut ours.warnings, &mut ours.infos]
                {
                    for text in list.iter_mut().filter(|text| text.contains(what)) {
                        changed |= cut(text, from, to);
                        if (merged || what.contains("monotonicity"))
                            && let Some(position) = text.rfind(" (")
                        {
                            text.truncate(position);
                        }
                    }
                    list.sort();
                    list.dedup();
                }
                if !changed {
                    continue;
                }
            }
            Effect::Position(what) => {
                if !query.has(&["parentheses"]) {
                    continue;
                }
                for list in
                    [&mut theirs.warnings, &mut theirs.infos, &mut ours.warnings, &mut ours.infos]
                {
                    for text in list.iter_mut().filter(|text| text.contains(what)) {
                        let position = text.rfind(" (").unwrap_or(text.len());
                        text.truncate(position);
                    }
                    list.sort();
                }
            }
            Effect::New(what) => {
                let told = |text: &String| text.contains(what);
                if theirs.warnings.iter().chain(&theirs.infos).any(told) || !remove(&mut ours, what)
                {
                    continue;
                }
            }
            Effect::Pair(what) => {
                if !(sort_pair(&mut theirs, what) && sort_pair(&mut ours, what)) {
                    continue;
                }
            }
            Effect::Rounding(applies, relative) => {
                if !applies(&query) {
                    continue;
                }
                precision = Precision::Relative(relative);
            }
            Effect::All(applies) => {
                if !applies(&query, &theirs, &ours) {
                    continue;
                }
                return Some(exception.name);
            }
        }
        last = Some(exception.name);
        if compare::difference(&theirs, &ours, precision, order).is_none() {
            return last;
        }
    }
    let name = last?;
    compare::difference(&theirs, &ours, precision, order).is_none().then_some(name)
}

/// Cuts out what stands from `from` to the last `to`.
fn cut(text: &mut String, from: &str, to: &str) -> bool {
    let Some(start) = text.find(from) else { return false };
    let Some(end) = text.rfind(to).filter(|end| *end >= start) else { return false };
    text.replace_range(start..end, "");
    true
}

/// Orders the two series in `[a, b]` of an error.
fn sort_pair(answer: &mut Answer, what: &str) -> bool {
    let Some((_, text)) = answer.error.as_mut().filter(|e| e.1.contains(what)) else {
        return false;
    };
    let (Some(start), Some(end)) = (text.find(": [{"), text.rfind("}];")) else { return false };
    let (start, end) = (start + 3, end + 1);
    let pair = text[start..end].to_owned();
    let Some((a, b)) = pair.split_once("}, {") else { return false };
    let (a, b) = (format!("{a}}}"), format!("{{{b}"));
    text.replace_range(start..end, &format!("{}, {}", (&a).min(&b), (&a).max(&b)));
    true
}

/// Whether both have the same series with points at the same times, of which `same` is true.
fn same_shape(theirs: &Answer, ours: &Answer, same: impl Fn(&str, &str) -> bool) -> bool {
    let points = |a: &[Point], b: &[Point]| {
        a.len() == b.len()
            && a.iter().zip(b).all(|(a, b)| a.t == b.t && same(&a.values[0], &b.values[0]))
    };
    let same_series = |a: &Series, b: &Series| {
        a.labels == b.labels && points(&a.floats, &b.floats) && points(&a.histograms, &b.histograms)
    };
    theirs.error == ours.error
        && theirs.series.len() == ours.series.len()
        && ours.series.iter().all(|b| theirs.series.iter().any(|a| same_series(a, b)))
}

/// Whether each histogram of ours is one of theirs times a number: rates that are extrapolated
/// otherwise.
fn proportional(theirs: &Answer, ours: &Answer) -> bool {
    let same = |a: &Point, b: &Point| {
        let number = |text: &String| text.parse::<f64>().unwrap_or(f64::NAN);
        let factor = number(&b.values[0]) / number(&a.values[0]);
        let close = |a: f64, b: f64| a == b || (a * factor - b).abs() <= 1e-9 * b.abs();
        let bounds = |i: usize| i > 1 && (i - 2) % 4 < 3;
        a.t == b.t
            && a.values.len() == b.values.len()
            && a.values
                .iter()
                .zip(&b.values)
                .enumerate()
                .all(|(i, (a, b))| a == b || !bounds(i) && close(number(a), number(b)))
    };
    let same_series = |a: &Series, b: &Series| {
        a.labels == b.labels
            && a.floats == b.floats
            && a.histograms.len() == b.histograms.len()
            && a.histograms.iter().zip(&b.histograms).all(|(a, b)| same(a, b))
    };
    theirs.error == ours.error
        && theirs.warnings == ours.warnings
        && theirs.infos == ours.infos
        && theirs.series.len() == ours.series.len()
        && ours.series.iter().all(|b| theirs.series.iter().any(|a| same_series(a, b)))
}

fn remove(answer: &mut Answer, what: &str) -> bool {
    let before = answer.warnings.len() + answer.infos.len();
    answer.warnings.retain(|text| !text.contains(what));
    answer.infos.retain(|text| !text.contains(what));
    answer.warnings.len() + answer.infos.len() < before
}
