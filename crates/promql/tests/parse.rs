//! What is a query, and what is wrong with what is not: `testdata/parse.jsonl`.
//!
//! The texts without `experimental` are those of Prometheus 3.5.3 where 3.14 did not change them;
//! the others follow the grammar of 3.14.

use std::{fmt::Write as _, fs};

use firesteel_promql::{
    Expr, ParserOptions, ValueType, parse, parse_metric, parse_metric_selector,
};
use proptest::prelude::*;

#[derive(serde::Deserialize)]
struct Row {
    query: String,
    #[serde(default)]
    experimental: bool,
    pretty: Option<String>,
    error: Option<String>,
}

fn options(experimental: bool) -> ParserOptions {
    if experimental { ParserOptions::experimental() } else { ParserOptions::default() }
}

#[test]
fn texts_and_errors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/parse.jsonl");
    let mut wrong = String::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        let options = options(row.experimental);
        let got = match parse(&row.query, &options) {
            Ok(expr) => {
                let text = expr.to_string();
                let again = parse(&text, &options).map(|e| e.to_string());
                assert_eq!(again.as_deref(), Ok(&*text), "{}", row.query);
                (Some(expr.pretty()), None)
            }
            Err(errors) => (None, Some(errors.to_string())),
        };
        if got != (row.pretty.clone(), row.error.clone()) {
            writeln!(wrong, "{:?}\n  {:?} {:?}\n  {got:?}", row.query, row.pretty, row.error)
                .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn selectors_and_metrics() {
    let matchers = parse_metric_selector(r#"up{job=~"a|b", "x.y"!="z"}"#).unwrap();
    let texts: Vec<_> = matchers.iter().map(ToString::to_string).collect();
    assert_eq!(texts, [r#"job=~"a|b""#, r#""x.y"!="z""#, r#"__name__="up""#]);
    assert_eq!(parse_metric_selector("{}").unwrap(), []);
    for (bad, error) in [
        ("foo[5m]", "1:4: parse error: unexpected \"[\""),
        ("1", "1:1: parse error: unexpected number \"1\""),
        ("foo bar", "1:5: parse error: unexpected identifier \"bar\""),
        ("", "unknown position: parse error: unexpected end of input"),
    ] {
        assert_eq!(parse_metric_selector(bad).unwrap_err().to_string(), error);
    }
    let labels = parse_metric(r#"up{job="a", "x.y"='z',}"#).unwrap();
    assert_eq!(labels.to_string(), r#"{__name__="up", job="a", "x.y"="z"}"#);
    assert!(parse_metric(r#"up{job=~"a"}"#).is_err());
}

#[test]
fn depth_has_limits_and_costs_no_stack() {
    let parens = |n| format!("{}1{}", "(".repeat(n), ")".repeat(n));
    let chain = |n| format!("m{}", " + m".repeat(n));
    let calls = |n| format!("{}m{}", "abs(".repeat(n), ")".repeat(n));
    let powers = |n| format!("m{}", " ^ m".repeat(n));
    let signs = |n| format!("{}m", "-".repeat(n));
    let default = ParserOptions::default();
    for text in [parens(500), chain(2000), calls(500), powers(500), signs(500)] {
        let expr = parse(&text, &default).unwrap();
        let text = expr.to_string();
        assert_eq!(parse(&text, &default).unwrap().to_string(), text);
        assert_eq!(expr.clone(), expr);
        assert!(!expr.pretty().is_empty());
        assert_eq!(expr.selectors().len(), text.matches('m').count());
    }
    for (text, part) in [
        (parens(20_000), "nested too deeply"),
        (chain(20_000), "too many operators in a row"),
        (calls(20_000), "nested too deeply"),
        (powers(20_000), "nested too deeply"),
        (signs(20_000), "nested too deeply"),
        (format!("m[{}1{}]", "(".repeat(20_000), ")".repeat(20_000)), "duration expression"),
        (format!("{}m{}", "max_over_time(".repeat(2000), "[5m:])".repeat(2000)), "nested"),
    ] {
        let error = parse(&text, &ParserOptions::experimental()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let short = ParserOptions { max_length: 10, ..default };
    let error = parse("foo + foo + foo", &short).unwrap_err().to_string();
    assert_eq!(error, "1:1: parse error: query is too long: 15 bytes, limit 10");
}

#[test]
fn spans_point_into_the_text() {
    let text = "sum by (a) (rate(foo{b=\"c\"}[5m] offset 1m)) / on (a) -bar @ 5";
    let expr = parse(text, &ParserOptions::default()).unwrap();
    let mut parts = Vec::new();
    expr.walk(&mut |e| {
        parts.push(&text[e.span().start as usize..e.span().end as usize]);
    });
    assert_eq!(
        parts,
        [
            text,
            "sum by (a) (rate(foo{b=\"c\"}[5m] offset 1m))",
            "rate(foo{b=\"c\"}[5m] offset 1m)",
            "foo{b=\"c\"}[5m] offset 1m",
            "-bar @ 5",
            "bar @ 5",
        ]
    );
    assert_eq!(expr.value_type(), ValueType::Vector);
    let Expr::Binary(binary) = &expr else { panic!() };
    assert!(binary.matching.as_ref().is_some_and(|m| m.on && m.labels == ["a"]));
}

/// Expressions that are well-typed instant vectors or scalars.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-c]".prop_map(|n| n),
        ("[a-c]", "[a-z.$\\\\\"]{0,3}").prop_map(|(n, v)| format!("{n}{{x={v:?}}}")),
        (0..100_u32).prop_map(|n| format!("vector({n}.5e-3)")),
        (1..90_u32).prop_map(|n| format!("rate(a[{n}s] offset -{n}m)")),
        Just("{\"a b\", \"c.d\"!~\"e|f\"} @ end()".to_owned()),
    ];
    let op = prop::sample::select(vec![
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "atan2",
        "==",
        "!=",
        "<",
        ">=",
        "and",
        "or",
        "unless",
        "> bool",
        "* on (x) group_left (y)",
        "/ ignoring (x)",
    ]);
    leaf.prop_recursive(6, 40, 3, move |inner| {
        prop_oneof![
            (inner.clone(), op.clone(), inner.clone())
                .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("sum by (x, \"y z\") ({a})")),
            inner.clone().prop_map(|a| format!("topk without () (2, {a})")),
            inner.clone().prop_map(|a| format!("label_replace({a}, \"a\", '$1', `b`, \"(.*)\")")),
            inner.prop_map(|a| format!("max_over_time(({a})[1h:90s] @ 5 offset 1m)")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(text in expression()) {
        let options = ParserOptions::default();
        let expr = parse(&text, &options).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        let flat = expr.to_string();
        prop_assert_eq!(&parse(&flat, &options).unwrap().to_string(), &flat);
        let pretty = expr.pretty();
        prop_assert_eq!(parse(&pretty, &options).unwrap().to_string(), flat);
    }

    #[test]
    fn no_text_makes_it_panic(
        text in "([a-z_:]{1,4}|[0-9.]{1,3}|[-+*/%^<>=!~@#\\[\\](){},\"'`\\\\ \n]|5m|by|offset|\u{e9}){0,25}",
    ) {
        for experimental in [false, true] {
            match parse(&text, &options(experimental)) {
                Ok(expr) => prop_assert!(!expr.pretty().is_empty()),
                Err(errors) => prop_assert!(!errors.to_string().is_empty()),
            }
        }
        let _ = parse_metric(&text);
        let _ = parse_metric_selector(&text);
    }
}
