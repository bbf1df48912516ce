//! What discovery finds.

use std::sync::Arc;

use firesteel_config::StaticGroup;
use firesteel_model::{Labels, LabelsBuilder};

/// The label that holds a target's address.
pub const ADDRESS: &str = "__address__";

/// Targets with labels in common, from one source. Source: `discovery/targetgroup`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TargetGroup {
    /// Names the group within its discoverer; a group replaces the earlier one of the same source,
    /// an empty one removes it.
    pub source: Arc<str>,
    /// The targets' own labels, at least [`ADDRESS`]; they win over `labels`.
    pub targets: Vec<Labels>,
    /// Labels of all targets.
    pub labels: Labels,
}

impl TargetGroup {
    /// A group of addresses.
    pub fn new<A: AsRef<str>>(
        source: impl Into<Arc<str>>,
        addresses: impl IntoIterator<Item = A>,
        labels: Labels,
    ) -> Self {
        let targets = addresses.into_iter().map(|a| Labels::from_pairs([(ADDRESS, a.as_ref())]));
        Self { source: source.into(), targets: targets.collect(), labels }
    }

    /// The group that removes what its source found earlier.
    pub fn gone(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), ..Self::default() }
    }

    /// Each target's labels with those of the group beneath.
    pub fn merged(&self) -> impl Iterator<Item = Labels> {
        self.targets.iter().map(|target| {
            let mut builder: LabelsBuilder = self.labels.to_builder();
            for (name, value) in target {
                builder.set(name, value);
            }
            builder.build()
        })
    }
}

/// The groups of a job's `static_configs`; their sources are their indexes.
pub(crate) fn static_groups(groups: &[StaticGroup]) -> Vec<TargetGroup> {
    let group = |(i, group): (usize, &StaticGroup)| {
        TargetGroup::new(i.to_string(), &group.targets, group.labels.clone())
    };
    groups.iter().enumerate().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_targets_labels_win() {
        let mut group =
            TargetGroup::new("0", ["a:1"], Labels::from_pairs([("x", "1"), ("y", "1")]));
        group.targets[0] = Labels::from_pairs([(ADDRESS, "a:1"), ("x", "2")]);
        let merged: Vec<_> = group.merged().collect();
        assert_eq!(merged[0].to_string(), r#"{__address__="a:1", x="2", y="1"}"#);
    }
}
