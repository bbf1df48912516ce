//! The sections `remote_write` and `remote_read`.

use std::{path::PathBuf, time::Duration};

use firesteel_model::{Labels, ValidationScheme, relabel::RelabelConfig};

use super::{
    convert::{self, path, relabel_configs},
    http::HttpClientConfig,
};
use crate::{Secret, Section, Url, diagnose::Diagnostics};

/// The message that remote write sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemoteWriteMessage {
    /// `prometheus.WriteRequest`, of remote write 1.0.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`, of remote write 2.0.
    V2,
}

/// One entry of `remote_write`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RemoteWriteConfig {
    /// Where samples are sent.
    pub url: Url,
    /// How long a request may take.
    pub remote_timeout: Duration,
    /// Headers added to every request, sorted by name.
    pub headers: Vec<(String, String)>,
    /// Rules that series pass before they are sent, after the external labels.
    pub write_relabel_configs: Vec<RelabelConfig>,
    /// Name in metrics and logs; empty where the configuration gives none.
    pub name: String,
    /// Whether exemplars are sent.
    pub send_exemplars: bool,
    /// Whether native histograms are sent; [`RemoteWriteMessage::V2`] sends them always.
    pub send_native_histograms: bool,
    /// Whether each connection goes to another address of the host.
    pub round_robin_dns: bool,
    /// The message that is sent.
    pub message: RemoteWriteMessage,
    /// Whether each failed request is logged.
    pub failed_request_logging: bool,
    /// How the remote end is reached.
    pub http: HttpClientConfig,
    /// How requests are authenticated beyond `http`.
    pub auth: RemoteAuth,
    /// How samples are queued.
    pub queue: QueueConfig,
    /// Whether and how metadata is sent.
    pub metadata: MetadataConfig,
}

/// `queue_config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueConfig {
    /// Samples that a shard may hold before reading of the log waits.
    pub capacity: usize,
    /// The most shards.
    pub max_shards: usize,
    /// The fewest; also where it begins.
    pub min_shards: usize,
    /// The most samples of a request.
    pub max_samples_per_send: usize,
    /// How long a sample may wait for others.
    pub batch_send_deadline: Duration,
    /// First pause before a request is repeated; it doubles.
    pub min_backoff: Duration,
    /// Longest pause.
    pub max_backoff: Duration,
    /// Whether requests answered with 429 are repeated.
    pub retry_on_http_429: bool,
    /// Age above which samples are dropped instead of sent; zero for none.
    pub sample_age_limit: Duration,
}

/// `metadata_config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetadataConfig {
    /// Whether metadata is sent.
    pub send: bool,
    /// How often.
    pub send_interval: Duration,
    /// The most entries of a request.
    pub max_samples_per_send: usize,
}

/// Ways to authenticate that only remote storage has. At most one, and none beside
/// [`HttpClientConfig::auth`].
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum RemoteAuth {
    /// None.
    #[default]
    None,
    /// `sigv4`.
    SigV4(SigV4),
    /// `azuread`.
    AzureAd(Box<AzureAd>),
    /// `google_iam`: the file of credentials, `None` for the machine's own.
    GoogleIam(Option<PathBuf>),
}

/// How requests to Amazon's services are signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SigV4 {
    /// The region; empty for that of the environment.
    pub region: String,
    /// The key's id; empty for those of the environment.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// Profile of the shared credentials.
    pub profile: String,
    /// Role to take on.
    pub role_arn: String,
    /// External id for it.
    pub external_id: String,
    /// Whether the token service is asked at its FIPS address.
    pub use_fips_sts_endpoint: bool,
    /// The service that is signed for; empty for the caller's own choice.
    pub service_name: String,
}

/// How requests to Azure are authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AzureAd {
    /// `AzurePublic`, `AzureChina` or `AzureGovernment`.
    pub cloud: String,
    /// The scope of tokens; empty for the cloud's own.
    pub scope: String,
    /// The method.
    pub method: AzureAdMethod,
}

