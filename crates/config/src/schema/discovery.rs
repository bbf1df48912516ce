//! The keys of every discovery mechanism. Source: `discovery/*`.

use super::{
    Field, Kind, Preset, Schema, TEXTS, anything_goes,
    discovery_checks::{
        aws_role, check_azure, check_client, check_consul, check_dns, check_docker,
        check_dockerswarm, check_ec2, check_eureka, check_file, check_gce, check_hetzner,
        check_http, check_ionos, check_kubernetes, check_kuma, check_marathon, check_nerve,
        check_nomad, check_oci, check_openstack, check_outscale, check_ovhcloud, check_puppetdb,
        check_scaleway, check_serverset, check_stackit, check_triton, check_uyuni,
        digitalocean_role, hetzner_role, kubernetes_role, openstack_role, scaleway_role,
    },
    http::{self, HTTP, HTTP_WITHOUT_DEFAULTS},
    key,
};
use crate::{diagnose::Diagnostics, value::Section};

/// One key per mechanism, sorted as Prometheus prints them.
pub(crate) const MECHANISMS: &[Field] = &[
    key("aws_sd_configs", Kind::Sections(&AWS)),
    key("azure_sd_configs", Kind::Sections(&AZURE)),
    key("consul_sd_configs", Kind::Sections(&CONSUL)),
    key("digitalocean_sd_configs", Kind::Sections(&DIGITALOCEAN)),
    key("dns_sd_configs", Kind::Sections(&DNS)),
    key("docker_sd_configs", Kind::Sections(&DOCKER)),
    key("dockerswarm_sd_configs", Kind::Sections(&DOCKERSWARM)),
    key("ec2_sd_configs", Kind::Sections(&EC2)),
    key("ecs_sd_configs", Kind::Sections(&ECS)),
    key("elasticache_sd_configs", Kind::Sections(&ELASTICACHE)),
    key("eureka_sd_configs", Kind::Sections(&EUREKA)),
    key("file_sd_configs", Kind::Sections(&FILE)),
    key("gce_sd_configs", Kind::Sections(&GCE)),
    key("hetzner_sd_configs", Kind::Sections(&HETZNER)),
    key("http_sd_configs", Kind::Sections(&HTTP_SD)),
    key("ionos_sd_configs", Kind::Sections(&IONOS)),
    key("kubernetes_sd_configs", Kind::Sections(&KUBERNETES)),
    key("kuma_sd_configs", Kind::Sections(&KUMA)),
    key("lightsail_sd_configs", Kind::Sections(&LIGHTSAIL)),
    key("linode_sd_configs", Kind::Sections(&LINODE)),
    key("marathon_sd_configs", Kind::Sections(&MARATHON)),
    key("msk_sd_configs", Kind::Sections(&MSK)),
    key("nerve_sd_configs", Kind::Sections(&NERVE)),
    key("nomad_sd_configs", Kind::Sections(&NOMAD)),
    key("oci_sd_configs", Kind::Sections(&OCI)),
    key("openstack_sd_configs", Kind::Sections(&OPENSTACK)),
    key("outscale_sd_configs", Kind::Sections(&OUTSCALE)),
    key("ovhcloud_sd_configs", Kind::Sections(&OVHCLOUD)),
    key("puppetdb_sd_configs", Kind::Sections(&PUPPETDB)),
    key("rds_sd_configs", Kind::Sections(&RDS)),
    key("scaleway_sd_configs", Kind::Sections(&SCALEWAY)),
    key("serverset_sd_configs", Kind::Sections(&SERVERSET)),
    key("stackit_sd_configs", Kind::Sections(&STACKIT)),
    key("static_configs", Kind::Sections(&STATIC)),
    key("triton_sd_configs", Kind::Sections(&TRITON)),
    key("uyuni_sd_configs", Kind::Sections(&UYUNI)),
    key("vultr_sd_configs", Kind::Sections(&VULTR)),
];

