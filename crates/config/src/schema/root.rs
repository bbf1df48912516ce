//! The document itself, and the small sections of its top level. Source: `config/config.go`.

use firesteel_model::float::{format_f, go_quote};

use super::{
    Kind, Preset, Schema, TEXTS, alerting, anything_goes, http, key,
    remote::{self, REMOTE_READ, REMOTE_WRITE},
    scrape::{GLOBAL, SCRAPE},
};
use crate::{
    diagnose::Diagnostics,
    value::{Item, Section, Value},
};

/// `prometheus.yml`.
pub(crate) static CONFIG: Schema = Schema::new(
    "config.plain",
    &[&[
        key("global", Kind::Section(&GLOBAL)).always(),
        key("runtime", Kind::Section(&RUNTIME)).or(Preset::Defaults),
        key("alerting", Kind::Section(&alerting::ALERTING)),
        key("rule_files", Kind::List(&Kind::Path)),
        key("scrape_config_files", Kind::List(&Kind::Path)),
        key("scrape_configs", Kind::Sections(&SCRAPE)),
        key("storage", Kind::Section(&STORAGE)),
        key("tracing", Kind::Section(&TRACING)),
        key("remote_write", Kind::Sections(&REMOTE_WRITE)),
        key("remote_read", Kind::Sections(&REMOTE_READ)),
        key("otlp", Kind::Section(&OTLP)).or(Preset::Defaults),
    ]],
    check_config,
);

/// A file named by `scrape_config_files`.
pub(crate) static SCRAPE_FILE: Schema = Schema::new(
    "config.ScrapeConfigs",
    &[&[key("scrape_configs", Kind::Sections(&SCRAPE))]],
    anything_goes,
);

static RUNTIME: Schema = Schema::new(
    "config.RuntimeConfig",
    &[&[key("gogc", Kind::Int).or(Preset::Int(75))]],
    anything_goes,
);

static STORAGE: Schema = Schema::new(
    "config.StorageConfig",
    &[&[
        key("tsdb", Kind::Section(&TSDB)).when_set().or(Preset::Defaults),
        key("exemplars", Kind::Section(&EXEMPLARS)).when_set(),
    ]],
    anything_goes,
);

pub(crate) static TSDB: Schema = Schema::new(
    "config.plain",
    &[&[
        // Prometheus' own form of the next key, in milliseconds, which it prints too.
        key("outofordertimewindow", Kind::Int).always(),
        key("out_of_order_time_window", Kind::Duration),
        key("stale_series_compaction_threshold", Kind::Float),
        key("chunk_encoding", Kind::Section(&CHUNK_ENCODING)),
        key("retention", Kind::Section(&RETENTION)).when_set().or(Preset::Defaults),
    ]],
    check_tsdb,
);

static CHUNK_ENCODING: Schema = Schema::new(
    "config.ChunkEncodingConfig",
    &[&[key("floats", Kind::Checked(float_encoding))]],
    anything_goes,
);

pub(crate) static RETENTION: Schema = Schema::new(
    "config.plain",
    &[&[key("time", Kind::Duration), key("size", Kind::Size), key("percentage", Kind::Float)]],
    check_retention,
);

static EXEMPLARS: Schema =
    Schema::new("config.ExemplarsConfig", &[&[key("max_exemplars", Kind::Int)]], anything_goes);

static TRACING: Schema = Schema::new(
    "config.plain",
    &[&[
        key("client_type", Kind::Checked(tracing_client)).or(Preset::Text("grpc")),
        key("endpoint", Kind::Text),
        key("sampling_fraction", Kind::Float),
        key("insecure", Kind::Bool),
        key("tls_config", Kind::Section(&http::TLS)),
        key("headers", Kind::Map(&Kind::Text)),
        key("compression", Kind::Text),
        key("timeout", Kind::Duration),
    ]],
    check_tracing,
);

static OTLP: Schema = Schema::new(
    "config.plain",
    &[&[
        key("promote_all_resource_attributes", Kind::Bool),
        key("promote_resource_attributes", TEXTS),
        key("ignore_resource_attributes", TEXTS),
        key("translation_strategy", Kind::Checked(translation_strategy))
            .or(Preset::Text("UnderscoreEscapingWithSuffixes")),
        key("keep_identifying_resource_attributes", Kind::Bool),
        key("convert_histograms_to_nhcb", Kind::Bool),
        key("promote_scope_metadata", Kind::Bool),
        key("label_name_underscore_sanitization", Kind::Bool).or(Preset::Bool(true)),
        key("label_name_preserve_multiple_underscores", Kind::Bool).or(Preset::Bool(true)),
    ]],
    check_otlp,
);

/// The items of a list of sections must be there.
pub(crate) fn no_null(section: &Section, key: &str, message: &str, diagnostics: &mut Diagnostics) {
    for (i, item) in section.list(key).iter().enumerate() {
        if item.value.as_section().is_some_and(Section::is_null) {
            diagnostics.below(key, |d| d.at_index(i, |d| d.error(item.place, message)));
        }
    }
}

/// Names that must differ, empty ones aside.
fn unique(section: &Section, list: &str, what: &str, diagnostics: &mut Diagnostics) {
    let mut seen = std::collections::HashSet::new();
    for (i, item) in section.list(list).iter().enumerate() {
        let name = item.value.as_section().map_or("", |s| s.text("name"));
        if !name.is_empty() && !seen.insert(name) {
            let message = format!(
                "found multiple {what} configs with job name {} (names must be unique)",
                go_quote(name)
            );
            diagnostics.below(list, |d| d.at_index(i, |d| d.error(item.place, message)));
        }
    }
}

