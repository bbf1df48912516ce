//! Tokens by OAuth 2.0: client credentials, or assertions that we sign. Source:
//! `golang.org/x/oauth2/clientcredentials`, `common/config/oauth_assertion.go`.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use firesteel_config::{HttpClientConfig, OAuth2};
use http::{
    HeaderValue, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    HttpClient, Limits, NetErrorKind, Request,
    auth::{basic_value, resolve, sensitive},
};

/// The grant by assertions.
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long the server of tokens may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer.
const MAX_BYTES: u64 = 1 << 20;
/// A token is fetched anew so long before its end.
const EARLY: Duration = Duration::from_secs(10);

/// Where the tokens of one client come from.
#[derive(Debug)]
pub(crate) struct Tokens {
    config: OAuth2,
    uri: Uri,
    client: HttpClient,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Whether the server wants the client's credentials in the form, not in a header; found out at
    /// the first request, as Go does.
    in_form: bool,
}

/// Shows no token.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("in_form", &self.in_form).finish_non_exhaustive()
    }
}

struct Token {
    header: HeaderValue,
    /// The secret that it was given for: a new one asks for a new token.
    secret: String,
    until: Option<Instant>,
}

impl Tokens {
    pub(crate) fn new(config: &OAuth2) -> Result<Self, NetErrorKind> {
        match config.grant_type.as_str() {
            "" | "client_credentials" => {}
            JWT_BEARER if cfg!(feature = "tls") => {}
            JWT_BEARER => {
                let what = "this build cannot sign (feature `tls`)";
                return Err(NetErrorKind::NotServed { key: "oauth2.grant_type", what });
            }
            _ => {
                let what = "only client_credentials and jwt-bearer are";
                return Err(NetErrorKind::NotServed { key: "oauth2.grant_type", what });
            }
        }
        let uri = config.token_url.parse();
        let uri = uri.map_err(|_| NetErrorKind::Url("oauth2.token_url is not one"))?;
        let mut client = HttpClientConfig::default();
        client.tls = config.tls.clone();
        client.proxy = config.proxy.clone();
        let client = HttpClient::new(&client).map_err(|e| NetErrorKind::Token(e.to_string()))?;
        Ok(Self { config: config.clone(), uri, client, state: Mutex::default() })
    }

    /// The value of `Authorization`. Boxed, because a client has tokens and tokens a client.
    pub(crate) fn header(
        &self,
    ) -> Pin<Box<dyn Future<Output = Result<HeaderValue, NetErrorKind>> + Send + '_>> {
        Box::pin(async move {
            let by_assertion = self.config.grant_type == JWT_BEARER;
            let secret = if by_assertion {
                resolve("client_certificate_key", &self.config.client_certificate_key).await?
            } else {
                resolve("client_secret", &self.config.client_secret).await?
            };
            // Held while a token is fetched: others wait for it instead of fetching their own.
            let mut state = self.state.lock().await;
            if let Some(token) = &state.token
                && token.secret == secret
                && token.until.is_none_or(|until| Instant::now() < until)
            {
                return Ok(token.header.clone());
            }
            let (status, body) = match self.ask(&secret, state.in_form).await? {
                answer if by_assertion => answer,
                (status, _) if !status.is_success() && !state.in_form => {
                    let second = self.ask(&secret, true).await?;
                    state.in_form = second.0.is_success();
                    second
                }
                first => first,
            };
            if !status.is_success() {
                return Err(NetErrorKind::Token(format!("server returned HTTP status {status}")));
            }
            let token = token(&body, secret)?;
            let header = token.header.clone();
            state.token = Some(token);
            Ok(header)
        })
    }

    async fn ask(&self, secret: &str, in_form: bool) -> Result<(StatusCode, Bytes), NetErrorKind> {
        let mut form = Form::default();
        let by_assertion = self.config.grant_type == JWT_BEARER;
        if by_assertion {
            form.add("grant_type", JWT_BEARER);
            form.add("assertion", &assertion(&self.config, secret)?);
        } else {
            form.add("grant_type", "client_credentials");
        }
        if !self.config.scopes.is_empty() {
            form.add("scope", &self.config.scopes.join(" "));
        }
        for (name, value) in &self.config.endpoint_params {
            form.add(name, value);
        }
        if in_form && !by_assertion {
            form.add("client_id", &self.config.client_id);
            form.add("client_secret", secret);
        }
        let mut request = Request::post(self.uri.clone(), form.0);
        request.timeout = TIMEOUT;
        request.limits = Limits::body(MAX_BYTES);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(CONTENT_TYPE, kind);
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if !in_form && !by_assertion {
            let value = basic_value(&escape(&self.config.client_id), &escape(secret))?;
            request.headers.insert(AUTHORIZATION, value);
        }
        let sent = self.client.send(request).await;
        let mut response = sent.map_err(|e| NetErrorKind::Token(e.to_string()))?;
        let body = response.body.whole(0).await;
        let body = body.map_err(|e| NetErrorKind::Token(e.to_string()))?;
        Ok((response.status, body))
    }
}