pub(crate) static STATIC: Schema = Schema::new(
    "targetgroup.Group",
    &[&[key("targets", TEXTS).always(), key("labels", Kind::Labels)]],
    anything_goes,
);

pub(crate) static FILTER: Schema = Schema::new(
    "Filter",
    &[&[key("name", Kind::Text).always(), key("values", TEXTS).always()]],
    anything_goes,
);

pub(crate) static KUBERNETES_NAMESPACES: Schema = Schema::new(
    "kubernetes.plain",
    &[&[key("own_namespace", Kind::Bool).always(), key("names", TEXTS).always()]],
    anything_goes,
);

pub(crate) static KUBERNETES_SELECTOR: Schema = Schema::new(
    "kubernetes.SelectorConfig",
    &[&[
        key("role", Kind::Checked(kubernetes_role)),
        key("label", Kind::Text),
        key("field", Kind::Text),
    ]],
    anything_goes,
);

pub(crate) static KUBERNETES_ATTACH: Schema = Schema::new(
    "kubernetes.AttachMetadataConfig",
    &[&[
        key("node", Kind::Bool).always(),
        key("namespace", Kind::Bool).always(),
        key("deployment", Kind::Bool).always(),
        key("job", Kind::Bool).always(),
        key("cronjob", Kind::Bool).always(),
    ]],
    anything_goes,
);

pub(crate) static AWS: Schema = Schema::new(
    "aws.plain",
    &[
        &[
            key("role", Kind::Checked(aws_role)).always(),
            key("region", Kind::Text),
            key("endpoint", Kind::Text),
            key("access_key", Kind::Text),
            key("secret_key", Kind::Secret),
            key("profile", Kind::Text),
            key("role_arn", Kind::Text),
            key("external_id", Kind::Text),
            key("refresh_interval", Kind::Duration),
            key("port", Kind::Int),
        ],
        HTTP_WITHOUT_DEFAULTS,
        &[key("filters", Kind::Sections(&FILTER)), key("clusters", TEXTS)],
    ],
    check_client,
);

pub(crate) static EC2: Schema = Schema::new(
    "aws.plain",
    &[
        &[
            key("endpoint", Kind::Text).always(),
            key("region", Kind::Text).always(),
            key("access_key", Kind::Text),
            key("secret_key", Kind::Secret),
            key("profile", Kind::Text),
            key("role_arn", Kind::Text),
            key("external_id", Kind::Text),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("filters", Kind::Sections(&FILTER)).always(),
        ],
        HTTP,
    ],
    check_ec2,
);

pub(crate) static LIGHTSAIL: Schema = Schema::new(
    "aws.plain",
    &[
        &[
            key("endpoint", Kind::Text).always(),
            key("region", Kind::Text).always(),
            key("access_key", Kind::Text),
            key("secret_key", Kind::Secret),
            key("profile", Kind::Text),
            key("role_arn", Kind::Text),
            key("external_id", Kind::Text),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
            key("port", Kind::Int).always().or(Preset::Int(80)),
        ],
        HTTP,
    ],
    check_client,
);

pub(crate) static ECS: Schema = Schema::new(
    "aws.plain",
    &[
        &[
            key("region", Kind::Text).always(),
            key("endpoint", Kind::Text).always(),
            key("access_key", Kind::Text),
            key("secret_key", Kind::Secret),
            key("profile", Kind::Text),
            key("role_arn", Kind::Text),
            key("external_id", Kind::Text),
            key("clusters", TEXTS),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
            key("request_concurrency", Kind::Int).or(Preset::Int(20)),
        ],
        HTTP,
    ],
    check_client,
);

pub(crate) static MSK: Schema = Schema::new(
    "aws.plain",
    &[
        &[
            key("region", Kind::Text).always(),
            key("endpoint", Kind::Text).always(),
            key("access_key", Kind::Text),
            key("secret_key", Kind::Secret),
            key("profile", Kind::Text),
            key("role_arn", Kind::Text),
            key("external_id", Kind::Text),
            key("clusters", TEXTS),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
            key("request_concurrency", Kind::Int).or(Preset::Int(10)),
        ],
        HTTP,
    ],
    check_client,
);

