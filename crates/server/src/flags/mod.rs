//! The command line: Prometheus 3.14's flags with its defaults and exit codes.

mod features;
mod parse;
mod shown;
mod table;

pub use features::{FEATURES, Feature, FeatureEffect};
pub use parse::{FlagError, Flags, parse};
pub(crate) use shown::shown;
pub use table::{FLAGS, Flag, FlagEffect, FlagKind, Mode};
