//! `/rules`, `/alerts` and `/alertmanagers`. Source: `web/api/v1/api.go`.

use firesteel_model::{Labels, Matcher, float};
use serde_json::{Map, Value, json};

use super::{selectors::match_params, targets::labels_json};
use crate::{
    envelope::{ApiError, Reply},
    params::Params,
    service::Inner,
    sources::{ActiveAlert, AlertingRuleView, RuleGroupView, RuleView},
};

/// A time in nanoseconds as Go prints it in JSON; what never happened is Go's zero time.
pub(crate) fn rfc3339_nanos(t: Option<i64>) -> String {
    t.and_then(|t| jiff::Timestamp::from_nanosecond(i128::from(t)).ok())
        .map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |t| t.to_string())
}

fn pairs_json(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(n, v)| (n.clone(), json!(v))).collect::<Map<_, _>>())
}

fn alert_json(alert: &ActiveAlert) -> Value {
    let mut value = String::new();
    write_exponent(&mut value, alert.value);
    let mut json = json!({
        "labels": labels_json(&alert.labels),
        "annotations": pairs_json(&alert.annotations),
        "state": alert.state,
        "activeAt": rfc3339_nanos(Some(alert.active_at)),
        "value": value,
    });
    if let Some(since) = alert.keep_firing_since {
        json["keepFiringSince"] = json!(rfc3339_nanos(Some(since)));
    }
    json
}

/// As Go's `'e'` with the shortest digits: `1e+00`.
fn write_exponent(out: &mut String, v: f64) {
    if !v.is_finite() {
        out.push_str(&float::format_f(v));
        return;
    }
    let text = format!("{v:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    out.push_str(&format!("{digits}e{sign}{exponent:0>2}"));
}

fn rule_json(rule: &RuleView, with_alerts: bool) -> Value {
    let mut json = json!({
        "name": rule.name,
        "query": rule.query,
        "labels": pairs_json(&rule.labels),
        "health": rule.health,
        "evaluationTime": rule.evaluation_time.as_secs_f64(),
        "lastEvaluation": rfc3339_nanos(rule.last_evaluation),
        "type": "recording",
    });
    if let Some(error) = &rule.last_error {
        json["lastError"] = json!(error);
    }
    if let Some(alerting) = &rule.alerting {
        let AlertingRuleView { state, hold, keep_firing_for, annotations, alerts } = alerting;
        json["type"] = json!("alerting");
        json["state"] = json!(state);
        json["duration"] = seconds(*hold);
        json["keepFiringFor"] = seconds(*keep_firing_for);
        json["annotations"] = pairs_json(annotations);
        json["alerts"] = match with_alerts {
            true => alerts.iter().map(alert_json).collect(),
            false => Value::Null,
        };
    }
    json
}

/// Without a fraction where there is none, as Go prints floats.
fn seconds(duration: std::time::Duration) -> Value {
    match duration.subsec_nanos() {
        0 => json!(duration.as_secs()),
        _ => json!(duration.as_secs_f64()),
    }
}

/// Which rules and groups are asked for.
struct Filter<'a> {
    names: Vec<&'a str>,
    groups: Vec<&'a str>,
    files: Vec<&'a str>,
    matchers: Vec<Vec<Matcher>>,
    alerting: bool,
    recording: bool,
}

impl<'a> Filter<'a> {
    fn new(params: &'a Params) -> Result<Self, ApiError> {
        let kind = params.first("type").to_lowercase();
        if !matches!(kind.as_str(), "" | "alert" | "record") {
            let text = format!("not supported value {}", float::go_quote(&kind));
            return Err(ApiError::parameter("type", text));
        }
        Ok(Self {
            names: params.all("rule_name[]").collect(),
            groups: params.all("rule_group[]").collect(),
            files: params.all("file[]").collect(),
            matchers: match_params(params)?,
            alerting: kind != "record",
            recording: kind != "alert",
        })
    }

    fn takes_group(&self, group: &RuleGroupView) -> bool {
        let among = |names: &[&str], name| names.is_empty() || names.contains(&name);
        among(&self.groups, &group.name) && among(&self.files, &group.file)
    }

    fn takes(&self, rule: &RuleView) -> bool {
        let kind = if rule.alerting.is_some() { self.alerting } else { self.recording };
        let named = self.names.is_empty() || self.names.contains(&rule.name.as_str());
        kind && named && (self.matchers.is_empty() || self.matches(rule))
    }

    /// All matchers of at least one set.
    fn matches(&self, rule: &RuleView) -> bool {
        let labels = Labels::from_pairs(rule.labels.iter().map(|(n, v)| (n, v)));
        let fits = |m: &Matcher| m.matches(labels.get(m.name()).unwrap_or_default());
        self.matchers.iter().any(|set| set.iter().all(fits))
    }
}

