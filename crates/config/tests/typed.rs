//! What the typed values hold, and what the loader does beyond one text.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use firesteel_config::{
    AlertmanagerApi, Auth, AzureAdMethod, Credential, DiscoveryConfig, LoadOptions, ReadFiles,
    RemoteAuth, RemoteWriteMessage, Retention, ScrapeProtocol, TlsVersion, TracingClient,
    TranslationStrategy, embedded_default, fingerprint, load, load_str, load_target_groups,
};

/// Files in memory.
#[derive(Default)]
struct Files(BTreeMap<PathBuf, String>);

impl Files {
    fn with(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.into(), text.to_owned());
        self
    }
}

impl ReadFiles for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn expand(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let name = pattern.file_name().unwrap().to_str().unwrap();
        let same = |path: &&PathBuf| {
            path.parent() == pattern.parent()
                && firesteel_config::file_name_matches(
                    name,
                    path.file_name().unwrap().to_str().unwrap(),
                )
        };
        Ok(self.0.keys().filter(same).cloned().collect())
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOST").then(|| "pi".to_owned())
    }
}

#[test]
fn jobs_take_their_defaults_from_global() {
    let config = load_str(
        "p.yml",
        "
global: {scrape_interval: 5s, sample_limit: 100, scrape_native_histograms: true}
scrape_configs:
- job_name: a
- job_name: b
  scrape_interval: 1m
  scrape_timeout: 30s
  scrape_native_histograms: false
  metric_name_validation_scheme: legacy
  bearer_token_file: token
  tls_config: {ca_file: ca.pem, min_version: TLS13}
  relabel_configs: [{source_labels: [__address__], target_label: instance}]
",
    )
    .unwrap();
    let [a, b] = &config.scrape_configs[..] else { panic!() };
    assert_eq!(a.scrape_interval, Duration::from_secs(5));
    assert_eq!(a.scrape_timeout, Duration::from_secs(5));
    assert_eq!(a.limits.samples, 100);
    assert_eq!(a.scrape_protocols, ScrapeProtocol::DEFAULT_WITH_NATIVE_HISTOGRAMS);
    assert_eq!((a.metrics_path.as_str(), a.scheme.as_str()), ("/metrics", "http"));
    assert_eq!(b.scrape_protocols, ScrapeProtocol::DEFAULT);
    assert_eq!(b.scrape_timeout, Duration::from_secs(30));
    assert_eq!(b.name_escaping, firesteel_model::EscapingScheme::Underscores);
    assert_eq!(b.http.tls.min_version, Some(TlsVersion::Tls13));
    assert_eq!(b.http.tls.ca, Credential::File("ca.pem".into()));
    let Auth::Authorization(auth) = &b.http.auth else { panic!() };
    assert_eq!(
        (auth.scheme.as_str(), &auth.credentials),
        ("Bearer", &Credential::File("token".into()))
    );
    assert_eq!(b.relabel_configs.len(), 1);
}

