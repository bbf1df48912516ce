//! Sets of characters as Go's package `unicode` defines them.
//!
//! The tables are regex-syntax's; where its Unicode version is not that of Go, characters assigned
//! between the two count differently.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// Sorted ranges of characters, both ends included.
type Ranges = Vec<(char, char)>;

/// What a template's group name is made of: letters (L), digits (Nd) and `_`.
static WORD: LazyLock<Ranges> = LazyLock::new(|| ranges(r"[\p{L}\p{Nd}_]"));

/// `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
static PRINTABLE: LazyLock<Ranges> = LazyLock::new(|| ranges(r"[\p{L}\p{M}\p{N}\p{P}\p{S} ]"));

/// The ranges of a character class in regex-syntax's notation; empty if it is not one.
fn ranges(class: &str) -> Ranges {
    match regex_syntax::parse(class).map(regex_syntax::hir::Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(class))) => {
            class.iter().map(|r| (r.start(), r.end())).collect()
        }
        _ => Vec::new(),
    }
}

fn contains(ranges: &[(char, char)], c: char) -> bool {
    let after = ranges.partition_point(|(start, _)| *start <= c);
    after.checked_sub(1).and_then(|i| ranges.get(i)).is_some_and(|(_, end)| c <= *end)
}

/// Whether `c` may be part of a group's name in a template.
pub(crate) fn is_word(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { contains(&WORD, c) }
}

/// Whether Go's `%q` prints `c` as it is.
pub(crate) fn is_print(c: char) -> bool {
    if c.is_ascii() { (' '..='~').contains(&c) } else { contains(&PRINTABLE, c) }
}

/// Go's `unicode.ToLower`: one character for one, unlike [`char::to_lowercase`].
pub(crate) fn to_lower(c: char) -> char {
    let mut full = c.to_lowercase();
    match (full.next(), full.next()) {
        (Some(one), None) => one,
        // The only one whose full mapping is longer.
        _ if c == '\u{130}' => 'i',
        _ => c,
    }
}

/// Go's `unicode.ToUpper`: one character for one, unlike [`char::to_uppercase`].
pub(crate) fn to_upper(c: char) -> char {
    let mut full = c.to_uppercase();
    match (full.next(), full.next()) {
        (Some(one), None) => one,
        // Greek letters with a subscript iota have a capital of their own; the full mapping
        // spells the iota out.
        _ => match c as u32 {
            n @ (0x1f80..=0x1f87 | 0x1f90..=0x1f97 | 0x1fa0..=0x1fa7) => {
                char::from_u32(n + 8).unwrap_or(c)
            }
            n @ (0x1fb3 | 0x1fc3 | 0x1ff3) => char::from_u32(n + 9).unwrap_or(c),
            _ => c,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_their_members() {
        for c in ['a', 'Z', '0', '_', '\u{e9}', '\u{4e16}', '\u{661}'] {
            assert!(is_word(c), "{c:?}");
        }
        // A mark, a letter number and a fraction are neither letter nor decimal digit.
        for c in ['-', '{', '\u{301}', '\u{2160}', '\u{bd}'] {
            assert!(!is_word(c), "{c:?}");
        }
        for c in [' ', '~', '\u{a1}', '\u{301}', '\u{1f600}', '\u{fffd}'] {
            assert!(is_print(c), "{c:?}");
        }
        for c in ['\u{7f}', '\u{80}', '\u{a0}', '\u{ad}', '\u{2028}', '\u{feff}', '\u{e000}'] {
            assert!(!is_print(c), "{c:?}");
        }
    }

    #[test]
    fn case_maps_one_to_one() {
        for (lower, upper) in [('a', 'A'), ('\u{e9}', '\u{c9}'), ('\u{1f80}', '\u{1f88}')] {
            assert_eq!((to_upper(lower), to_lower(upper)), (upper, lower));
        }
        assert_eq!(to_upper('\u{df}'), '\u{df}');
        assert_eq!(to_upper('\u{1ff3}'), '\u{1ffc}');
        assert_eq!(to_lower('\u{130}'), 'i');
        assert_eq!(to_lower('\u{3a3}'), '\u{3c3}');
    }
}