fn check_config(config: &mut Section, diagnostics: &mut Diagnostics) {
    for (key, what) in
        [("rule_files", "rule file path"), ("scrape_config_files", "scrape config file path")]
    {
        for item in config.list(key) {
            let path = item.value.as_text().unwrap_or_default();
            if !is_glob_in_last_part(path) {
                let message = format!(
                    "invalid {what} {} (a pattern is possible only in the last part of a path)",
                    go_quote(path)
                );
                diagnostics.below(key, |d| d.error(item.place, message));
            }
        }
    }
    no_null(config, "scrape_configs", "empty or null scrape config section", diagnostics);
    no_null(config, "remote_write", "empty or null remote write config section", diagnostics);
    no_null(config, "remote_read", "empty or null remote read config section", diagnostics);
    unique(config, "remote_write", "remote write", diagnostics);
    unique(config, "remote_read", "remote read", diagnostics);
}

/// `^[^*]*(\*[^/]*)?$`
fn is_glob_in_last_part(path: &str) -> bool {
    path.find('*').is_none_or(|star| !path[star..].contains('/'))
}

fn float_encoding(text: &str) -> Result<String, String> {
    match text {
        "" | "xor" | "xor2" => Ok(text.to_owned()),
        _ => Err(format!(
            "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted entirely, got {}",
            go_quote(text)
        )),
    }
}

fn check_tsdb(tsdb: &mut Section, _: &mut Diagnostics) {
    let window = tsdb.duration("out_of_order_time_window").as_millis();
    let window = i64::try_from(window).unwrap_or(i64::MAX);
    tsdb.fill("outofordertimewindow", Value::Int(window));
}

fn check_retention(retention: &mut Section, diagnostics: &mut Diagnostics) {
    let size = retention.int("size");
    if size < 0 {
        let message = format!(
            "'storage.tsdb.retention.size' must be greater than or equal to 0, got {}",
            crate::size::format(size)
        );
        diagnostics.error_at(retention, "size", message);
    }
    let percentage = retention.float("percentage");
    if !(0.0..=100.0).contains(&percentage) {
        let message = format!(
            "'storage.tsdb.retention.percentage' must be in the range [0, 100], got {}",
            format_f(percentage)
        );
        diagnostics.error_at(retention, "percentage", message);
    }
}

fn tracing_client(text: &str) -> Result<String, String> {
    match text {
        "http" | "grpc" => Ok(text.to_owned()),
        _ => Err(format!("expected tracing client type to be to be http or grpc, but got {text}")),
    }
}

fn check_tracing(tracing: &mut Section, diagnostics: &mut Diagnostics) {
    for (name, item) in tracing.pairs("headers") {
        let message = if name.eq_ignore_ascii_case("authorization") {
            "custom authorization header configuration is not yet supported".to_owned()
        } else if remote::is_reserved_header(name) {
            format!("{name} is a reserved header. It must not be changed")
        } else {
            continue;
        };
        diagnostics.below("headers", |d| d.error(item.place, message));
    }
    if !tracing.has("endpoint") {
        diagnostics.error_in(tracing, "tracing endpoint must be set");
    }
    let compression = tracing.text("compression");
    if !matches!(compression, "" | "gzip") {
        let message =
            format!("invalid compression type {compression} provided, valid options: gzip");
        diagnostics.error_at(tracing, "compression", message);
    }
}

fn translation_strategy(text: &str) -> Result<String, String> {
    match text {
        ""
        | "UnderscoreEscapingWithSuffixes"
        | "UnderscoreEscapingWithoutSuffixes"
        | "NoUTF8EscapingWithSuffixes"
        | "NoTranslation" => Ok(text.to_owned()),
        _ => Err(format!("unsupported OTLP translation strategy {}", go_quote(text))),
    }
}

fn check_otlp(otlp: &mut Section, diagnostics: &mut Diagnostics) {
    let all = otlp.flag("promote_all_resource_attributes");
    if all && otlp.has("promote_resource_attributes") {
        diagnostics.error_at(
            otlp,
            "promote_resource_attributes",
            "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously",
        );
    }
    if !all && otlp.has("ignore_resource_attributes") {
        diagnostics.error_at(
            otlp,
            "ignore_resource_attributes",
            "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true",
        );
    }
    let (key, adjective) = if all {
        ("ignore_resource_attributes", "ignored")
    } else {
        ("promote_resource_attributes", "promoted")
    };
    tidy_attributes(otlp, key, adjective, diagnostics);
}

/// Trims names of attributes; they must be there and differ.
fn tidy_attributes(otlp: &mut Section, key: &str, adjective: &str, diagnostics: &mut Diagnostics) {
    let mut seen = std::collections::HashSet::new();
    let Some(Item { value: Value::List(items), .. }) = otlp.get_mut(key) else {
        return;
    };
    for item in items {
        let Value::Text(text) = &mut item.value else { continue };
        *text = text.trim().to_owned();
        let message = if text.is_empty() {
            format!("invalid '{key}': empty {adjective} OTel resource attribute")
        } else if !seen.insert(text.clone()) {
            let name = go_quote(text);
            format!("invalid '{key}': duplicated {adjective} OTel resource attribute {name}")
        } else {
            continue;
        };
        diagnostics.below(key, |d| d.error(item.place, message));
    }
}