pub(crate) static ELASTICACHE: Schema = Schema::new(
    "aws.plain",
    &[
        &[
            key("region", Kind::Text).always(),
            key("endpoint", Kind::Text).always(),
            key("access_key", Kind::Text),
            key("secret_key", Kind::Secret),
            key("profile", Kind::Text),
            key("role_arn", Kind::Text),
            key("external_id", Kind::Text),
            key("clusters", TEXTS),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
            key("request_concurrency", Kind::Int).or(Preset::Int(10)),
        ],
        HTTP,
    ],
    check_client,
);

pub(crate) static RDS: Schema = Schema::new(
    "aws.plain",
    &[
        &[
            key("region", Kind::Text).always(),
            key("endpoint", Kind::Text).always(),
            key("access_key", Kind::Text),
            key("secret_key", Kind::Secret),
            key("profile", Kind::Text),
            key("role_arn", Kind::Text),
            key("external_id", Kind::Text),
            key("clusters", TEXTS),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
            key("filters", Kind::Sections(&FILTER)).always(),
            key("request_concurrency", Kind::Int).or(Preset::Int(10)),
        ],
        HTTP,
    ],
    check_client,
);

pub(crate) static AZURE: Schema = Schema::new(
    "azure.plain",
    &[
        &[
            key("environment", Kind::Text).or(Preset::Text("AzurePublicCloud")),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("subscription_id", Kind::Text).always(),
            key("tenant_id", Kind::Text),
            key("client_id", Kind::Text),
            key("client_secret", Kind::Secret),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(300)),
            key("authentication_method", Kind::Text).or(Preset::Text("OAuth")),
            key("resource_group", Kind::Text),
        ],
        HTTP,
    ],
    check_azure,
);

pub(crate) static CONSUL: Schema = Schema::new(
    "consul.plain",
    &[
        &[
            key("server", Kind::Text).or(Preset::Text("localhost:8500")),
            key("path_prefix", Kind::Text),
            key("token", Kind::Secret),
            key("datacenter", Kind::Text),
            key("namespace", Kind::Text),
            key("partition", Kind::Text),
            key("tag_separator", Kind::Text).or(Preset::Text(",")),
            key("scheme", Kind::Text).or(Preset::Text("http")),
            key("username", Kind::Text),
            key("password", Kind::Secret),
            key("allow_stale", Kind::Bool).always().or(Preset::Bool(true)),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(30)),
            key("services", TEXTS),
            key("tags", TEXTS),
            key("node_meta", Kind::Map(&Kind::Text)),
            key("filter", Kind::Text),
            key("health_filter", Kind::Text),
        ],
        HTTP,
    ],
    check_consul,
);

pub(crate) static DIGITALOCEAN: Schema = Schema::new(
    "digitalocean.plain",
    &[
        HTTP,
        &[
            key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("role", Kind::Checked(digitalocean_role)).always().or(Preset::Text("droplets")),
        ],
    ],
    check_client,
);

pub(crate) static DNS: Schema = Schema::new(
    "dns.plain",
    &[&[
        key("names", TEXTS).always(),
        key("refresh_interval", Kind::Duration).or(Preset::Seconds(30)),
        key("type", Kind::Text).always().or(Preset::Text("SRV")),
        key("port", Kind::Int).always(),
    ]],
    check_dns,
);

pub(crate) static DOCKER: Schema = Schema::new(
    "moby.plain",
    &[
        HTTP,
        &[
            key("host", Kind::Text).always(),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("filters", Kind::Sections(&FILTER)).always(),
            key("host_networking_host", Kind::Text).always().or(Preset::Text("localhost")),
            key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
            key("match_first_network", Kind::Bool).always().or(Preset::Bool(true)),
        ],
    ],
    check_docker,
);

