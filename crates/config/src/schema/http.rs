//! The HTTP client's keys, which stand inline in every section that has a client. Source:
//! `common/config/http_config.go`.

use super::{Field, Kind, Preset, Schema, TEXTS, anything_goes, key};
use crate::{
    diagnose::Diagnostics,
    value::{Item, Section, Value},
};

/// The keys of a client with Prometheus' usual defaults.
pub(crate) const HTTP: &[Field] = &[
    key("basic_auth", Kind::Section(&BASIC_AUTH)).when_set(),
    key("authorization", Kind::Section(&AUTHORIZATION)).when_set(),
    key("oauth2", Kind::Section(&OAUTH2)).when_set(),
    key("bearer_token", Kind::Secret),
    key("bearer_token_file", Kind::Path),
    key("tls_config", Kind::Section(&TLS)),
    key("follow_redirects", Kind::Bool).always().or(Preset::Bool(true)),
    key("enable_http2", Kind::Bool).always().or(Preset::Bool(true)),
    PROXY[0],
    PROXY[1],
    PROXY[2],
    PROXY[3],
    key("http_headers", Kind::SectionMap(&HEADER)),
];

/// The same for remote write, which does not offer HTTP/2 unless told.
pub(crate) const HTTP_WITHOUT_HTTP2: &[Field] = &[
    HTTP[0],
    HTTP[1],
    HTTP[2],
    HTTP[3],
    HTTP[4],
    HTTP[5],
    HTTP[6],
    key("enable_http2", Kind::Bool).always(),
    HTTP[8],
    HTTP[9],
    HTTP[10],
    HTTP[11],
    HTTP[12],
];

/// The same for `aws_sd_configs`, of which Prometheus forgets the defaults.
pub(crate) const HTTP_WITHOUT_DEFAULTS: &[Field] = &[
    HTTP[0],
    HTTP[1],
    HTTP[2],
    HTTP[3],
    HTTP[4],
    HTTP[5],
    key("follow_redirects", Kind::Bool).always(),
    key("enable_http2", Kind::Bool).always(),
    HTTP[8],
    HTTP[9],
    HTTP[10],
    HTTP[11],
    HTTP[12],
];

const PROXY: &[Field] = &[
    key("proxy_url", Kind::Url),
    key("no_proxy", Kind::Text),
    key("proxy_from_environment", Kind::Bool),
    key("proxy_connect_header", Kind::Map(&Kind::List(&Kind::Secret))),
];

/// A file with nothing but a client's configuration.
pub(crate) static CLIENT: Schema = Schema::new("config.HTTPClientConfig", &[HTTP], check_client);

pub(crate) static BASIC_AUTH: Schema = Schema::new(
    "config.plain",
    &[&[
        key("username", Kind::Text),
        key("username_file", Kind::Path),
        key("username_ref", Kind::Text),
        key("password", Kind::Secret),
        key("password_file", Kind::Path),
        key("password_ref", Kind::Text),
    ]],
    anything_goes,
);

pub(crate) static AUTHORIZATION: Schema = Schema::new(
    "config.plain",
    &[&[
        key("type", Kind::Text),
        key("credentials", Kind::Secret),
        key("credentials_file", Kind::Path),
        key("credentials_ref", Kind::Text),
    ]],
    anything_goes,
);

pub(crate) static OAUTH2: Schema = Schema::new(
    "config.plain",
    &[
        &[
            key("client_id", Kind::Text).always(),
            key("client_secret", Kind::Secret),
            key("client_secret_file", Kind::Path),
            key("client_secret_ref", Kind::Text),
            key("client_certificate_key_id", Kind::Text),
            key("client_certificate_key", Kind::Secret),
            key("client_certificate_key_file", Kind::Path),
            key("client_certificate_key_ref", Kind::Text),
            key("grant_type", Kind::Text),
            key("signature_algorithm", Kind::Text),
            key("iss", Kind::Text),
            key("audience", Kind::Text),
            key("claims", Kind::Map(&Kind::Text)),
            key("scopes", TEXTS),
            key("token_url", Kind::Text).always(),
            key("endpoint_params", Kind::Map(&Kind::Text)),
            key("tls_config", Kind::Section(&TLS)),
        ],
        PROXY,
    ],
    check_oauth2,
);

