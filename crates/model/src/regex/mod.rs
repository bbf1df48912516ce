//! Go's regular expressions, the one place that compiles them.
//!
//! Go's syntax is read by a parser of our own (`parse`) into regex-syntax's tree, from which
//! regex-automata builds automata. Expressions that have to match a whole text, as matchers and
//! relabelling rules do, mostly need none: they are literals (`a|b`), or literals with gaps
//! (`a.*`, `.*b.*`), and are matched as such.
//!
//! Source of the behaviour: Go's `regexp`, and `model/labels/regexp.go` for what is worth a
//! shortcut.

mod analyze;
mod captures;
mod class;
mod error;
mod escape;
mod expand;
mod flags;
mod literals;
mod parse;
mod program;
mod shape;
#[cfg(test)]
mod tests;
mod tree;

use std::{fmt, sync::Arc};

use regex_automata::{Input, meta};
use regex_syntax::hir::Hir;

pub use captures::Captures;
pub use error::RegexError;

use analyze::Sequence;
use expand::{Piece, Pieces};
use literals::LiteralSet;
use shape::{OneGap, Shape};

/// How many shapes are tried before an automaton is faster.
const MAX_SHAPES: usize = 32;

/// A compiled Go regular expression. Linear time, bounded memory. Clones share the program.
#[derive(Clone)]
pub struct Regex(Arc<Inner>);

struct Inner {
    pattern: String,
    anchored: bool,
    /// Names of the groups, by index; group 0 has none.
    names: Vec<Option<String>>,
    fast: Option<Fast>,
    /// How groups are found without the program.
    one_gap: Option<OneGap>,
    /// What every match of an anchored expression begins and ends with.
    prefix: String,
    suffix: String,
    /// One of these begins every match of an anchored expression.
    prefixes: Vec<String>,
    /// `None` where the shortcuts answer everything.
    program: Option<meta::Regex>,
}

/// A way to tell exactly whether a text matches.
#[derive(Debug)]
enum Fast {
    Literals(LiteralSet),
    /// One of these.
    Shapes(Vec<Shape>),
}

impl Fast {
    fn new(sequences: Vec<Sequence>) -> Option<Self> {
        let mut texts = Vec::with_capacity(sequences.len());
        let mut shapes = Vec::new();
        for sequence in sequences {
            match sequence.into_text() {
                Ok(text) => texts.push(text),
                Err(sequence) => shapes.push(sequence),
            }
            if !shapes.is_empty() && shapes.len() + texts.len() > MAX_SHAPES {
                return None;
            }
        }
        if shapes.is_empty() {
            return LiteralSet::new(texts).map(Self::Literals);
        }
        let texts = texts.into_iter().map(Sequence::text);
        shapes.into_iter().chain(texts).map(Shape::new).collect::<Option<_>>().map(Self::Shapes)
    }

    fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Literals(set) => set.contains(text),
            Self::Shapes(shapes) => shapes.iter().any(|shape| shape.is_match(text)),
        }
    }

    fn prefix(&self) -> String {
        let (first, others): (&str, Vec<&str>) = match self {
            Self::Literals(set) => match set.texts() {
                [first, others @ ..] => (first, others.iter().map(String::as_str).collect()),
                [] => return String::new(),
            },
            Self::Shapes(shapes) => match shapes.as_slice() {
                [first, others @ ..] => {
                    (&first.prefix, others.iter().map(|s| s.prefix.as_str()).collect())
                }
                [] => return String::new(),
            },
        };
        let mut prefix = first.to_owned();
        for other in others {
            prefix.truncate(analyze::common_prefix(&prefix, other));
        }
        prefix
    }
}

impl Inner {
    /// Whether an anchored expression could match, from what it begins and ends with.
    fn has_edges(&self, text: &str) -> bool {
        text.starts_with(self.prefix.as_str()) && text.ends_with(self.suffix.as_str())
    }
}

