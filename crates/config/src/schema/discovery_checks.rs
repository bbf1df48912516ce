//! What holds between the keys of the discovery mechanisms. Source: `discovery/*`.

use firesteel_model::float::go_quote;

use super::http::{self, count};
use crate::{
    Url,
    diagnose::Diagnostics,
    value::{Item, Section, Value},
};

/// For mechanisms whose only rules are the client's.
pub(super) fn check_client(section: &mut Section, diagnostics: &mut Diagnostics) {
    http::check_client(section, diagnostics);
}

/// The key must be set.
fn require(section: &Section, key: &str, message: &str, diagnostics: &mut Diagnostics) {
    if !section.has(key) {
        diagnostics.error_in(section, message);
    }
}

/// A test for roles.
macro_rules! roles {
    ($name:ident, $what:literal, $($role:literal),+) => {
        pub(super) fn $name(text: &str) -> Result<String, String> {
            match text {
                $($role)|+ => Ok(text.to_owned()),
                _ => Err(format!(
                    concat!("unknown ", $what, " {} (expected one of: {})"),
                    go_quote(text),
                    [$($role),+].join(", ")
                )),
            }
        }
    };
}

roles!(aws_role, "AWS SD role", "ec2", "ecs", "elasticache", "lightsail", "msk", "rds");
roles!(digitalocean_role, "DigitalOcean SD role", "droplets", "databases");
roles!(hetzner_role, "role", "robot", "hcloud");
roles!(openstack_role, "OpenStack SD role", "hypervisor", "instance", "loadbalancer");
roles!(scaleway_role, "role", "instance", "baremetal");
roles!(
    kubernetes_role,
    "Kubernetes SD role",
    "pod",
    "service",
    "endpoints",
    "endpointslice",
    "node",
    "ingress"
);

pub(super) fn check_ec2(section: &mut Section, diagnostics: &mut Diagnostics) {
    for filter in section.sections("filters") {
        if filter.list("values").is_empty() {
            let message = "EC2 SD configuration filter values cannot be empty";
            diagnostics.below("filters", |d| d.error_in(filter, message));
        }
    }
    http::check_client(section, diagnostics);
}

pub(super) fn check_azure(section: &mut Section, diagnostics: &mut Diagnostics) {
    let oauth = section.text("authentication_method") == "OAuth";
    let required: &[&str] = if oauth {
        &["subscription_id", "tenant_id", "client_id", "client_secret"]
    } else {
        &["subscription_id"]
    };
    for key in required {
        let message = format!("azure SD configuration requires a {key}");
        require(section, key, &message, diagnostics);
    }
    let method = section.text("authentication_method");
    if !matches!(method, "OAuth" | "ManagedIdentity" | "SDK" | "WorkloadIdentity") {
        let message = format!(
            "unknown authentication_type {}. Supported types are \"OAuth\", \"ManagedIdentity\", \"SDK\" or \"WorkloadIdentity\"",
            go_quote(method)
        );
        diagnostics.error_at(section, "authentication_method", message);
    }
    http::check_client(section, diagnostics);
}

pub(super) fn check_consul(section: &mut Section, diagnostics: &mut Diagnostics) {
    if section.text("server").trim().is_empty() {
        diagnostics.error_in(section, "consul SD configuration requires a server address");
    }
    if count(section, &["username", "password"]) > 0 {
        if section.get("basic_auth").is_some() {
            diagnostics.error_in(
                section,
                "at most one of consul SD configuration username and password and basic auth can be configured",
            );
        }
        let place = section.place();
        let mut basic = Section::with_defaults(&http::BASIC_AUTH, place);
        basic.set("username", section.get("username").cloned());
        basic.set("password", section.get("password").cloned());
        section.set("basic_auth", Some(Item { value: Value::Section(basic), place }));
    }
    let others = ["authorization", "oauth2"].iter().any(|k| section.get(k).is_some());
    if section.has("token") && others {
        diagnostics.error_in(
            section,
            "at most one of consul SD token, authorization, or oauth2 can be configured",
        );
    }
    http::check_client(section, diagnostics);
}

