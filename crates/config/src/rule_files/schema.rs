//! What may stand in a rule file. Source: `model/rulefmt/rulefmt.go`.

use crate::schema::{Field, Kind, Schema, anything_goes, key};

/// A rule file, and the `spec` of a PrometheusRule without what Thanos adds to it.
pub(super) static FILE: Schema =
    Schema::new("rulefmt.RuleGroups", &[&[key("groups", Kind::Sections(&GROUP))]], anything_goes);

/// The `spec` of a PrometheusRule.
pub(super) static SPEC: Schema = Schema::new(
    "v1.PrometheusRuleSpec",
    &[&[key("groups", Kind::Sections(&RESOURCE_GROUP))]],
    anything_goes,
);

/// A resource of Kubernetes, as far as it matters here.
pub(super) static RESOURCE: Schema = Schema::new(
    "v1.PrometheusRule",
    &[&[key("apiVersion", Kind::Text), key("kind", Kind::Text), key("spec", Kind::Section(&SPEC))]],
    anything_goes,
);

const GROUP_FIELDS: &[Field] = &[
    key("name", Kind::Text),
    key("interval", Kind::Duration),
    key("query_offset", Kind::Duration).when_set(),
    key("limit", Kind::Int),
    key("rules", Kind::Sections(&RULE)),
    key("labels", Kind::Map(&Kind::Text)),
];

static GROUP: Schema = Schema::new("rulefmt.RuleGroup", &[GROUP_FIELDS], anything_goes);

static RESOURCE_GROUP: Schema = Schema::new(
    "v1.RuleGroup",
    &[GROUP_FIELDS, &[key("partial_response_strategy", Kind::Text)]],
    anything_goes,
);

static RULE: Schema = Schema::new(
    "rulefmt.Rule",
    &[&[
        key("record", Kind::Text),
        key("alert", Kind::Text),
        key("expr", Kind::Text),
        key("for", Kind::Duration),
        key("keep_firing_for", Kind::Duration),
        key("labels", Kind::Map(&Kind::Text)),
        key("annotations", Kind::Map(&Kind::Text)),
    ]],
    anything_goes,
);