/// A page of groups: how many, and where it begins.
struct Page<'a> {
    limit: usize,
    token: &'a str,
}

fn page(params: &Params) -> Result<Option<Page<'_>>, ApiError> {
    let (limit, token) = (params.first("group_limit"), params.first("group_next_token"));
    if limit.is_empty() {
        return if token.is_empty() {
            Ok(None)
        } else {
            let text = "group_limit needs to be present in order to paginate over the groups";
            Err(ApiError::parameter("group_next_token", text))
        };
    }
    let limit: i32 = limit.parse().map_err(|_| {
        let text = format!(
            "group_limit needs to be a valid number: strconv.ParseInt: parsing {}: invalid syntax",
            float::go_quote(limit)
        );
        ApiError::parameter("group_limit", text)
    })?;
    match usize::try_from(limit) {
        Ok(limit) if limit > 0 => Ok(Some(Page { limit, token })),
        _ => Err(ApiError::parameter("group_limit", "group_limit needs to be greater than 0")),
    }
}

/// Names a group for the next page: the SHA-256 of its file and name.
fn token(group: &RuleGroupView) -> String {
    let name = format!("{};{}", group.file, group.name);
    let hash = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As Go reads booleans.
fn exclude_alerts(params: &Params) -> Result<bool, ApiError> {
    match params.first("exclude_alerts").to_lowercase().as_str() {
        "" | "0" | "f" | "false" => Ok(false),
        "1" | "t" | "true" => Ok(true),
        other => {
            let text = format!(
                "error converting exclude_alerts: strconv.ParseBool: parsing {}: invalid syntax",
                float::go_quote(other)
            );
            Err(ApiError::parameter("exclude_alerts", text))
        }
    }
}

pub(crate) fn rules(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let filter = Filter::new(params)?;
    let with_alerts = !exclude_alerts(params)?;
    let page = page(params)?;
    let groups = inner.rules.as_ref().map(|s| s.groups(with_alerts)).unwrap_or_default();
    let mut rest = groups.iter().peekable();
    if let Some(page) = page.as_ref().filter(|page| !page.token.is_empty()) {
        while rest.next_if(|group| token(group) != page.token).is_some() {}
        if rest.peek().is_none() {
            let text =
                format!("invalid group_next_token '{}'. were rule groups changed?", page.token);
            return Err(ApiError::parameter("group_next_token", text));
        }
    }
    let (mut shown, mut next) = (Vec::new(), None);
    for group in rest.filter(|group| filter.takes_group(group)) {
        let rules = group.rules.iter().filter(|rule| filter.takes(rule));
        let rules: Vec<_> = rules.map(|rule| rule_json(rule, with_alerts)).collect();
        if rules.is_empty() {
            continue;
        }
        if page.as_ref().is_some_and(|page| shown.len() == page.limit) {
            next = Some(token(group));
            break;
        }
        shown.push(json!({
            "name": group.name,
            "file": group.file,
            "rules": rules,
            "interval": seconds(group.interval),
            "limit": group.limit,
            "evaluationTime": group.evaluation_time.as_secs_f64(),
            "lastEvaluation": rfc3339_nanos(group.last_evaluation),
        }));
    }
    let mut data = json!({ "groups": shown });
    if let Some(next) = next {
        data["groupNextToken"] = json!(next);
    }
    let errors = inner.rules.as_ref().map(|source| source.errors()).unwrap_or_default();
    Ok(Reply::json(&data)?.with_warnings(errors))
}

/// All alerts that are pending or firing, in order of their groups and rules.
pub(crate) fn alerts(inner: &Inner, _: &Params) -> Result<Reply, ApiError> {
    let groups = inner.rules.as_ref().map(|s| s.groups(true)).unwrap_or_default();
    let rules = groups.iter().flat_map(|group| &group.rules);
    let alerts = rules.filter_map(|rule| rule.alerting.as_ref()).flat_map(|rule| &rule.alerts);
    Reply::json(&json!({ "alerts": alerts.map(alert_json).collect::<Vec<_>>() }))
}

pub(crate) fn alertmanagers(inner: &Inner, _: &Params) -> Result<Reply, ApiError> {
    let found = inner.rules.as_ref().map(|s| s.alertmanagers()).unwrap_or_default();
    let urls = |urls: &[String]| urls.iter().map(|url| json!({ "url": url })).collect::<Vec<_>>();
    Reply::json(&json!({
        "activeAlertmanagers": urls(&found.active),
        "droppedAlertmanagers": urls(&found.dropped),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_exponents_as_go_writes_them() {
        for (v, text) in [
            (0.0, "0e+00"),
            (1.0, "1e+00"),
            (0.05, "5e-02"),
            (-123.456, "-1.23456e+02"),
            (1e100, "1e+100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ] {
            let mut out = String::new();
            write_exponent(&mut out, v);
            assert_eq!(out, text);
        }
    }
}
