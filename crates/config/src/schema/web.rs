//! The file of `--web.config.file`. Source: `web/tls_config.go` and `web/handler.go` of
//! exporter-toolkit.

use firesteel_model::float::go_quote;

use super::{Kind, Preset, Schema, TEXTS, anything_goes, key};
use crate::{
    diagnose::Diagnostics,
    value::{Section, Value},
};

/// The file.
pub(crate) static WEB: Schema = Schema::new(
    "web.Config",
    &[&[
        key("tls_server_config", Kind::Section(&TLS)),
        key("http_server_config", Kind::Section(&HTTP)).or(Preset::Defaults),
        key("rate_limit", Kind::Section(&RATE_LIMIT)),
        key("basic_auth_users", Kind::Map(&Kind::Secret)),
    ]],
    check_users,
);

static TLS: Schema = Schema::new(
    "web.TLSConfig",
    &[&[
        key("cert", Kind::Text),
        key("key", Kind::Secret),
        key("client_ca", Kind::Text),
        key("cert_file", Kind::Path),
        key("key_file", Kind::Path),
        key("client_auth_type", Kind::Text),
        key("client_ca_file", Kind::Path),
        key("cipher_suites", Kind::List(&Kind::Checked(cipher))),
        key("curve_preferences", Kind::List(&Kind::Checked(curve))),
        key("min_version", Kind::Checked(tls_version)).or(Preset::Text("TLS12")),
        key("max_version", Kind::Checked(tls_version)).or(Preset::Text("TLS13")),
        key("prefer_server_cipher_suites", Kind::Bool).or(Preset::Bool(true)),
        key("client_allowed_sans", TEXTS),
    ]],
    check_tls,
);

static HTTP: Schema = Schema::new(
    "web.HTTPConfig",
    &[&[key("http2", Kind::Bool).or(Preset::Bool(true)), key("headers", Kind::Map(&Kind::Text))]],
    check_headers,
);

static RATE_LIMIT: Schema = Schema::new(
    "web.RateLimiterConfig",
    &[&[key("burst", Kind::Int), key("interval", Kind::Checked(interval))]],
    anything_goes,
);

/// The suites that Go offers for TLS 1.0 to 1.3.
const CIPHERS: [&str; 13] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

const CURVES: [&str; 4] = ["CurveP256", "CurveP384", "CurveP521", "X25519"];

/// The headers that may be set, and the values that each may have; none for any.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

const CLIENT_AUTH: [&str; 7] = [
    "",
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    // An old name of the one before.
    "RequireClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
];

fn cipher(text: &str) -> Result<String, String> {
    if CIPHERS.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("unknown cipher: {text}"))
    }
}

fn curve(text: &str) -> Result<String, String> {
    if CURVES.contains(&text) { Ok(text.to_owned()) } else { Err(format!("unknown curve: {text}")) }
}

fn tls_version(text: &str) -> Result<String, String> {
    match text {
        "TLS10" | "TLS11" | "TLS12" | "TLS13" => Ok(text.to_owned()),
        _ => Err(format!("unknown TLS version: {text}")),
    }
}

fn interval(text: &str) -> Result<String, String> {
    match go_duration(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!("{text:?} is not a duration (expected one such as 100ms or 1.5s)")),
    }
}

