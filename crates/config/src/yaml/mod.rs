//! YAML as Prometheus reads it: a tree of nodes that know their places, with the scalar rules of
//! go-yaml version 2.

mod load;
pub(crate) mod scalar;
pub(crate) mod write;

use crate::Place;

pub(crate) use load::{load, load_first};

/// A node of a document.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeKind {
    Scalar(Scalar),
    List(Vec<Node>),
    /// Pairs as they stand, duplicates included; merge keys are resolved.
    Map(Vec<(Node, Node)>),
}

/// A scalar before anything is known about its type.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Whether it was written without quotes.
    pub(crate) plain: bool,
    pub(crate) tag: ScalarTag,
}

/// What a scalar's tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScalarTag {
    /// No tag, or one without a meaning to us.
    None,
    /// `!!str`.
    Str,
    /// `!!binary`: base64.
    Binary,
}

impl Node {
    /// Whether the node is YAML's null: nothing, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        match &self.kind {
            NodeKind::Scalar(s) => s.plain && s.tag == ScalarTag::None && scalar::is_null(&s.text),
            _ => false,
        }
    }

    /// What kind of node it is, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            NodeKind::Scalar(_) if self.is_null() => "nothing".to_owned(),
            NodeKind::Scalar(s) => format!("`{}`", shorten(&s.text)),
            NodeKind::List(_) => "a list".to_owned(),
            NodeKind::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// The beginning of a text, for messages.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MOST).collect();
    short.push_str("...");
    short
}
