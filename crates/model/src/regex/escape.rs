//! Escapes that stand for one character.

use super::error::{Code, RegexError};

/// Reads an escape; `text` begins with the backslash. The code point may be a surrogate, which no
/// text contains.
pub(super) fn escape(text: &str) -> Result<(u32, &str), RegexError> {
    let mut chars = text.chars();
    chars.next();
    let Some(c) = chars.next() else { return Err(Code::TrailingBackslash.at("")) };
    let rest = chars.as_str();
    let invalid = |rest: &str| Err(Code::Escape.at(&text[..text.len() - rest.len()]));
    let code = match c {
        '0' => return Ok(octal(0, rest)),
        // A digit alone would be a reference to a group, which a linear-time engine cannot follow.
        '1'..='7' if rest.starts_with(|c: char| c.is_digit(8)) => {
            return Ok(octal(c as u32 - '0' as u32, rest));
        }
        'x' => return hexadecimal(rest).or_else(invalid),
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => c.into(),
        _ => return invalid(rest),
    };
    Ok((code, rest))
}

/// Up to two more octal digits.
fn octal(first: u32, text: &str) -> (u32, &str) {
    let digits = text.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let (digits, rest) = text.split_at(digits);
    (digits.bytes().fold(first, |n, b| n * 8 + u32::from(b - b'0')), rest)
}

/// Two digits, or any number of them in braces; on failure, what follows the part to blame.
fn hexadecimal(text: &str) -> Result<(u32, &str), &str> {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return Err(chars.as_str()) };
    if first != '{' {
        let second = chars.next().and_then(|c| c.to_digit(16));
        return match (first.to_digit(16), second) {
            (Some(x), Some(y)) => Ok((x * 16 + y, chars.as_str())),
            _ => Err(chars.as_str()),
        };
    }
    let mut code: Option<u32> = None;
    loop {
        match chars.next() {
            Some('}') => return code.map(|n| (n, chars.as_str())).ok_or(chars.as_str()),
            c => {
                let digit = c.and_then(|c| c.to_digit(16)).ok_or(chars.as_str())?;
                let n = code.unwrap_or(0) * 16 + digit;
                code = Some(n).filter(|n| *n <= char::MAX as u32);
                if code.is_none() {
                    return Err(chars.as_str());
                }
            }
        }
    }
}
