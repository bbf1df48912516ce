//! Every configuration of Prometheus' own tests, and those that people run.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::path::{Path, PathBuf};

use firesteel_config::{Config, ConfigError, LoadOptions, OsFiles, load};

/// The folder of conformance data, if this machine has it.
fn conformance(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("FIRESTEEL_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"),
        PathBuf::from,
    );
    let folder = root.join(folder);
    if !folder.is_dir() {
        skipped(&format!("conformance data not found ({})", folder.display()));
        return None;
    }
    Some(folder)
}

fn try_load(path: &Path) -> Result<Config, ConfigError> {
    load(path, &OsFiles, &LoadOptions::default())
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yml" || e == "yaml"))
        .collect();
    files.sort();
    files
}

/// What Prometheus says about its bad configurations.
const BAD: &[(&str, &str)] = &[
    ("jobname.bad.yml", "job_name is empty"),
    ("jobname_dup.bad.yml", "found multiple scrape configs with job name \"prometheus\""),
    ("scrape_interval.bad.yml", "scrape timeout greater than scrape interval"),
    ("labelname.bad.yml", "\"\\xff\" is not a valid label name"),
    ("labelvalue.bad.yml", "\"\\xff\" is not a valid label value"),
    ("regex.bad.yml", "error parsing regexp"),
    ("modulus_missing.bad.yml", "relabel configuration for hashmod requires non-zero modulus"),
    ("labelkeep.bad.yml", "labelkeep action requires only 'regex', and no other fields"),
    ("labelkeep2.bad.yml", "labelkeep action requires only 'regex', and no other fields"),
    ("labelkeep3.bad.yml", "labelkeep action requires only 'regex', and no other fields"),
    ("labelkeep4.bad.yml", "labelkeep action requires only 'regex', and no other fields"),
    ("labelkeep5.bad.yml", "labelkeep action requires only 'regex', and no other fields"),
    ("labeldrop.bad.yml", "labeldrop action requires only 'regex', and no other fields"),
    ("labeldrop2.bad.yml", "labeldrop action requires only 'regex', and no other fields"),
    ("labeldrop3.bad.yml", "labeldrop action requires only 'regex', and no other fields"),
    ("labeldrop4.bad.yml", "labeldrop action requires only 'regex', and no other fields"),
    ("labeldrop5.bad.yml", "labeldrop action requires only 'regex', and no other fields"),
    (
        "dropequal.bad.yml",
        "relabel configuration for dropequal action requires 'target_label' value",
    ),
    (
        "dropequal1.bad.yml",
        "dropequal action requires only 'source_labels' and `target_label`, and no other fields",
    ),
    (
        "keepequal.bad.yml",
        "relabel configuration for keepequal action requires 'target_label' value",
    ),
    (
        "keepequal1.bad.yml",
        "keepequal action requires only 'source_labels' and `target_label`, and no other fields",
    ),
    ("labelmap.bad.yml", "!!binary value contains invalid base64 data"),
    (
        "lowercase.bad.yml",
        "relabel configuration for lowercase action requires 'target_label' value",
    ),
    ("lowercase3.bad.yml", "'replacement' can not be set for lowercase action"),
    (
        "uppercase.bad.yml",
        "relabel configuration for uppercase action requires 'target_label' value",
    ),
    ("uppercase3.bad.yml", "'replacement' can not be set for uppercase action"),
    ("rules.bad.yml", "invalid rule file path"),
    ("unknown_attr.bad.yml", "field consult_sd_configs not found in type"),
    ("bearertoken.bad.yml", "at most one of bearer_token & bearer_token_file must be configured"),
    (
        "bearertoken_basicauth.bad.yml",
        "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
    ),
    (
        "kubernetes_http_config_without_api_server.bad.yml",
        "to use custom HTTP client configuration please provide the 'api_server' URL explicitly",
    ),
    (
        "kubernetes_kubeconfig_with_own_namespace.bad.yml",
        "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously",
    ),
    (
        "kubernetes_api_server_with_own_namespace.bad.yml",
        "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously",
    ),
    (
        "kubernetes_kubeconfig_with_apiserver.bad.yml",
        "cannot use 'kubeconfig_file' and 'api_server' simultaneously",
    ),
    (
        "kubernetes_kubeconfig_with_http_config.bad.yml",
        "cannot use a custom HTTP client configuration together with 'kubeconfig_file'",
    ),
    (
        "kubernetes_bearertoken.bad.yml",
        "at most one of bearer_token & bearer_token_file must be configured",
    ),
    ("kubernetes_role.bad.yml", "role"),
    (
        "kubernetes_selectors_endpoints.bad.yml",
        "endpoints role supports only pod, service, endpoints selectors",
    ),
    ("kubernetes_selectors_ingress.bad.yml", "ingress role supports only ingress selectors"),
    ("kubernetes_selectors_node.bad.yml", "node role supports only node selectors"),
    ("kubernetes_selectors_pod.bad.yml", "pod role supports only pod, node selectors"),
    ("kubernetes_selectors_service.bad.yml", "service role supports only service selectors"),
    ("kubernetes_namespace_discovery.bad.yml", "field foo not found in type kubernetes.plain"),
    ("kubernetes_selectors_duplicated_role.bad.yml", "duplicated selector role: pod"),
    (
        "kubernetes_selectors_incorrect_selector.bad.yml",
        "invalid selector: 'metadata.status-Running'; can't understand 'metadata.status-Running'",
    ),
    (
        "kubernetes_bearertoken_basicauth.bad.yml",
        "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
    ),
    (
        "kubernetes_authorization_basicauth.bad.yml",
        "at most one of basic_auth, oauth2 & authorization must be configured",
    ),
    ("marathon_no_servers.bad.yml", "marathon_sd: must contain at least one Marathon server"),
    (
        "marathon_authtoken_authtokenfile.bad.yml",
        "marathon_sd: at most one of auth_token & auth_token_file must be configured",
    ),
    (
        "marathon_authtoken_basicauth.bad.yml",
        "marathon_sd: at most one of basic_auth, auth_token & auth_token_file must be configured",
    ),
    (
        "marathon_authtoken_bearertoken.bad.yml",
        "marathon_sd: at most one of bearer_token, bearer_token_file, auth_token & auth_token_file must be configured",
    ),
    (
        "marathon_authtoken_authorization.bad.yml",
        "marathon_sd: at most one of auth_token, auth_token_file & authorization must be configured",
    ),
    ("openstack_role.bad.yml", "unknown OpenStack SD role"),
    (
        "openstack_availability.bad.yml",
        "unknown availability invalid, must be one of admin, internal or public",
    ),
    ("url_in_targetgroup.bad.yml", "\"http://bad\" is not a valid hostname"),
    (
        "target_label_missing.bad.yml",
        "relabel configuration for replace action requires 'target_label' value",
    ),
    (
        "target_label_hashmod_missing.bad.yml",
        "relabel configuration for hashmod action requires 'target_label' value",
    ),
    ("unknown_global_attr.bad.yml", "field nonexistent_field not found in type config.plain"),
    ("remote_read_url_missing.bad.yml", "url for remote_read is empty"),
    (
        "remote_write_header.bad.yml",
        "x-prometheus-remote-write-version is a reserved header. It must not be changed",
    ),
    (
        "remote_read_header.bad.yml",
        "x-prometheus-remote-write-version is a reserved header. It must not be changed",
    ),
    (
        "remote_write_authorization_header.bad.yml",
        "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam parameter",
    ),
    (
        "remote_write_wrong_msg.bad.yml",
        "invalid protobuf_message value: unknown type for remote write protobuf message io.prometheus.writet.v2.Request, supported: prometheus.WriteRequest, io.prometheus.write.v2.Request",
    ),
    ("remote_write_url_missing.bad.yml", "url for remote_write is empty"),
    ("remote_write_dup.bad.yml", "found multiple remote write configs with job name \"queue1\""),
    (
        "remote_write_queue_max_samples_per_send_zero.bad.yml",
        "remote write queue max_samples_per_send must be positive",
    ),
    (
        "remote_write_queue_max_shards_zero.bad.yml",
        "remote write queue max_shards must be positive",
    ),
    (
        "remote_write_queue_min_shards_zero.bad.yml",
        "remote write queue min_shards must be positive",
    ),
    ("remote_write_queue_capacity_zero.bad.yml", "remote write queue capacity must be positive"),
    (
        "remote_write_queue_min_shards_greater_than_max.bad.yml",
        "remote write queue min_shards must not be greater than max_shards",
    ),
    (
        "remote_write_queue_max_backoff_less_than_min.bad.yml",
        "remote write queue max_backoff must not be less than min_backoff",
    ),
    ("remote_read_dup.bad.yml", "found multiple remote read configs with job name \"queue1\""),
    ("ec2_filters_empty_values.bad.yml", "EC2 SD configuration filter values cannot be empty"),
    (
        "ec2_token_file.bad.yml",
        "at most one of bearer_token & bearer_token_file must be configured",
    ),
    (
        "lightsail_token_file.bad.yml",
        "at most one of bearer_token & bearer_token_file must be configured",
    ),
    ("section_key_dup.bad.yml", "field scrape_configs already set in type config.plain"),
    ("azure_client_id_missing.bad.yml", "azure SD configuration requires a client_id"),
    ("azure_client_secret_missing.bad.yml", "azure SD configuration requires a client_secret"),
    ("azure_subscription_id_missing.bad.yml", "azure SD configuration requires a subscription_id"),
    ("azure_tenant_id_missing.bad.yml", "azure SD configuration requires a tenant_id"),
    (
        "azure_authentication_method.bad.yml",
        "unknown authentication_type \"invalid\". Supported types are \"OAuth\", \"ManagedIdentity\", \"SDK\" or \"WorkloadIdentity\"",
    ),
    (
        "oci_authentication_method.bad.yml",
        "oci_sd: unknown auth method \"invalid\", expected \"api_key\" or \"instance_principal\"",
    ),
    (
        "azure_bearertoken_basicauth.bad.yml",
        "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
    ),
    ("empty_scrape_config.bad.yml", "empty or null scrape config section"),
    ("empty_rw_config.bad.yml", "empty or null remote write config section"),
    ("empty_rr_config.bad.yml", "empty or null remote read config section"),
    ("empty_target_relabel_config.bad.yml", "empty or null target relabeling rule"),
    ("empty_metric_relabel_config.bad.yml", "empty or null metric relabeling rule"),
    ("empty_alert_relabel_config.bad.yml", "empty or null alert relabeling rule"),
    (
        "empty_alertmanager_relabel_config.bad.yml",
        "empty or null Alertmanager target relabeling rule",
    ),
    ("empty_rw_relabel_config.bad.yml", "empty or null relabeling rule in remote write config"),
    ("empty_static_config.bad.yml", "empty or null section in static_configs"),
    ("puppetdb_no_query.bad.yml", "query missing"),
    ("puppetdb_no_url.bad.yml", "URL is missing"),
    ("puppetdb_bad_url.bad.yml", "host is missing in URL"),
    ("puppetdb_no_scheme.bad.yml", "URL scheme must be 'http' or 'https'"),
    (
        "puppetdb_token_file.bad.yml",
        "at most one of bearer_token & bearer_token_file must be configured",
    ),
    ("hetzner_role.bad.yml", "unknown role"),
    ("eureka_no_server.bad.yml", "empty or null eureka server"),
    ("eureka_invalid_server.bad.yml", "invalid eureka server URL"),
    ("scaleway_role.bad.yml", "unknown role \"invalid\""),
    ("scaleway_no_secret.bad.yml", "one of secret_key & secret_key_file must be configured"),
    (
        "scaleway_two_secrets.bad.yml",
        "at most one of secret_key & secret_key_file must be configured",
    ),
    ("outscale_no_region.bad.yml", "outscale SD configuration requires a region"),
    ("outscale_no_secret.bad.yml", "one of secret_key & secret_key_file must be configured"),
    (
        "outscale_two_secrets.bad.yml",
        "at most one of secret_key & secret_key_file must be configured",
    ),
    ("scrape_body_size_limit.bad.yml", "units: unknown unit  in 100"),
    ("http_url_no_scheme.bad.yml", "URL scheme must be 'http' or 'https'"),
    ("http_url_no_host.bad.yml", "host is missing in URL"),
    (
        "http_token_file.bad.yml",
        "at most one of bearer_token & bearer_token_file must be configured",
    ),
    ("http_url_bad_scheme.bad.yml", "URL scheme must be 'http' or 'https'"),
    ("empty_scrape_config_action.bad.yml", "relabel action cannot be empty"),
    ("tracing_missing_endpoint.bad.yml", "tracing endpoint must be set"),
    (
        "tracing_invalid_header.bad.yml",
        "x-prometheus-remote-write-version is a reserved header. It must not be changed",
    ),
    (
        "tracing_invalid_authorization_header.bad.yml",
        "authorization header configuration is not yet supported",
    ),
    (
        "tracing_invalid_compression.bad.yml",
        "invalid compression type foo provided, valid options: gzip",
    ),
    ("uyuni_no_server.bad.yml", "Uyuni SD configuration requires server host"),
    (
        "uyuni_token_file.bad.yml",
        "at most one of bearer_token & bearer_token_file must be configured",
    ),
    ("ionos_datacenter.bad.yml", "datacenter id can't be empty"),
    ("ovhcloud_no_secret.bad.yml", "application secret can not be empty"),
    ("ovhcloud_bad_service.bad.yml", "unknown service: fakeservice"),
    (
        "scrape_config_files_glob.bad.yml",
        "parsing YAML file testdata/scrape_config_files_glob.bad.yml: invalid scrape config file path \"scrape_configs/*/*\"",
    ),
    (
        "scrape_config_files_scrape_protocols.bad.yml",
        "parsing YAML file testdata/scrape_config_files_scrape_protocols.bad.yml: scrape_protocols: unknown scrape protocol prometheusproto, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0] for scrape config with job name \"node\"",
    ),
    (
        "scrape_config_files_scrape_protocols2.bad.yml",
        "parsing YAML file testdata/scrape_config_files_scrape_protocols2.bad.yml: duplicated protocol in scrape_protocols, got [OpenMetricsText1.0.0 PrometheusProto OpenMetricsText1.0.0] for scrape config with job name \"node\"",
    ),
    (
        "scrape_config_files_fallback_scrape_protocol1.bad.yml",
        "parsing YAML file testdata/scrape_config_files_fallback_scrape_protocol1.bad.yml: invalid fallback_scrape_protocol for scrape config with job name \"node\": unknown scrape protocol prometheusproto, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0]",
    ),
    ("scrape_config_files_fallback_scrape_protocol2.bad.yml", "unmarshal errors"),
    (
        "scrape_config_utf8_conflicting.bad.yml",
        "utf8 metric names requested but validation scheme is not set to UTF8",
    ),
    ("stackit_endpoint.bad.yml", "invalid endpoint"),
    ("tsdb_retention_time.bad.yml", "not a valid duration string: \"-1h\""),
    (
        "tsdb_retention_size.bad.yml",
        "'storage.tsdb.retention.size' must be greater than or equal to 0",
    ),
    (
        "tsdb_retention_percentage.bad.yml",
        "'storage.tsdb.retention.percentage' must be in the range [0, 100]",
    ),
    (
        "tsdb_retention_percentage_negative.bad.yml",
        "'storage.tsdb.retention.percentage' must be in the range [0, 100]",
    ),
    (
        "tsdb_chunk_encoding_floats.bad.yml",
        "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted entirely, got \"xor3\"",
    ),
    (
        "tsdb_chunk_encoding_floats_wrong_case.bad.yml",
        "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted entirely, got \"XOR\"",
    ),
    (
        "tsdb_chunk_encoding_floats_wrong_case_xor2.bad.yml",
        "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted entirely, got \"XOR2\"",
    ),
    ("metric_name_validation_scheme.bad.yml", "unrecognized ValidationScheme: \"invalid_scheme\""),
];

