//! Go's syntax, read into regex-syntax's tree.
//!
//! Go's dialect (RE2 with `regexp/syntax`'s Perl flags) differs from Rust's in what is accepted and
//! in what things mean: `\d`, `\w`, `\s` and `\b` are ASCII, `{` alone is a literal, `\Q...\E`
//! quotes, brackets know no set operations, `a**` is an error. So the expression is read here and
//! only its tree is handed on.

use regex_syntax::hir::{ClassUnicode, Hir, Look};

use super::{
    class,
    error::{Code, RegexError},
    escape::escape,
    flags::{Flags, Opening, opening},
    tree::{Builder, MAX_REPEAT},
};

/// The longest expression that is read.
const MAX_LEN: usize = 1 << 20;

/// An expression's tree and the names of its groups by index; group 0 is the whole.
pub(super) type Parsed = (Hir, Vec<Option<String>>);

/// Reads an expression. `dot_newline`: the dot matches newlines from the start.
///
/// # Errors
/// As Go's `syntax.Parse` with its flags `Perl`, in its words.
pub(super) fn parse(pattern: &str, dot_newline: bool) -> Result<Parsed, RegexError> {
    if pattern.len() > MAX_LEN {
        let start: String = pattern.chars().take(64).collect();
        return Err(Code::Large.at(&format!("{start}...")));
    }
    let flags = Flags { dot_newline, ..Flags::default() };
    let mut parser =
        Parser { rest: pattern, flags, builder: Builder::new(pattern), last_repeat: None };
    while parser.step()? {}
    parser.builder.finish()
}

struct Parser<'p> {
    rest: &'p str,
    flags: Flags,
    builder: Builder<'p>,
    /// The text from the repetition operator that was read last, if nothing came after it.
    last_repeat: Option<&'p str>,
}

impl<'p> Parser<'p> {
    /// Reads one element; false at the end.
    fn step(&mut self) -> Result<bool, RegexError> {
        let text = self.rest;
        let mut chars = text.chars();
        let Some(c) = chars.next() else { return Ok(false) };
        let after = chars.as_str();
        self.rest = after;
        let last_repeat = self.last_repeat.take();
        match c {
            '(' => self.open(text)?,
            ')' => self.flags = self.builder.close()?,
            '|' => self.builder.bar(),
            '^' if self.flags.multi_line => self.builder.look(Look::StartLF)?,
            '^' => self.builder.look(Look::Start)?,
            '$' if self.flags.multi_line => self.builder.look(Look::EndLF)?,
            '$' => self.builder.look(Look::End)?,
            '.' => self.dot()?,
            '[' => {
                let (class, rest) = class::bracketed(text, self.flags.fold_case)?;
                self.rest = rest;
                self.builder.class(class)?;
            }
            '*' => self.repeat(0, None, text, last_repeat)?,
            '+' => self.repeat(1, None, text, last_repeat)?,
            '?' => self.repeat(0, Some(1), text, last_repeat)?,
            '{' => match counts(after) {
                Some((counts, rest)) => {
                    self.rest = rest;
                    self.counted(counts, text, last_repeat)?;
                }
                None => self.literal('{'.into())?,
            },
            '\\' => self.backslash(text)?,
            c => self.literal(c.into())?,
        }
        Ok(true)
    }

    fn literal(&mut self, code: u32) -> Result<(), RegexError> {
        let c = char::from_u32(code);
        if let (true, Some(c)) = (self.flags.fold_case, c) {
            let mut class = ClassUnicode::empty();
            class::push(&mut class, code, code);
            class::fold(&mut class);
            if class.ranges().len() > 1 || class.ranges().iter().any(|r| r.start() != r.end()) {
                return self.builder.class(class);
            }
            return self.builder.literal(Some(c));
        }
        self.builder.literal(c)
    }

    fn dot(&mut self) -> Result<(), RegexError> {
        let mut class = ClassUnicode::empty();
        if self.flags.dot_newline {
            class::push(&mut class, 0, char::MAX.into());
        } else {
            class::push(&mut class, 0, 0x09);
            class::push(&mut class, 0x0b, char::MAX.into());
        }
        self.builder.class(class)
    }

