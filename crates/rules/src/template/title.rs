//! The function `title`: the first letter of every word in capitals, the others as they are.
//! Source: `cases.Title` of `golang.org/x/text`.

use super::escape::upper_char;

/// What may stand between two letters of one word.
const fn is_mid(c: char) -> bool {
    matches!(c, '\'' | '.' | ':' | '\u{b7}' | '\u{2018}' | '\u{2019}' | '\u{2024}')
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    // Whether a word has begun, and whether its first letter has been seen.
    let (mut inside, mut titled) = (false, false);
    while let Some(c) = chars.next() {
        let continues = is_word(c)
            || (inside && is_mid(c) && chars.peek().is_some_and(|next| next.is_alphanumeric()));
        if !continues {
            (inside, titled) = (false, false);
            out.push(c);
            continue;
        }
        inside = true;
        if !titled && c.is_alphabetic() {
            titled = true;
            out.push(title_char(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Go's `unicode.ToTitle` where it differs from capitals: digraphs.
fn title_char(c: char) -> char {
    match c {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        c => upper_char(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_with_capitals() {
        for (text, expected) in
            [("aa bb CC", "Aa Bb CC"), ("foo-bar", "Foo-Bar"), ("it's", "It's"), ("", "")]
        {
            assert_eq!(title(text), expected);
        }
    }
}
