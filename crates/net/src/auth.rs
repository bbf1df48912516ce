//! Headers that the configuration adds: credentials and `http_headers`. Files are read at each use,
//! so that rotated tokens are picked up.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use firesteel_config::{Auth, Credential, HttpClientConfig, HttpHeader};
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

use crate::{NetErrorKind, oauth2::Tokens};

/// The largest file of a credential.
const MAX_FILE: u64 = 1 << 20;

/// What is added to each request.
#[derive(Debug)]
pub(crate) struct Extra {
    auth: Auth,
    tokens: Option<Tokens>,
    headers: Vec<(HeaderName, HttpHeader)>,
}

impl Extra {
    pub(crate) fn new(config: &HttpClientConfig) -> Result<Self, NetErrorKind> {
        let tokens = match &config.auth {
            Auth::OAuth2(oauth2) => Some(Tokens::new(oauth2)?),
            _ => None,
        };
        let named = |header: &HttpHeader| match header.name.parse() {
            Ok(name) => Ok((name, header.clone())),
            Err(_) => Err(NetErrorKind::Header { name: header.name.clone() }),
        };
        let headers = config.headers.iter().map(named).collect::<Result<_, _>>()?;
        Ok(Self { auth: config.auth.clone(), tokens, headers })
    }

    /// Adds the headers. Credentials that the caller has set stay.
    pub(crate) async fn apply(&self, headers: &mut HeaderMap) -> Result<(), NetErrorKind> {
        for (name, header) in &self.headers {
            for value in &header.values {
                headers.append(name, plain(name, value)?);
            }
            for secret in &header.secrets {
                headers.append(name, sensitive(name, secret.expose())?);
            }
            for file in &header.files {
                headers.append(name, sensitive(name, &read("header", file).await?)?);
            }
        }
        if headers.contains_key(AUTHORIZATION) {
            return Ok(());
        }
        if let Some(tokens) = &self.tokens {
            headers.insert(AUTHORIZATION, tokens.header().await?);
            return Ok(());
        }
        match &self.auth {
            Auth::Basic(basic) => {
                let username = resolve("username", &basic.username).await?;
                let password = resolve("password", &basic.password).await?;
                headers.insert(AUTHORIZATION, basic_value(&username, &password)?);
            }
            Auth::Authorization(authorization) => {
                let credentials = resolve("credentials", &authorization.credentials).await?;
                let value = format!("{} {credentials}", authorization.scheme);
                headers.insert(AUTHORIZATION, sensitive(&AUTHORIZATION, &value)?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The value of `Authorization` for a user and a password.
pub(crate) fn basic_value(username: &str, password: &str) -> Result<HeaderValue, NetErrorKind> {
    let encoded = STANDARD.encode(format!("{username}:{password}"));
    sensitive(&AUTHORIZATION, &format!("Basic {encoded}"))
}

fn plain(name: &HeaderName, value: &str) -> Result<HeaderValue, NetErrorKind> {
    HeaderValue::from_str(value).map_err(|_| NetErrorKind::Header { name: name.to_string() })
}

/// A value that `Debug` does not show.
pub(crate) fn sensitive(name: &HeaderName, value: &str) -> Result<HeaderValue, NetErrorKind> {
    let mut value = plain(name, value)?;
    value.set_sensitive(true);
    Ok(value)
}

pub(crate) async fn resolve(
    what: &'static str,
    credential: &Credential,
) -> Result<String, NetErrorKind> {
    match credential {
        Credential::None => Ok(String::new()),
        Credential::Inline(secret) => Ok(secret.expose().to_owned()),
        Credential::File(path) => read(what, path).await,
    }
}

/// A file's text without the space around it.
async fn read(what: &'static str, path: &Path) -> Result<String, NetErrorKind> {
    let owned = path.to_owned();
    let text = tokio::task::spawn_blocking(move || read_text(&owned)).await;
    let text = text.unwrap_or_else(|join| Err(std::io::Error::other(join)));
    let fail = |source| NetErrorKind::File { what, path: path.to_owned(), source };
    text.map(|text| text.trim().to_owned()).map_err(fail)
}

/// A file's text, if it is not larger than a credential can be.
pub(crate) fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other(format!("larger than {MAX_FILE} bytes")));
    }
    Ok(text)
}
