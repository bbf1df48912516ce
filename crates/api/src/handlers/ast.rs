//! The syntax tree as JSON, as `/parse_query` gives it. Source of the form:
//! `web/api/v1/translate_ast.go`; keys are in order of their names.

use firesteel_model::float;
use firesteel_promql::ast::{
    Aggregate, At, Binary, BinaryOp, Call, DurationExpr, DurationValue, Expr, Subquery, Unary,
    VectorMatching, VectorSelector,
};

use crate::json::write_string;

/// Appends an expression. Goes down left operands with a loop: they may be many.
pub(super) fn write_expr(out: &mut Vec<u8>, expr: &Expr) {
    match expr {
        Expr::Number(n) => number(out, n.value, None),
        Expr::String(s) => {
            raw(out, "{\"type\":\"stringLiteral\",\"val\":");
            write_string(out, &s.value);
            raw(out, "}");
        }
        Expr::Vector(v) => selector(out, v, None),
        Expr::Matrix(m) => selector(out, &m.vector, Some(&m.range)),
        Expr::Subquery(s) => subquery(out, s),
        Expr::Call(c) => call(out, c),
        Expr::Aggregate(a) => aggregate(out, a),
        Expr::Binary(b) => chain(out, b),
        Expr::Unary(u) => unary(out, u),
        Expr::Paren(p) => {
            raw(out, "{\"expr\":");
            write_expr(out, &p.expr);
            raw(out, ",\"type\":\"parenExpr\"}");
        }
    }
}

fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn int(out: &mut Vec<u8>, n: i64) {
    raw(out, itoa::Buffer::new().format(n));
}

fn boolean(out: &mut Vec<u8>, b: bool) {
    raw(out, if b { "true" } else { "false" });
}

/// Appends `[a,b,...]`.
fn list<T>(out: &mut Vec<u8>, all: &[T], mut one: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, item) in all.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        one(out, item);
    }
    out.push(b']');
}

fn strings(out: &mut Vec<u8>, all: &[String]) {
    list(out, all, |out, s| write_string(out, s));
}

fn number(out: &mut Vec<u8>, value: f64, duration: Option<bool>) {
    out.push(b'{');
    if let Some(duration) = duration {
        raw(out, "\"duration\":");
        boolean(out, duration);
        out.push(b',');
    }
    raw(out, "\"type\":\"numberLiteral\",\"val\":");
    write_string(out, &float::format_f(value));
    out.push(b'}');
}

fn unary(out: &mut Vec<u8>, u: &Unary) {
    raw(out, "{\"expr\":");
    write_expr(out, &u.expr);
    raw(out, ",\"op\":\"");
    raw(out, if u.negative { "-" } else { "+" });
    raw(out, "\",\"type\":\"unaryExpr\"}");
}

fn aggregate(out: &mut Vec<u8>, a: &Aggregate) {
    raw(out, "{\"expr\":");
    write_expr(out, &a.expr);
    raw(out, ",\"grouping\":");
    strings(out, &a.grouping);
    raw(out, ",\"op\":");
    write_string(out, a.op.as_str());
    raw(out, ",\"param\":");
    match &a.param {
        Some(param) => write_expr(out, param),
        None => raw(out, "null"),
    }
    raw(out, ",\"type\":\"aggregation\",\"without\":");
    boolean(out, a.without);
    out.push(b'}');
}

fn call(out: &mut Vec<u8>, c: &Call) {
    raw(out, "{\"args\":");
    list(out, &c.args, write_expr);
    raw(out, ",\"func\":{\"argTypes\":");
    list(out, c.func.arg_types, |out, t| write_string(out, t.as_str()));
    raw(out, ",\"name\":");
    write_string(out, c.func.name);
    raw(out, ",\"returnType\":");
    write_string(out, c.func.return_type.as_str());
    raw(out, ",\"variadic\":");
    // How many arguments there may be beyond the least number, -1 for any.
    let more = c.func.max_args.map_or(-1, |max| max.saturating_sub(c.func.min_args) as i64);
    int(out, more);
    raw(out, "},\"type\":\"call\"}");
}

