//! Which rules are refused, and with which texts.

use std::fmt;

use super::{Action, DEFAULT_REPLACEMENT, DEFAULT_SEPARATOR, RelabelConfig};
use crate::{ValidationScheme, float::go_quote};

/// Why a rule was refused. The texts are Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelabelError {
    /// No action has this name.
    UnknownAction(String),
    /// `hashmod` without a modulus.
    NoModulus,
    /// An action that sets a label, without one.
    NoTarget(Action),
    /// A target label that is not a valid name (or template of one).
    InvalidTarget(String, Action),
    /// A replacement that is not a valid template of a label name.
    InvalidReplacement(String, Action),
    /// A replacement for an action that has no use for it.
    ReplacementSet(Action),
    /// `keepequal` or `dropequal` with more than sources and a target.
    NotOnlyTarget(Action),
    /// `labeldrop` or `labelkeep` with more than an expression.
    NotOnlyRegex(Action),
}

impl fmt::Display for RelabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAction(name) => write!(f, "unknown relabel action {}", go_quote(name)),
            Self::NoModulus => {
                f.write_str("relabel configuration for hashmod requires non-zero modulus")
            }
            Self::NoTarget(action) => {
                write!(f, "relabel configuration for {action} action requires 'target_label' value")
            }
            Self::InvalidTarget(name, action) => {
                write!(f, "{} is invalid 'target_label' for {action} action", go_quote(name))
            }
            Self::InvalidReplacement(text, action) => {
                write!(f, "{} is invalid 'replacement' for {action} action", go_quote(text))
            }
            Self::ReplacementSet(action) => {
                write!(f, "'replacement' can not be set for {action} action")
            }
            Self::NotOnlyTarget(action) => write!(
                f,
                "{action} action requires only 'source_labels' and `target_label`, and no other fields"
            ),
            Self::NotOnlyRegex(action) => {
                write!(f, "{action} action requires only 'regex', and no other fields")
            }
        }
    }
}

impl std::error::Error for RelabelError {}

impl RelabelConfig {
    /// Checks the rule and remembers `scheme` for [`super::process`].
    ///
    /// # Errors
    /// The first of Prometheus' objections, in its order.
    pub fn validate(&mut self, scheme: ValidationScheme) -> Result<(), RelabelError> {
        self.scheme = scheme;
        let action = self.action;
        if action == Action::HashMod && self.modulus == 0 {
            return Err(RelabelError::NoModulus);
        }
        self.check_target()?;
        match action {
            Action::LabelMap if !is_name_template(scheme, &self.replacement) => {
                Err(RelabelError::InvalidReplacement(self.replacement.clone(), action))
            }
            Action::KeepEqual | Action::DropEqual
                if !self.has_default_regex() || !self.has_default_numbers() =>
            {
                Err(RelabelError::NotOnlyTarget(action))
            }
            Action::LabelDrop | Action::LabelKeep
                if !self.source_labels.is_empty()
                    || !self.target_label.is_empty()
                    || self.replacement != DEFAULT_REPLACEMENT
                    || !self.has_default_numbers() =>
            {
                Err(RelabelError::NotOnlyRegex(action))
            }
            _ => Ok(()),
        }
    }

    fn check_target(&self) -> Result<(), RelabelError> {
        let (action, target) = (self.action, &self.target_label);
        let takes_replacement = match action {
            Action::Replace | Action::HashMod => true,
            Action::Lowercase | Action::Uppercase | Action::KeepEqual | Action::DropEqual => false,
            Action::Keep
            | Action::Drop
            | Action::LabelMap
            | Action::LabelDrop
            | Action::LabelKeep => return Ok(()),
        };
        if target.is_empty() {
            return Err(RelabelError::NoTarget(action));
        }
        let valid = if action == Action::Replace && target.contains('$') {
            is_name_template(self.scheme, target)
        } else {
            self.scheme.is_label_name(target)
        };
        if !valid {
            return Err(RelabelError::InvalidTarget(target.clone(), action));
        }
        if !takes_replacement && self.replacement != DEFAULT_REPLACEMENT {
            return Err(RelabelError::ReplacementSet(action));
        }
        Ok(())
    }

    fn has_default_numbers(&self) -> bool {
        self.modulus == 0 && self.separator == DEFAULT_SEPARATOR
    }
}

/// Whether a template may make label names. Under UTF-8 any text may; under the legacy scheme it is
/// a label name in which `$name` and `${name}` may stand for characters.
fn is_name_template(scheme: ValidationScheme, template: &str) -> bool {
    match scheme {
        ValidationScheme::Utf8 => scheme.is_label_name(template),
        ValidationScheme::Legacy => {
            let starts_well = |b: u8| b == b'$' || b == b'_' || b.is_ascii_alphabetic();
            template.bytes().next().is_some_and(starts_well) && is_legacy_tail(template)
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

/// Whether the text is made of word characters and references.
fn is_legacy_tail(template: &str) -> bool {
    let mut parts = template.split('$');
    parts.next().is_some_and(|head| head.chars().all(is_word))
        && parts.all(|part| {
            let (name, rest) = match part.strip_prefix('{') {
                Some(braced) => match braced.split_once('}') {
                    Some(cut) => cut,
                    None => return false,
                },
                None => (part, ""),
            };
            !name.is_empty() && name.chars().all(is_word) && rest.chars().all(is_word)
        })
}