pub(crate) static DOCKERSWARM: Schema = Schema::new(
    "moby.plain",
    &[
        HTTP,
        &[
            key("host", Kind::Text).always(),
            key("role", Kind::Text).always(),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("filters", Kind::Sections(&FILTER)).always(),
            key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
        ],
    ],
    check_dockerswarm,
);

pub(crate) static EUREKA: Schema = Schema::new(
    "eureka.plain",
    &[
        &[key("server", Kind::Text)],
        HTTP,
        &[key("refresh_interval", Kind::Duration).or(Preset::Seconds(30))],
    ],
    check_eureka,
);

pub(crate) static FILE: Schema = Schema::new(
    "file.plain",
    &[&[
        key("files", Kind::List(&Kind::Path)).always(),
        key("refresh_interval", Kind::Duration).or(Preset::Seconds(300)),
    ]],
    check_file,
);

pub(crate) static GCE: Schema = Schema::new(
    "gce.plain",
    &[&[
        key("project", Kind::Text).always(),
        key("zone", Kind::Text).always(),
        key("filter", Kind::Text),
        key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
        key("port", Kind::Int).always().or(Preset::Int(80)),
        key("tag_separator", Kind::Text).or(Preset::Text(",")),
    ]],
    check_gce,
);

pub(crate) static HETZNER: Schema = Schema::new(
    "hetzner.plain",
    &[
        HTTP,
        &[
            key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("role", Kind::Checked(hetzner_role)).always(),
            key("label_selector", Kind::Text),
        ],
    ],
    check_hetzner,
);

pub(crate) static HTTP_SD: Schema = Schema::new(
    "http.plain",
    &[
        HTTP,
        &[
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
            key("url", Kind::Text).always(),
        ],
    ],
    check_http,
);

pub(crate) static IONOS: Schema = Schema::new(
    "ionos.plain",
    &[
        &[key("datacenter_id", Kind::Text).always()],
        HTTP,
        &[
            key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
            key("port", Kind::Int).always().or(Preset::Int(80)),
        ],
    ],
    check_ionos,
);

pub(crate) static KUBERNETES: Schema = Schema::new(
    "kubernetes.plain",
    &[
        &[
            key("api_server", Kind::Url),
            key("role", Kind::Checked(kubernetes_role)).always(),
            key("kubeconfig_file", Kind::Path).always(),
        ],
        HTTP,
        &[
            key("namespaces", Kind::Section(&KUBERNETES_NAMESPACES)),
            key("selectors", Kind::Sections(&KUBERNETES_SELECTOR)),
            key("attach_metadata", Kind::Section(&KUBERNETES_ATTACH)),
        ],
    ],
    check_kubernetes,
);

pub(crate) static KUMA: Schema = Schema::new(
    "xds.plainKumaConf",
    &[
        HTTP,
        &[
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(15)),
            key("fetch_timeout", Kind::Duration).or(Preset::Seconds(120)),
            key("server", Kind::Text),
            key("client_id", Kind::Text),
        ],
    ],
    check_kuma,
);

pub(crate) static LINODE: Schema = Schema::new(
    "linode.plain",
    &[
        HTTP,
        &[
            key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("tag_separator", Kind::Text).or(Preset::Text(",")),
            key("region", Kind::Text),
        ],
    ],
    check_client,
);

pub(crate) static MARATHON: Schema = Schema::new(
    "marathon.plain",
    &[
        &[
            key("servers", TEXTS),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(30)),
            key("auth_token", Kind::Secret),
            key("auth_token_file", Kind::Path),
        ],
        HTTP,
    ],
    check_marathon,
);

pub(crate) static NERVE: Schema = Schema::new(
    "zookeeper.plain",
    &[&[
        key("servers", TEXTS).always(),
        key("paths", TEXTS).always(),
        key("timeout", Kind::Duration).or(Preset::Seconds(10)),
    ]],
    check_nerve,
);