fn chain(out: &mut Vec<u8>, binary: &Binary) {
    let (spine, left) = binary.spine();
    for b in &spine {
        raw(out, "{\"bool\":");
        boolean(out, b.return_bool);
        raw(out, ",\"lhs\":");
    }
    write_expr(out, left);
    for b in spine.iter().rev() {
        raw(out, ",\"matching\":");
        match &b.matching {
            Some(m) => matching(out, m),
            None => raw(out, "null"),
        }
        raw(out, ",\"op\":");
        write_string(out, b.op.as_str());
        raw(out, ",\"rhs\":");
        write_expr(out, &b.rhs);
        raw(out, ",\"type\":\"binaryExpr\"}");
    }
}

fn matching(out: &mut Vec<u8>, m: &VectorMatching) {
    let fill = |out: &mut Vec<u8>, v: Option<f64>| match v.filter(|v| v.is_finite()) {
        Some(v) => raw(out, &float::format_f(v)),
        None => raw(out, "null"),
    };
    raw(out, "{\"card\":");
    write_string(out, m.card.as_str());
    raw(out, ",\"fillValues\":{\"lhs\":");
    fill(out, m.fill_left);
    raw(out, ",\"rhs\":");
    fill(out, m.fill_right);
    raw(out, "},\"include\":");
    strings(out, &m.include);
    raw(out, ",\"labels\":");
    strings(out, &m.labels);
    raw(out, ",\"on\":");
    boolean(out, m.on);
    out.push(b'}');
}

/// A selector of an instant vector, or with a range, of a range vector.
fn selector(out: &mut Vec<u8>, v: &VectorSelector, range: Option<&DurationValue>) {
    raw(out, "{\"anchored\":");
    boolean(out, v.anchored);
    raw(out, ",\"matchers\":");
    list(out, &v.matchers, |out, m| {
        raw(out, "{\"name\":");
        write_string(out, m.name());
        raw(out, ",\"type\":");
        write_string(out, m.op().as_str());
        raw(out, ",\"value\":");
        write_string(out, m.value());
        out.push(b'}');
    });
    raw(out, ",\"name\":");
    write_string(out, v.name.as_deref().unwrap_or_default());
    duration(out, "offset", &v.offset);
    if let Some(range) = range {
        duration(out, "range", range);
    }
    raw(out, ",\"smoothed\":");
    boolean(out, v.smoothed);
    at(out, v.at);
    let kind = if range.is_some() { "matrixSelector" } else { "vectorSelector" };
    raw(out, ",\"type\":");
    write_string(out, kind);
    out.push(b'}');
}

fn subquery(out: &mut Vec<u8>, s: &Subquery) {
    raw(out, "{\"expr\":");
    write_expr(out, &s.expr);
    duration(out, "offset", &s.offset);
    duration(out, "range", &s.range);
    // `startOrEnd` comes before `step`, `timestamp` behind.
    start_or_end(out, s.at);
    duration(out, "step", s.step.as_ref().unwrap_or(&DurationValue::ZERO));
    timestamp(out, s.at);
    raw(out, ",\"type\":\"subquery\"}");
}

fn at(out: &mut Vec<u8>, at: Option<At>) {
    start_or_end(out, at);
    timestamp(out, at);
}

fn start_or_end(out: &mut Vec<u8>, at: Option<At>) {
    raw(out, ",\"startOrEnd\":");
    raw(
        out,
        match at {
            Some(At::Start) => "\"start\"",
            Some(At::End) => "\"end\"",
            _ => "null",
        },
    );
}

fn timestamp(out: &mut Vec<u8>, at: Option<At>) {
    raw(out, ",\"timestamp\":");
    match at {
        Some(At::Timestamp(t)) => int(out, t),
        _ => raw(out, "null"),
    }
}