/// How tokens are got from Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AzureAdMethod {
    /// `managed_identity`; the client may be empty.
    ManagedIdentity {
        /// The client.
        client_id: String,
    },
    /// `workload_identity`.
    WorkloadIdentity {
        /// The client.
        client_id: String,
        /// The tenant.
        tenant_id: String,
        /// The file of the token.
        token_file: PathBuf,
    },
    /// `oauth`.
    OAuth {
        /// The client.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// The tenant.
        tenant_id: String,
    },
    /// `sdk`.
    Sdk {
        /// The tenant; may be empty.
        tenant_id: String,
    },
    /// `certificate`.
    Certificate {
        /// The client.
        client_id: String,
        /// The tenant.
        tenant_id: String,
        /// The certificate's file.
        certificate: PathBuf,
        /// The file of its key; `None` where the certificate's holds it.
        key: Option<PathBuf>,
        /// The key's password.
        password: Secret,
        /// Whether the whole chain is sent.
        send_chain: bool,
    },
}

/// One entry of `remote_read`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RemoteReadConfig {
    /// Where samples are read from.
    pub url: Url,
    /// How long a request may take.
    pub remote_timeout: Duration,
    /// The most bytes of a chunked answer's frame.
    pub chunked_read_limit: u64,
    /// Headers added to every request, sorted by name.
    pub headers: Vec<(String, String)>,
    /// Whether ranges that the local storage has are read too.
    pub read_recent: bool,
    /// Name in metrics and logs; empty where the configuration gives none.
    pub name: String,
    /// How the remote end is reached.
    pub http: HttpClientConfig,
    /// Equal matchers that a query must have to be sent.
    pub required_matchers: Labels,
    /// Whether external labels are put into queries and taken out of answers.
    pub filter_external_labels: bool,
}

/// A number that the schema has found to be positive.
fn positive(section: &Section, key: &str) -> usize {
    usize::try_from(section.int(key)).unwrap_or(0)
}

fn headers(section: &Section) -> Vec<(String, String)> {
    let text = |(name, item): (&str, &crate::Item)| {
        (name.to_owned(), item.value.as_text().unwrap_or_default().to_owned())
    };
    section.pairs("headers").map(text).collect()
}

impl RemoteWriteConfig {
    /// Of the section, whose rules are checked; `None` where it has no URL, which the schema reports.
    pub(crate) fn of(
        section: &Section,
        scheme: ValidationScheme,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let rules = relabel_configs(section, "write_relabel_configs", scheme, diagnostics);
        Some(Self {
            url: section.url("url")?.clone(),
            remote_timeout: section.duration("remote_timeout"),
            headers: headers(section),
            write_relabel_configs: rules,
            name: section.text("name").to_owned(),
            send_exemplars: section.flag("send_exemplars"),
            send_native_histograms: section.flag("send_native_histograms"),
            round_robin_dns: section.flag("round_robin_dns"),
            message: match section.text("protobuf_message") {
                "io.prometheus.write.v2.Request" => RemoteWriteMessage::V2,
                _ => RemoteWriteMessage::V1,
            },
            failed_request_logging: section.flag("failed_request_logging"),
            http: convert::http_client(section),
            auth: RemoteAuth::of(section),
            queue: QueueConfig::of(section.section("queue_config")),
            metadata: MetadataConfig::of(section.section("metadata_config")),
        })
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            max_shards: 50,
            min_shards: 1,
            max_samples_per_send: 2000,
            batch_send_deadline: Duration::from_secs(5),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            retry_on_http_429: false,
            sample_age_limit: Duration::ZERO,
        }
    }
}

impl QueueConfig {
    fn of(section: Option<&Section>) -> Self {
        let Some(queue) = section else { return Self::default() };
        Self {
            capacity: positive(queue, "capacity"),
            max_shards: positive(queue, "max_shards"),
            min_shards: positive(queue, "min_shards"),
            max_samples_per_send: positive(queue, "max_samples_per_send"),
            batch_send_deadline: queue.duration("batch_send_deadline"),
            min_backoff: queue.duration("min_backoff"),
            max_backoff: queue.duration("max_backoff"),
            retry_on_http_429: queue.flag("retry_on_http_429"),
            sample_age_limit: queue.duration("sample_age_limit"),
        }
    }
}

