//! Unit tests of rules: YAML to typed values. What series, queries and rule files say is not looked
//! at here. Source: `cmd/promtool/unittest.go`.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    ConfigError,
    diagnose::Diagnostics,
    schema::{Kind, Schema, anything_goes, key},
    value::{Item, Section},
    yaml,
};

/// A file of unit tests.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct RuleTests {
    /// Patterns of rule files, as they stand.
    pub rule_files: Vec<String>,
    /// How often rules are evaluated; `None` for one minute.
    pub evaluation_interval: Option<Duration>,
    /// Names of groups: those that come first are evaluated first.
    pub group_eval_order: Vec<String>,
    /// Whether floats may differ in their last bit.
    pub fuzzy_compare: bool,
    /// The tests.
    pub tests: Vec<RuleTestGroup>,
}

/// Series, and what rules and queries make of them.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct RuleTestGroup {
    /// Its name; may be empty.
    pub name: String,
    /// The distance of the series' samples; `None` for the evaluation interval.
    pub interval: Option<Duration>,
    /// The series.
    pub input_series: Vec<InputSeries>,
    /// What alerts fire.
    pub alert_rule_test: Vec<AlertTest>,
    /// What queries return.
    pub promql_expr_test: Vec<ExprTest>,
    /// `$externalLabels` of templates.
    pub external_labels: BTreeMap<String, String>,
    /// `$externalURL` of templates.
    pub external_url: String,
    /// When it begins: RFC 3339 or seconds; empty for 1970.
    pub start_timestamp: String,
}

/// A series in the notation of PromQL's tests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct InputSeries {
    /// Metric and labels.
    pub series: String,
    /// Its values.
    pub values: String,
}

/// Which alerts of a name fire at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AlertTest {
    /// How long after the beginning.
    pub eval_time: Duration,
    /// The alert.
    pub alertname: String,
    /// All that fire.
    pub exp_alerts: Vec<ExpectedAlert>,
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExpectedAlert {
    /// Its labels but its name.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What a query returns at a time.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ExprTest {
    /// The query.
    pub expr: String,
    /// How long after the beginning.
    pub eval_time: Duration,
    /// All samples.
    pub exp_samples: Vec<ExpectedSample>,
}

/// A sample of a query's result.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ExpectedSample {
    /// Metric and labels.
    pub labels: String,
    /// The value of a float.
    pub value: f64,
    /// A native histogram in series notation; empty for a float.
    pub histogram: String,
}

static FILE: Schema = Schema::new(
    "main.unitTestFile",
    &[&[
        key("rule_files", Kind::List(&Kind::Text)),
        key("evaluation_interval", Kind::Duration),
        key("group_eval_order", Kind::List(&Kind::Text)),
        key("tests", Kind::Sections(&GROUP)),
        key("fuzzy_compare", Kind::Bool),
    ]],
    anything_goes,
);

static GROUP: Schema = Schema::new(
    "main.testGroup",
    &[&[
        key("interval", Kind::Duration),
        key("input_series", Kind::Sections(&SERIES)),
        key("alert_rule_test", Kind::Sections(&ALERT_TEST)),
        key("promql_expr_test", Kind::Sections(&EXPR_TEST)),
        key("external_labels", Kind::Labels),
        key("external_url", Kind::Text),
        key("name", Kind::Text),
        key("start_timestamp", Kind::Text),
    ]],
    anything_goes,
);

static SERIES: Schema = Schema::new(
    "main.series",
    &[&[key("series", Kind::Text), key("values", Kind::Text)]],
    anything_goes,
);

static ALERT_TEST: Schema = Schema::new(
    "main.alertTestCase",
    &[&[
        key("eval_time", Kind::Duration),
        key("alertname", Kind::Text),
        key("exp_alerts", Kind::Sections(&ALERT)),
    ]],
    anything_goes,
);

static ALERT: Schema = Schema::new(
    "main.alert",
    &[&[key("exp_labels", Kind::Map(&Kind::Text)), key("exp_annotations", Kind::Map(&Kind::Text))]],
    anything_goes,
);

static EXPR_TEST: Schema = Schema::new(
    "main.promqlTestCase",
    &[&[
        key("expr", Kind::Text),
        key("eval_time", Kind::Duration),
        key("exp_samples", Kind::Sections(&SAMPLE)),
    ]],
    anything_goes,
);

static SAMPLE: Schema = Schema::new(
    "main.sample",
    &[&[key("labels", Kind::Text), key("value", Kind::Float), key("histogram", Kind::Text)]],
    anything_goes,
);

