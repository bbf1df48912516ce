//! Selected series.

use firesteel_model::{
    METRIC_NAME, MatchOp, Matcher,
    budget::Reservation,
    storage::{
        Interner, Querier, QueryContext, SelectHints, Selection, StorageError, merge::MergedSeries,
    },
};

use super::{
    executor::{self, Executor},
    labels::{LabelStore, SetId},
    plan::SourceSpec,
};
use crate::Annotations;

/// The series of a selector, shared by all selectors that ask for the same.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) series: MergedSeries,
    /// Their label sets; empty until asked for.
    sets: Vec<SetId>,
    /// Whether all have the same metric name.
    pub(crate) one_name: bool,
    /// Accounts for their memory.
    _held: Reservation,
}

/// Bytes that a selected series takes in the engine, about.
const SERIES_BYTES: u64 = 96;

/// Reserves what the series of a selection take.
fn reserve(ctx: &QueryContext, selection: &Selection) -> Result<Reservation, StorageError> {
    let series = selection.sets.iter().map(|set| set.len() as u64).sum::<u64>();
    Ok(ctx.budget.reserve(series.saturating_mul(SERIES_BYTES))?)
}

impl Source {
    /// Selects series.
    pub(crate) fn select(
        querier: &dyn Querier,
        ctx: &QueryContext,
        matchers: &[Matcher],
        hints: &SelectHints,
        interner: &mut Interner,
        annotations: &mut Annotations,
    ) -> Result<Self, StorageError> {
        let mut selection = querier.select(ctx, matchers, hints)?;
        for warning in selection.warnings.drain(..) {
            annotations.storage_warning(warning);
        }
        let _held = reserve(ctx, &selection)?;
        let series = MergedSeries::new(ctx, selection, interner)?;
        Ok(Self { series, sets: Vec::new(), one_name: has_one_name(matchers), _held })
    }

    /// Selects all sources of a plan, as many at a time as the executor allows.
    pub(crate) fn select_all(
        querier: &dyn Querier,
        ctx: &QueryContext,
        specs: &[SourceSpec],
        executor: &dyn Executor,
        interner: &mut Interner,
        annotations: &mut Annotations,
    ) -> Result<Vec<Self>, StorageError> {
        let selections = executor::map(executor, specs.len(), |i| {
            querier.select(ctx, &specs[i].matchers, &specs[i].hints)
        });
        let mut sources = Vec::with_capacity(specs.len());
        for (selection, spec) in selections.into_iter().zip(specs) {
            let mut selection = selection?;
            for warning in selection.warnings.drain(..) {
                annotations.storage_warning(warning);
            }
            let _held = reserve(ctx, &selection)?;
            let series = MergedSeries::new(ctx, selection, interner)?;
            let one_name = has_one_name(&spec.matchers);
            sources.push(Self { series, sets: Vec::new(), one_name, _held });
        }
        Ok(sources)
    }

    /// The label sets of the series.
    pub(crate) fn sets(&mut self, store: &mut LabelStore) -> Result<&[SetId], StorageError> {
        if self.sets.len() != self.series.len() {
            self.sets = (0..self.series.len())
                .map(|i| store.intern(self.series.pairs(i)))
                .collect::<Result<_, _>>()?;
        }
        Ok(&self.sets)
    }
}

fn has_one_name(matchers: &[Matcher]) -> bool {
    matchers.iter().any(|m| m.name() == METRIC_NAME && m.op() == MatchOp::Equal)
}
