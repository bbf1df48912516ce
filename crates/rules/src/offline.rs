//! Evaluation without a clock or a runtime: for unit tests of rules and for backfilling.

use crate::{
    Group, GroupSpec, Nanos,
    manager::{ManagerOptions, Shared},
};

/// Groups that are evaluated when the caller says so, on the caller's thread. Alerts begin at once
/// to write their series: there is nothing to restore.
pub struct Offline {
    shared: Shared,
    groups: Vec<Group>,
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Offline({} groups)", self.groups.len())
    }
}

impl Offline {
    /// Groups in this order.
    #[must_use]
    pub fn new(options: ManagerOptions, specs: Vec<GroupSpec>) -> Self {
        let groups = specs.into_iter().map(|spec| Group::new(spec, false)).collect();
        Self { shared: Shared::new(options), groups }
    }

    /// The groups.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Evaluates a group at a time; what came of it is in its snapshot. Blocks.
    pub fn evaluate(&self, group: &Group, at: Nanos) {
        group.evaluate(&self.shared, at);
    }
}
