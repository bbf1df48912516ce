//! Go's behaviour as tables, and the shortcuts against the automaton.

use proptest::prelude::*;

use super::*;

#[test]
fn expands_as_go_does() {
    let regex = Regex::unanchored(r"(?P<key>\w+):\s*(?P<value>\w+)(x)?").unwrap();
    let text = "  name: Ann!";
    let captures = regex.captures(text).unwrap();
    for (template, expected) in [
        ("$key=$value", "name=Ann"),
        ("${key}s $1s ${1}s", "names  names"),
        ("$0|$2|$3|$4|$nope", "name: Ann|Ann|||"),
        ("$$1 $ ${ ${key", "$1 $ ${ ${key"),
    ] {
        let mut out = String::new();
        regex.expand(template, text, &captures, &mut out);
        assert_eq!(out, expected, "{template}");
    }
}

#[test]
fn replaces_as_go_does() {
    // Rows: expression, template, text, result; from what Go's documentation promises.
    for (pattern, template, text, expected) in [
        ("a*", "x", "", "x"),
        ("a*", "x", "abcd", "xbxcxdx"),
        ("a*", "x", "baaau", "xbxux"),
        ("[a-c]*", "x", "def", "xdxexfx"),
        ("b|^", "x", "abb", "xaxx"),
        ("^", "x", "ab", "xab"),
        ("$", "x", "ab", "abx"),
        ("", "-", "\u{65e5}\u{672c}", "-\u{65e5}-\u{672c}-"),
        ("(.)(.)", "$2$1", "abcde", "badce"),
        ("x", "y", "abc", "abc"),
    ] {
        let regex = Regex::unanchored(pattern).unwrap();
        assert_eq!(regex.replace_all(text, template), expected, "{pattern} on {text}");
    }
    let regex = Regex::anchored("__meta_(.*)").unwrap();
    assert_eq!(regex.replace_all("__meta_a", "l_$1"), "l_a");
    assert_eq!(regex.replace_all("meta_a", "l_$1"), "meta_a");
}

/// Matches with the automaton alone.
fn slow(pattern: &str) -> meta::Regex {
    let (hir, _) = parse::parse(pattern, true).unwrap();
    program::compile(hir, true, pattern).unwrap()
}

