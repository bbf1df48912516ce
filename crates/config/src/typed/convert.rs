//! Sections to typed values. A section has passed its schema; what is left to refuse here is what
//! only the typed value can tell, such as a regular expression that does not compile.

use std::{path::PathBuf, time::Duration};

use firesteel_model::{
    EscapingScheme, Labels, ValidationScheme,
    regex::Regex,
    relabel::{Action, RelabelConfig},
};

use super::{
    discovery::{DiscoveryConfig, FileSdConfig, HttpSdConfig, StaticGroup},
    global::{GlobalConfig, ScrapeLimits, ScrapeProtocol},
    http::{
        Auth, Authorization, BasicAuth, Credential, HttpClientConfig, HttpHeader, OAuth2,
        ProxyConfig, TlsConfig, TlsVersion,
    },
    mechanisms::{
        ConsulSdConfig, DigitalOceanSdConfig, DnsSdConfig, DockerSdConfig, Ec2SdConfig,
        HetznerSdConfig, KubernetesSdConfig,
    },
    scrape::ScrapeConfig,
    storage::{FloatEncoding, Retention, StorageConfig},
};
use crate::{
    Secret, Url,
    diagnose::Diagnostics,
    inherit,
    schema::discovery::MECHANISMS,
    value::{Item, Section, Value},
};