pub(crate) static TLS: Schema = Schema::new(
    "config.plain",
    &[&[
        key("ca", Kind::Text),
        key("cert", Kind::Text),
        key("key", Kind::Secret),
        key("ca_file", Kind::Path),
        key("cert_file", Kind::Path),
        key("key_file", Kind::Path),
        key("ca_ref", Kind::Text),
        key("cert_ref", Kind::Text),
        key("key_ref", Kind::Text),
        key("server_name", Kind::Text),
        key("insecure_skip_verify", Kind::Bool).always(),
        key("min_version", Kind::Checked(tls_version)),
        key("max_version", Kind::Checked(tls_version)),
    ]],
    check_tls,
);

static HEADER: Schema = Schema::new(
    "config.Header",
    &[&[
        key("values", TEXTS),
        key("secrets", Kind::List(&Kind::Secret)),
        key("files", Kind::List(&Kind::Path)),
    ]],
    anything_goes,
);

/// Headers that the client sets itself. Source: `common/config/headers.go`.
const RESERVED_HEADERS: [&str; 20] = [
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
    "x-prometheus-scrape-timeout-seconds",
    "te",
    "transfer-encoding",
];

fn tls_version(text: &str) -> Result<String, String> {
    match text {
        "TLS10" | "TLS11" | "TLS12" | "TLS13" => Ok(text.to_owned()),
        _ => Err(format!("unknown TLS version: {text} (expected TLS10, TLS11, TLS12 or TLS13)")),
    }
}

/// How many of the keys are set.
pub(crate) fn count(section: &Section, keys: &[&str]) -> usize {
    keys.iter().filter(|key| section.has(key)).count()
}

fn check_tls(tls: &mut Section, diagnostics: &mut Diagnostics) {
    let (ca, cert, key) = (
        count(tls, &["ca", "ca_file", "ca_ref"]),
        count(tls, &["cert", "cert_file", "cert_ref"]),
        count(tls, &["key", "key_file", "key_ref"]),
    );
    for (n, name) in [(ca, "ca"), (cert, "cert"), (key, "key")] {
        if n > 1 {
            let message =
                format!("at most one of {name}, {name}_file & {name}_ref must be configured");
            diagnostics.error_in(tls, message);
        }
    }
    if cert > 0 && key == 0 {
        diagnostics.error_in(
            tls,
            "exactly one of key or key_file must be configured when a client certificate is configured",
        );
    } else if key > 0 && cert == 0 {
        diagnostics.error_in(
            tls,
            "exactly one of cert or cert_file must be configured when a client key is configured",
        );
    }
}

fn check_oauth2(oauth2: &mut Section, diagnostics: &mut Diagnostics) {
    if !oauth2.has("client_id") {
        diagnostics.error_in(oauth2, "oauth2 client_id must be configured");
    }
    if !oauth2.has("token_url") {
        diagnostics.error_in(oauth2, "oauth2 token_url must be configured");
    }
    if count(oauth2, &["client_secret", "client_secret_file", "client_secret_ref"]) > 1 {
        diagnostics.error_in(
            oauth2,
            "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured",
        );
    }
    match oauth2.text("grant_type") {
        "" | "client_credentials" | "urn:ietf:params:oauth:grant-type:jwt-bearer" => {}
        other => {
            let message = format!(
                "unknown oauth2 grant_type {other:?} (expected client_credentials or \
                 urn:ietf:params:oauth:grant-type:jwt-bearer)"
            );
            diagnostics.error_at(oauth2, "grant_type", message);
        }
    }
    match oauth2.text("signature_algorithm") {
        "" | "RS256" | "RS384" | "RS512" => {}
        _ => diagnostics.error_at(
            oauth2,
            "signature_algorithm",
            "valid signature algorithms are RS256, RS384 and RS512",
        ),
    }
    check_proxy(oauth2, diagnostics);
}