#[test]
fn refuses_with_gos_texts() {
    for (pattern, message) in [
        ("(", "missing closing ): `(`"),
        ("(?:", "missing closing ): `(?:`"),
        ("a)", "unexpected ): `a)`"),
        ("[a", "missing closing ]: `[a`"),
        ("x[]", "missing closing ]: `[]`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*?+", "invalid nested repetition operator: `*?+`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a|*", "missing argument to repetition operator: `*`"),
        ("(+?)", "missing argument to repetition operator: `+?`"),
        (r"\Q\E*", "missing argument to repetition operator: `*`"),
        ("x{1001}", "invalid repeat count: `{1001}`"),
        ("x{2,1}", "invalid repeat count: `{2,1}`"),
        ("x{99999999999}", "invalid repeat count: `{99999999999}`"),
        ("(x{100}){11}", "invalid repeat count: `{11}`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?<", "invalid or unsupported Perl syntax: `(?<`"),
        ("(?<!a)", "invalid named capture: `(?<!a)`"),
        ("(?-)", "invalid or unsupported Perl syntax: `(?-)`"),
        ("(?i-:a)", "invalid or unsupported Perl syntax: `(?i-:`"),
        ("(?P>n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?<n", "invalid named capture: `(?<n`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("(?P<n-x>a)", "invalid named capture: `(?P<n-x>`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"\p{han}", r"invalid character class range: `\p{han}`"),
        (r"\p{Letter}", r"invalid character class range: `\p{Letter}`"),
        (r"\p{Latn}", r"invalid character class range: `\p{Latn}`"),
        (r"\p{Greek", r"invalid character class range: `\p{Greek`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"[a-\d]", r"invalid escape sequence: `\d`"),
        (r"\u0041", r"invalid escape sequence: `\u`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\xg", r"invalid escape sequence: `\xg`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\x{}", r"invalid escape sequence: `\x{}`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        ("a\\", "trailing backslash at end of expression: ``"),
    ] {
        let error = Regex::anchored(pattern).expect_err(pattern).to_string();
        assert_eq!(error, format!("error parsing regexp: {message}"), "{pattern}");
    }
    let deep = format!("{}a{}", "(".repeat(250), ")".repeat(250));
    let error = Regex::anchored(&deep).unwrap_err().to_string();
    assert_eq!(error, format!("error parsing regexp: expression nests too deeply: `{deep}`"));
    let large = r"(?:[\pL\d_]{30,1000}){1}x";
    let error = Regex::anchored(large).unwrap_err().to_string();
    assert_eq!(error, format!("error parsing regexp: expression too large: `{large}`"));
}

/// Less than std's threads have by default. Without optimization it is nearly all needed.
const STACK: usize = 3 << 19;

#[test]
fn the_deepest_expression_compiles_on_a_small_stack() {
    let compile = || {
        for (open, close, times) in
            [("(", ")", 126), ("(?:a|", ")*", 63), ("(b", ")?c", 42), ("(?:a|b(c", "))?", 25)]
        {
            let pattern = format!("{}x{}", open.repeat(times), close.repeat(times));
            let regex = Regex::anchored(&pattern).unwrap();
            drop(regex.captures("x"));
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(compile).unwrap();
    thread.join().unwrap();
}

#[test]
fn means_what_go_means() {
    // Rows: expression, what it matches, what it does not.
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("", &[""], &["a", "\n"]),
        ("a|", &["a", ""], &["b"]),
        (".", &["a", "\n", "\u{65e5}"], &["", "ab"]),
        ("(?-s:.)", &["a"], &["\n"]),
        (r"\Qa.b|c\E+", &["a.b|c", "a.b|cc"], &["aab", "c"]),
        (r"\Q*", &["*"], &["\\Q*"]),
        ("{", &["{"], &[]),
        ("a{", &["a{"], &["a"]),
        ("a{,2}", &["a{,2}"], &["a", "aa"]),
        ("a{02}", &["a{02}"], &["aa"]),
        ("a{2}", &["aa"], &["a{2}", "aaa"]),
        ("a{2,}", &["aa", "aaaaa"], &["a"]),
        ("a{0}", &[""], &["a"]),
        (r"\<a\>", &["<a>"], &["a"]),
        ("[a&&b]", &["a", "&", "b"], &[]),
        ("[+--b]", &["+", ",", "-", "b"], &["/"]),
        ("[[a]]", &["[]", "a]"], &["a"]),
        ("[]a]", &["]", "a"], &[]),
        ("[^]a]", &["b", "\n"], &["]", "a"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("[a-c-e]", &["b", "-", "e"], &["d"]),
        (r"\d+", &["09"], &["\u{661}"]),
        (r"\w", &["_", "z"], &["\u{e9}"]),
        (r"\s", &[" ", "\t", "\x0c"], &["\x0b", "\u{a0}"]),
        (r"[\D]", &["a", "\u{661}"], &["1"]),
        (r"a\b.", &["a-", "a\u{e9}"], &["ab"]),
        (r"\x41\x{1F600}\101\0", &["A\u{1f600}A\0"], &[]),
        (r"\a\f\n\r\t\v", &["\x07\x0c\n\r\t\x0b"], &[]),
        (r"\pN\p{Greek}\P{^Lu}", &["1\u{3b1}A", "\u{bd}\u{3b1}A"], &["a\u{3b1}A", "1aA"]),
        (r"\p{Any}\p{Zl}", &["a\u{2028}"], &[]),
        ("[[:alpha:]][[:^alpha:]]", &["a1", "a\u{e9}"], &["11", "aa"]),
        ("[[:word:][:space:]]", &["_", "\x0b"], &["-"]),
        ("(?i)k\u{e9}1", &["K\u{c9}1", "\u{212a}\u{e9}1"], &["k\u{e9}2"]),
        ("(?i)[j-l]", &["K", "\u{212a}"], &["m"]),
        (r"(?i)[^\W]", &["k", "\u{212a}"], &["-"]),
        ("(?i:a)b", &["Ab"], &["AB"]),
        ("a(?i)b|c", &["aB", "C"], &["Ab"]),
        ("(a(?i)b)c", &["aBc"], &["aBC"]),
        ("(?m)a$\n^b", &["a\nb"], &["ab"]),
        ("^a$", &["a"], &["a\n"]),
        (r"\Aa\z", &["a"], &["a\n"]),
        ("a^b", &[], &["ab", "a^b"]),
        ("()*a", &["a"], &[]),
        ("(a){0}(b)", &["b"], &["ab"]),
        ("^*a", &["a"], &[]),
        (r"[\x{D800}-\x{E000}]", &["\u{e000}"], &["\u{d7ff}"]),
        (r"a\x{D800}", &[], &["a"]),
        (r"[^\x00-\x{10FFFF}]", &[], &["a", ""]),
        ("(?P<n>a)(?<n>b)", &["ab"], &[]),
        ("node-.+|db.*:9.*1|", &["node-1", "db1:911", "db:91", ""], &["node-", "db:9", "db:1"]),
    ];
    for (pattern, yes, no) in rows {
        let (fast, slow) = (Regex::anchored(pattern).unwrap(), slow(pattern));
        let wrapped = Regex::for_relabeling(pattern).ok();
        for (text, expected) in yes.iter().map(|t| (t, true)).chain(no.iter().map(|t| (t, false))) {
            assert_eq!(fast.is_match(text), expected, "{pattern} on {text:?}");
            assert_eq!(slow.is_match(text), expected, "{pattern} on {text:?}, automaton");
            assert_eq!(fast.captures(text).is_some(), expected, "{pattern} on {text:?}, groups");
            assert!(wrapped.as_ref().is_none_or(|w| w.is_match(text) == expected));
        }
    }
}

#[test]
fn operators_are_lazy_or_greedy_as_asked() {
    for (pattern, first) in [
        ("(a+)(a*)", "aaa"),
        ("(a+?)(a*)", "a"),
        ("(?U)(a+)(a*)", "a"),
        ("(?U)(a+?)(a*?)", "aaa"),
        ("(a{1,2}?)(a*)", "a"),
        ("(a|aa)(a*)", "a"),
    ] {
        let captures = Regex::anchored(pattern).unwrap().captures("aaa").unwrap();
        assert_eq!(captures.group("aaa", 1), Some(first), "{pattern}");
    }
}

#[test]
fn relabelling_rules_are_put_together_as_text() {
    let odd = Regex::for_relabeling("a)|(?:b").unwrap();
    assert!(odd.is_match("ab") && odd.is_match("ab") && odd.is_match("xb") && !odd.is_match("xc"));
    assert_eq!(odd.pattern(), "a)|(?:b");
    let error = Regex::for_relabeling("a(").unwrap_err().to_string();
    assert_eq!(error, "error parsing regexp: missing closing ): `^(?s:a()$`");
    assert!(Regex::for_relabeling(r"\Qa").is_err());
    assert_eq!(Regex::for_relabeling("a|b").unwrap().literals().map(<[_]>::len), Some(2));
}

#[test]
fn knows_alternative_prefixes_and_gaps() {
    for (pattern, prefixes, from) in [
        ("web-.*|api-.+|web-a.*", &["api-", "web-"][..], None),
        (".*", &[""], Some(0)),
        (".+", &[""], Some(1)),
        ("(.+)|", &[""], Some(1)),
        ("..+|x.*", &[""], Some(2)),
        ("web-.+", &["web-"], None),
        ("web-[0-9]+", &["web-"], None),
        ("a|b", &[""], None),
    ] {
        let regex = Regex::anchored(pattern).unwrap();
        assert_eq!(
            (regex.prefixes(), regex.matches_all_from()),
            (&*prefixes.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>(), from),
            "{pattern}"
        );
    }
}

#[test]
fn knows_literals_and_prefixes() {
    let literals = |pattern: &str| {
        let regex = Regex::anchored(pattern).unwrap();
        regex.literals().map(|texts| texts.join(","))
    };
    for (pattern, texts) in [
        ("a", Some("a")),
        ("", Some("")),
        ("a|b|a", Some("a,b")),
        ("(a|b)c[de]", Some("acd,ace,bcd,bce")),
        ("^(?:prod|dev)$", Some("prod,dev")),
        ("a?b", Some("b,ab")),
        ("(?i)a1", Some("A1,a1")),
        ("x{2,3}", Some("xx,xxx")),
        (r"a\.b", Some("a.b")),
        ("a.*", None),
        ("a.", None),
        ("[a-z][a-z]", None),
        ("a*", None),
        ("a^b", None),
    ] {
        assert_eq!(literals(pattern).as_deref(), texts, "{pattern}");
    }
    let many: Vec<_> = (0..5000).map(|i| format!("host-{i}")).collect();
    for pattern in [many.join("|"), format!("({})", many.join("|"))] {
        let regex = Regex::anchored(&pattern).unwrap();
        assert_eq!(regex.literals().map(<[_]>::len), Some(5000));
        assert!(regex.is_match("host-4999") && !regex.is_match("host-5000"));
    }
    for (pattern, prefix) in [
        ("abc.*", "abc"),
        ("abc|abd", "ab"),
        ("ab(c.*|cd[0-9]+)e", "abc"),
        ("^ab[0-9]+", "ab"),
        ("a+b", "a"),
        (".*a", ""),
        ("\u{e9}[0-9]*|\u{ea}[0-9]*", ""),
    ] {
        assert_eq!(Regex::anchored(pattern).unwrap().prefix(), prefix, "{pattern}");
    }
}

#[test]
fn what_would_grow_large_is_left_to_the_automaton() {
    let long = "x".repeat(5000);
    for pattern in [
        format!("(?:{long}){{250}}"),
        format!("(?:{long}){{1,250}}"),
        vec!["x{1000}"; 1100].join("|"),
        format!("(?:{long}|{long}y){{1,8}}"),
    ] {
        let regex = Regex::anchored(&pattern);
        assert!(regex.is_err() || regex.is_ok_and(|r| r.literals().is_none()));
    }
}

#[test]
fn common_expressions_need_no_automaton() {
    for pattern in [
        ".*",
        ".+",
        "(.*)",
        "a",
        "a|b",
        "a.*",
        ".*a",
        ".*a.*",
        "a.+b",
        "__meta_(.+)",
        "(.*):9100",
        "^a.*$",
        "a.*|b.*|c",
        "(?:a|b).*",
        ".*a.*b.*",
        "(?i)ab.*",
    ] {
        assert!(Regex::anchored(pattern).unwrap().0.program.is_none(), "{pattern}");
    }
}

/// Expressions that Go and Rust read the same way.
fn any_pattern() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a", "b", "ab", "-", ".", ".*", ".+", ".*?", "[ab]", "[^a]", "a?", "", "b*", "^", "$",
        "(.*)", "(.+)", "\u{e9}", "(?i:aB)", "a{2}",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
        let many = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            many.clone().prop_map(|subs| subs.concat()),
            many.prop_map(|subs| format!("(?:{})", subs.join("|"))),
            inner.clone().prop_map(|sub| format!("({sub})")),
            inner.clone().prop_map(|sub| format!("(?:{sub})?")),
            inner.prop_map(|sub| format!("(?:{sub}){{1,3}}")),
        ]
    })
}

proptest! {
    #[test]
    fn shortcuts_agree_with_the_automaton(
        pattern in any_pattern(),
        texts in prop::collection::vec("[ab\u{e9}\n-]{0,6}", 1..20),
    ) {
        let (fast, slow) = (Regex::anchored(&pattern).unwrap(), slow(&pattern));
        for text in &texts {
            prop_assert_eq!(fast.is_match(text), slow.is_match(text), "{} on {:?}", pattern, text);
            let mut expected = slow.create_captures();
            slow.captures(text, &mut expected);
            let found = fast.captures(text);
            prop_assert_eq!(found.is_some(), expected.is_match());
            let groups = fast.0.names.len();
            for (i, captures) in (0..groups).filter_map(|i| Some((i, found.as_ref()?))) {
                let span = expected.get_group(i).map(|s| (s.start, s.end));
                prop_assert_eq!(captures.span(i), span, "{} on {:?} group {}", pattern, text, i);
            }
            prop_assert!(!fast.is_match(text) || text.starts_with(fast.prefix()));
            let begins = fast.prefixes().iter().any(|p| text.starts_with(p.as_str()));
            prop_assert!(!fast.is_match(text) || begins);
            let from = fast.matches_all_from();
            prop_assert!(from.is_none_or(|n| text.chars().count() < n as usize || fast.is_match(text)));
        }
        for literal in fast.literals().unwrap_or_default() {
            prop_assert!(slow.is_match(literal));
        }
    }

    #[test]
    fn reads_what_rust_reads_where_the_dialects_agree(
        pattern in any_pattern(),
        texts in prop::collection::vec("[ab\u{e9}\n-]{0,6}", 1..10),
    ) {
        let ours = Regex::unanchored(&pattern).unwrap();
        let rust = meta::Regex::new(&pattern).unwrap();
        for text in &texts {
            let mut expected = rust.create_captures();
            rust.captures(text.as_str(), &mut expected);
            let found = ours.captures(text).map(|c| c.span(0));
            prop_assert_eq!(found.flatten(), expected.get_match().map(|m| (m.start(), m.end())));
        }
    }

    #[test]
    fn any_text_is_an_expression_or_an_error(
        pattern in r"([a-c(){}\[\]|*+?.^$\\:<>=!P0-9,-]|\(\?|\\[a-zA-Z]|\[:|:\]|\\p\{L|\u{e9}|\\Q|\\E){0,16}",
        text in "[a-c]{0,4}",
    ) {
        let compiled = [Regex::anchored(&pattern), Regex::for_relabeling(&pattern)];
        for regex in compiled.into_iter().flatten() {
            prop_assert_eq!(regex.is_match(&text), regex.captures(&text).is_some());
            drop(regex.replace_all(&text, "$1"));
        }
    }
}
