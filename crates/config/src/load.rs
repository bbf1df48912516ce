//! From texts to a [`Config`].

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use firesteel_model::{Labels, ValidationScheme, float::go_quote};

use crate::{
    AlertingConfig, Config, ConfigError, Diagnostic, HttpClientConfig, OtlpConfig, Place,
    ReadFiles, RemoteReadConfig, RemoteWriteConfig, Retention, ScrapeConfig, ScrapeProtocol,
    StaticGroup, TracingConfig, WebConfig, decode,
    diagnose::Diagnostics,
    inherit, paths,
    schema::{Schema, discovery::STATIC, http, root, scrape::GLOBAL, web},
    served,
    typed::convert,
    value::{Item, Section, Value},
    yaml,
};

/// What the command line decides about a configuration.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The retention of a configuration that does not name one.
    pub retention: Retention,
    /// Whether `extra_scrape_metrics` is on where the configuration does not say.
    pub extra_scrape_metrics: bool,
    /// Whether what Prometheus would refuse is refused, also where its meaning is plain.
    pub prometheus_only: bool,
    /// Whether `scrape_config_files` are left alone.
    pub without_included_files: bool,
    /// Whether protobuf is asked for first where the configuration does not say.
    pub protobuf_first: bool,
}

/// Loads `path` and what it includes.
///
/// # Errors
/// A file cannot be read, or something is wrong in one: everything that was found.
pub fn load(
    path: &Path,
    files: &dyn ReadFiles,
    options: &LoadOptions,
) -> Result<Config, ConfigError> {
    let text =
        files.read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let dir = path.parent().unwrap_or(Path::new(""));
    load_text(&path.to_string_lossy(), &text, dir, files, options)
}

/// Loads a configuration from a text; `name` stands for the file in messages. Relative paths stay
/// relative, `scrape_config_files` match nothing, variables in `external_labels` are empty.
///
/// # Errors
/// Something is wrong in the text: everything that was found.
pub fn load_str(name: &str, text: &str) -> Result<Config, ConfigError> {
    load_text(name, text, Path::new(""), &crate::NoFiles, &LoadOptions::default())
}

/// Reads a file that is one HTTP client's configuration, as promtool's `--http.config.file`.
///
/// # Errors
/// The file cannot be read, or something is wrong in it: everything that was found.
pub fn load_http_client(
    path: &Path,
    files: &dyn ReadFiles,
) -> Result<HttpClientConfig, ConfigError> {
    load_section(path, files, &http::CLIENT).map(|section| convert::http_client(&section))
}

/// Reads the file of `--web.config.file`: TLS, users and headers of the server itself. Certificates
/// and keys that it names are not looked at.
///
/// # Errors
/// The file cannot be read, or something is wrong in it: everything that was found.
pub fn load_web(path: &Path, files: &dyn ReadFiles) -> Result<WebConfig, ConfigError> {
    load_section(path, files, &web::WEB).map(|section| WebConfig::of(&section))
}

/// A file of one section, its paths made relative to where the file is.
fn load_section(
    path: &Path,
    files: &dyn ReadFiles,
    schema: &'static Schema,
) -> Result<Section, ConfigError> {
    let text =
        files.read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let mut diagnostics = Diagnostics::new(&path.to_string_lossy());
    match parse(&text, schema, &mut diagnostics) {
        Some(mut section) if diagnostics.errors.is_empty() => {
            paths::set_directory(&mut section, path.parent().unwrap_or(Path::new("")));
            Ok(section)
        }
        _ => Err(ConfigError::Invalid(diagnostics.errors)),
    }
}

/// What a server without a configuration file does: it scrapes itself, at `target`, every 15
/// seconds as job `prometheus`.
#[must_use]
pub fn embedded_default(target: &str) -> Config {
    let mut job = ScrapeConfig::new("prometheus");
    job.scrape_interval = std::time::Duration::from_secs(15);
    job.discovery.push(crate::DiscoveryConfig::Static(vec![StaticGroup::new(
        vec![target.to_owned()],
        Labels::empty(),
    )]));
    let mut quoted = String::new();
    yaml::write::string(&mut quoted, target, yaml::write::Context::Flow { indent: 0 });
    let text = format!(
        "global:\n  scrape_interval: 15s\n  evaluation_interval: 15s\nscrape_configs:\n\
         - job_name: prometheus\n  static_configs:\n  - targets: [{quoted}]\n"
    );
    // A target that cannot stand in a file (a URL, say) still leaves a configuration.
    load_str("embedded default", &text).unwrap_or_else(|_| {
        let mut config = load_str("embedded default", "").unwrap_or_else(|_| Config::empty());
        config.scrape_configs = vec![job];
        config
    })
}

