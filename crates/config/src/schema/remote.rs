//! The sections `remote_write` and `remote_read`. Source: `config/config.go`,
//! `storage/remote/azuread`.

use super::{
    Kind, Preset, Schema, anything_goes,
    http::{self, HTTP, HTTP_WITHOUT_HTTP2},
    key,
    relabel::RULES,
    root::no_null,
};
use crate::{diagnose::Diagnostics, value::Section};

pub(crate) static REMOTE_WRITE: Schema = Schema::new(
    "config.plain",
    &[
        &[
            key("url", Kind::Url).always(),
            key("remote_timeout", Kind::Duration).or(Preset::Seconds(30)),
            key("headers", Kind::Map(&Kind::Text)),
            key("write_relabel_configs", RULES),
            key("name", Kind::Text),
            key("send_exemplars", Kind::Bool),
            key("send_native_histograms", Kind::Bool),
            key("round_robin_dns", Kind::Bool),
            key("protobuf_message", Kind::Checked(message_type))
                .or(Preset::Text("prometheus.WriteRequest")),
            key("failed_request_logging", Kind::Bool),
        ],
        HTTP_WITHOUT_HTTP2,
        &[
            key("queue_config", Kind::Section(&QUEUE)).or(Preset::Defaults),
            key("metadata_config", Kind::Section(&METADATA)).or(Preset::Defaults),
            key("sigv4", Kind::Section(&SIGV4)).when_set(),
            key("azuread", Kind::Section(&AZURE_AD)).when_set(),
            key("google_iam", Kind::Section(&GOOGLE_IAM)).when_set(),
        ],
    ],
    check_write,
);

static QUEUE: Schema = Schema::new(
    "config.QueueConfig",
    &[&[
        key("capacity", Kind::Int).or(Preset::Int(10_000)),
        key("max_shards", Kind::Int).or(Preset::Int(50)),
        key("min_shards", Kind::Int).or(Preset::Int(1)),
        key("max_samples_per_send", Kind::Int).or(Preset::Int(2000)),
        key("batch_send_deadline", Kind::Duration).or(Preset::Seconds(5)),
        key("min_backoff", Kind::Duration).or(Preset::Millis(30)),
        key("max_backoff", Kind::Duration).or(Preset::Seconds(5)),
        key("retry_on_http_429", Kind::Bool),
        key("sample_age_limit", Kind::Duration),
    ]],
    check_queue,
);

static METADATA: Schema = Schema::new(
    "config.MetadataConfig",
    &[&[
        key("send", Kind::Bool).always().or(Preset::Bool(true)),
        key("send_interval", Kind::Duration).always().or(Preset::Seconds(60)),
        key("max_samples_per_send", Kind::Int).or(Preset::Int(2000)),
    ]],
    anything_goes,
);

pub(crate) static SIGV4: Schema = Schema::new(
    "sigv4.plain",
    &[&[
        key("region", Kind::Text),
        key("access_key", Kind::Text),
        key("secret_key", Kind::Secret),
        key("profile", Kind::Text),
        key("role_arn", Kind::Text),
        key("external_id", Kind::Text),
        key("use_fips_sts_endpoint", Kind::Bool),
        key("service_name", Kind::Text),
    ]],
    check_sigv4,
);

static AZURE_AD: Schema = Schema::new(
    "azuread.plain",
    &[&[
        key("managed_identity", Kind::Section(&AZURE_MANAGED)).when_set(),
        key("workload_identity", Kind::Section(&AZURE_WORKLOAD)).when_set(),
        key("oauth", Kind::Section(&AZURE_OAUTH)).when_set(),
        key("sdk", Kind::Section(&AZURE_SDK)).when_set(),
        key("certificate", Kind::Section(&AZURE_CERTIFICATE)).when_set(),
        key("cloud", Kind::Text).or(Preset::Text("AzurePublic")),
        key("scope", Kind::Text),
    ]],
    check_azure,
);

