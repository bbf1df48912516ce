#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod decode;
mod diagnose;
mod emit;
mod error;
mod files;
mod fingerprint;
mod inherit;
mod kubeconfig;
mod load;
mod mistakes;
mod paths;
mod rule_files;
mod rule_tests;
mod schema;
mod secret;
mod served;
pub mod size;
mod typed;
mod url;
mod value;
mod yaml;

pub use config::Config;
pub use error::{ConfigError, Diagnostic, Place};
pub use files::{NoFiles, OsFiles, ReadFiles, matches as file_name_matches};
pub use fingerprint::fingerprint;
pub use kubeconfig::Kubeconfig;
pub use load::{
    LoadOptions, embedded_default, load, load_http_client, load_str, load_target_groups, load_web,
};
pub use rule_files::{Placed, RuleConfig, RuleFile, RuleGroupConfig, RuleKind, load_rule_file};
pub use rule_tests::{
    AlertTest, ExpectedAlert, ExpectedSample, ExprTest, InputSeries, RuleTestGroup, RuleTests,
    load_rule_tests,
};
pub use secret::{MASK, Secret};
pub use served::{KeyInfo, NotServed, keys};
pub use typed::{
    alerting::{AlertingConfig, AlertmanagerApi, AlertmanagerConfig},
    discovery::{DiscoveryConfig, FileSdConfig, HttpSdConfig, StaticGroup},
    global::{GlobalConfig, ScrapeLimits, ScrapeProtocol},
    http::{
        Auth, Authorization, BasicAuth, Credential, HttpClientConfig, HttpHeader, OAuth2,
        ProxyConfig, TlsConfig, TlsVersion,
    },
    mechanisms::{
        ConsulSdConfig, DigitalOceanSdConfig, DnsRecord, DnsSdConfig, DockerSdConfig, Ec2SdConfig,
        HetznerSdConfig, KubernetesAttach, KubernetesRole, KubernetesSdConfig, KubernetesSelector,
        SdFilter, SwarmRole,
    },
    otlp::{OtlpConfig, TranslationStrategy},
    remote::{
        AzureAd, AzureAdMethod, MetadataConfig, QueueConfig, RemoteAuth, RemoteReadConfig,
        RemoteWriteConfig, RemoteWriteMessage, SigV4,
    },
    scrape::ScrapeConfig,
    storage::{FloatEncoding, Retention, StorageConfig},
    tracing::{TracingClient, TracingConfig},
    web::{ClientAuth, RateLimit, WebConfig, WebTls},
};
pub use url::{Url, UrlError};
pub use value::{Item, Section, Value};
