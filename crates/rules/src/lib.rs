#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod alerting;
mod batches;
mod dry_run;
mod error;
mod group;
mod load;
mod manager;
mod metrics;
pub mod notifier;
mod offline;
mod output;
mod query;
mod recording;
mod restore;
mod rule;
mod schedule;
mod snapshot;
pub mod template;
mod time;

pub use alerting::{Alert, AlertState, Annotations};
pub use dry_run::{AlertHistory, AlertSpan, AskAt, DryRun, dry_run, replay};
pub use error::RulesError;
pub use group::Group;
pub use load::{GroupSpec, LoadOptions, RuleSpec, check_file, load_files, load_text};
pub use manager::{ManagerOptions, Notify, RuleManager};
pub use offline::Offline;
pub use rule::Health;
pub use snapshot::{AlertSnapshot, AlertingSnapshot, GroupSnapshot, RuleSnapshot};
pub use time::Nanos;

#[cfg(test)]
mod tests;
