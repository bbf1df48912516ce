//! The section `alerting`. Source: `config/config.go`.

use super::{
    Kind, Preset, Schema,
    discovery::{self, MECHANISMS},
    http::{self, HTTP},
    key,
    relabel::RULES,
    remote::SIGV4,
    root::no_null,
};
use crate::{diagnose::Diagnostics, value::Section};

pub(crate) static ALERTING: Schema = Schema::new(
    "config.plain",
    &[&[key("alert_relabel_configs", RULES), key("alertmanagers", Kind::Sections(&ALERTMANAGER))]],
    check_alerting,
);

pub(crate) static ALERTMANAGER: Schema = Schema::new(
    "config.AlertmanagerConfig",
    &[
        HTTP,
        &[
            key("sigv4", Kind::Section(&SIGV4)).when_set(),
            key("scheme", Kind::Text).or(Preset::Text("http")),
            key("path_prefix", Kind::Text),
            key("timeout", Kind::Duration).or(Preset::Seconds(10)),
            key("api_version", Kind::Checked(api_version)).always().or(Preset::Text("v2")),
            key("relabel_configs", RULES),
            key("alert_relabel_configs", RULES),
        ],
        MECHANISMS,
    ],
    check_alertmanager,
);

fn api_version(text: &str) -> Result<String, String> {
    match text {
        "v2" => Ok(text.to_owned()),
        _ => Err(format!("expected Alertmanager api version to be one of [v2] but got {text}")),
    }
}

fn check_alerting(alerting: &mut Section, diagnostics: &mut Diagnostics) {
    let message = "empty or null alert relabeling rule";
    no_null(alerting, "alert_relabel_configs", message, diagnostics);
}

fn check_alertmanager(alertmanager: &mut Section, diagnostics: &mut Diagnostics) {
    http::check_client(alertmanager, diagnostics);
    let auth = ["basic_auth", "authorization", "oauth2"];
    if alertmanager.get("sigv4").is_some() && auth.iter().any(|k| alertmanager.get(k).is_some()) {
        diagnostics.error_in(
            alertmanager,
            "at most one of basic_auth, authorization, oauth2, & sigv4 must be configured",
        );
    }
    discovery::check_mechanisms(alertmanager, diagnostics);
    if alertmanager.list("relabel_configs").is_empty() {
        discovery::check_static_targets(alertmanager, diagnostics);
    }
    let message = "empty or null Alertmanager target relabeling rule";
    no_null(alertmanager, "relabel_configs", message, diagnostics);
    let message = "empty or null Alertmanager alert relabeling rule";
    no_null(alertmanager, "alert_relabel_configs", message, diagnostics);
}
