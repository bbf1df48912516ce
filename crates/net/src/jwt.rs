//! Assertions of OAuth 2.0, signed with an RSA key. Source: RFC 7519, RFC 7523,
//! `common/config/oauth_assertion.go`.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use firesteel_config::OAuth2;
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde_json::{Map, Value, json};

use crate::NetErrorKind;

/// How long an assertion is good.
const LIFE: Duration = Duration::from_secs(10 * 60);

fn fail(what: impl Into<String>) -> NetErrorKind {
    NetErrorKind::Token(what.into())
}

/// An assertion of who we are, signed with the key in `pem`.
pub(crate) fn assertion(
    config: &OAuth2,
    pem: &str,
    now: SystemTime,
) -> Result<String, NetErrorKind> {
    let (algorithm, encoding): (_, &'static dyn RsaEncoding) =
        match config.signature_algorithm.as_str() {
            "" | "RS256" => ("RS256", &RSA_PKCS1_SHA256),
            "RS384" => ("RS384", &RSA_PKCS1_SHA384),
            "RS512" => ("RS512", &RSA_PKCS1_SHA512),
            other => return Err(fail(format!("unknown signature algorithm {other:?}"))),
        };
    let key = key(pem)?;
    let random = SystemRandom::new();
    let mut header = json!({"alg": algorithm, "typ": "JWT"});
    if !config.client_certificate_key_id.is_empty() {
        header["kid"] = json!(config.client_certificate_key_id);
    }
    let claims = claims(config, now, &id(&random)?);
    let encode = |value: &Value| BASE64.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&Value::Object(claims)));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(encoding, &random, signed.as_bytes(), &mut signature)
        .map_err(|_| fail("the client certificate key cannot sign"))?;
    Ok(format!("{signed}.{}", BASE64.encode(signature)))
}

fn claims(config: &OAuth2, now: SystemTime, id: &str) -> Map<String, Value> {
    let since = |t: SystemTime| t.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let or = |text: &str, other: &str| json!(if text.is_empty() { other } else { text });
    let mut claims = Map::new();
    for (name, value) in [
        ("iss", or(&config.issuer, &config.client_id)),
        ("sub", json!(config.client_id)),
        ("jti", json!(id)),
        ("aud", or(&config.audience, &config.token_url)),
        ("iat", json!(since(now).as_secs())),
        ("exp", json!(since(now + LIFE).as_secs())),
    ] {
        claims.insert(name.to_owned(), value);
    }
    if !config.scopes.is_empty() {
        claims.insert("scope".to_owned(), json!(config.scopes.join(" ")));
    }
    claims.extend(config.claims.iter().map(|(name, value)| (name.clone(), json!(value))));
    claims
}

/// A key in PEM form, as PKCS #8 or PKCS #1.
fn key(pem: &str) -> Result<RsaKeyPair, NetErrorKind> {
    let wrong = |reason: &dyn std::fmt::Display| fail(format!("client certificate key: {reason}"));
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| wrong(&e))?;
    match &key {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err(wrong(&"not an RSA key")),
    }
    .map_err(|e| wrong(&e))
}

/// A UUID of version 4.
fn id(random: &SystemRandom) -> Result<String, NetErrorKind> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(|_| fail("the system has no random numbers"))?;
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

#[cfg(test)]
mod tests {
    use firesteel_config::Auth;
    use ring::signature::{RSA_PKCS1_2048_8192_SHA384, UnparsedPublicKey};

    use super::*;

    /// Made for this test alone.
    const KEY: &str = include_str!("../tests/data/rsa.pem");

    fn config() -> OAuth2 {
        let text = "scrape_configs:\n- job_name: a\n  oauth2:\n    client_id: me\n    token_url: http://t/\n    grant_type: urn:ietf:params:oauth:grant-type:jwt-bearer\n    client_certificate_key: k\n    client_certificate_key_id: kid1\n    signature_algorithm: RS384\n    scopes: [a, b]\n    claims: {tenant: x}\n";
        let config = firesteel_config::load_str("c.yml", text).unwrap();
        let job = config.scrape_configs.into_iter().next().unwrap();
        let Auth::OAuth2(oauth2) = job.http.auth else { panic!("no oauth2") };
        *oauth2
    }

    #[test]
    fn signs_what_it_claims() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let assertion = assertion(&config(), KEY, now).unwrap();
        let parts: Vec<&str> = assertion.split('.').collect();
        let json = |part: &str| -> Value {
            serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
        };
        assert_eq!(json(parts[0]), json!({"alg": "RS384", "typ": "JWT", "kid": "kid1"}));
        let mut claims = json(parts[1]);
        let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
        assert_eq!(id.as_str().unwrap().len(), 36);
        let expected = json!({"iss": "me", "sub": "me", "aud": "http://t/", "iat": 1000, "exp": 1600,
                              "scope": "a b", "tenant": "x"});
        assert_eq!(claims, expected);
        let key = key(KEY).unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA384, key.public().as_ref());
        let signed = format!("{}.{}", parts[0], parts[1]);
        public.verify(signed.as_bytes(), &BASE64.decode(parts[2]).unwrap()).unwrap();
    }

    #[test]
    fn refuses_what_is_no_key() {
        assert!(assertion(&config(), "x", SystemTime::UNIX_EPOCH).is_err());
        let mut other = config();
        other.signature_algorithm = "none".to_owned();
        assert!(assertion(&other, KEY, SystemTime::UNIX_EPOCH).is_err());
    }
}
