//! `promql`: formats queries and edits their matchers, without a server.

use std::io::Write;

use firesteel_model::{MatchOp, Matcher};
use firesteel_promql::{Expr, ParserOptions, parse};

use crate::{Failure, Outcome};

/// Prints a query in its pretty form.
pub(crate) fn format(query: &str, options: &ParserOptions, out: &mut dyn Write) -> Outcome {
    print(&parse(query, options).map_err(Failure::new)?, out)
}

/// Sets a matcher in every selector of a query.
pub(crate) fn set(
    query: &str,
    op: &str,
    name: &str,
    value: &str,
    options: &ParserOptions,
    out: &mut dyn Write,
) -> Outcome {
    let op = match op {
        "!=" => MatchOp::NotEqual,
        "=~" => MatchOp::Regex,
        "!~" => MatchOp::NotRegex,
        _ => MatchOp::Equal,
    };
    let matcher = Matcher::new(op, name, value).map_err(Failure::new)?;
    let mut expr = parse(query, options).map_err(Failure::new)?;
    expr.for_each_selector_mut(&mut |selector| {
        let mut found = false;
        for old in selector.matchers.iter_mut().filter(|m| m.name() == name) {
            *old = matcher.clone();
            found = true;
        }
        if !found {
            selector.matchers.push(matcher.clone());
        }
    });
    print(&expr, out)
}

/// Deletes the matchers of a label from every selector of a query.
pub(crate) fn delete(
    query: &str,
    name: &str,
    options: &ParserOptions,
    out: &mut dyn Write,
) -> Outcome {
    let mut expr = parse(query, options).map_err(Failure::new)?;
    expr.for_each_selector_mut(&mut |selector| selector.matchers.retain(|m| m.name() != name));
    print(&expr, out)
}

fn print(expr: &Expr, out: &mut dyn Write) -> Outcome {
    Ok(writeln!(out, "{}", expr.pretty())?)
}