impl Regex {
    /// Compiles an expression that must match the whole text, dot matching newlines too:
    /// `^(?s:pattern)$`. For matchers; errors quote the pattern alone.
    ///
    /// # Errors
    /// Not a Go regular expression, or too large; the text is Go's.
    pub fn anchored(pattern: &str) -> Result<Self, RegexError> {
        if let Some(texts) = plain_alternatives(pattern) {
            let fast = LiteralSet::new(texts.map(str::to_owned)).map(Fast::Literals);
            let prefix = fast.as_ref().map(Fast::prefix).unwrap_or_default();
            return Ok(Self(Arc::new(Inner {
                pattern: pattern.to_owned(),
                anchored: true,
                names: vec![None],
                fast,
                one_gap: None,
                prefixes: vec![prefix.clone()],
                prefix,
                suffix: String::new(),
                program: None,
            })));
        }
        Self::from_tree(pattern, parse::parse(pattern, true)?, true)
    }

    /// Compiles an expression as relabelling rules do: [`Regex::anchored`], but put into
    /// `^(?s:` and `)$` as text, which errors then quote, and which lets `a)|(?:b` pass.
    ///
    /// # Errors
    /// As [`Regex::anchored`].
    pub fn for_relabeling(pattern: &str) -> Result<Self, RegexError> {
        let whole = parse::parse(&format!("^(?s:{pattern})$"), false)?;
        Self::anchored(pattern).or_else(|_| Self::from_tree(pattern, whole, false))
    }

    /// Compiles an expression that may match anywhere.
    ///
    /// # Errors
    /// As [`Regex::anchored`].
    pub fn unanchored(pattern: &str) -> Result<Self, RegexError> {
        Self::from_tree(pattern, parse::parse(pattern, false)?, false)
    }

    fn from_tree(
        pattern: &str,
        (hir, names): (Hir, Vec<Option<String>>),
        anchored: bool,
    ) -> Result<Self, RegexError> {
        let groups = names.len() > 1;
        let (mut fast, mut one_gap) = (None, None);
        let (mut prefix, mut suffix) = (String::new(), String::new());
        if anchored {
            fast = analyze::sequences(&hir).and_then(Fast::new);
            one_gap = OneGap::new(&hir);
            prefix = fast.as_ref().map_or_else(|| analyze::prefix(&hir), Fast::prefix);
            suffix = analyze::suffix(&hir);
        }
        let answered = one_gap.is_some() || (fast.is_some() && !groups);
        let program = match answered {
            true => None,
            false => Some(program::compile(hir, anchored, pattern)?),
        };
        let pattern = pattern.to_owned();
        let prefixes = match &fast {
            Some(Fast::Shapes(shapes)) => shortest_prefixes(shapes),
            _ => vec![prefix.clone()],
        };
        let inner =
            Inner { pattern, anchored, names, fast, one_gap, prefix, suffix, prefixes, program };
        Ok(Self(Arc::new(inner)))
    }

