//! Who watches queries: logs, the file of active queries, tracing.

use firesteel_model::Timestamp;

use super::{EngineStats, QueryError};

/// Watches the queries of an engine. Called on the query's thread, so it should be quick; must not
/// panic.
pub trait QueryObserver: Send + Sync {
    /// A query has its place and is about to run.
    fn started(&self, query: &ObservedQuery<'_>) {
        let _ = query;
    }

    /// A query has ended. Also called, without [`QueryObserver::started`] before it, for one that
    /// was given up while it waited; such a query has no slot.
    fn finished(&self, query: &ObservedQuery<'_>, outcome: &QueryOutcome<'_>) {
        let _ = (query, outcome);
    }
}

/// A query as its observers see it. Texts that do not parse are never seen.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ObservedQuery<'a> {
    /// As it was given; for a parsed query as it is printed.
    pub text: &'a str,
    /// The first time.
    pub start: Timestamp,
    /// The last time.
    pub end: Timestamp,
    /// Milliseconds between the times, 0 for an instant query.
    pub step: i64,
    /// The number of its place in the gate; no two running queries have the same. `None` where the
    /// engine has no gate, or the query never got in.
    pub slot: Option<usize>,
    /// Who asked.
    pub origin: Option<&'a QueryOrigin>,
}

/// How a query ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct QueryOutcome<'a> {
    /// What it took.
    pub stats: &'a EngineStats,
    /// Why it failed.
    pub error: Option<&'a QueryError>,
}

/// Who asked a query, as the query log gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryOrigin {
    /// A request.
    Http {
        /// The client's address, without its port; empty where it is not known.
        client_ip: String,
        /// The request's method.
        method: String,
        /// The request's path.
        path: String,
    },
    /// A rule.
    Rule {
        /// The file of its group.
        file: String,
        /// Its group's name.
        group: String,
    },
}