/// Reads the target groups of a file of `file_sd_configs`, in YAML.
///
/// # Errors
/// Something is wrong in the text: everything that was found.
pub fn load_target_groups(name: &str, text: &str) -> Result<Vec<StaticGroup>, ConfigError> {
    let mut diagnostics = Diagnostics::new(name);
    let items = match yaml::load(text) {
        Err(error) => {
            diagnostics.error(error.place, error.message);
            Vec::new()
        }
        Ok(Some(node)) if !node.is_null() => {
            decode::sections(&node, &STATIC, &mut diagnostics).unwrap_or_default()
        }
        Ok(_) => Vec::new(),
    };
    let mut groups = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        match item.value.as_section() {
            Some(group) if !group.is_null() => groups.push(convert::static_group(group)),
            _ => {
                let message = "nil target group item found";
                diagnostics.at_index(i, |d| d.error(item.place, message));
            }
        }
    }
    if diagnostics.errors.is_empty() {
        Ok(groups)
    } else {
        Err(ConfigError::Invalid(diagnostics.errors))
    }
}

fn load_text(
    name: &str,
    text: &str,
    dir: &Path,
    files: &dyn ReadFiles,
    options: &LoadOptions,
) -> Result<Config, ConfigError> {
    let mut diagnostics = Diagnostics::new(name);
    diagnostics.prometheus_only = options.prometheus_only;
    let Some(mut document) = parse(text, &root::CONFIG, &mut diagnostics) else {
        return Err(ConfigError::Invalid(diagnostics.errors));
    };
    complete(&mut document, options, &mut diagnostics);
    let expanded = expand_external_labels(&mut document, files, &mut diagnostics);
    check_otlp_names(&document, &mut diagnostics);
    paths::set_directory(&mut document, dir);

    let not_served = served::not_served(name, &document);
    let scheme = document.section("global").map_or(ValidationScheme::Utf8, inherit::scheme);
    let alerting = document
        .section("alerting")
        .map(|alerting| diagnostics.below("alerting", |d| AlertingConfig::of(alerting, scheme, d)));
    let mut config = Config {
        global: convert::global(document.section("global").unwrap_or(&document)),
        alerting: alerting.unwrap_or_default(),
        remote_write: remote_writes(&document, scheme, &mut diagnostics),
        remote_read: document.sections("remote_read").filter_map(RemoteReadConfig::of).collect(),
        otlp: OtlpConfig::of(document.section("otlp")),
        tracing: document.section("tracing").filter(|t| t.has("endpoint")).map(TracingConfig::of),
        storage: convert::storage(document.section("storage")),
        rule_files: document.texts("rule_files").map(PathBuf::from).collect(),
        scrape_config_files: document.texts("scrape_config_files").map(PathBuf::from).collect(),
        scrape_configs: jobs(&document, &mut diagnostics),
        document,
        warnings: Vec::new(),
        not_served,
    };
    config.global.external_labels = expanded;
    let mut errors = std::mem::take(&mut diagnostics.errors);
    config.warnings = std::mem::take(&mut diagnostics.warnings);
    if !options.without_included_files {
        include(&mut config, files, &mut errors)?;
    }
    if errors.is_empty() {
        Ok(config)
    } else {
        errors.sort_by(|a, b| {
            (a.file != name, &a.file, a.place).cmp(&(b.file != name, &b.file, b.place))
        });
        Err(ConfigError::Invalid(errors))
    }
}

/// Reads a document by its schema; `None` if not even its outline was right.
fn parse(text: &str, schema: &'static Schema, diagnostics: &mut Diagnostics) -> Option<Section> {
    match yaml::load(text) {
        Err(error) => {
            diagnostics.error(error.place, error.message);
            None
        }
        Ok(Some(node)) if !node.is_null() => decode::section(&node, schema, diagnostics),
        Ok(_) => Some(Section::with_defaults(schema, Place::default())),
    }
}

