//! Queries of real dashboards, rules and tools: which of them parse, and how Prometheus 3.5.3
//! formats them.

mod common;

use std::fs;

use firesteel_promql::{ParserOptions, parse};

#[derive(serde::Deserialize)]
struct Query {
    expr: String,
    /// `null` for texts that are no queries at all.
    parses: Option<bool>,
    formatted: Option<String>,
}

#[test]
fn real_queries_parse_and_print_as_in_prometheus() {
    let Some(file) = common::conformance("real/queries.jsonl") else { return };
    let text = fs::read_to_string(file).unwrap();
    let options = ParserOptions::default();
    let (mut total, mut accepted, mut same) = (0, 0, 0);
    let mut wrong = Vec::new();
    for line in text.lines() {
        let query: Query = serde_json::from_str(line).unwrap();
        let Some(parses) = query.parses else { continue };
        total += 1;
        let parsed = parse(&query.expr, &options);
        if parsed.is_ok() != parses {
            wrong.push(format!("{:?}\n  expected {parses}, got {parsed:?}", query.expr));
            continue;
        }
        accepted += 1;
        let (Ok(expr), Some(formatted)) = (parsed, query.formatted) else {
            same += 1;
            continue;
        };
        let pretty = expr.pretty();
        if pretty == formatted {
            same += 1;
        } else {
            wrong.push(format!("{}\n  expected\n{formatted}\n  got\n{pretty}", query.expr));
        }
        let again = parse(&expr.to_string(), &options).map(|e| e.to_string());
        assert_eq!(again.as_deref(), Ok(&*expr.to_string()), "{}", query.expr);
        let again = parse(&pretty, &options).map(|e| e.pretty());
        assert_eq!(again.as_deref(), Ok(&*pretty), "{}", query.expr);
    }
    println!("{total} queries: {accepted} accepted or refused alike, {same} printed alike");
    for text in wrong.iter().take(20) {
        println!("{text}");
    }
    assert_eq!(same, total);
}