pub(super) fn check_dns(section: &mut Section, diagnostics: &mut Diagnostics) {
    let message = "DNS-SD config must contain at least one SRV record name";
    require(section, "names", message, diagnostics);
    match section.text("type").to_ascii_uppercase().as_str() {
        "SRV" => {}
        "A" | "AAAA" | "MX" | "NS" => require(
            section,
            "port",
            "a port is required in DNS-SD configs for all record types except SRV",
            diagnostics,
        ),
        _ => {
            let message = format!(
                "invalid DNS-SD records type {} (expected SRV, A, AAAA, MX or NS)",
                section.text("type")
            );
            diagnostics.error_at(section, "type", message);
        }
    }
}

pub(super) fn check_docker(section: &mut Section, diagnostics: &mut Diagnostics) {
    require(section, "host", "host missing", diagnostics);
    check_parses(section, "host", diagnostics);
    http::check_client(section, diagnostics);
}

pub(super) fn check_dockerswarm(section: &mut Section, diagnostics: &mut Diagnostics) {
    require(section, "host", "host missing", diagnostics);
    check_parses(section, "host", diagnostics);
    match section.text("role") {
        "services" | "nodes" | "tasks" => {}
        "" => diagnostics.error_in(section, "role missing (one of: tasks, services, nodes)"),
        role => {
            let message = format!("invalid role {role}, expected tasks, services, or nodes");
            diagnostics.error_at(section, "role", message);
        }
    }
    http::check_client(section, diagnostics);
}

/// Whether the key's value is a URL of any form.
fn check_parses(section: &Section, key: &str, diagnostics: &mut Diagnostics) {
    if let Err(error) = Url::parse(section.text(key)) {
        diagnostics.error_at(section, key, error.to_string());
    }
}

/// Whether a text is a URL with scheme and host.
fn is_absolute(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| !url.scheme().is_empty() && !url.host_port().is_empty())
}

pub(super) fn check_eureka(section: &mut Section, diagnostics: &mut Diagnostics) {
    if !section.has("server") {
        diagnostics.error_in(section, "eureka_sd: empty or null eureka server");
    } else if !is_absolute(section.text("server")) {
        diagnostics.error_at(section, "server", "eureka_sd: invalid eureka server URL");
    }
    http::check_client(section, diagnostics);
}

pub(super) fn check_file(section: &mut Section, diagnostics: &mut Diagnostics) {
    let message = "file service discovery config must contain at least one path name";
    require(section, "files", message, diagnostics);
    for item in section.list("files") {
        let path = item.value.as_text().unwrap_or_default();
        if !is_sd_file(path) {
            let message = format!(
                "path name {} is not valid for file discovery (expected *.json, *.yml or *.yaml, with a pattern only in the last part)",
                go_quote(path)
            );
            diagnostics.below("files", |d| d.error(item.place, message));
        }
    }
}

/// `^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$`
fn is_sd_file(path: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(extension, "json" | "yml" | "yaml" | "JSON" | "YML" | "YAML")
        && path.find('*').is_none_or(|star| !path[star..].contains('/'))
}

pub(super) fn check_gce(section: &mut Section, diagnostics: &mut Diagnostics) {
    require(section, "project", "GCE SD configuration requires a project", diagnostics);
    require(section, "zone", "GCE SD configuration requires a zone", diagnostics);
}

pub(super) fn check_hetzner(section: &mut Section, diagnostics: &mut Diagnostics) {
    require(section, "role", "role missing (one of: robot, hcloud)", diagnostics);
    http::check_client(section, diagnostics);
}

fn check_http_url(section: &Section, diagnostics: &mut Diagnostics) {
    let text = section.text("url");
    if text.is_empty() {
        return diagnostics.error_in(section, "URL is missing");
    }
    match Url::parse(text) {
        Err(error) => diagnostics.error_at(section, "url", error.to_string()),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            diagnostics.error_at(section, "url", "URL scheme must be 'http' or 'https'");
        }
        Ok(url) if url.host_port().is_empty() => {
            diagnostics.error_at(section, "url", "host is missing in URL");
        }
        Ok(_) => {}
    }
}

