//! Matching of literals with gaps between them: `a.*`, `.*b`, `.+c.*`.

use memchr::memmem::Finder;
use regex_syntax::hir::{Capture, Hir, HirKind, Look};

use super::analyze::{self, Gap, Part, Sequence};

/// Literals with gaps between them that may be of any length. Because they may, the leftmost place
/// of each literal is as good as any other, and nothing has to be tried twice.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) prefix: String,
    /// Gaps, as the least number of characters, each with the literal after it.
    inner: Vec<(u32, Finder<'static>)>,
    /// The last gap; `None` if there is no gap at all and the prefix is all there is.
    last: Option<u32>,
    suffix: String,
}

impl Shape {
    /// `None` if a gap has a fixed length.
    pub(super) fn new(sequence: Sequence) -> Option<Self> {
        let mut shape =
            Self { prefix: String::new(), inner: Vec::new(), last: None, suffix: String::new() };
        for part in sequence.parts {
            match part {
                Part::Gap(Gap { open: false, .. }) => return None,
                Part::Gap(Gap { min, .. }) => {
                    if let Some(before) = shape.last {
                        let finder = Finder::new(shape.suffix.as_bytes()).into_owned();
                        shape.inner.push((before, finder));
                    }
                    shape.last = Some(min);
                    shape.suffix.clear();
                }
                Part::Text(text) if shape.last.is_none() => shape.prefix = text,
                Part::Text(text) => shape.suffix = text,
            }
        }
        Some(shape)
    }

    /// The least number of characters, if the shape is a gap and nothing else.
    pub(super) fn only_gap(&self) -> Option<u32> {
        let bare = self.prefix.is_empty() && self.inner.is_empty() && self.suffix.is_empty();
        self.last.filter(|_| bare)
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(self.prefix.as_str()) else { return false };
        let Some(last) = self.last else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(self.suffix.as_str()) else { return false };
        for (gap, finder) in &self.inner {
            let Some(after) = skip(rest, *gap) else { return false };
            let Some(at) = finder.find(after.as_bytes()) else { return false };
            rest = after.get(at + finder.needle().len()..).unwrap_or_default();
        }
        skip(rest, last).is_some()
    }
}

/// The text without its first characters; `None` if it has fewer.
fn skip(text: &str, chars: u32) -> Option<&str> {
    let mut left = text.chars();
    for _ in 0..chars {
        left.next()?;
    }
    Some(left.as_str())
}

/// A gap between two literals, perhaps as a group: `__meta_(.+)`, `(.*):9100`, `(.*)`. Its groups
/// are known without an automaton.
#[derive(Debug)]
pub(super) struct OneGap {
    prefix: String,
    min: u32,
    suffix: String,
    /// Whether the gap is group 1.
    pub(super) group: bool,
}

impl OneGap {
    pub(super) fn new(hir: &Hir) -> Option<Self> {
        let mut subs = match hir.kind() {
            HirKind::Concat(subs) => subs.as_slice(),
            _ => std::slice::from_ref(hir),
        };
        let is = |hir: &Hir, look: Look| matches!(hir.kind(), HirKind::Look(l) if *l == look);
        if let [first, rest @ ..] = subs
            && is(first, Look::Start)
        {
            subs = rest;
        }
        if let [rest @ .., last] = subs
            && is(last, Look::End)
        {
            subs = rest;
        }
        let (prefix, gap, suffix) = match subs {
            [gap] => (None, gap, None),
            [prefix, gap, suffix] => (Some(prefix), gap, Some(suffix)),
            [first, second] if matches!(first.kind(), HirKind::Literal(_)) => {
                (Some(first), second, None)
            }
            [gap, suffix] => (None, gap, Some(suffix)),
            _ => return None,
        };
        let (gap, group) = match gap.kind() {
            HirKind::Capture(Capture { sub, .. }) => (&**sub, true),
            _ => (gap, false),
        };
        let min = match analyze::sequences(gap)?.as_slice() {
            [Sequence { parts, .. }] => match parts.as_slice() {
                [Part::Gap(Gap { min, open: true })] if is_gap(gap) => *min,
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { prefix: literal(prefix)?, min, suffix: literal(suffix)?, group })
    }

    /// Start and end of the gap, if the text matches.
    pub(super) fn find(&self, text: &str) -> Option<(usize, usize)> {
        let rest = text.strip_prefix(self.prefix.as_str())?.strip_suffix(self.suffix.as_str())?;
        skip(rest, self.min)?;
        Some((self.prefix.len(), text.len() - self.suffix.len()))
    }
}

/// Whether it is a plain gap, without groups in it.
fn is_gap(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Repetition(_)) && hir.properties().explicit_captures_len() == 0
}

fn literal(hir: Option<&Hir>) -> Option<String> {
    match hir.map(Hir::kind) {
        None => Some(String::new()),
        Some(HirKind::Literal(literal)) => String::from_utf8(literal.0.to_vec()).ok(),
        Some(_) => None,
    }
}