/// Fills in what depends on more than one section.
fn complete(document: &mut Section, options: &LoadOptions, diagnostics: &mut Diagnostics) {
    if !document.has("global") {
        let mut global = Section::with_defaults(&GLOBAL, Place::default());
        inherit::complete_global(&mut global);
        global.fill("metric_name_escaping_scheme", Value::Text("allow-utf-8".to_owned()));
        document.fill("global", Value::Section(global));
    }
    let unset = |global: &Section| {
        global.get("extra_scrape_metrics").is_none_or(|item| item.place.line == 0)
    };
    if let Some(Item { value: Value::Section(global), .. }) = document.get_mut("global")
        && options.extra_scrape_metrics
        && unset(global)
    {
        global.fill("extra_scrape_metrics", Value::Bool(true));
    }
    if let Some(Item { value: Value::Section(global), .. }) = document.get_mut("global")
        && options.protobuf_first
        && !global.has("scrape_protocols")
    {
        let protocols = ScrapeProtocol::DEFAULT_WITH_NATIVE_HISTOGRAMS;
        global.fill("scrape_protocols", inherit::protocols(&protocols));
    }
    for key in ["runtime", "storage"] {
        if !document.has(key)
            && let Some((_, field)) = document.schema().field(key)
        {
            document.set(
                key,
                crate::schema::Preset::Defaults
                    .value(field.kind)
                    .map(|value| Item { value, place: Place::default() }),
            );
        }
    }
    complete_retention(document, options);
    let Some(global) = document.section("global").cloned() else { return };
    let mut names = HashMap::new();
    let Some(Item { value: Value::List(items), .. }) = document.get_mut("scrape_configs") else {
        return;
    };
    for (i, item) in items.iter_mut().enumerate() {
        let Value::Section(job) = &mut item.value else { continue };
        if job.is_null() {
            continue;
        }
        diagnostics.below("scrape_configs", |d| {
            d.at_index(i, |d| {
                inherit::complete_job(job, &global, d);
                let name = job.text("job_name").to_owned();
                if let Some(first) = names.insert(name.clone(), job.place()) {
                    let message = format!(
                        "found multiple scrape configs with job name {} (the first is in line {})",
                        go_quote(&name),
                        first.line
                    );
                    d.error_at(job, "job_name", message);
                }
            });
        });
    }
}

fn complete_retention(document: &mut Section, options: &LoadOptions) {
    let preset = |retention: &mut Section| {
        let Retention { time, size_bytes, percentage } = options.retention;
        retention.fill("time", Value::Duration(time));
        retention.fill("size", Value::Size(i64::try_from(size_bytes).unwrap_or(i64::MAX)));
        retention.fill("percentage", Value::Float(percentage));
    };
    let Some(Item { value: Value::Section(storage), .. }) = document.get_mut("storage") else {
        return;
    };
    if storage.section("tsdb").is_none() {
        storage.fill("tsdb", Value::Section(Section::with_defaults(&root::TSDB, Place::default())));
    }
    let Some(Item { value: Value::Section(tsdb), .. }) = storage.get_mut("tsdb") else { return };
    if tsdb.section("retention").is_none() {
        tsdb.fill(
            "retention",
            Value::Section(Section::with_defaults(&root::RETENTION, Place::default())),
        );
    }
    if let Some(Item { value: Value::Section(retention), place }) = tsdb.get_mut("retention")
        && place.line == 0
    {
        preset(retention);
    }
}

/// Replaces `$name` and `${name}` in the values of `external_labels`.
fn expand_external_labels(
    document: &mut Section,
    files: &dyn ReadFiles,
    diagnostics: &mut Diagnostics,
) -> Labels {
    let Some(Item { value: Value::Section(global), .. }) = document.get_mut("global") else {
        return Labels::empty();
    };
    if let Some(Item { value: Value::Map(map), .. }) = global.get_mut("external_labels") {
        for item in map.values_mut() {
            let place = item.place;
            let Value::Text(text) = &mut item.value else { continue };
            *text = expand(text, |name| {
                let value = files.variable(name).unwrap_or_default();
                if value.is_empty() {
                    diagnostics.below("global", |d| {
                        d.below("external_labels", |d| {
                            d.warn(place, format!("Empty environment variable {name}"));
                        });
                    });
                }
                value
            });
        }
    }
    convert::labels(global, "external_labels")
}

/// Go's `os.Expand`, with `$$` for a dollar.
fn expand(text: &str, mut variable: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let (name, width) = shell_name(rest);
        match name {
            _ if rest.is_empty() => out.push('$'),
            "" if width == 0 => out.push('$'),
            "" => {}
            "$" => out.push('$'),
            name => out.push_str(&variable(name)),
        }
        rest = &rest[width..];
    }
    out.push_str(rest);
    out
}

/// The name that begins a text, and the bytes that it takes; no name but a width for bad syntax.
fn shell_name(text: &str) -> (&str, usize) {
    if let Some(inner) = text.strip_prefix('{') {
        return match inner.find('}') {
            Some(0) => ("", 2),
            Some(end) => (&inner[..end], end + 2),
            None => ("", 1),
        };
    }
    let special = |c: char| "*#$@!?-0123456789".contains(c);
    if text.starts_with(special) {
        return (&text[..1], 1);
    }
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    (&text[..end], end)
}