pub(super) fn check_http(section: &mut Section, diagnostics: &mut Diagnostics) {
    check_http_url(section, diagnostics);
    http::check_client(section, diagnostics);
}

pub(super) fn check_ionos(section: &mut Section, diagnostics: &mut Diagnostics) {
    require(section, "datacenter_id", "datacenter id can't be empty", diagnostics);
    http::check_client(section, diagnostics);
}

pub(super) fn check_kubernetes(section: &mut Section, diagnostics: &mut Diagnostics) {
    require(
        section,
        "role",
        "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)",
        diagnostics,
    );
    http::check_client(section, diagnostics);
    let api_server = section.url("api_server").is_some_and(|url| !url.as_str().is_empty());
    let kubeconfig = section.has("kubeconfig_file");
    let client = has_client_settings(section);
    let own = section.section("namespaces").is_some_and(|n| n.flag("own_namespace"));
    for (wrong, message) in [
        (api_server && kubeconfig, "cannot use 'kubeconfig_file' and 'api_server' simultaneously"),
        (
            kubeconfig && client,
            "cannot use a custom HTTP client configuration together with 'kubeconfig_file'",
        ),
        (
            !api_server && !kubeconfig && client,
            "to use custom HTTP client configuration please provide the 'api_server' URL explicitly",
        ),
        (
            api_server && own,
            "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously",
        ),
        (
            kubeconfig && own,
            "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously",
        ),
    ] {
        if wrong {
            diagnostics.error_in(section, message);
        }
    }
    check_selectors(section, diagnostics);
}

/// Whether a client's keys differ from their defaults.
fn has_client_settings(section: &Section) -> bool {
    http::HTTP.iter().any(|field| {
        let value = section.get(field.name).map(|item| &item.value);
        match field.preset.value(field.kind) {
            Some(preset) => value != Some(&preset),
            None => value.is_some_and(|v| field.print == super::Print::WhenSet || !v.is_zero()),
        }
    })
}

fn check_selectors(section: &Section, diagnostics: &mut Diagnostics) {
    let role = section.text("role");
    let allowed: &[&str] = match role {
        "pod" => &["pod", "node"],
        "service" => &["service"],
        "endpointslice" => &["pod", "service", "endpointslice"],
        "endpoints" => &["pod", "service", "endpoints"],
        "node" => &["node"],
        "ingress" => &["ingress"],
        _ => return,
    };
    let mut seen = Vec::new();
    for (i, selector) in section.sections("selectors").enumerate() {
        let its_role = selector.text("role");
        let fail = |d: &mut Diagnostics, message: String| {
            d.below("selectors", |d| d.at_index(i, |d| d.error_in(selector, message)));
        };
        if seen.contains(&its_role) {
            fail(diagnostics, format!("duplicated selector role: {its_role}"));
        }
        seen.push(its_role);
        if !allowed.contains(&its_role) {
            let list = allowed.join(", ");
            fail(diagnostics, format!("{role} role supports only {list} selectors"));
        }
        let field = selector.text("field");
        if let Some(part) = bad_field_selector(field) {
            fail(diagnostics, format!("invalid selector: '{field}'; can't understand '{part}'"));
        }
    }
}

/// The part of a Kubernetes field selector that is not `path=value`, `path==value` or
/// `path!=value`.
fn bad_field_selector(selector: &str) -> Option<&str> {
    selector.split(',').find(|part| !part.is_empty() && !part.contains('='))
}

pub(super) fn check_kuma(section: &mut Section, diagnostics: &mut Diagnostics) {
    let server = section.text("server");
    if server.is_empty() {
        diagnostics.error_in(section, "kuma SD server must not be empty: ");
    } else if !is_absolute(server) {
        let message = format!("kuma SD server must not be empty and have a scheme: {server}");
        diagnostics.error_at(section, "server", message);
    }
    http::check_client(section, diagnostics);
}

