//! Errors that 3.14 words otherwise, or that only one of both reports.

use super::{
    Effect, Exception,
    shape::{error, parse_error},
};
use crate::tree::Kind;

pub(super) const ALL: &[Exception] = &[
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
            q.has(&["on", "ignoring", "bool"])
                && parse_error(theirs).is_some()
                && parse_error(theirs) == parse_error(ours)
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
            let known = |text: &str| WORDS.iter().any(|word| text.contains(word));
            q.is_damaged() && parse_error(ours).is_some() && parse_error(theirs).is_some_and(known)
        }),
    },
    Exception {
        name: "durations without a usable value",
        reason: "duration expressions that are NaN, infinite or beyond 64 bits of nanoseconds are refused; they begin at their parenthesis",
        source: "promql/durations.go:90, promql/parser/parse.go wrapParenDurationExpr",
        effect: Effect::All(|_, theirs, ours| {
            const WORDS: [&str; 2] = ["duration is NaN or infinite", "duration is out of range"];
            // Behind a parenthesis both refuse, 3.5 at another place.
            let refused = |a| WORDS.iter().any(|word| error(a).ends_with(word));
            refused(ours) && (theirs.error.is_none() || refused(theirs))
        }),
    },
    Exception {
        name: "matches that are filtered out",
        reason: "one-to-one matches are checked before a comparison or mixed types drop them",
        source: "promql/engine.go:3277 matchedSigsPresent",
        effect: Effect::All(|_, theirs, ours| {
            let text = "multiple matches for labels: many-to-one matching must be explicit";
            theirs.error.is_none() && error(ours).starts_with(text)
        }),
    },
    Exception {
        name: "series that become the same",
        reason: "series with the same labels are one where they have no samples at the same time",
        source: "promql/engine.go:4323 mergeSeriesWithSameLabelset",
        effect: Effect::All(|q, theirs, ours| {
            let text = "vector cannot contain metrics with the same labelset";
            q.is_range() | q.has(&["subquery"]) && ours.error.is_none() && error(theirs) == text
        }),
    },
    Exception {
        name: "parameters that are NaN",
        reason: "the parameter of topk, bottomk and limitk must be an int64, whatever is aggregated",
        source: "promql/engine.go:1662",
        effect: Effect::All(|q, theirs, ours| {
            q.has(&["topk", "bottomk", "limitk"])
                && (error(ours) == "Parameter value is NaN" || error(ours).ends_with("flows int64"))
                && (theirs.error.is_none() || error(theirs).ends_with("flows int64"))
        }),
    },
    Exception {
        name: "text in parentheses",
        reason: "a text in parentheses is no more an internal error",
        source: "promql/engine.go PreprocessExpr",
        effect: Effect::All(|q, theirs, ours| {
            q.node.kind == Kind::Text && ours.error.is_none() && theirs.error.is_some()
        }),
    },
];
