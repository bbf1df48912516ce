//! Scalars as go-yaml version 2 writes them (`emitterc.go`), so that `/api/v1/status/config` reads
//! byte for byte as Prometheus' does.

use std::fmt::Write as _;

use super::scalar;

/// Beyond this column a text is broken at its next space.
pub(crate) const BEST_WIDTH: usize = 80;

/// Where a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// As a value in block style, its continuation lines indented by so many spaces.
    Block { indent: usize },
    /// As a key.
    Key,
    /// Inside of `[...]`.
    Flow { indent: usize },
}

/// What a text consists of, as far as that decides how it may be written.
#[derive(Debug, Default)]
struct Analysis {
    multiline: bool,
    flow_plain: bool,
    block_plain: bool,
    single_quoted: bool,
    literal: bool,
}

/// Appends a string scalar.
pub(crate) fn string(out: &mut String, text: &str, context: Context) {
    let analysis = analyse(text);
    let plain_means_string = !scalar::is_special(text) && !is_base_60(text);
    let key = context == Context::Key;
    let flow = matches!(context, Context::Flow { .. });
    if text.contains('\n') {
        if let (Context::Block { indent }, true) = (context, analysis.literal) {
            return literal(out, text, indent);
        }
        return double_quoted(out, text, context);
    }
    if !plain_means_string || (key && analysis.multiline) {
        return double_quoted(out, text, context);
    }
    if if flow { analysis.flow_plain } else { analysis.block_plain } {
        return broken_at_spaces(out, text, context, "");
    }
    if analysis.single_quoted {
        out.push('\'');
        broken_at_spaces(out, &text.replace('\'', "''"), context, "'");
        out.push('\'');
        return;
    }
    double_quoted(out, text, context);
}

/// Appends a float as go-yaml does: the shortest form, an exponent where Go's `%g` has one.
pub(crate) fn float(out: &mut String, v: f64) {
    if v.is_nan() {
        out.push_str(".nan");
    } else if v.is_infinite() {
        out.push_str(if v > 0.0 { ".inf" } else { "-.inf" });
    } else {
        out.push_str(&go_g(v));
    }
}

/// Go's `strconv.FormatFloat(v, 'g', -1, 64)` for finite values.
fn go_g(v: f64) -> String {
    let scientific = format!("{v:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{v}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `1:20` is a number in YAML 1.1; go-yaml does not read it so, but quotes it.
fn is_base_60(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    if !first.starts_with(|c: char| c.is_ascii_digit())
        || !first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        return false;
    }
    let rest: Vec<&str> = parts.collect();
    let sixty = |p: &str| match p.as_bytes() {
        [d] => d.is_ascii_digit(),
        [t, d] => (b'0'..=b'5').contains(t) && d.is_ascii_digit(),
        _ => false,
    };
    let Some((last, middle)) = rest.split_last() else { return false };
    let last = last.split_once('.').map_or(*last, |(whole, fraction)| {
        if fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_') { whole } else { "x" }
    });
    middle.iter().all(|p| sixty(p)) && sixty(last)
}

const fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

const fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

fn analyse(text: &str) -> Analysis {
    if text.is_empty() {
        return Analysis { block_plain: true, single_quoted: true, ..Analysis::default() };
    }
    let (mut block_indicators, mut flow_indicators) = (false, false);
    let (mut line_breaks, mut special) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    if text.starts_with("---") || text.starts_with("...") {
        (block_indicators, flow_indicators) = (true, true);
    }
    let blank = |c: Option<char>| c.is_none_or(|c| matches!(c, ' ' | '\t') || is_break(c));
    let mut after_blank = true;
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let before_blank = blank(chars.peek().copied());
        match c {
            ',' | '[' | ']' | '{' | '}' => {
                flow_indicators = true;
                block_indicators |= first;
            }
            '#' if first || after_blank => (flow_indicators, block_indicators) = (true, true),
            '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' if first => {
                (flow_indicators, block_indicators) = (true, true);
            }
            '?' | ':' => {
                flow_indicators = true;
                block_indicators |= before_blank && (first || c == ':');
            }
            '-' if first && before_blank => (flow_indicators, block_indicators) = (true, true),
            _ => {}
        }
        special |= !is_printable(c);
        if c == ' ' {
            break_space |= previous_break;
            (previous_space, previous_break) = (true, false);
        } else if is_break(c) {
            line_breaks = true;
            space_break |= previous_space;
            (previous_space, previous_break) = (false, true);
        } else {
            (previous_space, previous_break) = (false, false);
        }
        after_blank = matches!(c, ' ' | '\t') || is_break(c);
        first = false;
    }
    let edge = |c: char| c == ' ' || is_break(c);
    let edges = text.starts_with(edge) || text.ends_with(edge);
    let plain = !edges && !break_space && !space_break && !special && !line_breaks;
    Analysis {
        multiline: line_breaks,
        flow_plain: plain && !flow_indicators,
        block_plain: plain && !block_indicators,
        single_quoted: !break_space && !space_break && !special,
        literal: !text.ends_with(' ') && !space_break && !special,
    }
}

