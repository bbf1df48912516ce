//! The plan of a query: a tree in an arena, with all durations and times resolved, selectors
//! collected, and those parts marked that do not depend on the step.

use firesteel_model::{Matcher, Timestamp, storage::SelectHints};

use crate::{
    ast::{AggregateOp, BinaryOp, Span, ValueType, VectorMatching},
    functions::FunctionId,
};

/// Index of a node.
pub(crate) type NodeId = usize;

/// A query ready to run.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: NodeId,
    pub(crate) selectors: Vec<Selector>,
    pub(crate) sources: Vec<SourceSpec>,
}

/// An expression.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    pub(crate) value_type: ValueType,
}

/// What an expression is.
#[derive(Debug)]
pub(crate) enum Kind {
    Number(f64),
    String(String),
    /// Index of an instant selector.
    Vector(usize),
    /// Index of a range selector.
    Matrix(usize),
    Subquery(Subquery),
    /// Evaluated at the first step only, and repeated.
    StepInvariant(NodeId),
    Negate(NodeId),
    /// With a plus sign: the same, but no selector any more, which matters to `timestamp`.
    Plus(NodeId),
    Binary(Binary),
    Aggregate(Aggregate),
    Call(Call),
    /// The second argument of `info`.
    InfoSelector(Vec<Matcher>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Subquery {
    pub(crate) expr: NodeId,
    pub(crate) range: i64,
    pub(crate) step: i64,
    pub(crate) offset: i64,
    pub(crate) at: Option<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    pub(crate) lhs: NodeId,
    pub(crate) rhs: NodeId,
    pub(crate) matching: Option<VectorMatching>,
    pub(crate) return_bool: bool,
}

#[derive(Debug)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) expr: NodeId,
    pub(crate) param: Option<NodeId>,
    pub(crate) grouping: Vec<String>,
    pub(crate) without: bool,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) func: FunctionId,
    pub(crate) args: Vec<NodeId>,
}

/// A selector; where it looks in time.
#[derive(Debug)]
pub(crate) struct Selector {
    /// Index of the source of its series.
    pub(crate) source: usize,
    pub(crate) offset: i64,
    pub(crate) at: Option<Timestamp>,
    /// Milliseconds, 0 for an instant selector.
    pub(crate) range: i64,
    pub(crate) anchored: bool,
    pub(crate) smoothed: bool,
}

/// Series to be selected once, by whatever selectors ask for them.
#[derive(Debug)]
pub(crate) struct SourceSpec {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) hints: SelectHints,
    /// Whether resets of histograms are detected sample by sample, as Prometheus does where it
    /// reads their counts and sums only.
    pub(crate) detects_resets: bool,
}

impl Plan {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// The selector of a node that is a selector.
    pub(crate) fn selector(&self, index: usize) -> (&Selector, &[Matcher]) {
        let selector = &self.selectors[index];
        (selector, &self.sources[selector.source].matchers)
    }

    /// The text of a string node.
    pub(crate) fn text(&self, id: NodeId) -> &str {
        match &self.node(id).kind {
            Kind::String(text) => text,
            _ => "",
        }
    }

    /// The times that the selectors look at, both inclusive; 0 and 0 without selectors.
    pub(crate) fn time_range(&self, lookback: i64) -> (Timestamp, Timestamp) {
        // `info` looks back for info series wherever its argument looks.
        let is_info = |node: &Node| matches!(&node.kind, Kind::Call(c) if c.func == crate::functions::FunctionId::Info);
        let back = if self.nodes.iter().any(is_info) { lookback } else { 0 };
        let starts = self.sources.iter().map(|s| s.hints.start);
        let ends = self.sources.iter().map(|s| s.hints.end);
        (starts.min().unwrap_or(0).saturating_sub(back), ends.max().unwrap_or(0))
    }
}