/// Appends `,"name":milliseconds,"nameExpr":...`.
fn duration(out: &mut Vec<u8>, name: &str, value: &DurationValue) {
    raw(out, ",\"");
    raw(out, name);
    raw(out, "\":");
    int(out, value.as_millis().unwrap_or(0));
    raw(out, ",\"");
    raw(out, name);
    raw(out, "Expr\":");
    match value {
        DurationValue::Millis(_) => raw(out, "null"),
        DurationValue::Expr(expr) => duration_expr(out, expr, false),
    }
}

fn duration_expr(out: &mut Vec<u8>, expr: &DurationExpr, wrapped: bool) {
    let (lhs, op, rhs) = match expr {
        DurationExpr::Number(n) => return number(out, n.value, Some(n.is_duration)),
        DurationExpr::Paren(inner, _) => return duration_expr(out, inner, true),
        DurationExpr::Step(_) => (None, "step", None),
        DurationExpr::Range(_) => (None, "range", None),
        DurationExpr::MinOf(both, _) => (Some(&both[0]), "min_of", Some(&both[1])),
        DurationExpr::MaxOf(both, _) => (Some(&both[0]), "max_of", Some(&both[1])),
        DurationExpr::Neg(inner, _) => (None, BinaryOp::Sub.as_str(), Some(&**inner)),
        DurationExpr::Binary { op, operands } => {
            (Some(&operands[0]), op.as_str(), Some(&operands[1]))
        }
    };
    let side = |out: &mut Vec<u8>, expr: Option<&DurationExpr>| match expr {
        Some(expr) => duration_expr(out, expr, false),
        None => raw(out, "null"),
    };
    raw(out, "{\"lhs\":");
    side(out, lhs);
    raw(out, ",\"op\":");
    write_string(out, op);
    raw(out, ",\"rhs\":");
    side(out, rhs);
    raw(out, ",\"type\":\"durationExpr\",\"wrapped\":");
    boolean(out, wrapped);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use firesteel_promql::{ParserOptions, parse};
    use serde_json::{Value, json};

    use super::*;

    fn ast(query: &str) -> Value {
        let mut out = Vec::new();
        write_expr(&mut out, &parse(query, &ParserOptions::default()).unwrap());
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn trees_have_the_keys_of_prometheus() {
        let selector = json!({
            "anchored": false, "smoothed": false, "name": "m", "offset": 60_000, "offsetExpr": null,
            "matchers": [
                {"name": "a", "type": "=~", "value": "b"},
                {"name": "__name__", "type": "=", "value": "m"},
            ],
            "range": 300_000, "rangeExpr": null, "startOrEnd": "end", "timestamp": null,
            "type": "matrixSelector",
        });
        assert_eq!(ast(r#"m{a=~"b"}[5m] offset 1m @ end()"#), selector);
        let tree = ast("a * on(y) group_left(z) round(b)");
        assert_eq!(
            tree["matching"],
            json!({
                "card": "many-to-one", "on": true, "labels": ["y"], "include": ["z"],
                "fillValues": {"lhs": null, "rhs": null},
            })
        );
        assert_eq!(
            tree["rhs"]["func"],
            json!({"name": "round", "argTypes": ["vector", "scalar"], "variadic": 1,
                   "returnType": "vector"})
        );
        let subquery = ast("m[1h:5m] @ 1.5");
        assert_eq!((&subquery["step"], &subquery["timestamp"]), (&json!(300_000), &json!(1500)));
    }

    #[test]
    fn long_chains_need_no_stack() {
        let query = vec!["1"; 2000].join("+");
        let mut out = Vec::new();
        write_expr(&mut out, &parse(&query, &ParserOptions::default()).unwrap());
        assert_eq!(out.windows(10).filter(|w| w == b"binaryExpr").count(), 1999);
    }
}
