//! Times at which something else is evaluated.

use super::{Effect, Exception};

pub(super) const ALL: &[Exception] = &[Exception {
    name: "@ in subqueries that look ahead",
    reason: "the time of `@` is not computed again for a subquery whose first step is the start of \
             the query, so that a negative offset of the subquery moves what `@` fixed: the same \
             query asked a second later has another value. Ours is that of the selector alone",
    source: "promql/engine.go:2019 runSubquery, if subqStart != ev.startTimestamp",
    effect: Effect::All(|q, _, _| q.starts_where_it_looks_ahead()),
}];
