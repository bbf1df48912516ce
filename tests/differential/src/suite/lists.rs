//! Lists of queries: the official compliance list, one query per line, and JSON lines.

use std::{fs, path::Path};

use saphyr_parser::{Event, Parser};
use serde_json::Value;

use crate::Result;

/// What a variable of the compliance list stands for, one query each. Source: `testcases/expand.go`
/// of github.com/prometheus/compliance.
const VARIANTS: [(&str, &[&str]); 14] = [
    ("range", &["1s", "15s", "1m", "5m", "15m", "1h"]),
    ("offset", &["1m", "5m", "10m"]),
    ("simpleAggrOp", &["sum", "avg", "max", "min", "count", "stddev", "stdvar"]),
    (
        "simpleTimeAggrOp",
        &["sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last"],
    ),
    ("topBottomOp", &["topk", "bottomk"]),
    ("quantile", &["-0.5", "0.1", "0.5", "0.75", "0.95", "0.90", "0.99", "1", "1.5"]),
    ("arithBinOp", &["+", "-", "*", "/", "%", "^"]),
    ("compBinOp", &["==", "!=", "<", ">", "<=", ">="]),
    ("binOp", &["+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">="]),
    ("simpleMathFunc", &["abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round"]),
    ("extrapolatedRateFunc", &["delta", "rate", "increase"]),
    ("clampFunc", &["clamp_min", "clamp_max"]),
    ("instantRateFunc", &["idelta", "irate"]),
    (
        "dateFunc",
        &["day_of_month", "day_of_week", "days_in_month", "hour", "minute", "month", "year"],
    ),
];

/// The official compliance list, its templates expanded.
///
/// # Errors
/// It cannot be read, or names an unknown variable.
pub fn compliance(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path)?;
    let mut all = Vec::new();
    for case in cases(&text)? {
        all.extend(expand(&case.query, &case.variables)?);
    }
    Ok(all)
}

/// A list of one query per line; lines that begin with `#` are remarks.
///
/// # Errors
/// It cannot be read.
pub fn lines(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path)?;
    let queries = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    Ok(queries.map(str::to_owned).collect())
}

/// Those queries of a file of JSON objects that Prometheus parses and whose `field` begins with one
/// of `values`, each once.
///
/// # Errors
/// It cannot be read.
pub fn json_lines(path: &Path, field: &str, values: &[&str]) -> Result<Vec<String>> {
    let text = fs::read_to_string(path)?;
    let mut seen = std::collections::BTreeSet::new();
    let mut all = Vec::new();
    for line in text.lines() {
        let object: Value = serde_json::from_str(line)?;
        let is = object[field].as_str().unwrap_or_default();
        let wanted = values.iter().any(|value| is.starts_with(value));
        let Some(query) = object["expr"].as_str().filter(|_| object["parses"] == true) else {
            continue;
        };
        if wanted && seen.insert(query.to_owned()) {
            all.push(query.to_owned());
        }
    }
    Ok(all)
}

/// All ways to fill in a template.
fn expand(query: &str, variables: &[String]) -> Result<Vec<String>> {
    let Some((variable, rest)) = variables.split_first() else { return Ok(vec![query.to_owned()]) };
    let known = VARIANTS.iter().find(|(name, _)| name == variable);
    let (_, values) = known.ok_or_else(|| format!("unknown variable {variable}"))?;
    let place = format!("{{{{.{variable}}}}}");
    let mut all = Vec::new();
    for value in *values {
        all.extend(expand(&query.replace(&place, value), rest)?);
    }
    Ok(all)
}

#[derive(Default)]
struct Case {
    query: String,
    variables: Vec<String>,
}

/// The mappings of the `test_cases` sequence.
fn cases(text: &str) -> Result<Vec<Case>> {
    let (mut cases, mut key) = (Vec::<Case>::new(), None::<String>);
    let (mut mappings, mut in_list) = (0, false);
    for event in Parser::new_from_str(text) {
        match event?.0 {
            Event::MappingStart(..) => {
                mappings += 1;
                if mappings == 2 {
                    cases.push(Case::default());
                }
                key = None;
            }
            Event::MappingEnd => mappings -= 1,
            Event::SequenceStart(..) => in_list = mappings == 2,
            Event::SequenceEnd => {
                in_list = false;
                key = None;
            }
            Event::Scalar(value, ..) => {
                let Some(case) = cases.last_mut().filter(|_| mappings == 2) else { continue };
                match key.as_deref() {
                    None => key = Some(value.into_owned()),
                    Some("variant_args") if in_list => case.variables.push(value.into_owned()),
                    Some(known) => {
                        match known {
                            "query" => case.query = value.into_owned(),
                            // Written for Prometheus 2; what fails is what fails in the real one.
                            "should_fail" => {}
                            other => return Err(format!("unknown key {other}").into()),
                        }
                        key = None;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_expanded() {
        let text = "test_cases:\n  - query: '{{.clampFunc}}(m, {{.offset}})'\n    variant_args: \
                    ['clampFunc', 'offset']\n  - query: -1 ^ 2\n    should_fail: true\n";
        let cases = cases(text).unwrap();
        assert_eq!(cases.len(), 2);
        let all = expand(&cases[0].query, &cases[0].variables).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!((&*all[0], &*all[5]), ("clamp_min(m, 1m)", "clamp_max(m, 10m)"));
        assert_eq!(cases[1].query, "-1 ^ 2");
        assert!(expand("x", &["unknown".to_owned()]).is_err());
    }
}