#[test]
fn refuses_what_prometheus_refuses_with_its_words() {
    let Some(folder) = conformance("config") else { return };
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (file, expected) in BAD {
        let path = folder.join(file);
        if !path.exists() {
            continue;
        }
        checked += 1;
        match try_load(&path) {
            Ok(_) => wrong.push(format!("{file}: accepted")),
            Err(error) => {
                let text = error.to_string();
                // Prometheus names the file once before its message; we name it before each.
                let expected = expected.rsplit_once(".yml: ").map_or(*expected, |(_, e)| e);
                // go-yaml's words for what is not a matter of meaning.
                let ours = expected == "unmarshal errors" || text.contains(expected);
                if !ours {
                    wrong.push(format!("{file}: expected {expected:?}, got {text:?}"));
                }
            }
        }
    }
    println!("{checked} bad configurations, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 100, "only {checked}");
}

#[test]
fn every_file_named_bad_is_refused_and_every_one_named_good_loads() {
    let Some(folder) = conformance("config") else { return };
    let mut wrong = Vec::new();
    for path in yaml_files(&folder) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bad = name.contains(".bad.")
            || name.contains(".incompatible.")
            || name == "config_with_deprecated_am_api_config.yml";
        match (try_load(&path), bad) {
            (Ok(_), true) => wrong.push(format!("{name}: accepted")),
            (Err(error), false) => wrong.push(format!("{name}: {error}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn agents_refuse_what_they_refuse_in_prometheus() {
    let Some(folder) = conformance("config") else { return };
    for path in yaml_files(&folder) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(rest) = name.strip_prefix("agent_mode.") else { continue };
        let agent = try_load(&path).unwrap().check_agent(&name);
        let good = rest.starts_with("good") || rest.starts_with("without");
        assert_eq!(agent.is_ok(), good, "{name}");
    }
}

/// Bytes changed, lines removed, lines doubled: whatever comes of it, no panic.
#[test]
fn survives_mutilated_configurations() {
    let Some(folder) = conformance("config") else { return };
    let mut state = 0x9e37_79b9_u64;
    let mut random = move |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let texts: Vec<String> =
        yaml_files(&folder).iter().map(|p| std::fs::read_to_string(p).unwrap()).collect();
    for _ in 0..2000 {
        let mut lines: Vec<String> =
            texts[random(texts.len())].lines().map(str::to_owned).collect();
        for _ in 0..=random(4) {
            let at = random(lines.len());
            match random(4) {
                0 if !lines.is_empty() => drop(lines.remove(at)),
                1 if !lines.is_empty() => lines.insert(at, lines[at].clone()),
                2 => lines.insert(at, " ".repeat(random(6)) + "- &a *a"),
                _ => {
                    if let Some(line) = lines.get_mut(at) {
                        let mut chars: Vec<char> = line.chars().collect();
                        let i = random(chars.len() + 1);
                        let odd = [':', '-', '"', '[', '{', '!', '&', '%', '\t', '0', '~', '|'];
                        chars.insert(i, odd[random(odd.len())]);
                        *line = chars.into_iter().collect();
                    }
                }
            }
        }
        if let Ok(config) = firesteel_config::load_str("mutilated", &lines.join("\n")) {
            let _ = (config.to_yaml(), format!("{config:?}"));
        }
    }
}

#[test]
fn loads_what_people_run() {
    for (folder, least) in [("setups", 5), ("real/configs-operator", 300)] {
        let Some(root) = conformance(folder) else { return };
        let mut files = yaml_files(&root);
        for entry in std::fs::read_dir(&root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(
                    yaml_files(&path)
                        .into_iter()
                        .filter(|f| f.file_name().is_some_and(|n| n == "prometheus.yml")),
                );
            }
        }
        let (mut loaded, mut refused) = (0, Vec::new());
        for path in &files {
            match try_load(path) {
                Ok(config) => {
                    loaded += 1;
                    let again = firesteel_config::load_str("printed", &config.to_yaml());
                    if let Err(error) = again {
                        refused.push(format!("{}: printed form: {error}", path.display()));
                    }
                }
                Err(error) => refused.push(format!("{}: {error}", path.display())),
            }
        }
        println!("{folder}: {loaded} of {} load", files.len());
        for line in &refused {
            println!("  {line}");
        }
        assert!(loaded >= least && refused.is_empty(), "{} refused", refused.len());
    }
}

#[test]
fn helps_with_dotted_retention_and_misplaced_tls() {
    let Some(folder) = conformance("setups/hybrid") else { return };
    let dotted = try_load(&folder.join("prometheus.dotted-retention.yml")).unwrap();
    assert_eq!(dotted.storage.retention.time.as_secs(), 30 * 86_400);
    assert_eq!(dotted.storage.retention.size_bytes, 50 << 30);
    assert_eq!(dotted.warnings().len(), 2);
    let text = dotted.warnings()[0].to_string();
    assert!(text.contains("retention:\n    time: 30d"), "{text}");
    let mut options = LoadOptions::default();
    options.prometheus_only = true;
    let path = folder.join("prometheus.dotted-retention.yml");
    let refused = load(&path, &OsFiles, &options).unwrap_err().to_string();
    assert!(refused.contains("field retention.time not found in type config.plain"), "{refused}");
    let tls = try_load(&folder.join("prometheus.misplaced-tls.yml")).unwrap_err().to_string();
    assert!(tls.contains("--web.config.file"), "{tls}");
}

/// `everything.yml` was given to Prometheus 3.5.3, and its `/api/v1/status/config` compared with
/// ours: they differ only in what 3.14 has and 3.5 has not (keys of `global` and of jobs for native
/// histograms and extra metrics, `storage.tsdb.retention`, two keys of `otlp`, an empty
/// `replacement`, and `scrape_protocols` of `global`, which 3.14 does not fill in).
#[test]
fn prints_what_prometheus_prints() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let text = std::fs::read_to_string(testdata.join("everything.yml")).unwrap();
    let expected = std::fs::read_to_string(testdata.join("everything.status.yml")).unwrap();
    let config = firesteel_config::load_str("everything.yml", &text).unwrap();
    assert_eq!(config.to_yaml(), expected);
}

/// Says that something was not tested. Straight to standard error: the print macros' output is
/// swallowed where the test passes, and the summary of a run counts these lines.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