fn check_proxy(section: &Section, diagnostics: &mut Diagnostics) {
    let url = section.url("proxy_url").is_some_and(|u| !u.as_str().is_empty());
    let environment = section.flag("proxy_from_environment");
    if section.has("proxy_connect_header") && !environment && !url {
        diagnostics.error_at(
            section,
            "proxy_connect_header",
            "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured",
        );
    }
    if environment && url {
        diagnostics.error_at(
            section,
            "proxy_url",
            "if proxy_from_environment is configured, proxy_url must not be configured",
        );
    }
    if environment && section.has("no_proxy") {
        diagnostics.error_at(
            section,
            "no_proxy",
            "if proxy_from_environment is configured, no_proxy must not be configured",
        );
    }
    if section.url("proxy_url").is_none() && !environment && section.has("no_proxy") {
        diagnostics.error_at(
            section,
            "no_proxy",
            "if no_proxy is configured, proxy_url must also be configured",
        );
    }
}

/// What holds between a client's keys, for every section that has them. Turns the old keys
/// `bearer_token` and `bearer_token_file` into `authorization`.
pub(crate) fn check_client(section: &mut Section, diagnostics: &mut Diagnostics) {
    check_auth(section, diagnostics);
    check_proxy(section, diagnostics);
    for (name, item) in section.pairs("http_headers") {
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            let message = format!("setting header {name:?} is not allowed");
            diagnostics.below("http_headers", |d| d.error(item.place, message));
        }
    }
}

fn check_auth(section: &mut Section, diagnostics: &mut Diagnostics) {
    let basic = section.get("basic_auth").is_some();
    let oauth2 = section.get("oauth2").is_some();
    let bearer = count(section, &["bearer_token", "bearer_token_file"]);
    let mut fail = |message: &str| diagnostics.error(section.place(), message);
    if bearer > 1 {
        fail("at most one of bearer_token & bearer_token_file must be configured");
    }
    if (basic || oauth2) && bearer > 0 {
        fail(
            "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
        );
    }
    if let Some(basic) = section.section("basic_auth") {
        for (keys, text) in [
            (
                ["username", "username_file", "username_ref"],
                "at most one of basic_auth username, username_file & username_ref must be configured",
            ),
            (
                ["password", "password_file", "password_ref"],
                "at most one of basic_auth password, password_file & password_ref must be configured",
            ),
        ] {
            if count(basic, &keys) > 1 {
                fail(text);
            }
        }
    }
    if oauth2 && basic {
        fail("at most one of basic_auth, oauth2 & authorization must be configured");
    }
    let place = section.place_of("authorization");
    if let Some(Item { value: Value::Section(authorization), .. }) =
        section.get_mut("authorization")
    {
        if bearer > 0 {
            diagnostics.error(
                place,
                "authorization is not compatible with bearer_token & bearer_token_file",
            );
        }
        let keys = ["credentials", "credentials_file", "credentials_ref"];
        if count(authorization, &keys) > 1 {
            diagnostics.error(
                place,
                "at most one of authorization credentials & credentials_file must be configured",
            );
        }
        let scheme = match authorization.text("type").trim() {
            "" => "Bearer".to_owned(),
            scheme => scheme.to_owned(),
        };
        if scheme.eq_ignore_ascii_case("basic") {
            diagnostics.error(
                place,
                "authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
            );
        }
        authorization.fill("type", Value::Text(scheme));
        if basic || oauth2 {
            diagnostics.error(
                place,
                "at most one of basic_auth, oauth2 & authorization must be configured",
            );
        }
    } else if bearer == 1 {
        let place = section.place();
        let mut authorization = Section::with_defaults(&AUTHORIZATION, place);
        authorization.fill("type", Value::Text("Bearer".to_owned()));
        for (old, new) in
            [("bearer_token", "credentials"), ("bearer_token_file", "credentials_file")]
        {
            if let Some(item) = section.take(old) {
                authorization.set(new, Some(item));
            }
        }
        let item = Item { value: Value::Section(authorization), place };
        section.set("authorization", Some(item));
    }
}
