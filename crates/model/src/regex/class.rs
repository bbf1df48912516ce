//! Character classes: `[a-z]`, `\d`, `[:alpha:]`, `\p{Greek}`.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

use super::{
    error::{Code, RegexError},
    escape::escape,
};

type Result<T> = std::result::Result<T, RegexError>;

/// A class that was read, and what follows it.
type Read<'p> = (ClassUnicode, &'p str);

/// Adds the code points `from..=to` without the surrogates, which no text contains: a range that
/// begins or ends among them is cut, one of nothing else is left out.
pub(super) fn push(class: &mut ClassUnicode, from: u32, to: u32) {
    let start = char::from_u32(from).unwrap_or('\u{e000}');
    let end = char::from_u32(to).unwrap_or('\u{d7ff}');
    if start <= end {
        class.push(ClassUnicodeRange::new(start, end));
    }
}

/// Adds what differs only in case.
pub(super) fn fold(class: &mut ClassUnicode) {
    let folded = class.try_case_fold_simple();
    debug_assert!(folded.is_ok(), "regex-syntax is built with its case tables");
}

fn group(ranges: &str, negated: bool, fold_case: bool) -> ClassUnicode {
    let mut class = ClassUnicode::empty();
    let bytes: Vec<u8> = ranges.bytes().collect();
    for pair in bytes.chunks_exact(2) {
        push(&mut class, pair[0].into(), pair[1].into());
    }
    if fold_case {
        fold(&mut class);
    }
    if negated {
        class.negate();
    }
    class
}

const DIGIT: &str = "09";
const SPACE: &str = "\t\n\x0c\r  ";
const WORD: &str = "09AZ__az";

/// `\d`, `\D`, `\s`, `\S`, `\w`, `\W`: ASCII, whatever the flags, and `\s` without the vertical tab.
pub(super) fn perl(text: &str, fold_case: bool) -> Option<Read<'_>> {
    let mut chars = text.strip_prefix('\\')?.chars();
    let letter = chars.next()?;
    let ranges = match letter.to_ascii_lowercase() {
        'd' => DIGIT,
        's' => SPACE,
        'w' => WORD,
        _ => return None,
    };
    Some((group(ranges, letter.is_ascii_uppercase(), fold_case), chars.as_str()))
}

/// `[:alpha:]` and the like, within brackets.
fn posix(text: &str, fold_case: bool) -> Result<Option<Read<'_>>> {
    let Some((name, rest)) = text.strip_prefix("[:").and_then(|t| t.split_once(":]")) else {
        return Ok(None);
    };
    let (negated, plain) = name.strip_prefix('^').map_or((false, name), |plain| (true, plain));
    let ranges = match plain {
        "alnum" => "09AZaz",
        "alpha" => "AZaz",
        "ascii" => "\0\x7f",
        "blank" => "\t\t  ",
        "cntrl" => "\0\x1f\x7f\x7f",
        "digit" => DIGIT,
        "graph" => "!~",
        "lower" => "az",
        "print" => " ~",
        "punct" => "!/:@[`{~",
        "space" => "\t\r  ",
        "upper" => "AZ",
        "word" => WORD,
        "xdigit" => "09AFaf",
        _ => return Err(Code::CharRange.at(&format!("[:{name}:]"))),
    };
    Ok(Some((group(ranges, negated, fold_case), rest)))
}

/// `\pN`, `\p{Greek}`, `\P{Greek}`, `\p{^Greek}`.
pub(super) fn unicode(text: &str, fold_case: bool) -> Result<Option<Read<'_>>> {
    let Some(after) = text.strip_prefix("\\p").or_else(|| text.strip_prefix("\\P")) else {
        return Ok(None);
    };
    let mut negated = text.starts_with("\\P");
    let (name, rest) = match after.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or_else(|| Code::CharRange.at(text))?,
        None => after.split_at(after.chars().next().map_or(0, char::len_utf8)),
    };
    let part = &text[..text.len() - rest.len()];
    let name = name.strip_prefix('^').map_or(name, |plain| {
        negated = !negated;
        plain
    });
    let mut class = table(name).ok_or_else(|| Code::CharRange.at(part))?;
    if fold_case {
        fold(&mut class);
    }
    if negated {
        class.negate();
    }
    Ok(Some((class, rest)))
}

const CATEGORIES: &[&str] = &[
    "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd",
    "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z",
    "Zl", "Zp", "Zs",
];

/// A general category by its short name or a script by its long one, as Go wants them. The tables
/// are regex-syntax's, whose Unicode version may differ from Go's.
fn table(name: &str) -> Option<ClassUnicode> {
    let pattern = match name {
        "Any" => return Some(ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)])),
        // Go's C is without the code points that are not assigned.
        "C" => r"[\p{gc=Cc}\p{gc=Cf}\p{gc=Co}]".to_owned(),
        _ if CATEGORIES.contains(&name) => format!(r"\p{{gc={name}}}"),
        _ if is_script_name(name) => format!(r"\p{{sc={name}}}"),
        _ => return None,
    };
    let hir = regex_syntax::parse(&pattern).ok()?;
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        // A class of one character has become a literal.
        HirKind::Literal(literal) => {
            let c = std::str::from_utf8(&literal.0).ok()?.chars().next()?;
            Some(ClassUnicode::new([ClassUnicodeRange::new(c, c)]))
        }
        _ => None,
    }
}

/// Whether `name` looks like the long name of a script (`Old_Italic`) and not like one of the
/// four-letter codes that regex-syntax knows too.
fn is_script_name(name: &str) -> bool {
    const FOUR: [&str; 8] = ["Ahom", "Cham", "Kawi", "Lisu", "Modi", "Newa", "Thai", "Toto"];
    let word = |w: &str| {
        w.starts_with(|c: char| c.is_ascii_uppercase())
            && w[1..].bytes().all(|b| b.is_ascii_lowercase())
    };
    name == "SignWriting"
        || (name.split('_').all(word) && (name.len() != 4 || FOUR.contains(&name)))
}

/// A class in brackets; `text` begins with the opening one.
pub(super) fn bracketed(text: &str, fold_case: bool) -> Result<Read<'_>> {
    let mut class = ClassUnicode::empty();
    let mut rest = text.get(1..).unwrap_or_default();
    let negated = rest.starts_with('^');
    if negated {
        rest = &rest[1..];
    }
    // The first character may be a closing bracket.
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        let named = match posix(rest, fold_case)? {
            None => unicode(rest, fold_case)?.or_else(|| perl(rest, fold_case)),
            found => found,
        };
        if let Some((members, after)) = named {
            class.union(&members);
            rest = after;
            continue;
        }
        let start = rest;
        let (low, after) = member(rest, text)?;
        (rest, class) = match after.strip_prefix('-') {
            Some(range) if !range.is_empty() && !range.starts_with(']') => {
                let (high, after) = member(range, text)?;
                if high < low {
                    return Err(Code::CharRange.at(&start[..start.len() - after.len()]));
                }
                push(&mut class, low, high);
                (after, class)
            }
            _ => {
                push(&mut class, low, low);
                (after, class)
            }
        };
    }
    if fold_case {
        fold(&mut class);
    }
    if negated {
        class.negate();
    }
    Ok((class, &rest[1..]))
}

/// One character of a class.
fn member<'p>(text: &'p str, whole: &str) -> Result<(u32, &'p str)> {
    if text.starts_with('\\') {
        return escape(text);
    }
    let mut chars = text.chars();
    let c = chars.next().ok_or_else(|| Code::MissingBracket.at(whole))?;
    Ok((c.into(), chars.as_str()))
}