/// Reads a file of unit tests. `name` stands for the file in messages.
///
/// # Errors
/// All that is wrong with it.
pub fn load_rule_tests(name: &str, text: &str) -> Result<RuleTests, ConfigError> {
    let mut diagnostics = Diagnostics::new(name);
    let section = match yaml::load_first(text) {
        Err(error) => {
            diagnostics.error(error.place, error.message);
            None
        }
        Ok((node, _)) => node
            .filter(|node| !node.is_null())
            .and_then(|node| crate::decode::section(&node, &FILE, &mut diagnostics)),
    };
    if !diagnostics.errors.is_empty() {
        diagnostics.errors.sort_by_key(|e| e.place);
        return Err(ConfigError::Invalid(diagnostics.errors));
    }
    Ok(section.as_ref().map(tests).unwrap_or_default())
}

fn texts(section: &Section, key: &str) -> Vec<String> {
    section.texts(key).map(str::to_owned).collect()
}

fn pairs(section: &Section, key: &str) -> BTreeMap<String, String> {
    let text = |(name, item): (&str, &Item)| {
        (name.to_owned(), item.value.as_text().unwrap_or_default().to_owned())
    };
    section.pairs(key).map(text).collect()
}

fn interval(section: &Section, key: &str) -> Option<Duration> {
    Some(section.duration(key)).filter(|interval| !interval.is_zero())
}

fn tests(section: &Section) -> RuleTests {
    RuleTests {
        rule_files: texts(section, "rule_files"),
        evaluation_interval: interval(section, "evaluation_interval"),
        group_eval_order: texts(section, "group_eval_order"),
        fuzzy_compare: section.flag("fuzzy_compare"),
        tests: section.sections("tests").map(group).collect(),
    }
}

fn group(section: &Section) -> RuleTestGroup {
    let series = |section: &Section| InputSeries {
        series: section.text("series").to_owned(),
        values: section.text("values").to_owned(),
    };
    RuleTestGroup {
        name: section.text("name").to_owned(),
        interval: interval(section, "interval"),
        input_series: section.sections("input_series").map(series).collect(),
        alert_rule_test: section.sections("alert_rule_test").map(alert_test).collect(),
        promql_expr_test: section.sections("promql_expr_test").map(expr_test).collect(),
        external_labels: pairs(section, "external_labels"),
        external_url: section.text("external_url").to_owned(),
        start_timestamp: section.text("start_timestamp").to_owned(),
    }
}

fn alert_test(section: &Section) -> AlertTest {
    let alert = |section: &Section| ExpectedAlert {
        labels: pairs(section, "exp_labels"),
        annotations: pairs(section, "exp_annotations"),
    };
    AlertTest {
        eval_time: section.duration("eval_time"),
        alertname: section.text("alertname").to_owned(),
        exp_alerts: section.sections("exp_alerts").map(alert).collect(),
    }
}

fn expr_test(section: &Section) -> ExprTest {
    let sample = |section: &Section| ExpectedSample {
        labels: section.text("labels").to_owned(),
        value: section.float("value"),
        histogram: section.text("histogram").to_owned(),
    };
    ExprTest {
        expr: section.text("expr").to_owned(),
        eval_time: section.duration("eval_time"),
        exp_samples: section.sections("exp_samples").map(sample).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_promtool_reads() {
        let text = "rule_files: [a.yml]\nevaluation_interval: 1m\ntests:\n  - name: x\n    \
                    interval: 30s\n    input_series:\n      - series: up\n        values: 1 1\n    \
                    alert_rule_test:\n      - eval_time: 5m\n        alertname: Down\n        \
                    exp_alerts:\n          - exp_labels: {job: a}\n    promql_expr_test:\n      \
                    - expr: up\n        eval_time: 1m\n        exp_samples:\n          - labels: \
                    up\n            value: 1.5\n";
        let tests = load_rule_tests("t.yml", text).unwrap();
        assert_eq!(tests.rule_files, ["a.yml"]);
        let group = &tests.tests[0];
        assert_eq!(group.interval, Some(Duration::from_secs(30)));
        assert_eq!(group.alert_rule_test[0].exp_alerts[0].labels["job"], "a");
        assert_eq!(group.promql_expr_test[0].exp_samples[0].value, 1.5);
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = load_rule_tests("t.yml", "testz: []\n").unwrap_err();
        assert!(error.to_string().contains("field testz not found in type main.unitTestFile"));
    }
}