fn check_otlp_names(document: &Section, diagnostics: &mut Diagnostics) {
    let Some(otlp) = document.section("otlp") else { return };
    let strategy = otlp.text("translation_strategy");
    let legacy = document.section("global").map(inherit::scheme) == Some(ValidationScheme::Legacy);
    if legacy && matches!(strategy, "NoTranslation" | "NoUTF8EscapingWithSuffixes") {
        let message = format!(
            "OTLP translation strategy {} is not allowed when UTF8 is disabled",
            go_quote(strategy)
        );
        diagnostics.below("otlp", |d| d.error_at(otlp, "translation_strategy", message));
    }
}

/// The entries of `remote_write`, typed.
fn remote_writes(
    document: &Section,
    scheme: ValidationScheme,
    diagnostics: &mut Diagnostics,
) -> Vec<RemoteWriteConfig> {
    let all = document.sections("remote_write").enumerate().filter_map(|(i, remote)| {
        diagnostics
            .below("remote_write", |d| d.at_index(i, |d| RemoteWriteConfig::of(remote, scheme, d)))
    });
    all.collect()
}

/// The jobs of a document, typed.
fn jobs(document: &Section, diagnostics: &mut Diagnostics) -> Vec<ScrapeConfig> {
    let jobs = document.sections("scrape_configs").enumerate().filter(|(_, job)| !job.is_null());
    jobs.map(|(i, job)| {
        diagnostics.below("scrape_configs", |d| d.at_index(i, |d| convert::scrape(job, d)))
    })
    .collect()
}

/// Adds the jobs of `scrape_config_files`.
fn include(
    config: &mut Config,
    files: &dyn ReadFiles,
    errors: &mut Vec<Diagnostic>,
) -> Result<(), ConfigError> {
    let mut names: HashMap<String, String> = config
        .scrape_configs
        .iter()
        .map(|job| (job.job_name.clone(), "main config file".to_owned()))
        .collect();
    let global = config.document.section("global").cloned();
    let global = global.unwrap_or_else(|| Section::with_defaults(&GLOBAL, Place::default()));
    for pattern in config.scrape_config_files.clone() {
        let found = files
            .expand(&pattern)
            .map_err(|source| ConfigError::Read { path: pattern.clone(), source })?;
        for path in found {
            let text = files
                .read(&path)
                .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            let mut diagnostics = Diagnostics::new(&path.to_string_lossy());
            include_one(config, &path, &text, &global, &mut names, &mut diagnostics);
            errors.append(&mut diagnostics.errors);
            config.warnings.append(&mut diagnostics.warnings);
        }
    }
    Ok(())
}

fn include_one(
    config: &mut Config,
    path: &Path,
    text: &str,
    global: &Section,
    names: &mut HashMap<String, String>,
    diagnostics: &mut Diagnostics,
) {
    let Some(mut document) = parse(text, &root::SCRAPE_FILE, diagnostics) else { return };
    let file = go_quote(&path.to_string_lossy());
    if let Some(Item { value: Value::List(items), .. }) = document.get_mut("scrape_configs") {
        for (i, item) in items.iter_mut().enumerate() {
            let Value::Section(job) = &mut item.value else { continue };
            diagnostics.below("scrape_configs", |d| {
                d.at_index(i, |d| {
                    if job.is_null() {
                        return d.error(item.place, "empty or null scrape config section");
                    }
                    inherit::complete_job(job, global, d);
                    let name = job.text("job_name").to_owned();
                    if let Some(first) = names.get(&name) {
                        let message = format!(
                            "found multiple scrape configs with job name {}, first found in {first}",
                            go_quote(&name)
                        );
                        d.error_at(job, "job_name", message);
                    } else {
                        names.insert(name, file.clone());
                    }
                });
            });
        }
    }
    paths::set_directory(&mut document, path.parent().unwrap_or(Path::new("")));
    config.not_served.extend(served::not_served(&path.to_string_lossy(), &document));
    config.scrape_configs.extend(jobs(&document, diagnostics));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_variables_as_go_does() {
        let variable = |name: &str| match name {
            "A" => "1".to_owned(),
            _ => String::new(),
        };
        for (text, expected) in [
            ("$A-${A}", "1-1"),
            ("$$A", "$A"),
            ("a$", "a$"),
            ("${}x", "x"),
            ("${A", "A"),
            ("$-x", "x"),
            ("$ x", "$ x"),
            ("$B|", "|"),
        ] {
            assert_eq!(expand(text, variable), expected, "{text}");
        }
    }
}
