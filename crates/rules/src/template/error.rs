//! What goes wrong in a template.

/// Why a template was not expanded. The texts are Prometheus' and Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The text is not a template.
    #[error("error parsing template {name}: {message}")]
    Parse {
        /// The template's name.
        name: String,
        /// Go's message: `template: name:line: what`.
        message: String,
    },
    /// The template failed while it was expanded.
    #[error("error executing template {name}: {message}")]
    Execute {
        /// The template's name.
        name: String,
        /// Go's message: `template: name:line:column: executing "name" at <node>: what`.
        message: String,
    },
}

impl TemplateError {
    /// Go's message alone, as the validation of rules prints it.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Parse { message, .. } | Self::Execute { message, .. } => message,
        }
    }
}