pub(crate) static NOMAD: Schema = Schema::new(
    "nomad.plain",
    &[
        &[key("allow_stale", Kind::Bool).always().or(Preset::Bool(true))],
        HTTP,
        &[
            key("namespace", Kind::Text).always().or(Preset::Text("default")),
            key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
            key("region", Kind::Text).always().or(Preset::Text("global")),
            key("server", Kind::Text).always().or(Preset::Text("http://localhost:4646")),
            key("tag_separator", Kind::Text).or(Preset::Text(",")),
        ],
    ],
    check_nomad,
);

pub(crate) static OCI: Schema = Schema::new(
    "oci.plain",
    &[
        &[
            key("auth", Kind::Text).or(Preset::Text("api_key")),
            key("tenancy", Kind::Text),
            key("user", Kind::Text),
            key("fingerprint", Kind::Text),
            key("key_file", Kind::Path),
            key("key_passphrase", Kind::Secret),
            key("key_passphrase_file", Kind::Path),
            key("region", Kind::Text).always(),
            key("compartments", TEXTS),
        ],
        HTTP,
        &[
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
        ],
    ],
    check_oci,
);

pub(crate) static OPENSTACK: Schema = Schema::new(
    "openstack.plain",
    &[&[
        key("identity_endpoint", Kind::Text).always(),
        key("username", Kind::Text).always(),
        key("userid", Kind::Text).always(),
        key("password", Kind::Secret).always(),
        key("project_name", Kind::Text).always(),
        key("project_id", Kind::Text).always(),
        key("domain_name", Kind::Text).always(),
        key("domain_id", Kind::Text).always(),
        key("application_credential_name", Kind::Text).always(),
        key("application_credential_id", Kind::Text).always(),
        key("application_credential_secret", Kind::Secret).always(),
        key("role", Kind::Checked(openstack_role)).always(),
        key("region", Kind::Text).always(),
        key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
        key("port", Kind::Int).always().or(Preset::Int(80)),
        key("all_tenants", Kind::Bool),
        key("tls_config", Kind::Section(&http::TLS)),
        key("availability", Kind::Text).or(Preset::Text("public")),
    ]],
    check_openstack,
);

pub(crate) static OUTSCALE: Schema = Schema::new(
    "outscale.plain",
    &[
        &[
            key("endpoint", Kind::Text),
            key("region", Kind::Text).always().or(Preset::Text("eu-west-2")),
            key("access_key", Kind::Text).always(),
            key("secret_key", Kind::Secret).always(),
            key("secret_key_file", Kind::Path).always(),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
            key("port", Kind::Int).always().or(Preset::Int(80)),
        ],
        HTTP,
    ],
    check_outscale,
);

pub(crate) static OVHCLOUD: Schema = Schema::new(
    "ovhcloud.plain",
    &[&[
        key("endpoint", Kind::Text).always().or(Preset::Text("ovh-eu")),
        key("application_key", Kind::Text).always(),
        key("application_secret", Kind::Secret).always(),
        key("consumer_key", Kind::Secret).always(),
        key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
        key("service", Kind::Text).always(),
    ]],
    check_ovhcloud,
);

pub(crate) static PUPPETDB: Schema = Schema::new(
    "puppetdb.plain",
    &[
        HTTP,
        &[
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
            key("url", Kind::Text).always(),
            key("query", Kind::Text).always(),
            key("include_parameters", Kind::Bool).always(),
            key("port", Kind::Int).always().or(Preset::Int(80)),
        ],
    ],
    check_puppetdb,
);

