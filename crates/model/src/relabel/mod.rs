//! Relabelling, with every action of Prometheus. Source: `model/relabel/relabel.go`.
//!
//! ```
//! use firesteel_model::{
//!     LabelsBuilder, ValidationScheme,
//!     regex::Regex,
//!     relabel::{Action, RelabelConfig, process},
//! };
//!
//! let mut rule = RelabelConfig {
//!     source_labels: vec!["__address__".into()],
//!     regex: Regex::anchored("([^:]+):.*")?,
//!     target_label: "host".into(),
//!     ..RelabelConfig::default()
//! };
//! rule.validate(ValidationScheme::Utf8)?;
//!
//! let mut labels = LabelsBuilder::new();
//! labels.set("__address__", "pi:9100");
//! assert!(process(&[rule], &mut labels));
//! assert_eq!(labels.get("host"), Some("pi"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
#[cfg(test)]
mod tests;
mod validate;

use std::{fmt, str::FromStr, sync::LazyLock};

pub use apply::process;
pub use validate::RelabelError;

use crate::{ValidationScheme, regex::Regex};

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sets the target label to the expanded replacement where the expression matches.
    #[default]
    Replace,
    /// Drops the label set unless the expression matches.
    Keep,
    /// Drops the label set if the expression matches.
    Drop,
    /// Drops the label set unless the joined sources equal the target label.
    KeepEqual,
    /// Drops the label set if the joined sources equal the target label.
    DropEqual,
    /// Sets the target label to a hash of the joined sources modulo a number.
    HashMod,
    /// Copies the labels whose names match to the names that the replacement makes. Of several that
    /// get the same name, the last in the order of names counts (Prometheus goes by the order in
    /// which they were set, which for targets is random).
    LabelMap,
    /// Removes the labels whose names match.
    LabelDrop,
    /// Removes the labels whose names do not match.
    LabelKeep,
    /// Sets the target label to the joined sources in lower case.
    Lowercase,
    /// Sets the target label to the joined sources in upper case.
    Uppercase,
}

impl Action {
    const ALL: [Self; 11] = [
        Self::Replace,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::HashMod,
        Self::LabelMap,
        Self::LabelDrop,
        Self::LabelKeep,
        Self::Lowercase,
        Self::Uppercase,
    ];

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads [`Action::as_str`]'s names in any case.
impl FromStr for Action {
    type Err = RelabelError;

    fn from_str(name: &str) -> Result<Self, RelabelError> {
        let known = Self::ALL.into_iter().find(|a| name.eq_ignore_ascii_case(a.as_str()));
        known.ok_or_else(|| RelabelError::UnknownAction(name.to_owned()))
    }
}

/// The expression of rules that do not give one. Rules are known to have the default by sharing
/// it: Prometheus, too, tells it from a `regex: (.*)` that was written down.
static DEFAULT_REGEX: LazyLock<Regex> = LazyLock::new(|| {
    Regex::anchored("(.*)").unwrap_or_else(|e| unreachable!("the default compiles: {e}"))
});

const DEFAULT_REPLACEMENT: &str = "$1";
const DEFAULT_SEPARATOR: &str = ";";

/// A rule. [`RelabelConfig::default`] has Prometheus' defaults; call
/// [`RelabelConfig::validate`] before [`process`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelabelConfig {
    /// The labels whose values are joined; a missing one counts as empty.
    pub source_labels: Vec<String>,
    /// What stands between the joined values; `;` by default.
    pub separator: String,
    /// What is matched against the joined values, or against label names: [`Regex::anchored`].
    /// `(.*)` by default.
    pub regex: Regex,
    /// What `hashmod` divides by.
    pub modulus: u64,
    /// The label that is set; for `replace` a template.
    pub target_label: String,
    /// The template of the new value or name; `$1` by default.
    pub replacement: String,
    /// What is done; `replace` by default.
    pub action: Action,
    /// Which names may be set; [`RelabelConfig::validate`] fills it in.
    pub scheme: ValidationScheme,
}

impl Default for RelabelConfig {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: DEFAULT_SEPARATOR.to_owned(),
            regex: DEFAULT_REGEX.clone(),
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.to_owned(),
            action: Action::default(),
            scheme: ValidationScheme::default(),
        }
    }
}

impl RelabelConfig {
    /// A rule with Prometheus' defaults for everything but its action.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self { action, ..Self::default() }
    }

    /// Whether the expression was never set.
    #[must_use]
    pub fn has_default_regex(&self) -> bool {
        self.regex.ptr_eq(&DEFAULT_REGEX)
    }
}
