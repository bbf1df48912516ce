//! One scrape job, and the keys that jobs share with `global`. Source: `config/config.go`.

use super::{
    Field, Kind, Preset, Schema,
    discovery::{self, MECHANISMS},
    http::{self, HTTP},
    key,
    relabel::RULES,
};
use crate::{ScrapeProtocol, diagnose::Diagnostics, value::Section};

pub(crate) static SCRAPE: Schema = Schema::new(
    "config.ScrapeConfig",
    &[
        &[
            key("job_name", Kind::Text).always(),
            key("honor_labels", Kind::Bool),
            key("honor_timestamps", Kind::Bool).always().or(Preset::Bool(true)),
            key("track_timestamps_staleness", Kind::Bool).always(),
            key("params", Kind::Map(&super::TEXTS)),
            key("scrape_interval", Kind::Duration),
            key("scrape_timeout", Kind::Duration),
            key("scrape_protocols", PROTOCOLS),
            key("fallback_scrape_protocol", Kind::Text),
            key("scrape_native_histograms", Kind::Bool).when_set(),
            key("always_scrape_classic_histograms", Kind::Bool).when_set(),
            key("convert_classic_histograms_to_nhcb", Kind::Bool).when_set(),
            key("scrape_failure_log_file", Kind::Path),
            key("metrics_path", Kind::Text).or(Preset::Text("/metrics")),
            key("scheme", Kind::Text).or(Preset::Text("http")),
            key("enable_compression", Kind::Bool).always().or(Preset::Bool(true)),
            key("body_size_limit", Kind::Size),
            key("sample_limit", Kind::Uint),
            key("target_limit", Kind::Uint),
            key("label_limit", Kind::Uint),
            key("label_name_length_limit", Kind::Uint),
            key("label_value_length_limit", Kind::Uint),
            key("native_histogram_bucket_limit", Kind::Uint),
            key("native_histogram_min_bucket_factor", Kind::Float),
            key("keep_dropped_targets", Kind::Uint),
            key("metric_name_validation_scheme", Kind::Checked(validation_scheme)),
            key("metric_name_escaping_scheme", Kind::Text),
            key("extra_scrape_metrics", Kind::Bool).when_set(),
        ],
        HTTP,
        &[key("relabel_configs", RULES), key("metric_relabel_configs", RULES)],
        MECHANISMS,
    ],
    check,
);

/// Names of formats; which of them exist is checked with the job's name at hand.
pub(crate) const PROTOCOLS: Kind = Kind::List(&Kind::Text);

/// The section `global`.
pub(crate) static GLOBAL: Schema = Schema::new("config.plain", &[GLOBAL_KEYS], check_global);

const GLOBAL_KEYS: &[Field] = &[
    key("scrape_interval", Kind::Duration),
    key("scrape_timeout", Kind::Duration),
    key("scrape_protocols", PROTOCOLS),
    key("evaluation_interval", Kind::Duration),
    key("rule_query_offset", Kind::Duration),
    key("query_log_file", Kind::Path),
    key("scrape_failure_log_file", Kind::Path),
    key("external_labels", Kind::Labels),
    key("body_size_limit", Kind::Size),
    key("sample_limit", Kind::Uint),
    key("target_limit", Kind::Uint),
    key("label_limit", Kind::Uint),
    key("label_name_length_limit", Kind::Uint),
    key("label_value_length_limit", Kind::Uint),
    key("keep_dropped_targets", Kind::Uint),
    key("metric_name_validation_scheme", Kind::Checked(validation_scheme)),
    key("metric_name_escaping_scheme", Kind::Text),
    key("scrape_native_histograms", Kind::Bool).when_set(),
    key("convert_classic_histograms_to_nhcb", Kind::Bool),
    key("always_scrape_classic_histograms", Kind::Bool),
    key("extra_scrape_metrics", Kind::Bool).when_set(),
];

fn validation_scheme(text: &str) -> Result<String, String> {
    match text {
        "" | "utf8" | "legacy" => Ok(text.to_owned()),
        _ => Err(format!("unrecognized ValidationScheme: {text:?} (expected utf8 or legacy)")),
    }
}

/// Whether names of labels are valid under a scheme.
pub(crate) fn is_label_name(name: &str, scheme: &str) -> bool {
    if scheme == "legacy" {
        firesteel_model::is_legacy_label_name(name)
    } else {
        firesteel_model::is_utf8_label_name(name)
    }
}

/// What Prometheus checks while it reads `global`; defaults are filled in too.
fn check_global(global: &mut Section, diagnostics: &mut Diagnostics) {
    crate::inherit::complete_global(global);
    let scheme = global.text("metric_name_validation_scheme");
    for (name, item) in global.pairs("external_labels") {
        if !is_label_name(name, scheme) {
            let message = format!("{name:?} is not a valid label name");
            diagnostics.below("external_labels", |d| d.error(item.place, message));
        }
    }
    if global.duration("scrape_timeout") > global.duration("scrape_interval") {
        let message = "global scrape timeout greater than scrape interval";
        diagnostics.error_at(global, "scrape_timeout", message);
    }
    if global.get("scrape_protocols").is_some()
        && let Err(message) = check_protocols(global)
    {
        diagnostics.error_at(global, "scrape_protocols", format!("{message} for global config"));
    }
}

/// Whether a list of formats is one.
pub(crate) fn check_protocols(section: &Section) -> Result<(), String> {
    let names: Vec<&str> = section.texts("scrape_protocols").collect();
    if names.is_empty() {
        return Err("scrape_protocols cannot be empty".to_owned());
    }
    for (i, name) in names.iter().enumerate() {
        if names[..i].iter().any(|earlier| earlier.eq_ignore_ascii_case(name)) {
            let list = names.join(" ");
            return Err(format!("duplicated protocol in scrape_protocols, got [{list}]"));
        }
        check_protocol(name).map_err(|e| format!("scrape_protocols: {e}"))?;
    }
    Ok(())
}

/// Whether a format is known.
pub(crate) fn check_protocol(name: &str) -> Result<(), String> {
    if ScrapeProtocol::from_name(name).is_some() {
        return Ok(());
    }
    let known = ScrapeProtocol::ALL.map(ScrapeProtocol::name).join(" ");
    Err(format!("unknown scrape protocol {name}, supported: [{known}]"))
}

/// What holds within one job, whatever `global` says.
fn check(job: &mut Section, diagnostics: &mut Diagnostics) {
    if !job.has("job_name") {
        diagnostics.error_in(job, "job_name is empty");
    }
    http::check_client(job, diagnostics);
    discovery::check_mechanisms(job, diagnostics);
    if job.list("relabel_configs").is_empty() {
        discovery::check_static_targets(job, diagnostics);
    }
    super::root::no_null(
        job,
        "relabel_configs",
        "empty or null target relabeling rule in scrape config",
        diagnostics,
    );
    super::root::no_null(
        job,
        "metric_relabel_configs",
        "empty or null metric relabeling rule in scrape config",
        diagnostics,
    );
}