static AZURE_MANAGED: Schema =
    Schema::new("azuread.ManagedIdentityConfig", &[&[key("client_id", Kind::Text)]], anything_goes);

static AZURE_WORKLOAD: Schema = Schema::new(
    "azuread.WorkloadIdentityConfig",
    &[&[
        key("client_id", Kind::Text),
        key("tenant_id", Kind::Text),
        key("token_file_path", Kind::Text)
            .or(Preset::Text("/var/run/secrets/azure/tokens/azure-identity-token")),
    ]],
    anything_goes,
);

static AZURE_OAUTH: Schema = Schema::new(
    "azuread.OAuthConfig",
    &[&[
        key("client_id", Kind::Text),
        key("client_secret", Kind::Secret),
        key("tenant_id", Kind::Text),
    ]],
    anything_goes,
);

static AZURE_SDK: Schema =
    Schema::new("azuread.SDKConfig", &[&[key("tenant_id", Kind::Text)]], anything_goes);

static AZURE_CERTIFICATE: Schema = Schema::new(
    "azuread.CertificateConfig",
    &[&[
        key("client_id", Kind::Text),
        key("tenant_id", Kind::Text),
        key("certificate_path", Kind::Text),
        key("certificate_key_path", Kind::Text),
        key("certificate_password", Kind::Secret),
        key("send_certificate_chain", Kind::Bool),
    ]],
    anything_goes,
);

static GOOGLE_IAM: Schema =
    Schema::new("googleiam.Config", &[&[key("credentials_file", Kind::Text)]], anything_goes);

pub(crate) static REMOTE_READ: Schema = Schema::new(
    "config.plain",
    &[
        &[
            key("url", Kind::Url).always(),
            key("remote_timeout", Kind::Duration).or(Preset::Seconds(60)),
            key("chunked_read_limit", Kind::Uint).or(Preset::Uint(50_000_000)),
            key("headers", Kind::Map(&Kind::Text)),
            key("read_recent", Kind::Bool),
            key("name", Kind::Text),
        ],
        HTTP,
        &[
            key("required_matchers", Kind::Labels),
            key("filter_external_labels", Kind::Bool).or(Preset::Bool(true)),
        ],
    ],
    check_read,
);

/// Headers that remote storage and tracing set themselves.
const RESERVED_HEADERS: [&str; 17] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "user-agent",
    "www-authenticate",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-prometheus-remote-read-version",
    "x-prometheus-remote-write-version",
];

