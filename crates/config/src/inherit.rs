//! What a job takes from `global`, and what `global` takes from nowhere. Source: the functions
//! `UnmarshalYAML` of `GlobalConfig` and `Validate` of `ScrapeConfig` in `config/config.go`.

use std::time::Duration;

use firesteel_model::{ValidationScheme, float::go_quote};

use crate::{
    ScrapeProtocol,
    diagnose::Diagnostics,
    schema::scrape::{check_protocol, check_protocols},
    value::{Item, Section, Value},
};

const MINUTE: Duration = Duration::from_secs(60);
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// Fills in what `global` does not say.
pub(crate) fn complete_global(global: &mut Section) {
    if !global.has("metric_name_validation_scheme") {
        global.fill("metric_name_validation_scheme", Value::Text("utf8".to_owned()));
    }
    if !global.has("scrape_interval") {
        global.fill("scrape_interval", Value::Duration(MINUTE));
    }
    if !global.has("scrape_timeout") {
        let timeout = TEN_SECONDS.min(global.duration("scrape_interval"));
        global.fill("scrape_timeout", Value::Duration(timeout));
    }
    if !global.has("evaluation_interval") {
        global.fill("evaluation_interval", Value::Duration(MINUTE));
    }
    for key in ["scrape_native_histograms", "extra_scrape_metrics"] {
        if global.get(key).is_none() {
            global.fill(key, Value::Bool(false));
        }
    }
}

/// Fills in what a job does not say, and checks what can only be checked then.
pub(crate) fn complete_job(job: &mut Section, global: &Section, diagnostics: &mut Diagnostics) {
    complete_times(job, global, diagnostics);
    for key in [
        "body_size_limit",
        "sample_limit",
        "target_limit",
        "label_limit",
        "label_name_length_limit",
        "label_value_length_limit",
        "keep_dropped_targets",
        "scrape_failure_log_file",
    ] {
        if !job.has(key) {
            inherit(job, global, key);
        }
    }
    for key in ["scrape_native_histograms", "extra_scrape_metrics"] {
        if job.get(key).is_none() {
            inherit(job, global, key);
        }
    }
    for key in ["always_scrape_classic_histograms", "convert_classic_histograms_to_nhcb"] {
        if job.get(key).is_none() {
            job.fill(key, Value::Bool(global.flag(key)));
        }
    }
    complete_protocols(job, global, diagnostics);
    complete_names(job, global, diagnostics);
}

/// Takes a value over, without its place, which is in another section.
fn inherit(job: &mut Section, global: &Section, key: &str) {
    if let Some(item) = global.get(key) {
        job.fill(key, item.value.clone());
    }
}

fn complete_times(job: &mut Section, global: &Section, diagnostics: &mut Diagnostics) {
    if !job.has("scrape_interval") {
        inherit(job, global, "scrape_interval");
    }
    let interval = job.duration("scrape_interval");
    if job.duration("scrape_timeout") > interval {
        let message = format!(
            "scrape timeout greater than scrape interval for scrape config with job name {}",
            go_quote(job.text("job_name"))
        );
        diagnostics.error_at(job, "scrape_timeout", message);
    }
    if !job.has("scrape_timeout") {
        let timeout = global.duration("scrape_timeout").min(interval);
        job.fill("scrape_timeout", Value::Duration(timeout));
    }
}

fn complete_protocols(job: &mut Section, global: &Section, diagnostics: &mut Diagnostics) {
    if job.get("scrape_protocols").is_none() {
        if global.get("scrape_protocols").is_some() {
            inherit(job, global, "scrape_protocols");
        } else if job.flag("scrape_native_histograms") {
            job.fill(
                "scrape_protocols",
                protocols(&ScrapeProtocol::DEFAULT_WITH_NATIVE_HISTOGRAMS),
            );
        } else {
            job.fill("scrape_protocols", protocols(&ScrapeProtocol::DEFAULT));
        }
    }
    let name = go_quote(job.text("job_name"));
    if let Err(message) = check_protocols(job) {
        let message = format!("{message} for scrape config with job name {name}");
        diagnostics.error_at(job, "scrape_protocols", message);
    }
    let fallback = job.text("fallback_scrape_protocol");
    if !fallback.is_empty()
        && let Err(message) = check_protocol(fallback)
    {
        let message = format!(
            "invalid fallback_scrape_protocol for scrape config with job name {name}: {message}"
        );
        diagnostics.error_at(job, "fallback_scrape_protocol", message);
    }
}

/// A list of formats as a value.
pub(crate) fn protocols(list: &[ScrapeProtocol]) -> Value {
    let item = |p: &ScrapeProtocol| Item {
        value: Value::Text(p.name().to_owned()),
        place: crate::Place::default(),
    };
    Value::List(list.iter().map(item).collect())
}

const ESCAPINGS: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

fn unknown_escaping(whose: &str, name: &str) -> String {
    format!(
        "unknown {whose} name escaping method specified, must be one of 'allow-utf-8', 'underscores', 'dots', or 'values', got {}",
        go_quote(name)
    )
}

const fn default_escaping(scheme: ValidationScheme) -> &'static str {
    match scheme {
        ValidationScheme::Utf8 => "allow-utf-8",
        ValidationScheme::Legacy => "underscores",
    }
}

/// The scheme that a section names; UTF-8 if none.
pub(crate) fn scheme(section: &Section) -> ValidationScheme {
    match section.text("metric_name_validation_scheme") {
        "legacy" => ValidationScheme::Legacy,
        _ => ValidationScheme::Utf8,
    }
}

fn complete_names(job: &mut Section, global: &Section, diagnostics: &mut Diagnostics) {
    let inherited = !job.has("metric_name_validation_scheme");
    if inherited {
        inherit(job, global, "metric_name_validation_scheme");
    }
    let global_escaping = match global.text("metric_name_escaping_scheme") {
        "" => default_escaping(scheme(global)),
        name if ESCAPINGS.contains(&name) => name,
        name => return diagnostics.error_in(job, unknown_escaping("global", name)),
    };
    if !job.has("metric_name_escaping_scheme") {
        let escaping = if inherited { global_escaping } else { default_escaping(scheme(job)) };
        job.fill("metric_name_escaping_scheme", Value::Text(escaping.to_owned()));
    }
    let escaping = job.text("metric_name_escaping_scheme");
    if !ESCAPINGS.contains(&escaping) {
        let message = unknown_escaping("scrape config", escaping);
        diagnostics.error_at(job, "metric_name_escaping_scheme", message);
    } else if escaping == "allow-utf-8" && scheme(job) == ValidationScheme::Legacy {
        diagnostics.error_at(
            job,
            "metric_name_escaping_scheme",
            "utf8 metric names requested but validation scheme is not set to UTF8",
        );
    }
}