#[cfg(feature = "tls")]
fn assertion(config: &OAuth2, key: &str) -> Result<String, NetErrorKind> {
    crate::jwt::assertion(config, key, std::time::SystemTime::now())
}

#[cfg(not(feature = "tls"))]
fn assertion(_: &OAuth2, _: &str) -> Result<String, NetErrorKind> {
    let what = "this build cannot sign (feature `tls`)";
    Err(NetErrorKind::NotServed { key: "oauth2.grant_type", what })
}

fn token(body: &[u8], secret: String) -> Result<Token, NetErrorKind> {
    let fail = |reason: &str| NetErrorKind::Token(reason.to_owned());
    let answer: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| fail("the answer is not JSON"))?;
    let text = |key: &str| answer.get(key).and_then(serde_json::Value::as_str);
    let value = text("access_token").filter(|token| !token.is_empty());
    let value = value.ok_or_else(|| fail("server response missing access_token"))?;
    let scheme = match text("token_type").unwrap_or_default() {
        kind if kind.eq_ignore_ascii_case("mac") => "MAC",
        kind if kind.eq_ignore_ascii_case("basic") => "Basic",
        "" => "Bearer",
        kind if kind.eq_ignore_ascii_case("bearer") => "Bearer",
        kind => kind,
    };
    let header = sensitive(&AUTHORIZATION, &format!("{scheme} {value}"))?;
    // Some servers write the number as a string.
    let seconds = answer
        .get("expires_in")
        .and_then(|v| v.as_u64().or_else(|| v.as_str().and_then(|text| text.parse().ok())));
    let until = seconds
        .filter(|s| *s > 0)
        .and_then(|s| Instant::now().checked_add(Duration::from_secs(s).saturating_sub(EARLY)));
    Ok(Token { header, secret, until })
}

/// A body of `application/x-www-form-urlencoded`.
#[derive(Default)]
struct Form(String);

impl Form {
    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(&escape(name));
        self.0.push('=');
        self.0.push_str(&escape(value));
    }
}

/// As Go's `url.QueryEscape`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_answers() {
        let read = |text: &str| token(text.as_bytes(), String::new());
        let bearer =
            read(r#"{"access_token":"t","token_type":"bearer","expires_in":"60"}"#).unwrap();
        assert_eq!(bearer.header, "Bearer t");
        assert!(bearer.until.is_some() && bearer.header.is_sensitive());
        assert!(read(r#"{"access_token":"t","expires_in":0}"#).unwrap().until.is_none());
        for bad in ["", "{}", r#"{"access_token":""}"#, r#"{"access_token":"a\nb"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(escape("a b&c=\u{e9}~"), "a+b%26c%3D%C3%A9~");
    }
}