pub(crate) static SCALEWAY: Schema = Schema::new(
    "scaleway.plain",
    &[
        &[
            key("project_id", Kind::Text).always(),
            key("api_url", Kind::Text).or(Preset::Text("https://api.scaleway.com")),
            key("zone", Kind::Text).always().or(Preset::Text("fr-par-1")),
            key("access_key", Kind::Text).always(),
            key("secret_key", Kind::Secret).always(),
            key("secret_key_file", Kind::Path).always(),
            key("name_filter", Kind::Text),
            key("tags_filter", TEXTS),
        ],
        HTTP,
        &[
            key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
            key("port", Kind::Int).always().or(Preset::Int(80)),
            key("role", Kind::Checked(scaleway_role)).always(),
        ],
    ],
    check_scaleway,
);

pub(crate) static SERVERSET: Schema = Schema::new(
    "zookeeper.plain",
    &[&[
        key("servers", TEXTS).always(),
        key("paths", TEXTS).always(),
        key("timeout", Kind::Duration).or(Preset::Seconds(10)),
    ]],
    check_serverset,
);

pub(crate) static STACKIT: Schema = Schema::new(
    "stackit.plain",
    &[
        HTTP,
        &[
            key("project", Kind::Text).always(),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
            key("port", Kind::Int).or(Preset::Int(80)),
            key("region", Kind::Text).or(Preset::Text("eu01")),
            key("endpoint", Kind::Text),
            key("service_account_key", Kind::Secret),
            key("private_key", Kind::Secret),
            key("service_account_key_path", Kind::Text),
            key("private_key_path", Kind::Text),
            key("credentials_file_path", Kind::Text),
        ],
    ],
    check_stackit,
);

pub(crate) static TRITON: Schema = Schema::new(
    "triton.plain",
    &[&[
        key("account", Kind::Text).always(),
        key("role", Kind::Text).always().or(Preset::Text("container")),
        key("dns_suffix", Kind::Text).always(),
        key("endpoint", Kind::Text).always(),
        key("groups", TEXTS),
        key("port", Kind::Int).always().or(Preset::Int(9163)),
        key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
        key("tls_config", Kind::Section(&http::TLS)),
        key("version", Kind::Int).always().or(Preset::Int(1)),
    ]],
    check_triton,
);

pub(crate) static UYUNI: Schema = Schema::new(
    "uyuni.plain",
    &[
        &[
            key("server", Kind::Text).always(),
            key("username", Kind::Text).always(),
            key("password", Kind::Secret).always(),
        ],
        HTTP,
        &[
            key("entitlement", Kind::Text).or(Preset::Text("monitoring_entitled")),
            key("separator", Kind::Text).or(Preset::Text(",")),
            key("refresh_interval", Kind::Duration).or(Preset::Seconds(60)),
        ],
    ],
    check_uyuni,
);

pub(crate) static VULTR: Schema = Schema::new(
    "vultr.plain",
    &[
        HTTP,
        &[
            key("refresh_interval", Kind::Duration).always().or(Preset::Seconds(60)),
            key("port", Kind::Int).always().or(Preset::Int(80)),
        ],
    ],
    check_client,
);

/// The items of every mechanism's list must be there.
pub(crate) fn check_mechanisms(section: &Section, diagnostics: &mut Diagnostics) {
    for field in MECHANISMS {
        let message = format!("empty or null section in {}", field.name);
        super::root::no_null(section, field.name, &message, diagnostics);
    }
}

/// Whether someone has put URLs where addresses belong; only relabelling could make sense of them.
pub(crate) fn check_static_targets(section: &Section, diagnostics: &mut Diagnostics) {
    for (i, group) in section.sections("static_configs").enumerate() {
        for (k, item) in group.list("targets").iter().enumerate() {
            let target = item.value.as_text().unwrap_or_default();
            if target.contains('/') {
                let message = format!(
                    "{} is not a valid hostname (expected host:port; a path belongs to metrics_path, https to scheme)",
                    firesteel_model::float::go_quote(target)
                );
                diagnostics.below("static_configs", |d| {
                    d.at_index(i, |d| {
                        d.below("targets", |d| d.at_index(k, |d| d.error(item.place, message)));
                    });
                });
            }
        }
    }
}
