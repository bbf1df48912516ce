//! What follows `(?`: flags, groups that do not capture, names.

use super::error::{Code, RegexError};

/// The flags in force, all off at the beginning of an expression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// `i`: case does not matter.
    pub(super) fold_case: bool,
    /// `m`: `^` and `$` match at lines.
    pub(super) multi_line: bool,
    /// `s`: the dot matches newlines.
    pub(super) dot_newline: bool,
    /// `U`: operators are lazy, and greedy with a `?`.
    pub(super) swap_greed: bool,
}

/// What `(?...` turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening<'p> {
    /// Flags for the rest of the group.
    Set(Flags),
    /// A group that does not capture.
    Group(Flags),
    /// A group with a name.
    Named(&'p str),
}

/// Reads `(?...`; `text` begins with it.
pub(super) fn opening(text: &str, flags: Flags) -> Result<(Opening<'_>, &str), RegexError> {
    let after = text.get(2..).unwrap_or_default();
    let named = after.strip_prefix("P<").filter(|n| !n.is_empty());
    if let Some(start) = named.or_else(|| after.strip_prefix('<').filter(|_| text.len() > 3)) {
        return name(text, start);
    }
    let (mut flags, mut negative, mut seen) = (flags, false, false);
    let mut chars = after.chars();
    while let Some(c) = chars.next() {
        let flag = match c {
            'i' => &mut flags.fold_case,
            'm' => &mut flags.multi_line,
            's' => &mut flags.dot_newline,
            'U' => &mut flags.swap_greed,
            '-' if !negative => {
                (negative, seen) = (true, false);
                continue;
            }
            ':' | ')' if !negative || seen => {
                let opening = if c == ':' { Opening::Group(flags) } else { Opening::Set(flags) };
                return Ok((opening, chars.as_str()));
            }
            _ => break,
        };
        *flag = !negative;
        seen = true;
    }
    Err(Code::PerlOp.at(&text[..text.len() - chars.as_str().len()]))
}

fn name<'p>(text: &'p str, start: &'p str) -> Result<(Opening<'p>, &'p str), RegexError> {
    let Some((name, rest)) = start.split_once('>') else {
        return Err(Code::NamedCapture.at(text));
    };
    if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
        return Err(Code::NamedCapture.at(&text[..text.len() - rest.len()]));
    }
    Ok((Opening::Named(name), rest))
}
