//! Where Prometheus 3.14, which we follow, and 3.5.3, which is asked, are known to differ.

use crate::{answer::Answer, tree::Node};

/// A known difference.
#[derive(Clone, Copy)]
pub struct Exception {
    /// Its name in the report.
    pub name: &'static str,
    /// What 3.14 does otherwise, and why.
    pub reason: &'static str,
    /// Where 3.14 does it.
    pub source: &'static str,
    /// Whether a difference is this one.
    pub applies: fn(&Node, &Answer, &Answer) -> bool,
}

/// All known differences.
pub const EXCEPTIONS: &[Exception] = &[];

/// The first known difference that this is.
#[must_use]
pub fn excepted(query: &Node, theirs: &Answer, ours: &Answer) -> Option<&'static Exception> {
    EXCEPTIONS.iter().find(|e| (e.applies)(query, theirs, ours))
}