pub(super) fn check_marathon(section: &mut Section, diagnostics: &mut Diagnostics) {
    let message = "marathon_sd: must contain at least one Marathon server";
    require(section, "servers", message, diagnostics);
    let tokens = count(section, &["auth_token", "auth_token_file"]);
    if tokens > 1 {
        diagnostics.error_in(
            section,
            "marathon_sd: at most one of auth_token & auth_token_file must be configured",
        );
    }
    if tokens > 0 {
        let message = if section.get("basic_auth").is_some() {
            "marathon_sd: at most one of basic_auth, auth_token & auth_token_file must be configured"
        } else if count(section, &["bearer_token", "bearer_token_file"]) > 0 {
            "marathon_sd: at most one of bearer_token, bearer_token_file, auth_token & auth_token_file must be configured"
        } else if section.get("authorization").is_some() {
            "marathon_sd: at most one of auth_token, auth_token_file & authorization must be configured"
        } else {
            ""
        };
        if !message.is_empty() {
            diagnostics.error_in(section, message);
        }
    }
    http::check_client(section, diagnostics);
}

pub(super) fn check_nerve(section: &mut Section, diagnostics: &mut Diagnostics) {
    check_zookeeper(section, "nerve", diagnostics);
}

pub(super) fn check_serverset(section: &mut Section, diagnostics: &mut Diagnostics) {
    check_zookeeper(section, "serverset", diagnostics);
}

fn check_zookeeper(section: &Section, kind: &str, diagnostics: &mut Diagnostics) {
    for (key, what) in [("servers", "Zookeeper server"), ("paths", "path")] {
        let message = format!("{kind} SD config must contain at least one {what}");
        require(section, key, &message, diagnostics);
    }
    for path in section.texts("paths").filter(|path| !path.starts_with('/')) {
        let message = format!("{kind} SD config paths must begin with '/': {path}");
        diagnostics.error_at(section, "paths", message);
    }
}

pub(super) fn check_nomad(section: &mut Section, diagnostics: &mut Diagnostics) {
    if section.text("server").trim().is_empty() {
        diagnostics.error_in(section, "nomad SD configuration requires a server address");
    }
    http::check_client(section, diagnostics);
}

pub(super) fn check_oci(section: &mut Section, diagnostics: &mut Diagnostics) {
    require(section, "region", "oci_sd: region is required", diagnostics);
    let keys =
        ["tenancy", "user", "fingerprint", "key_file", "key_passphrase", "key_passphrase_file"];
    match section.text("auth") {
        "api_key" => {
            for key in &keys[..4] {
                let message = format!("oci_sd: api_key auth requires {key}");
                require(section, key, &message, diagnostics);
            }
            if count(section, &keys[4..]) > 1 {
                diagnostics.error_in(
                    section,
                    "oci_sd: at most one of key_passphrase and key_passphrase_file must be configured",
                );
            }
        }
        "instance_principal" if count(section, &keys) > 0 => diagnostics.error_in(
            section,
            "oci_sd: instance_principal auth must not have tenancy, user, fingerprint, key_file, key_passphrase, or key_passphrase_file set",
        ),
        "instance_principal" => {}
        auth => {
            let message = format!(
                "oci_sd: unknown auth method {}, expected \"api_key\" or \"instance_principal\"",
                go_quote(auth)
            );
            diagnostics.error_at(section, "auth", message);
        }
    }
    for (i, id) in section.texts("compartments").enumerate() {
        if id.is_empty() {
            let message = format!("oci_sd: compartments[{i}] must not be empty");
            diagnostics.error_at(section, "compartments", message);
        }
    }
    http::check_client(section, diagnostics);
}

pub(super) fn check_openstack(section: &mut Section, diagnostics: &mut Diagnostics) {
    let availability = section.text("availability");
    if !matches!(availability, "public" | "internal" | "admin") {
        let message = format!(
            "unknown availability {availability}, must be one of admin, internal or public"
        );
        diagnostics.error_at(section, "availability", message);
    }
    let message = "role missing (one of: instance, hypervisor, loadbalancer)";
    require(section, "role", message, diagnostics);
    require(section, "region", "openstack SD configuration requires a region", diagnostics);
}