    fn open(&mut self, text: &'p str) -> Result<(), RegexError> {
        if !text.starts_with("(?") {
            return self.builder.open(self.flags, Some(None));
        }
        let (opening, rest) = opening(text, self.flags)?;
        self.rest = rest;
        match opening {
            Opening::Set(flags) => self.flags = flags,
            Opening::Group(flags) => {
                self.builder.open(self.flags, None)?;
                self.flags = flags;
            }
            Opening::Named(name) => self.builder.open(self.flags, Some(Some(name)))?,
        }
        Ok(())
    }

    fn backslash(&mut self, text: &'p str) -> Result<(), RegexError> {
        let after = text.get(2..);
        let look = match text.as_bytes().get(1) {
            Some(b'A') => Look::Start,
            Some(b'z') => Look::End,
            Some(b'b') => Look::WordAscii,
            Some(b'B') => Look::WordAsciiNegate,
            Some(b'Q') => {
                let quoted = after.unwrap_or_default();
                let (quoted, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                self.rest = rest;
                return quoted.chars().try_for_each(|c| self.literal(c.into()));
            }
            _ => {
                let fold_case = self.flags.fold_case;
                let class =
                    class::unicode(text, fold_case)?.or_else(|| class::perl(text, fold_case));
                if let Some((class, rest)) = class {
                    self.rest = rest;
                    return self.builder.class(class);
                }
                let (code, rest) = escape(text)?;
                self.rest = rest;
                return self.literal(code);
            }
        };
        self.rest = after.unwrap_or_default();
        self.builder.look(look)
    }

    fn counted(
        &mut self,
        (min, max): Counts,
        text: &'p str,
        last_repeat: Option<&'p str>,
    ) -> Result<(), RegexError> {
        let operator = part(text, self.rest);
        let invalid = |n: Count| n.is_none_or(|n| n > MAX_REPEAT);
        if invalid(min) || max.is_some_and(|max| invalid(max) || max < min) {
            return Err(Code::RepeatSize.at(operator));
        }
        let (min, max) = (min.unwrap_or(0), max.flatten());
        self.repeat(min, max, text, last_repeat)?;
        let counts = min >= 2 || max.is_some_and(|max| max >= 2);
        if counts && self.builder.last_repeats() > MAX_REPEAT {
            return Err(Code::RepeatSize.at(part(text, self.rest)));
        }
        Ok(())
    }

    /// Applies a repetition operator, `text` beginning with it and `self.rest` behind it.
    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        text: &'p str,
        last_repeat: Option<&'p str>,
    ) -> Result<(), RegexError> {
        let lazy = self.rest.starts_with('?');
        if lazy {
            self.rest = &self.rest[1..];
        }
        if let Some(first) = last_repeat {
            return Err(Code::RepeatOp.at(part(first, self.rest)));
        }
        if !self.builder.repeat(min, max, lazy == self.flags.swap_greed)? {
            return Err(Code::MissingRepeatArgument.at(part(text, self.rest)));
        }
        self.last_repeat = Some(text);
        Ok(())
    }
}

/// The beginning of `text` that `rest` does not contain.
fn part<'p>(text: &'p str, rest: &str) -> &'p str {
    text.get(..text.len() - rest.len()).unwrap_or_default()
}

/// A count; `None` where it is too large to be read.
type Count = Option<u32>;

/// The least count, and the largest if there is one.
type Counts = (Count, Option<Count>);

/// `n}`, `n,}` or `n,m}`; anything else means that the brace before it is a literal.
fn counts(text: &str) -> Option<(Counts, &str)> {
    let (min, rest) = count(text)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => {
            let (max, rest) = count(rest)?;
            (Some(max), rest)
        }
    };
    Some(((min, max), rest.strip_prefix('}')?))
}

/// Decimal digits without a leading zero.
fn count(text: &str) -> Option<(Count, &str)> {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(len);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().ok().filter(|n| *n <= 100_000_000), rest))
}
