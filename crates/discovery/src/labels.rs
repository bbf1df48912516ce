//! Labels of targets, put together.

#![cfg_attr(not(feature = "all"), allow(dead_code, reason = "not all mechanisms need all"))]

use firesteel_model::{Labels, LabelsBuilder};

/// A name with everything but ASCII letters, digits and `_` replaced by `_`. Source:
/// `util/strutil.SanitizeLabelName`.
pub(crate) fn sanitized(name: &str) -> String {
    let one = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    name.chars().map(one).collect()
}

/// Labels that begin with the same words.
#[derive(Debug, Clone)]
pub(crate) struct MetaLabels {
    prefix: &'static str,
    labels: LabelsBuilder,
}

impl MetaLabels {
    /// All names given later follow `prefix`.
    pub(crate) fn new(prefix: &'static str) -> Self {
        Self { prefix, labels: Labels::empty().to_builder() }
    }

    /// Sets a label; an empty value is none.
    pub(crate) fn set(&mut self, name: &str, value: impl AsRef<str>) {
        let name = format!("{}{name}", self.prefix);
        match value.as_ref() {
            "" => self.labels.del(&name),
            value => self.labels.set(&name, value),
        };
    }

    /// Sets a label whose name ends in what may have to be sanitized.
    pub(crate) fn set_free(&mut self, name: &str, free: &str, value: impl AsRef<str>) {
        self.set(&format!("{name}{}", sanitized(free)), value);
    }

    /// Sets a label whose name has no prefix.
    pub(crate) fn set_plain(&mut self, name: &str, value: impl AsRef<str>) {
        self.labels.set(name, value.as_ref());
    }

    /// Sets the labels of another set.
    pub(crate) fn merge(&mut self, other: &Labels) {
        for (name, value) in other {
            self.labels.set(name, value);
        }
    }

    /// The labels, done.
    pub(crate) fn build(&self) -> Labels {
        self.labels.clone().build()
    }
}

/// Host and port as an address: IPv6 in brackets, as Go's `net.JoinHostPort`.
pub(crate) fn host_port(host: &str, port: impl std::fmt::Display) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
