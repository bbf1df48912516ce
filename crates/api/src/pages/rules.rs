//! `/rules` and `/alerts`.

use super::html::Html;
use crate::{
    handlers::rules::rfc3339_nanos,
    params::Params,
    service::Inner,
    sources::{RuleGroupView, RuleView},
};

/// Alerts of a rule that a page shows; the API gives all.
const MAX_ALERTS: usize = 200;

fn begin(inner: &Inner, path: &str) -> (Html, Vec<RuleGroupView>) {
    let mut html = Html::page(inner, path);
    let Some(source) = &inner.rules else {
        html.raw("<p>This program evaluates no rules.</p>");
        return (html, Vec::new());
    };
    let errors = source.errors();
    if !errors.is_empty() {
        html.raw("<p class=\"down\" role=\"alert\">Rule files are wrong; the rules from before are in force.</p><ul>");
        for error in &errors {
            html.raw("<li>").text(error).raw("</li>");
        }
        html.raw("</ul>");
    }
    let groups = source.groups(true);
    if groups.is_empty() {
        html.raw("<p>No rules. See <code>rule_files</code> of the configuration.</p>");
    }
    (html, groups)
}

pub(super) fn rules(inner: &Inner, _: &Params) -> String {
    let (mut html, groups) = begin(inner, "/rules");
    for group in &groups {
        html.raw("<h2>").text(&group.name).raw(" <small>").text(&group.file);
        html.raw(", every ").display(format_args!("{:?}", group.interval));
        html.raw(", last ").text(&last(group.last_evaluation));
        html.raw(" in ").display(format_args!("{:.1} ms", ms(group.evaluation_time)));
        html.raw("</small></h2><table><tr><th>Rule</th><th>State</th><th>Query</th>")
            .raw("<th>Last evaluation</th><th>Duration</th><th>Error</th></tr>");
        for rule in &group.rules {
            row(&mut html, inner, rule);
        }
        html.raw("</table>");
    }
    html.finish()
}

fn row(html: &mut Html, inner: &Inner, rule: &RuleView) {
    let kind = if rule.alerting.is_some() { "alert" } else { "record" };
    html.raw("<tr><td>").text(kind).raw(" <code>").text(&rule.name).raw("</code></td><td class=\"");
    html.text(class(rule.health)).raw("\">").text(rule.health).raw("</td><td>");
    query(html, inner, &rule.query);
    html.raw("</td><td>").text(&last(rule.last_evaluation)).raw("</td><td>");
    html.display(format_args!("{:.1} ms", ms(rule.evaluation_time))).raw("</td><td>");
    html.text(rule.last_error.as_deref().unwrap_or_default()).raw("</td></tr>");
}

pub(super) fn alerts(inner: &Inner, _: &Params) -> String {
    let (mut html, groups) = begin(inner, "/alerts");
    for state in ["firing", "pending", "inactive", "unknown"] {
        let of_state = |rule: &&RuleView| rule.alerting.as_ref().is_some_and(|a| a.state == state);
        let rules: Vec<_> = groups.iter().flat_map(|g| &g.rules).filter(of_state).collect();
        if rules.is_empty() {
            continue;
        }
        html.raw("<h2>").text(state).raw(" <small>").display(rules.len()).raw("</small></h2>");
        for rule in rules {
            alerting_rule(&mut html, inner, rule);
        }
    }
    html.finish()
}

fn alerting_rule(html: &mut Html, inner: &Inner, rule: &RuleView) {
    html.raw("<p><strong>").text(&rule.name).raw("</strong> ");
    query(html, inner, &rule.query);
    html.raw("</p>");
    let alerts = rule.alerting.as_ref().map(|a| a.alerts.as_slice()).unwrap_or_default();
    if alerts.is_empty() {
        return;
    }
    html.raw("<table><tr><th>State</th><th>Labels</th><th>Since</th><th>Value</th>")
        .raw("<th>Annotations</th></tr>");
    for alert in alerts.iter().take(MAX_ALERTS) {
        html.raw("<tr><td class=\"").text(class(alert.state)).raw("\">").text(alert.state);
        html.raw("</td><td>");
        for (name, value) in &alert.labels {
            html.raw("<code>").text(name).raw("=\"").text(value).raw("\"</code> ");
        }
        html.raw("</td><td>").text(&rfc3339_nanos(Some(alert.active_at))).raw("</td><td>");
        html.text(&firesteel_model::float::format_f(alert.value)).raw("</td><td>");
        for (name, value) in &*alert.annotations {
            html.text(name).raw(": ").text(value).raw("<br>");
        }
        html.raw("</td></tr>");
    }
    html.raw("</table>");
    if alerts.len() > MAX_ALERTS {
        html.raw("<p>").display(alerts.len()).raw(" alerts; the first are shown.</p>");
    }
}

/// A query, and where to run it.
fn query(html: &mut Html, inner: &Inner, query: &str) {
    let escaped: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    html.raw("<a href=\"").text(&inner.prefix).raw("/query?g0.expr=").text(&escaped);
    html.raw("\"><code>").text(query).raw("</code></a>");
}

/// The style of a state.
fn class(state: &str) -> &'static str {
    match state {
        "ok" | "inactive" => "up",
        "err" | "firing" => "down",
        _ => "unknown",
    }
}

fn last(t: Option<i64>) -> String {
    t.map_or_else(|| "never".to_owned(), |t| rfc3339_nanos(Some(t)))
}

fn ms(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
