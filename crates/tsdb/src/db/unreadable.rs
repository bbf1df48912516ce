//! Blocks whose damage is found when they are first asked.

use std::sync::Arc;

use firesteel_model::{
    Matcher,
    storage::{
        LabelHints, LabelResult, Querier, QueryContext, SelectHints, Selection, StorageError,
    },
};

use super::{Inner, open, quarantine};
use crate::{TsdbError, block::Block};

/// Stands for a block that cannot be read: it has nothing, and says so.
struct Unreadable {
    warning: String,
}

impl Inner {
    /// What a query gets in place of a block. A damaged block is put aside, unless maintenance is
    /// at work with the blocks; then a later query does it.
    pub(super) fn without(&self, block: &Arc<Block>, error: &TsdbError) -> Arc<dyn Querier> {
        let ulid = block.meta().ulid;
        let why = open::describe(error);
        let warning = format!("block {ulid} cannot be read and is left out: {why}");
        if let Some(_maintenance) = self.maintenance.try_lock()
            && quarantine::is_damage(error)
            && let Err(failed) = self.quarantine(ulid, &why)
        {
            tracing::error!(block = %ulid, error = %failed, "a damaged block cannot be put aside");
        }
        Arc::new(Unreadable { warning })
    }
}

impl Unreadable {
    fn labels(&self) -> LabelResult {
        LabelResult { warnings: vec![self.warning.clone()], ..LabelResult::default() }
    }
}

impl Querier for Unreadable {
    fn select(
        &self,
        _: &QueryContext,
        _: &[Matcher],
        _: &SelectHints,
    ) -> Result<Selection, StorageError> {
        Ok(Selection { warnings: vec![self.warning.clone()], ..Selection::default() })
    }

    fn label_names(
        &self,
        _: &QueryContext,
        _: &[Matcher],
        _: &LabelHints,
    ) -> Result<LabelResult, StorageError> {
        Ok(self.labels())
    }

    fn label_values(
        &self,
        _: &QueryContext,
        _: &str,
        _: &[Matcher],
        _: &LabelHints,
    ) -> Result<LabelResult, StorageError> {
        Ok(self.labels())
    }
}