/// Exactly one of `secret_key` and `secret_key_file`.
fn check_secret_key(section: &Section, diagnostics: &mut Diagnostics) {
    let message = match count(section, &["secret_key", "secret_key_file"]) {
        0 => "one of secret_key & secret_key_file must be configured",
        1 => return,
        _ => "at most one of secret_key & secret_key_file must be configured",
    };
    diagnostics.error_in(section, message);
}

pub(super) fn check_outscale(section: &mut Section, diagnostics: &mut Diagnostics) {
    require(section, "region", "outscale SD configuration requires a region", diagnostics);
    require(section, "access_key", "outscale SD configuration requires access_key", diagnostics);
    check_secret_key(section, diagnostics);
    if !section.has("endpoint") {
        let endpoint = format!("https://api.{}.outscale.com/api/v1", section.text("region"));
        section.fill("endpoint", Value::Text(endpoint));
    }
    http::check_client(section, diagnostics);
}

pub(super) fn check_ovhcloud(section: &mut Section, diagnostics: &mut Diagnostics) {
    for (key, name) in [
        ("endpoint", "endpoint"),
        ("application_key", "application key"),
        ("application_secret", "application secret"),
        ("consumer_key", "consumer key"),
    ] {
        require(section, key, &format!("{name} can not be empty"), diagnostics);
    }
    let service = section.text("service");
    if !matches!(service, "dedicated_server" | "vps") {
        let message = format!("unknown service: {service} (expected dedicated_server or vps)");
        diagnostics.error_at(section, "service", message);
    }
}

pub(super) fn check_puppetdb(section: &mut Section, diagnostics: &mut Diagnostics) {
    check_http_url(section, diagnostics);
    require(section, "query", "query missing", diagnostics);
    http::check_client(section, diagnostics);
}

pub(super) fn check_scaleway(section: &mut Section, diagnostics: &mut Diagnostics) {
    require(section, "role", "role missing (one of: instance, baremetal)", diagnostics);
    require(section, "project_id", "project_id is mandatory", diagnostics);
    check_secret_key(section, diagnostics);
    require(section, "access_key", "access_key is mandatory", diagnostics);
    http::check_client(section, diagnostics);
}

pub(super) fn check_stackit(section: &mut Section, diagnostics: &mut Diagnostics) {
    if count(section, &["endpoint", "region"]) == 0 {
        diagnostics.error_in(section, "stackit_sd: endpoint and region missing");
    }
    let endpoint = section.text("endpoint");
    if let Err(error) = Url::parse(endpoint) {
        let message = format!("stackit_sd: invalid endpoint {}: {error}", go_quote(endpoint));
        diagnostics.error_at(section, "endpoint", message);
    }
    http::check_client(section, diagnostics);
}

pub(super) fn check_triton(section: &mut Section, diagnostics: &mut Diagnostics) {
    if !matches!(section.text("role"), "container" | "cn") {
        let message = "triton SD configuration requires role to be 'container' or 'cn'";
        diagnostics.error_at(section, "role", message);
    }
    for (key, name) in
        [("account", "an account"), ("dns_suffix", "a dns_suffix"), ("endpoint", "an endpoint")]
    {
        let message = format!("triton SD configuration requires {name}");
        require(section, key, &message, diagnostics);
    }
    let message = "triton SD configuration requires RefreshInterval to be a positive integer";
    require(section, "refresh_interval", message, diagnostics);
}

pub(super) fn check_uyuni(section: &mut Section, diagnostics: &mut Diagnostics) {
    for (key, what) in
        [("server", "server host"), ("username", "a username"), ("password", "a password")]
    {
        let message = format!("Uyuni SD configuration requires {what}");
        require(section, key, &message, diagnostics);
    }
    if let Err(error) = Url::parse(section.text("server")) {
        diagnostics.error_at(section, "server", format!("Uyuni Server URL is not valid: {error}"));
    }
    http::check_client(section, diagnostics);
}