/// The column at which the text written so far ends.
pub(crate) fn column(out: &str) -> usize {
    out.rfind('\n').map_or(out, |i| &out[i + 1..]).chars().count()
}

/// Appends a text, with a line break in place of a lone space beyond the best width.
fn broken_at_spaces(out: &mut String, text: &str, context: Context, quote: &str) {
    let indent = match context {
        Context::Key => {
            out.push_str(text);
            return;
        }
        Context::Block { indent } | Context::Flow { indent } => indent,
    };
    let mut at = column(out);
    let mut chars = text.chars().enumerate().peekable();
    let last = text.chars().count().saturating_sub(1);
    let mut spaces = false;
    while let Some((i, c)) = chars.next() {
        let next_is_space = chars.peek().is_some_and(|(_, c)| *c == ' ');
        let inner = quote.is_empty() || (i > 0 && i < last);
        if c == ' ' && !spaces && inner && at > BEST_WIDTH && !next_is_space {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            at = indent;
        } else {
            out.push(c);
            at += 1;
        }
        spaces = c == ' ';
    }
}

fn double_quoted(out: &mut String, text: &str, context: Context) {
    let indent = match context {
        Context::Key => None,
        Context::Block { indent } | Context::Flow { indent } => Some(indent),
    };
    let mut at = column(out) + 1;
    out.push('"');
    let mut chars = text.chars().enumerate().peekable();
    let last = text.chars().count().saturating_sub(1);
    let mut spaces = false;
    while let Some((i, c)) = chars.next() {
        let start = out.len();
        match (c, indent) {
            (' ', Some(indent)) if !spaces && at > BEST_WIDTH && i > 0 && i < last => {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                at = indent;
                if chars.peek().is_some_and(|(_, c)| *c == ' ') {
                    out.push('\\');
                    at += 1;
                }
                spaces = true;
                continue;
            }
            _ => escape(out, c),
        }
        at += out[start..].chars().count();
        spaces = c == ' ';
    }
    out.push('"');
}

fn escape(out: &mut String, c: char) {
    match c {
        '\0' => out.push_str("\\0"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\u{b}' => out.push_str("\\v"),
        '\u{c}' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        '\u{1b}' => out.push_str("\\e"),
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{85}' => out.push_str("\\N"),
        '\u{a0}' => out.push_str("\\_"),
        '\u{2028}' => out.push_str("\\L"),
        '\u{2029}' => out.push_str("\\P"),
        c if is_printable(c) && !is_break(c) => out.push(c),
        c => {
            let code = c as u32;
            let _ = match code {
                0..=0xff => write!(out, "\\x{code:02X}"),
                0x100..=0xffff => write!(out, "\\u{code:04X}"),
                _ => write!(out, "\\U{code:08X}"),
            };
        }
    }
}

/// `|`, the text on lines of its own.
fn literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with(' ') || text.starts_with('\n') {
        out.push('2');
    }
    let body = text.trim_end_matches('\n');
    match text.len() - body.len() {
        0 => out.push('-'),
        1 if !body.is_empty() => {}
        _ => out.push('+'),
    }
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
    }
    for _ in 1..text.len() - body.len() {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        string(&mut out, text, Context::Block { indent: 2 });
        out
    }

    #[test]
    fn quotes_as_go_yaml_does() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("yes", "\"yes\""),
            ("15", "\"15\""),
            ("1:20", "\"1:20\""),
            ("localhost:9090", "localhost:9090"),
            ("a: b", "'a: b'"),
            ("it's: b", "'it''s: b'"),
            ("*.json", "'*.json'"),
            ("(.*)", "(.*)"),
            ("$1", "$1"),
            (" lead", "' lead'"),
            ("a\tb", "\"a\\tb\""),
            ("a\nb", "|-\n  a\n  b"),
            ("a\nb\n", "|\n  a\n  b"),
            ("[a]", "'[a]'"),
            ("a # b", "'a # b'"),
            (";", ";"),
            ("@", "'@'"),
            ("-", "'-'"),
            ("<secret>", "<secret>"),
        ] {
            assert_eq!(written(text), expected, "{text:?}");
        }
    }

    #[test]
    fn floats_as_go() {
        for (v, expected) in [(0.5, "0.5"), (1e6, "1e+06"), (1e-7, "1e-07"), (50.0, "50")] {
            let mut out = String::new();
            float(&mut out, v);
            assert_eq!(out, expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(text in "[ -~\n\té]{0,40}") {
            let mut out = String::from("k: ");
            string(&mut out, &text, Context::Block { indent: 2 });
            out.push('\n');
            let root = super::super::load(&out).unwrap().unwrap();
            let super::super::NodeKind::Map(pairs) = &root.kind else { panic!() };
            let super::super::NodeKind::Scalar(s) = &pairs[0].1.kind else { panic!() };
            prop_assert_eq!(&s.text, &text, "{}", out);
        }
    }
}