pub(crate) fn is_reserved_header(name: &str) -> bool {
    RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

fn message_type(text: &str) -> Result<String, String> {
    match text {
        "prometheus.WriteRequest" | "io.prometheus.write.v2.Request" => Ok(text.to_owned()),
        _ => Err(format!(
            "invalid protobuf_message value: unknown type for remote write protobuf message {text}, supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"
        )),
    }
}

fn check_headers(section: &Section, diagnostics: &mut Diagnostics) {
    for (name, item) in section.pairs("headers") {
        let message = if name.eq_ignore_ascii_case("authorization") {
            "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam parameter".to_owned()
        } else if is_reserved_header(name) {
            format!("{name} is a reserved header. It must not be changed")
        } else {
            continue;
        };
        diagnostics.below("headers", |d| d.error(item.place, message));
    }
}

fn check_write(remote: &mut Section, diagnostics: &mut Diagnostics) {
    if remote.url("url").is_none() {
        diagnostics.error_in(remote, "url for remote_write is empty");
    }
    let message = "empty or null relabeling rule in remote write config";
    no_null(remote, "write_relabel_configs", message, diagnostics);
    check_headers(remote, diagnostics);
    http::check_client(remote, diagnostics);
    let auth: Vec<_> = ["basic_auth", "authorization", "oauth2", "sigv4", "azuread", "google_iam"]
        .into_iter()
        .filter(|k| remote.get(k).is_some())
        .collect();
    if auth.len() > 1 {
        let message = format!(
            "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured. Currently configured: [{}]",
            auth.join(" ")
        );
        diagnostics.error_in(remote, message);
    }
}

fn check_read(remote: &mut Section, diagnostics: &mut Diagnostics) {
    if remote.url("url").is_none() {
        diagnostics.error_in(remote, "url for remote_read is empty");
    }
    check_headers(remote, diagnostics);
    http::check_client(remote, diagnostics);
}

fn check_queue(queue: &mut Section, diagnostics: &mut Diagnostics) {
    for key in ["max_shards", "min_shards", "max_samples_per_send", "capacity"] {
        if queue.int(key) <= 0 {
            let message = format!("remote write queue {key} must be positive");
            diagnostics.error_at(queue, key, message);
        }
    }
    if queue.int("min_shards") > queue.int("max_shards") {
        let message = "remote write queue min_shards must not be greater than max_shards";
        diagnostics.error_at(queue, "min_shards", message);
    }
    if queue.duration("max_backoff") < queue.duration("min_backoff") {
        let message = "remote write queue max_backoff must not be less than min_backoff";
        diagnostics.error_at(queue, "max_backoff", message);
    }
}

fn check_sigv4(sigv4: &mut Section, diagnostics: &mut Diagnostics) {
    if sigv4.has("access_key") != sigv4.has("secret_key") {
        diagnostics.error_in(
            sigv4,
            "must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config",
        );
    }
}

fn check_azure(azure: &mut Section, diagnostics: &mut Diagnostics) {
    if !matches!(azure.text("cloud"), "AzureChina" | "AzureGovernment" | "AzurePublic") {
        let message = "must provide a cloud in the Azure AD config (expected AzurePublic, AzureChina or AzureGovernment)";
        diagnostics.error_at(azure, "cloud", message);
    }
    let methods: Vec<_> = ["managed_identity", "workload_identity", "oauth", "sdk", "certificate"]
        .into_iter()
        .filter(|k| azure.get(k).is_some())
        .collect();
    match methods.len() {
        1 => {}
        0 => diagnostics.error_in(azure, "must provide an Azure Managed Identity, Azure Workload Identity, Azure OAuth, Azure Certificate or Azure SDK in the Azure AD config"),
        _ => diagnostics
            .error_in(azure, "cannot provide multiple authentication methods in the Azure AD config"),
    }
    for (section, name, required) in [
        ("managed_identity", "Azure Managed Identity", &[][..]),
        ("workload_identity", "Azure Workload Identity", &["client_id", "tenant_id"]),
        ("oauth", "Azure OAuth", &["client_id", "client_secret", "tenant_id"]),
        ("certificate", "Azure Certificate", &["client_id", "tenant_id", "certificate_path"]),
    ] {
        let Some(method) = azure.section(section) else { continue };
        for key in required {
            if !method.has(key) {
                let message = format!("must provide an {name} {key} in the Azure AD config");
                diagnostics.below(section, |d| d.error_in(method, message));
            }
        }
        if method.has("client_id") && !is_uuid(method.text("client_id")) {
            let message = format!("the provided {name} client_id is invalid");
            diagnostics.below(section, |d| d.error_at(method, "client_id", message));
        }
    }
    let scope = azure.text("scope");
    let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_:/.-".contains(c);
    if !scope.chars().all(allowed) {
        let message = "the provided scope contains invalid characters";
        diagnostics.error_at(azure, "scope", message);
    }
}

/// `8-4-4-4-12` hexadecimal digits, also in braces, after `urn:uuid:` or without hyphens.
fn is_uuid(text: &str) -> bool {
    let text = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let hyphens: Vec<usize> = text.match_indices('-').map(|(i, _)| i).collect();
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    digits == 32
        && text.len() == digits + hyphens.len()
        && (hyphens.is_empty() || hyphens == [8, 13, 18, 23])
}