/// A duration as Go's `time.ParseDuration` reads it, or a whole number of nanoseconds. Seconds.
pub(crate) fn go_duration(text: &str) -> Option<f64> {
    if let Ok(nanoseconds) = text.parse::<u64>() {
        return Some(nanoseconds as f64 / 1e9);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += value * seconds;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

/// Whether TLS is asked for at all.
pub(crate) fn is_enabled(tls: &Section) -> bool {
    ["cert", "key", "client_ca", "cert_file", "key_file", "client_auth_type", "client_ca_file"]
        .into_iter()
        .any(|key| tls.has(key))
}

fn check_tls(tls: &mut Section, diagnostics: &mut Diagnostics) {
    if !is_enabled(tls) {
        return;
    }
    for key in ["cert", "key"] {
        if !tls.has(key) && !tls.has(&format!("{key}_file")) {
            diagnostics.error_in(tls, format!("missing one of {key} or {key}_file"));
        }
    }
    let auth = tls.text("client_auth_type");
    if !CLIENT_AUTH.contains(&auth) {
        diagnostics.error_at(tls, "client_auth_type", format!("invalid ClientAuth: {auth}"));
    } else if matches!(auth, "" | "NoClientCert")
        && (tls.has("client_ca") || tls.has("client_ca_file"))
    {
        let message = "client CA's have been configured without a Client Auth Policy";
        diagnostics.error_in(tls, message);
    }
}

fn check_headers(http: &mut Section, diagnostics: &mut Diagnostics) {
    for (name, item) in http.pairs("headers") {
        let value = item.value.as_text().unwrap_or_default();
        let message = match HEADERS.iter().find(|(known, _)| *known == name) {
            None => format!("HTTP header {} can not be configured", go_quote(name)),
            Some((_, values)) if !values.is_empty() && !values.contains(&value) => {
                let values: Vec<_> = values.iter().map(|v| go_quote(v)).collect();
                format!(
                    "invalid value for {name}. Expected one of: [{}], but got: {}",
                    values.join(" "),
                    go_quote(value)
                )
            }
            Some(_) => continue,
        };
        diagnostics.below("headers", |d| d.error(item.place, message));
    }
}

fn check_users(web: &mut Section, diagnostics: &mut Diagnostics) {
    for (user, item) in web.pairs("basic_auth_users") {
        let Value::Secret(hash) = &item.value else { continue };
        if let Err(message) = check_bcrypt(hash.expose()) {
            diagnostics.below("basic_auth_users", |d| {
                d.below(user, |d| d.error(item.place, message));
            });
        }
    }
}

/// Whether a text can be what bcrypt makes of a password; the hash itself is never shown.
fn check_bcrypt(hash: &str) -> Result<(), String> {
    let bytes = hash.as_bytes();
    if bytes.len() < 59 {
        return Err("crypto/bcrypt: hashedSecret too short to be a bcrypted password".to_owned());
    }
    let found = |i: usize| char::from(bytes[i]).escape_default();
    if bytes[0] != b'$' {
        return Err(format!(
            "crypto/bcrypt: bcrypt hashes must start with '$', but hashedSecret started with '{}'",
            found(0)
        ));
    }
    if bytes[1] > b'2' {
        return Err(format!(
            "crypto/bcrypt: bcrypt algorithm version '{}' requested is newer than current version '2'",
            found(1)
        ));
    }
    // `$2$10$...` or `$2y$10$...`.
    let digits = if bytes[2] == b'$' { &bytes[3..5] } else { &bytes[4..6] };
    let cost = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u8>().ok());
    match cost {
        Some(4..=31) => Ok(()),
        Some(cost) => {
            Err(format!("crypto/bcrypt: cost {cost} is outside allowed inclusive range 4..31"))
        }
        None => Err("crypto/bcrypt: the cost is not a number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, seconds) in [
            ("1s", Some(1.0)),
            ("1h1m0.5s", Some(3660.5)),
            ("1500000000", Some(1.5)),
            ("100ms", Some(0.1)),
            ("", None),
            ("1d", None),
            ("s", None),
            ("1..s", None),
        ] {
            assert_eq!(go_duration(text), seconds, "{text}");
        }
    }

    #[test]
    fn hashes_are_told_from_passwords() {
        let good = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
        assert_eq!(check_bcrypt(good), Ok(()));
        let long = "x".repeat(60);
        for (hash, expected) in [
            ("secret", "too short"),
            (long.as_str(), "must start with '$', but hashedSecret started with 'x'"),
            (&good.replacen("2y", "3y", 1), "version '3' requested is newer"),
            (&good.replacen("$10$", "$99$", 1), "cost 99 is outside"),
            (&good.replacen("$10$", "$xx$", 1), "not a number"),
            (&"$\u{e9}".repeat(30), ""),
        ] {
            let error = check_bcrypt(hash).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