    /// The source, as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.0.pattern
    }

    /// Whether both are clones of one compilation.
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let inner = &*self.0;
        match (&inner.fast, &inner.program) {
            (Some(fast), _) => fast.is_match(text),
            (None, Some(program)) => inner.has_edges(text) && program.is_match(text),
            (None, None) => inner.one_gap.as_ref().is_some_and(|gap| gap.find(text).is_some()),
        }
    }

    /// The groups of the first match.
    #[must_use]
    pub fn captures(&self, text: &str) -> Option<Captures> {
        self.captures_at(text, 0)
    }

    /// The groups of the first match at or after byte `start`.
    fn captures_at(&self, text: &str, start: usize) -> Option<Captures> {
        let inner = &*self.0;
        if inner.anchored && start > 0 {
            return None;
        }
        let mut captures = Captures::new(inner.names.len());
        if let Some(gap) = &inner.one_gap {
            let (from, to) = gap.find(text)?;
            captures.set(0, 0, text.len());
            if gap.group {
                captures.set(1, from, to);
            }
            return Some(captures);
        }
        if inner.fast.as_ref().is_some_and(|fast| !fast.is_match(text)) || !inner.has_edges(text) {
            return None;
        }
        let Some(program) = &inner.program else {
            captures.set(0, 0, text.len());
            return Some(captures);
        };
        let input = Input::new(text).range(start..);
        program.search_slots(&input, captures.slots_mut()).map(|_| captures)
    }

    /// Appends `template` with `$1`, `${1}`, `$name` and `${name}` replaced by what the groups
    /// matched and `$$` by a dollar, as Go's `Regexp.Expand`. A name is the longest run of letters,
    /// digits and `_`; groups that do not exist or did not take part are empty.
    pub fn expand(&self, template: &str, text: &str, captures: &Captures, out: &mut String) {
        for piece in Pieces::new(template) {
            match piece {
                Piece::Text(plain) => out.push_str(plain),
                Piece::Index(index) => {
                    out.push_str(captures.group(text, index).unwrap_or_default());
                }
                Piece::Name(name) => {
                    let named = |(_, n): &(usize, &Option<String>)| n.as_deref() == Some(name);
                    let mut groups = self.0.names.iter().enumerate().filter(named);
                    // Of several groups with the name, the first that took part.
                    let matched = groups.find_map(|(index, _)| captures.group(text, index));
                    out.push_str(matched.unwrap_or_default());
                }
            }
        }
    }

    /// Replaces every match by `template`, expanded as [`Regex::expand`] does. An empty match right
    /// after another match is not replaced.
    #[must_use]
    pub fn replace_all(&self, text: &str, template: &str) -> String {
        self.replace_all_within(text, template, usize::MAX).unwrap_or_default()
    }

    /// [`Regex::replace_all`]; `None` where the result would have more than `limit` bytes.
    #[must_use]
    pub fn replace_all_within(&self, text: &str, template: &str, limit: usize) -> Option<String> {
        let mut out = String::with_capacity(text.len().min(limit));
        let (mut search, mut copied) = (0, 0);
        while search <= text.len() {
            let Some(captures) = self.captures_at(text, search) else { break };
            let Some((start, end)) = captures.span(0) else { break };
            out.push_str(text.get(copied..start).unwrap_or_default());
            if end > copied || start == 0 {
                self.expand(template, text, &captures, &mut out);
            }
            if out.len() > limit {
                return None;
            }
            copied = end;
            // Always go on by at least one character.
            let width = text.get(search..).and_then(|t| t.chars().next()).map_or(1, char::len_utf8);
            search = end.max(search + width);
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        (out.len() <= limit).then_some(out)
    }

    /// All the texts that an anchored expression matches, where it has the form of a list:
    /// `a|b|c[de]`. At most 256, or as many as the alternatives that were written down. The empty
    /// text can be among them. Without duplicates, in no order to rely on.
    #[must_use]
    pub fn literals(&self) -> Option<&[String]> {
        match &self.0.fast {
            Some(Fast::Literals(set)) => Some(set.texts()),
            _ => None,
        }
    }

    /// A literal that every match of an anchored expression begins with; empty where unknown.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Literals of which every match of an anchored expression begins with one: `web-` and `api-`
    /// for `web-.*|api-.+`. Sorted, none begins with another; the empty text alone where nothing
    /// is known. Who has sorted texts need not look at others.
    #[must_use]
    pub fn prefixes(&self) -> &[String] {
        &self.0.prefixes
    }

    /// From how many characters on every text matches an anchored expression: 0 for `.*`, 1 for
    /// `.+` and `|.+`; `None` where there is no such number or it is not known.
    #[must_use]
    pub fn matches_all_from(&self) -> Option<u32> {
        match &self.0.fast {
            Some(Fast::Shapes(shapes)) => shapes.iter().filter_map(Shape::only_gap).min(),
            _ => None,
        }
    }
}

/// What the shapes begin with, without those that begin with another.
fn shortest_prefixes(shapes: &[Shape]) -> Vec<String> {
    let mut prefixes: Vec<String> = shapes.iter().map(|s| s.prefix.clone()).collect();
    prefixes.sort_unstable();
    prefixes.dedup_by(|next, kept| next.starts_with(kept.as_str()));
    prefixes
}

/// The alternatives of a pattern that has nothing but literals and bars.
fn plain_alternatives(pattern: &str) -> Option<impl Iterator<Item = &str>> {
    let special = |b: u8| b"\\.+*?()[]{}^$".contains(&b);
    (!pattern.bytes().any(special)).then(|| pattern.split('|'))
}

/// Equal sources, compiled the same way.
impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other)
            || (&self.0.pattern, self.0.anchored) == (&other.0.pattern, other.0.anchored)
    }
}

impl Eq for Regex {}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.pattern())
    }
}