#[test]
fn loads_further_jobs_and_joins_paths() {
    let files = Files::default()
        .with(
            "/etc/p/p.yml",
            "
global: {external_labels: {host: $HOST-1, none: '${NONE}'}}
scrape_config_files: [jobs/*.yml]
rule_files: [rules/*.yml]
runtime: {gogc: 50}
scrape_configs: [{job_name: a, file_sd_configs: [{files: [t/*.json]}]}]
",
        )
        .with("/etc/p/jobs/1.yml", "scrape_configs: [{job_name: b, bearer_token_file: tok}]")
        .with("/etc/p/jobs/2.yml", "scrape_configs: [{job_name: c, scrape_timeout: 2m}]")
        .with("/etc/p/jobs/3.yml", "scrape_configs: [{job_name: a}]\nglobal: {}");
    let error = load(Path::new("/etc/p/p.yml"), &files, &LoadOptions::default()).unwrap_err();
    let text = error.to_string();
    for expected in [
        "/etc/p/jobs/2.yml:1:48: scrape_configs[0].scrape_timeout: scrape timeout greater than scrape interval for scrape config with job name \"c\"",
        "found multiple scrape configs with job name \"a\", first found in main config file",
        "/etc/p/jobs/3.yml:2:1: global: field global not found in type config.ScrapeConfigs",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let mut files = files;
    files.0.remove(Path::new("/etc/p/jobs/2.yml"));
    files.0.remove(Path::new("/etc/p/jobs/3.yml"));
    let config = load(Path::new("/etc/p/p.yml"), &files, &LoadOptions::default()).unwrap();
    assert_eq!(config.scrape_configs.len(), 2);
    assert_eq!(config.rule_files, [Path::new("/etc/p/rules/*.yml")]);
    let DiscoveryConfig::File(sd) = &config.scrape_configs[0].discovery[0] else { panic!() };
    assert_eq!(sd.files, [Path::new("/etc/p/t/*.json")]);
    let Auth::Authorization(auth) = &config.scrape_configs[1].http.auth else { panic!() };
    assert_eq!(auth.credentials, Credential::File("/etc/p/jobs/tok".into()));
    assert_eq!(config.global.external_labels.to_string(), r#"{host="pi-1"}"#);
    assert!(config.warnings()[0].message.contains("NONE"));
    assert!(!config.to_yaml().contains("job_name: b"));
    assert!(config.not_served().iter().any(|n| n.key_path == "runtime.gogc"));
}

#[test]
fn lists_every_error_with_its_place() {
    let error = load_str(
        "p.yml",
        "
global:
  scrape_interval: 15
  evaluation_intervall: 15s
scrape_configs:
- job_name: a
  job_name: b
  sample_limit: many
  static_configs:
  - target: [x]
- scheme: https
remote_write:
- {}
storage: {tsdb: {retention: {percentage: 200}}}
",
    )
    .unwrap_err();
    let text = error.to_string();
    for expected in [
        "p.yml:3:20: global.scrape_interval: not a valid duration string: \"15\" (expected",
        "p.yml:4:3: global.evaluation_intervall: field evaluation_intervall not found in type config.plain (did you mean evaluation_interval?)",
        "p.yml:7:3: scrape_configs[0].job_name: field job_name already set in type config.ScrapeConfig",
        "p.yml:8:17: scrape_configs[0].sample_limit: expected a whole number, 0 or more, found `many`",
        "(did you mean targets?)",
        "p.yml:11:3: scrape_configs[1]: job_name is empty",
        "remote_write[0]: url for remote_write is empty",
        "storage.tsdb.retention.percentage: 'storage.tsdb.retention.percentage' must be in the range [0, 100], got 200",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert_eq!(error.diagnostics().len(), 8);
    assert!(text.starts_with("8 errors:\n"));
}

#[test]
fn alerting_is_typed() {
    let config = load_str(
        "p.yml",
        "
alerting:
  alert_relabel_configs: [{regex: replica, action: labeldrop}]
  alertmanagers:
  - static_configs: [{targets: [am:9093]}]
  - scheme: https
    path_prefix: /am
    timeout: 3s
    basic_auth: {username: me, password_file: pw}
    dns_sd_configs: [{names: [am.example.org]}]
    relabel_configs: [{source_labels: [__address__], regex: x, action: keep}]
    alert_relabel_configs: [{target_label: site, replacement: a}]
  - sigv4: {region: eu-west-1, access_key: a, secret_key: b}
",
    )
    .unwrap();
    let alerting = &config.alerting;
    assert_eq!(alerting.alert_relabel_configs.len(), 1);
    let [plain, other, signed] = &alerting.alertmanagers[..] else { panic!() };
    assert_eq!((plain.scheme.as_str(), plain.timeout), ("http", Duration::from_secs(10)));
    assert!(matches!(&plain.discovery[..], [DiscoveryConfig::Static(_)]));
    assert!(plain.http.follow_redirects && plain.http.enable_http2);
    assert_eq!((other.scheme.as_str(), other.path_prefix.as_str()), ("https", "/am"));
    assert_eq!((other.timeout, other.api_version), (Duration::from_secs(3), AlertmanagerApi::V2));
    let Auth::Basic(basic) = &other.http.auth else { panic!() };
    assert_eq!(basic.password, Credential::File("pw".into()));
    assert_eq!((other.discovery.len(), other.relabel_configs.len()), (1, 1));
    assert_eq!(other.alert_relabel_configs[0].target_label, "site");
    assert_eq!(signed.sigv4.as_ref().unwrap().secret_key.expose(), "b");

    let error = load_str(
        "p.yml",
        "
alerting:
  alert_relabel_configs: [{action: hashmod, target_label: x}]
  alertmanagers:
  - alert_relabel_configs: [{regex: '('}]
  - api_version: v1
",
    )
    .unwrap_err()
    .to_string();
    for expected in [
        "alerting.alert_relabel_configs[0]: relabel configuration for hashmod requires non-zero modulus",
        "alerting.alertmanagers[0].alert_relabel_configs[0].regex: error parsing regexp",
        "alerting.alertmanagers[1].api_version: expected Alertmanager api version to be one of [v2] but got v1",
    ] {
        assert!(error.contains(expected), "{expected}\n{error}");
    }
}

#[test]
fn remote_storage_otlp_and_tracing_are_typed() {
    let config = load_str(
        "p.yml",
        "
remote_write:
- url: http://a/write
- url: https://b/write
  name: second
  headers: {X-Tenant: t}
  protobuf_message: io.prometheus.write.v2.Request
  send_exemplars: true
  write_relabel_configs: [{source_labels: [__name__], regex: up, action: keep}]
  queue_config: {max_shards: 7, min_backoff: 1s}
  metadata_config: {send: false}
  azuread: {oauth: {client_id: 00000000-0000-0000-0000-000000000000, client_secret: s, tenant_id: t}}
remote_read:
- url: http://a/read
  required_matchers: {job: a}
  read_recent: true
otlp: {promote_resource_attributes: [service.name], translation_strategy: NoTranslation}
tracing: {endpoint: 'localhost:4317', client_type: http, sampling_fraction: 0.5, compression: gzip}
",
    )
    .unwrap();
    let [plain, other] = &config.remote_write[..] else { panic!() };
    assert_eq!((plain.url.as_str(), plain.remote_timeout.as_secs()), ("http://a/write", 30));
    assert_eq!((plain.queue.capacity, plain.queue.max_shards), (10_000, 50));
    assert!(!plain.http.enable_http2 && plain.metadata.send);
    assert_eq!(plain.auth, RemoteAuth::None);
    assert_eq!((other.message, other.send_exemplars), (RemoteWriteMessage::V2, true));
    assert_eq!(other.headers, [("X-Tenant".to_owned(), "t".to_owned())]);
    assert_eq!((other.queue.max_shards, other.queue.min_shards), (7, 1));
    assert_eq!((other.queue.min_backoff.as_secs(), other.metadata.send), (1, false));
    let RemoteAuth::AzureAd(azure) = &other.auth else { panic!() };
    assert_eq!(azure.cloud, "AzurePublic");
    assert!(matches!(&azure.method, AzureAdMethod::OAuth { client_secret, .. }
        if client_secret.expose() == "s"));
    let read = &config.remote_read[0];
    assert_eq!(read.required_matchers.to_string(), r#"{job="a"}"#);
    assert!(read.read_recent && read.filter_external_labels);
    assert_eq!((read.remote_timeout.as_secs(), read.chunked_read_limit), (60, 50_000_000));
    assert_eq!(config.otlp.translation_strategy, TranslationStrategy::NoTranslation);
    assert!(config.otlp.label_name_underscore_sanitization);
    let tracing = config.tracing.unwrap();
    assert_eq!((tracing.client, tracing.sampling_fraction), (TracingClient::Http, 0.5));
    assert!(tracing.gzip && !tracing.insecure);
    assert_eq!(load_str("p.yml", "tracing:").unwrap().tracing, None);
}

#[test]
fn secrets_are_not_printed() {
    let text = "
scrape_configs:
- job_name: a
  basic_auth: {username: me, password: hunter2}
- job_name: b
  authorization: {credentials: hunter2}
  proxy_url: http://me:hunter2@proxy
  http_headers: {X-Key: {secrets: [hunter2]}}
- job_name: c
  consul_sd_configs: [{token: hunter2}]
";
    let config = load_str("p.yml", text).unwrap();
    assert!(!config.to_yaml().contains("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    assert!(config.to_yaml().contains("password: <secret>"));
}

#[test]
fn retention_comes_from_the_options_unless_configured() {
    let mut options = LoadOptions::default();
    options.retention = Retention::new(Duration::from_secs(86_400), 0, 0.0);
    let files = Files::default()
        .with("a.yml", "global: {}")
        .with("b.yml", "storage: {tsdb: {retention: {size: 1GB}}}");
    let a = load(Path::new("a.yml"), &files, &options).unwrap();
    assert_eq!(a.storage.retention.time, Duration::from_secs(86_400));
    assert!(a.to_yaml().contains("    retention:\n      time: 1d\n"));
    let b = load(Path::new("b.yml"), &files, &options).unwrap();
    assert_eq!(
        (b.storage.retention.time, b.storage.retention.size_bytes),
        (Duration::ZERO, 1 << 30)
    );
}

#[test]
fn scrapes_itself_without_a_file() {
    let config = embedded_default("localhost:9090");
    let job = &config.scrape_configs[0];
    assert_eq!(
        (job.job_name.as_str(), job.scrape_interval),
        ("prometheus", Duration::from_secs(15))
    );
    let DiscoveryConfig::Static(groups) = &job.discovery[0] else { panic!() };
    assert_eq!(groups[0].targets, ["localhost:9090"]);
    assert!(config.not_served().is_empty());
    assert_eq!(embedded_default("[::1]:9090").scrape_configs.len(), 1);
    assert_eq!(embedded_default("a/b: c").scrape_configs.len(), 1);
}

#[test]
fn agents_refuse_what_they_do_not_do() {
    let config = load_str("p.yml", "rule_files: [a.yml]").unwrap();
    let error = config.check_agent("p.yml").unwrap_err().to_string();
    assert_eq!(error, "p.yml:1:13: rule_files: field rule_files is not allowed in agent mode");
    load_str("p.yml", "").unwrap().check_agent("p.yml").unwrap();
}

#[test]
fn reads_target_groups() {
    let groups = load_target_groups("t.yml", "- targets: [a:1, b]\n  labels: {x: 1}\n").unwrap();
    assert_eq!(groups[0].targets, ["a:1", "b"]);
    assert_eq!(groups[0].labels.to_string(), r#"{x="1"}"#);
    assert!(load_target_groups("t.yml", "").unwrap().is_empty());
    for bad in ["- null", "a: b", "- targets: a", "- job: a"] {
        assert!(load_target_groups("t.yml", bad).is_err(), "{bad}");
    }
}

#[test]
fn fingerprints_follow_every_file_that_a_configuration_names() {
    let main = "rule_files: [r/*.yml]\nscrape_config_files: ['/jobs/*']\nnonsense: 1\n";
    let files = || {
        Files::default()
            .with("/etc/p.yml", main)
            .with("/etc/r/a.yml", "a")
            .with("/jobs/b", "b")
            .with("/jobs.yml", "not matched")
    };
    let of = |files: &Files| fingerprint(Path::new("/etc/p.yml"), files);
    let before = of(&files()).unwrap();
    assert_eq!(of(&files()).unwrap(), before);
    assert_eq!(of(&files().with("/jobs.yml", "changed")).unwrap(), before);
    let mut renamed = files();
    let rules = renamed.0.remove(Path::new("/etc/r/a.yml")).unwrap();
    let renamed = renamed.with("/etc/r/b.yml", &rules);
    for (what, changed) in [
        ("main file", files().with("/etc/p.yml", &format!("{main}#\n"))),
        ("rule file", files().with("/etc/r/a.yml", "ab")),
        ("further jobs", files().with("/jobs/b", "ab")),
        ("new file", files().with("/jobs/c", "")),
        ("name", renamed),
    ] {
        assert_ne!(of(&changed).unwrap(), before, "{what}");
    }
    assert!(of(&Files::default()).is_err());
    assert!(of(&files().with("/etc/p.yml", "a: [")).is_err());
    for text in ["", "- a", "rule_files: a", "rule_files: [[a]]"] {
        of(&files().with("/etc/p.yml", text)).unwrap();
    }
}