impl Default for MetadataConfig {
    fn default() -> Self {
        Self { send: true, send_interval: Duration::from_secs(60), max_samples_per_send: 2000 }
    }
}

impl MetadataConfig {
    fn of(section: Option<&Section>) -> Self {
        let Some(metadata) = section else { return Self::default() };
        Self {
            send: metadata.flag("send"),
            send_interval: metadata.duration("send_interval"),
            max_samples_per_send: positive(metadata, "max_samples_per_send"),
        }
    }
}

impl SigV4 {
    pub(crate) fn of(section: &Section) -> Self {
        let text = |key| section.text(key).to_owned();
        Self {
            region: text("region"),
            access_key: text("access_key"),
            secret_key: section.secret("secret_key"),
            profile: text("profile"),
            role_arn: text("role_arn"),
            external_id: text("external_id"),
            use_fips_sts_endpoint: section.flag("use_fips_sts_endpoint"),
            service_name: text("service_name"),
        }
    }
}

impl RemoteAuth {
    fn of(section: &Section) -> Self {
        if let Some(sigv4) = section.section("sigv4") {
            Self::SigV4(SigV4::of(sigv4))
        } else if let Some(azure) = section.section("azuread").and_then(AzureAd::of) {
            Self::AzureAd(Box::new(azure))
        } else if let Some(google) = section.section("google_iam") {
            Self::GoogleIam(path(google, "credentials_file"))
        } else {
            Self::None
        }
    }
}

impl AzureAd {
    /// `None` where no method is given, which the schema reports.
    fn of(section: &Section) -> Option<Self> {
        Some(Self {
            cloud: section.text("cloud").to_owned(),
            scope: section.text("scope").to_owned(),
            method: AzureAdMethod::of(section)?,
        })
    }
}

impl AzureAdMethod {
    fn of(azure: &Section) -> Option<Self> {
        let text = |section: &Section, key| section.text(key).to_owned();
        if let Some(managed) = azure.section("managed_identity") {
            return Some(Self::ManagedIdentity { client_id: text(managed, "client_id") });
        }
        if let Some(workload) = azure.section("workload_identity") {
            return Some(Self::WorkloadIdentity {
                client_id: text(workload, "client_id"),
                tenant_id: text(workload, "tenant_id"),
                token_file: text(workload, "token_file_path").into(),
            });
        }
        if let Some(oauth) = azure.section("oauth") {
            return Some(Self::OAuth {
                client_id: text(oauth, "client_id"),
                client_secret: oauth.secret("client_secret"),
                tenant_id: text(oauth, "tenant_id"),
            });
        }
        if let Some(sdk) = azure.section("sdk") {
            return Some(Self::Sdk { tenant_id: text(sdk, "tenant_id") });
        }
        let certificate = azure.section("certificate")?;
        Some(Self::Certificate {
            client_id: text(certificate, "client_id"),
            tenant_id: text(certificate, "tenant_id"),
            certificate: text(certificate, "certificate_path").into(),
            key: path(certificate, "certificate_key_path"),
            password: certificate.secret("certificate_password"),
            send_chain: certificate.flag("send_certificate_chain"),
        })
    }
}

impl RemoteReadConfig {
    /// Of the section; `None` where it has no URL, which the schema reports.
    pub(crate) fn of(section: &Section) -> Option<Self> {
        Some(Self {
            url: section.url("url")?.clone(),
            remote_timeout: section.duration("remote_timeout"),
            chunked_read_limit: section.uint("chunked_read_limit"),
            headers: headers(section),
            read_recent: section.flag("read_recent"),
            name: section.text("name").to_owned(),
            http: convert::http_client(section),
            required_matchers: convert::labels(section, "required_matchers"),
            filter_external_labels: section.flag("filter_external_labels"),
        })
    }
}