pub(crate) fn path(section: &Section, key: &str) -> Option<PathBuf> {
    let text = section.text(key);
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn texts(section: &Section, key: &str) -> Vec<String> {
    section.texts(key).map(str::to_owned).collect()
}

/// Labels of a map; empty values are left out.
pub(crate) fn labels(section: &Section, key: &str) -> Labels {
    Labels::from_pairs(
        section.pairs(key).map(|(name, item)| (name, item.value.as_text().unwrap_or_default())),
    )
}

/// A text that is given here, or in a file.
pub(crate) fn credential(section: &Section, inline: &str, file: &str) -> Credential {
    let secret = match section.get(inline).map(|item| &item.value) {
        Some(Value::Secret(secret)) => secret.clone(),
        Some(Value::Text(text)) => Secret::new(text.clone()),
        _ => Secret::default(),
    };
    if !secret.is_empty() {
        Credential::Inline(secret)
    } else if let Some(path) = path(section, file) {
        Credential::File(path)
    } else {
        Credential::None
    }
}

pub(crate) fn tls_version(section: &Section, key: &str) -> Option<TlsVersion> {
    match section.text(key) {
        "TLS10" => Some(TlsVersion::Tls10),
        "TLS11" => Some(TlsVersion::Tls11),
        "TLS12" => Some(TlsVersion::Tls12),
        "TLS13" => Some(TlsVersion::Tls13),
        _ => None,
    }
}

pub(crate) fn tls(section: Option<&Section>) -> TlsConfig {
    let Some(tls) = section else { return TlsConfig::default() };
    TlsConfig {
        ca: credential(tls, "ca", "ca_file"),
        cert: credential(tls, "cert", "cert_file"),
        key: credential(tls, "key", "key_file"),
        server_name: Some(tls.text("server_name").to_owned()).filter(|name| !name.is_empty()),
        insecure_skip_verify: tls.flag("insecure_skip_verify"),
        min_version: tls_version(tls, "min_version"),
        max_version: tls_version(tls, "max_version"),
    }
}

fn proxy(section: &Section) -> ProxyConfig {
    let secrets = |item: &Item| match &item.value {
        Value::List(items) => items.iter().filter_map(secret).collect(),
        _ => Vec::new(),
    };
    ProxyConfig {
        url: section.url("proxy_url").filter(|url| !url.as_str().is_empty()).cloned(),
        no_proxy: section.text("no_proxy").to_owned(),
        from_environment: section.flag("proxy_from_environment"),
        connect_headers: section
            .pairs("proxy_connect_header")
            .map(|(name, item)| (name.to_owned(), secrets(item)))
            .collect(),
    }
}

fn secret(item: &Item) -> Option<Secret> {
    match &item.value {
        Value::Secret(secret) => Some(secret.clone()),
        _ => None,
    }
}

fn oauth2(section: &Section) -> OAuth2 {
    let text = |key| section.text(key).to_owned();
    OAuth2 {
        client_id: text("client_id"),
        client_secret: credential(section, "client_secret", "client_secret_file"),
        client_certificate_key: credential(
            section,
            "client_certificate_key",
            "client_certificate_key_file",
        ),
        client_certificate_key_id: text("client_certificate_key_id"),
        grant_type: text("grant_type"),
        signature_algorithm: text("signature_algorithm"),
        issuer: text("iss"),
        audience: text("audience"),
        claims: section
            .pairs("claims")
            .map(|(k, v)| (k.to_owned(), v.value.as_text().unwrap_or_default().to_owned()))
            .collect(),
        scopes: texts(section, "scopes"),
        token_url: text("token_url"),
        endpoint_params: section
            .pairs("endpoint_params")
            .map(|(k, v)| (k.to_owned(), v.value.as_text().unwrap_or_default().to_owned()))
            .collect(),
        tls: tls(section.section("tls_config")),
        proxy: proxy(section),
    }
}

/// The HTTP client of any section that has one.
pub(crate) fn http_client(section: &Section) -> HttpClientConfig {
    let auth = if let Some(basic) = section.section("basic_auth") {
        Auth::Basic(BasicAuth {
            username: credential(basic, "username", "username_file"),
            password: credential(basic, "password", "password_file"),
        })
    } else if let Some(authorization) = section.section("authorization") {
        Auth::Authorization(Authorization {
            scheme: authorization.text("type").to_owned(),
            credentials: credential(authorization, "credentials", "credentials_file"),
        })
    } else if let Some(section) = section.section("oauth2") {
        Auth::OAuth2(Box::new(oauth2(section)))
    } else {
        Auth::None
    };
    let header = |(name, item): (&str, &Item)| {
        let header = item.value.as_section()?;
        Some(HttpHeader {
            name: name.to_owned(),
            values: texts(header, "values"),
            secrets: header.list("secrets").iter().filter_map(secret).collect(),
            files: header.texts("files").map(PathBuf::from).collect(),
        })
    };
    HttpClientConfig {
        auth,
        tls: tls(section.section("tls_config")),
        follow_redirects: section.flag("follow_redirects"),
        enable_http2: section.flag("enable_http2"),
        proxy: proxy(section),
        headers: section.pairs("http_headers").filter_map(header).collect(),
    }
}

/// The rules under a key; those that Prometheus refuses are reported.
pub(crate) fn relabel_configs(
    section: &Section,
    key: &str,
    scheme: ValidationScheme,
    diagnostics: &mut Diagnostics,
) -> Vec<RelabelConfig> {
    let rules = section.sections(key).enumerate().filter_map(|(i, rule)| {
        diagnostics.below(key, |d| d.at_index(i, |d| relabel_config(rule, scheme, d)))
    });
    rules.collect()
}

fn relabel_config(
    rule: &Section,
    scheme: ValidationScheme,
    diagnostics: &mut Diagnostics,
) -> Option<RelabelConfig> {
    if rule.is_null() {
        return None;
    }
    let Ok(action) = rule.text("action").parse::<Action>() else {
        diagnostics.error_at(rule, "action", "relabel action cannot be empty");
        return None;
    };
    let mut config = RelabelConfig {
        source_labels: texts(rule, "source_labels"),
        separator: rule.text("separator").to_owned(),
        modulus: rule.uint("modulus"),
        target_label: rule.text("target_label").to_owned(),
        replacement: rule.text("replacement").to_owned(),
        ..RelabelConfig::new(action)
    };
    for (i, label) in config.source_labels.iter().enumerate() {
        if label.is_empty() {
            let message = "\"\" is not a valid label name";
            diagnostics.below("source_labels", |d| d.at_index(i, |d| d.error_in(rule, message)));
        }
    }
    // The default is the shared one, by which the model tells it from the same text in a file.
    if rule.get("regex").is_some() {
        match Regex::anchored(rule.text("regex")) {
            Ok(regex) => config.regex = regex,
            Err(error) => {
                diagnostics.error_at(rule, "regex", error.to_string());
                return None;
            }
        }
    }
    match config.validate(scheme) {
        Ok(()) => Some(config),
        Err(error) => {
            diagnostics.error_in(rule, error.to_string());
            None
        }
    }
}

/// One entry of `static_configs`.
pub(crate) fn static_group(group: &Section) -> StaticGroup {
    StaticGroup::new(texts(group, "targets"), labels(group, "labels"))
}

/// Every mechanism that a section uses: static groups first, the rest as Prometheus prints them.
pub(crate) fn discovery(section: &Section) -> Vec<DiscoveryConfig> {
    let mut all = Vec::new();
    let groups: Vec<_> = section.sections("static_configs").map(static_group).collect();
    if !groups.is_empty() {
        all.push(DiscoveryConfig::Static(groups));
    }
    for field in MECHANISMS.iter().filter(|f| f.name != "static_configs") {
        all.extend(section.sections(field.name).map(|one| mechanism(field.name, one)));
    }
    all
}

/// One entry of a mechanism's list.
fn mechanism(key: &'static str, section: &Section) -> DiscoveryConfig {
    let other = || DiscoveryConfig::Other { key, section: section.clone() };
    match key {
        "file_sd_configs" => DiscoveryConfig::File(FileSdConfig {
            files: section.texts("files").map(PathBuf::from).collect(),
            refresh_interval: section.duration("refresh_interval"),
        }),
        // The schema has checked the URL; where it did not like it, this is never served.
        "http_sd_configs" => Url::parse(section.text("url")).map_or_else(
            |_| other(),
            |url| {
                DiscoveryConfig::Http(Box::new(HttpSdConfig {
                    url,
                    refresh_interval: section.duration("refresh_interval"),
                    http: http_client(section),
                }))
            },
        ),
        // Where the schema did not like a value, nothing of this is ever served.
        "kubernetes_sd_configs" => KubernetesSdConfig::of(section)
            .map_or_else(other, |config| DiscoveryConfig::Kubernetes(Box::new(config))),
        "dns_sd_configs" => DnsSdConfig::of(section).map_or_else(other, DiscoveryConfig::Dns),
        "consul_sd_configs" => DiscoveryConfig::Consul(Box::new(ConsulSdConfig::of(section))),
        "docker_sd_configs" | "dockerswarm_sd_configs" => {
            DockerSdConfig::of(section, key == "dockerswarm_sd_configs")
                .map_or_else(other, |config| DiscoveryConfig::Docker(Box::new(config)))
        }
        "ec2_sd_configs" => DiscoveryConfig::Ec2(Box::new(Ec2SdConfig::of(section))),
        "hetzner_sd_configs" => DiscoveryConfig::Hetzner(Box::new(HetznerSdConfig::of(section))),
        "digitalocean_sd_configs" => {
            DiscoveryConfig::DigitalOcean(Box::new(DigitalOceanSdConfig::of(section)))
        }
        _ => other(),
    }
}

fn limits(section: &Section) -> ScrapeLimits {
    ScrapeLimits {
        body_size: section.uint("body_size_limit"),
        samples: section.uint("sample_limit"),
        targets: section.uint("target_limit"),
        labels: section.uint("label_limit"),
        label_name_length: section.uint("label_name_length_limit"),
        label_value_length: section.uint("label_value_length_limit"),
        keep_dropped_targets: section.uint("keep_dropped_targets"),
        native_histogram_buckets: section.uint("native_histogram_bucket_limit"),
    }
}

/// A completed job.
pub(crate) fn scrape(job: &Section, diagnostics: &mut Diagnostics) -> ScrapeConfig {
    let scheme = inherit::scheme(job);
    let params = job.pairs("params").map(|(name, item)| {
        let values = match &item.value {
            Value::List(items) => {
                items.iter().filter_map(|i| i.value.as_text()).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        (name.to_owned(), values)
    });
    ScrapeConfig {
        job_name: job.text("job_name").to_owned(),
        scrape_interval: job.duration("scrape_interval"),
        scrape_timeout: job.duration("scrape_timeout"),
        scrape_protocols: job
            .texts("scrape_protocols")
            .filter_map(ScrapeProtocol::from_name)
            .collect(),
        fallback_scrape_protocol: ScrapeProtocol::from_name(job.text("fallback_scrape_protocol")),
        scrape_native_histograms: job.flag("scrape_native_histograms"),
        always_scrape_classic_histograms: job.flag("always_scrape_classic_histograms"),
        convert_classic_histograms_to_nhcb: job.flag("convert_classic_histograms_to_nhcb"),
        extra_scrape_metrics: job.flag("extra_scrape_metrics"),
        metrics_path: job.text("metrics_path").to_owned(),
        scheme: job.text("scheme").to_owned(),
        params: params.collect(),
        honor_labels: job.flag("honor_labels"),
        honor_timestamps: job.flag("honor_timestamps"),
        track_timestamps_staleness: job.flag("track_timestamps_staleness"),
        enable_compression: job.flag("enable_compression"),
        limits: limits(job),
        native_histogram_min_bucket_factor: job.float("native_histogram_min_bucket_factor"),
        name_validation: scheme,
        name_escaping: EscapingScheme::from_name(job.text("metric_name_escaping_scheme"))
            .unwrap_or_default(),
        scrape_failure_log_file: path(job, "scrape_failure_log_file"),
        http: http_client(job),
        discovery: discovery(job),
        relabel_configs: relabel_configs(job, "relabel_configs", scheme, diagnostics),
        metric_relabel_configs: relabel_configs(job, "metric_relabel_configs", scheme, diagnostics),
    }
}

/// The completed section `global`.
pub(crate) fn global(global: &Section) -> GlobalConfig {
    GlobalConfig {
        scrape_interval: global.duration("scrape_interval"),
        scrape_timeout: global.duration("scrape_timeout"),
        evaluation_interval: global.duration("evaluation_interval"),
        rule_query_offset: global.duration("rule_query_offset"),
        external_labels: labels(global, "external_labels"),
        query_log_file: path(global, "query_log_file"),
        name_validation: inherit::scheme(global),
    }
}

/// The section `storage`.
pub(crate) fn storage(storage: Option<&Section>) -> StorageConfig {
    let mut config = StorageConfig::default();
    if let Some(tsdb) = storage.and_then(|s| s.section("tsdb")) {
        config.out_of_order_time_window = tsdb.duration("out_of_order_time_window");
        config.stale_series_compaction_threshold = tsdb.float("stale_series_compaction_threshold");
        config.float_encoding =
            match tsdb.section("chunk_encoding").map_or("", |c| c.text("floats")) {
                "xor" => Some(FloatEncoding::Xor),
                "xor2" => Some(FloatEncoding::Xor2),
                _ => None,
            };
        config.retention = retention(tsdb.section("retention"));
    }
    config.max_exemplars =
        storage.and_then(|s| s.section("exemplars")).map(|e| e.int("max_exemplars"));
    config
}

fn retention(section: Option<&Section>) -> Retention {
    Retention {
        time: section.map_or(Duration::ZERO, |r| r.duration("time")),
        size_bytes: section.map_or(0, |r| r.uint("size")),
        percentage: section.map_or(0.0, |r| r.float("percentage")),
    }
}
