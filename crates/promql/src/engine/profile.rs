//! What each part of a query took: EXPLAIN ANALYZE for PromQL.
//!
//! Recorded node by node of the plan where [`QueryOptions::profile`](super::QueryOptions::profile)
//! asks for it; else it costs a test of a pointer per node, nothing per series or sample.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    block::Block,
    eval::Evaluator,
    plan::{Kind, NodeId, Plan},
};
use crate::{ast::Span, functions::name_of};

/// The plan of a query, and what its nodes took.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The nodes, each before those below it.
    pub nodes: Vec<ProfileNode>,
}

/// A node of a plan.
///
/// Figures include those of the nodes below. A node that is merged into the one above it, as a
/// function into the aggregation around it, or a range selector into its function, has no figures
/// of its own: they are in that of the node above.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProfileNode {
    /// How far below the root; the node above is the last one before with a smaller depth.
    pub depth: usize,
    /// What it is: `selector`, `range selector`, `subquery`, `once` for what is evaluated at one
    /// step for all, or the name of a function, an aggregation or an operator.
    pub operation: String,
    /// Where it stands in the query's text.
    pub span: Span,
    /// That part of the text; empty where a parsed query was given.
    pub text: String,
    /// Whether it is computed along with the node above it.
    pub fused: bool,
    /// Whether it stands in the plan before: its figures are there.
    pub shared: bool,
    /// Series that a selector found; those of other nodes are in `figures`.
    pub selected: Option<u64>,
    /// What it took; zeros where it is fused or shared, or never needed.
    pub figures: ProfileFigures,
}

/// What a node of a plan took, the nodes below it included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileFigures {
    /// How often it was evaluated, each time at all steps.
    pub evaluations: u64,
    /// Series that it returned, the last time.
    pub series: u64,
    /// Samples that it returned, the last time.
    pub returned: u64,
    /// Samples in all windows of all steps.
    pub samples: u64,
    /// Samples read from storage.
    pub samples_read: u64,
    /// Chunks decoded.
    pub chunks: u64,
    /// Bytes of these chunks.
    pub bytes: u64,
    /// Time.
    pub time: Duration,
}

/// Figures of the nodes of a plan, while it runs.
#[derive(Debug)]
pub(crate) struct Recorder(Vec<ProfileFigures>);

impl Recorder {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self(vec![ProfileFigures::default(); plan.nodes.len()])
    }

    /// Adds what a node took since `before`.
    pub(crate) fn record(
        &mut self,
        id: NodeId,
        before: &ProfileFigures,
        now: &ProfileFigures,
        result: Option<&Block>,
    ) {
        let Some(figures) = self.0.get_mut(id) else { return };
        figures.evaluations += 1;
        if let Some(block) = result {
            figures.series = block.len() as u64;
            figures.returned = block.samples();
        }
        // The total goes back where the engine counts as Prometheus does and not what it did.
        figures.samples += now.samples.saturating_sub(before.samples);
        figures.samples_read += now.samples_read.saturating_sub(before.samples_read);
        figures.chunks += now.chunks.saturating_sub(before.chunks);
        figures.bytes += now.bytes.saturating_sub(before.bytes);
        figures.time += now.time.saturating_sub(before.time);
    }
}

impl Evaluator<'_> {
    /// The counters as they stand.
    pub(crate) fn figures(&self) -> ProfileFigures {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        ProfileFigures {
            samples: get(&self.samples.total),
            samples_read: get(&self.samples.read),
            chunks: get(&self.ctx.stats.chunks),
            bytes: get(&self.ctx.stats.chunk_bytes),
            time: self.ctx.clock.monotonic(),
            ..ProfileFigures::default()
        }
    }

    /// The profile, if one was recorded. `text` is the query's, if spans are of it.
    pub(crate) fn profile(&self, text: Option<&str>) -> Option<Profile> {
        let recorder = self.recorder.as_ref()?;
        let mut profile = Profile::default();
        let mut seen = vec![false; self.plan.nodes.len()];
        let mut left = vec![(self.plan.root, 0)];
        while let Some((id, depth)) = left.pop() {
            let node = self.plan.node(id);
            let figures = recorder.0[id];
            let shared = std::mem::replace(&mut seen[id], true);
            let selected = match node.kind {
                Kind::Vector(selector) | Kind::Matrix(selector) => {
                    let source = self.plan.selectors[selector].source;
                    Some(self.sources[source].series.len() as u64)
                }
                _ => None,
            };
            let range = node.span.start as usize..node.span.end as usize;
            profile.nodes.push(ProfileNode {
                depth,
                operation: operation(&node.kind),
                span: node.span,
                text: text.and_then(|t| t.get(range)).unwrap_or_default().to_owned(),
                fused: !shared && depth > 0 && figures.evaluations == 0,
                shared,
                selected,
                figures: if shared { ProfileFigures::default() } else { figures },
            });
            if !shared {
                left.extend(children(&node.kind).into_iter().rev().map(|id| (id, depth + 1)));
            }
        }
        Some(profile)
    }
}

fn operation(kind: &Kind) -> String {
    match kind {
        Kind::Number(_) => "number".to_owned(),
        Kind::String(_) => "string".to_owned(),
        Kind::Vector(_) => "selector".to_owned(),
        Kind::Matrix(_) => "range selector".to_owned(),
        Kind::Subquery(_) => "subquery".to_owned(),
        Kind::StepInvariant(_) => "once".to_owned(),
        Kind::Negate(_) => "negate".to_owned(),
        Kind::Plus(_) => "plus".to_owned(),
        Kind::InfoSelector(_) => "info selector".to_owned(),
        Kind::Binary(b) => b.op.as_str().to_owned(),
        Kind::Aggregate(a) => a.op.as_str().to_owned(),
        Kind::Call(call) => name_of(call.func).to_owned(),
    }
}

fn children(kind: &Kind) -> Vec<NodeId> {
    match kind {
        Kind::Number(_)
        | Kind::String(_)
        | Kind::Vector(_)
        | Kind::Matrix(_)
        | Kind::InfoSelector(_) => Vec::new(),
        Kind::Subquery(s) => vec![s.expr],
        Kind::StepInvariant(inner) | Kind::Negate(inner) | Kind::Plus(inner) => vec![*inner],
        Kind::Binary(b) => vec![b.lhs, b.rhs],
        Kind::Aggregate(a) => a.param.into_iter().chain([a.expr]).collect(),
        Kind::Call(call) => call.args.clone(),
    }
}
