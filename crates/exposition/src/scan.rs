//! Byte classes and the searches on which the scanners stand. Tokens are short, so these are loops
//! over words and a table, not calls.

/// `[a-zA-Z_]`, the first byte of a label name.
pub(crate) const LABEL_START: u8 = 1;
/// `[a-zA-Z0-9_]`, any byte of a label name.
pub(crate) const LABEL: u8 = 2;
/// `[a-zA-Z_:]`, the first byte of a metric name.
pub(crate) const NAME_START: u8 = 4;
/// `[a-zA-Z0-9_:]`, any byte of a metric name.
pub(crate) const NAME: u8 = 8;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        table[b] = if c.is_ascii_alphabetic() || c == b'_' {
            LABEL_START | LABEL | NAME_START | NAME
        } else if c.is_ascii_digit() {
            LABEL | NAME
        } else if c == b':' {
            NAME_START | NAME
        } else {
            0
        };
        b += 1;
    }
    table
}

/// Whether `byte` is of `class`.
#[inline(always)]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// The first position from `at` on whose byte is not of `class`, the end of the page if none.
#[inline(always)]
pub(crate) fn skip(page: &[u8], at: usize, class: u8) -> usize {
    let rest = page.get(at..).unwrap_or_default();
    let mut n = 0;
    for &byte in rest {
        if CLASSES[byte as usize] & class == 0 {
            break;
        }
        n += 1;
    }
    at + n
}

/// The first position from `at` on that is neither a blank nor a tab.
#[inline(always)]
pub(crate) fn skip_blanks(page: &[u8], mut at: usize) -> usize {
    while matches!(page.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// High bits of the bytes of `word` that are `byte`; those above the first hit may be wrong.
#[inline(always)]
const fn eq_bytes(word: u64, byte: u8) -> u64 {
    let x = word ^ (LOW * byte as u64);
    x.wrapping_sub(LOW) & !x & HIGH
}

/// The first `"` or `\` from `at` on.
#[inline(always)]
pub(crate) fn find_quote(page: &[u8], mut at: usize) -> Option<usize> {
    while let Some(&chunk) = page.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(chunk);
        let hits = eq_bytes(word, b'"') | eq_bytes(word, b'\\');
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let tail = page.get(at..)?;
    tail.iter().position(|b| matches!(b, b'"' | b'\\')).map(|i| at + i)
}

/// What a quoted string may hold besides what every quoted string may.
#[derive(Clone, Copy)]
pub(crate) struct Quoting {
    pub(crate) line_feeds: bool,
    pub(crate) nuls: bool,
}

/// The end of the quoted string that opens at `open` (the position after its closing quote) and
/// whether it has escapes; `None` where it is not a string.
#[inline(always)]
pub(crate) fn quoted(page: &[u8], open: usize, rules: Quoting) -> Option<(usize, bool)> {
    let close = find_quote(page, open + 1)?;
    let (end, escaped) = if page.get(close) == Some(&b'"') {
        (close + 1, false)
    } else {
        (quoted_escaped(page, close)?, true)
    };
    if !(rules.line_feeds && rules.nuls) {
        let text = page.get(open..end)?;
        let forbidden = |b: &u8| (*b == 0 && !rules.nuls) || (*b == b'\n' && !rules.line_feeds);
        if text.iter().any(forbidden) {
            return None;
        }
    }
    Some((end, escaped))
}

/// Goes on from a backslash to the string's end.
#[cold]
fn quoted_escaped(page: &[u8], mut at: usize) -> Option<usize> {
    loop {
        if page.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 1;
        // Prometheus' lexer does not see NULs within a string.
        while page.get(at) == Some(&0) {
            at += 1;
        }
        if page.get(at).is_none_or(|&b| b == b'\n') {
            return None;
        }
        at = find_quote(page, at + 1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_end_at_the_first_quote_that_is_not_escaped() {
        let any = Quoting { line_feeds: true, nuls: true };
        assert_eq!(quoted(br#""abc" "#, 0, any), Some((5, false)));
        assert_eq!(quoted(br#""a\"b\\" "#, 0, any), Some((8, true)));
        assert_eq!(quoted(b"\"a\\\n\"", 0, any), None);
        assert_eq!(quoted(b"\"a\n\"", 0, any), Some((4, false)));
        assert_eq!(quoted(b"\"a\n\"", 0, Quoting { line_feeds: false, nuls: true }), None);
        assert_eq!(quoted(b"\"a\0\"", 0, Quoting { line_feeds: true, nuls: false }), None);
        assert_eq!(quoted(b"\"a", 0, any), None);
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            page in prop::collection::vec(prop::sample::select(&b"ab\"\\\n\x80\xa2"[..]), 0..40),
            at in 0_usize..45,
        ) {
            let plain = (at..page.len()).find(|&i| matches!(page[i], b'"' | b'\\'));
            prop_assert_eq!(find_quote(&page, at), plain);
        }
    }
}
