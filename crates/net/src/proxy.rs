//! Which proxy a request goes through. Source: `common/config/http_config.go`, Go's `httpproxy`.

use std::net::IpAddr;

use firesteel_config::{ProxyConfig, Url};
use http::{HeaderName, HeaderValue, Uri, header::PROXY_AUTHORIZATION};

use crate::{
    NetErrorKind,
    auth::{basic_value, sensitive},
    socks::SocksUser,
};

/// The proxies of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: Vec<Exception>,
    /// Whether this machine is reached directly: where exceptions are asked for, as with Go.
    local_directly: bool,
    /// What is sent with `CONNECT`.
    connect_headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a proxy speaks.
#[derive(Debug, Clone)]
pub(crate) enum ProxyKind {
    Http,
    /// HTTP over TLS.
    Https,
    Socks(Option<SocksUser>),
}

/// A proxy.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) authorization: Option<HeaderValue>,
}

/// What is reached directly.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    All,
    Ip {
        ip: IpAddr,
        prefix: u8,
    },
    /// A domain and what is below it, or only the latter.
    Domain {
        suffix: String,
        itself: bool,
    },
    Port(Box<Self>, u16),
}

impl Proxies {
    pub(crate) fn new(config: &ProxyConfig) -> Result<Self, NetErrorKind> {
        let mut proxies = if config.from_environment {
            Self::from_environment(|name| std::env::var(name).ok())?
        } else {
            let proxy = config.url.as_ref().map(Proxy::new).transpose()?;
            Self {
                http: proxy.clone(),
                https: proxy,
                except: exceptions(&config.no_proxy),
                local_directly: !config.no_proxy.is_empty(),
                connect_headers: Vec::new(),
            }
        };
        for (name, values) in &config.connect_headers {
            let parsed: HeaderName =
                name.parse().map_err(|_| NetErrorKind::Header { name: name.clone() })?;
            for value in values {
                let value = sensitive(&parsed, value.expose())?;
                proxies.connect_headers.push((parsed.clone(), value));
            }
        }
        Ok(proxies)
    }

    fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, NetErrorKind> {
        let either = |upper: &str| variable(upper).or_else(|| variable(&upper.to_lowercase()));
        let proxy = |name: &str| -> Result<Option<Proxy>, NetErrorKind> {
            let Some(text) = either(name).filter(|text| !text.is_empty()) else { return Ok(None) };
            let text = if text.contains("://") { text } else { format!("http://{text}") };
            let url = Url::parse(&text).map_err(|_| NetErrorKind::Url("the proxy's is not one"))?;
            Proxy::new(&url).map(Some)
        };
        Ok(Self {
            http: proxy("HTTP_PROXY")?,
            https: proxy("HTTPS_PROXY")?,
            except: exceptions(&either("NO_PROXY").unwrap_or_default()),
            local_directly: true,
            connect_headers: Vec::new(),
        })
    }

    /// The proxy for a URL.
    pub(crate) fn of(&self, uri: &Uri) -> Option<&Proxy> {
        let https = uri.scheme_str() == Some("https");
        let proxy = if https { self.https.as_ref() } else { self.http.as_ref() }?;
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let local = || {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        if self.local_directly && local() {
            return None;
        }
        (!self.except.iter().any(|e| e.covers(host, port))).then_some(proxy)
    }

    pub(crate) fn connect_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.connect_headers
    }
}

impl Proxy {
    fn new(url: &Url) -> Result<Self, NetErrorKind> {
        let user = url.user_info().map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            (decoded(user), decoded(password))
        });
        let (kind, port) = match url.scheme() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" | "socks5h" => {
                let user = user.clone();
                let user = user.map(|(name, password)| SocksUser {
                    name,
                    password: firesteel_config::Secret::new(password),
                });
                (ProxyKind::Socks(user), 1080)
            }
            _ => {
                let what = "proxies speak http, https or socks5";
                return Err(NetErrorKind::NotServed { key: "proxy_url", what });
            }
        };
        let port = url.port().map_or(Ok(port), str::parse);
        let port = port.map_err(|_| NetErrorKind::Url("the proxy's port is not one"))?;
        let authorization = match (&kind, user) {
            (ProxyKind::Http | ProxyKind::Https, Some((user, password))) => {
                Some(basic_value(&user, &password)?)
            }
            _ => None,
        };
        Ok(Self { kind, host: url.host().to_owned(), port, authorization })
    }

    /// The header that a proxied request without a tunnel carries.
    pub(crate) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        self.authorization.clone().map(|value| (PROXY_AUTHORIZATION, value))
    }
}

/// `%41` to `A`.
pub(crate) fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |h: &[u8]| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok();
        match tail.get(..2).filter(|_| *first == b'%').and_then(hex) {
            Some(value) => {
                out.push(value);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn exceptions(no_proxy: &str) -> Vec<Exception> {
    no_proxy.split(',').map(str::trim).filter(|part| !part.is_empty()).map(exception).collect()
}

fn exception(part: &str) -> Exception {
    if part == "*" {
        return Exception::All;
    }
    if let Some((ip, prefix)) = part.split_once('/')
        && let (Ok(ip), Ok(prefix)) = (ip.parse(), prefix.parse())
    {
        return Exception::Ip { ip, prefix };
    }
    let bare = part.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Exception::Ip { ip, prefix: if ip.is_ipv4() { 32 } else { 128 } };
    }
    if let Some((host, port)) = part.rsplit_once(':')
        && let Ok(port) = port.parse()
    {
        return Exception::Port(Box::new(exception(host)), port);
    }
    let lower = part.to_ascii_lowercase();
    let lower = lower.strip_prefix('*').unwrap_or(&lower);
    match lower.strip_prefix('.') {
        Some(suffix) => Exception::Domain { suffix: suffix.to_owned(), itself: false },
        None => Exception::Domain { suffix: lower.to_owned(), itself: true },
    }
}

impl Exception {
    fn covers(&self, host: &str, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Ip { ip, prefix } => {
                host.parse::<IpAddr>().is_ok_and(|host| in_network(host, *ip, *prefix))
            }
            Self::Domain { suffix, itself } => {
                let host = host.to_ascii_lowercase();
                (*itself && host == *suffix)
                    || host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            Self::Port(inner, only) => *only == port && inner.covers(host, port),
        }
    }
}

fn in_network(host: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let shares = |a: u128, b: u128, width: u32| {
        let host_bits = width.saturating_sub(u32::from(prefix));
        host_bits >= 128 || a >> host_bits == b >> host_bits
    };
    match (host, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => shares(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => shares(a.into(), b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_around_the_proxy_where_told() {
        let proxies = Proxies::from_environment(|name| match name {
            "HTTP_PROXY" => Some("http://me:p%40@proxy:3128".to_owned()),
            "no_proxy" => Some("example.org, .inner, 10.0.0.0/8,[::1],host:9090".to_owned()),
            _ => None,
        })
        .unwrap();
        let direct = |uri: &str| proxies.of(&uri.parse().unwrap()).is_none();
        for uri in [
            "http://example.org/",
            "http://a.example.org/",
            "http://a.inner/",
            "http://10.1.2.3:9100/",
            "http://[::1]:9100/",
            "http://host:9090/",
            "https://other/",
        ] {
            assert!(direct(uri), "{uri}");
        }
        for uri in
            ["http://inner/", "http://11.1.2.3/", "http://host:9091/", "http://xexample.org/"]
        {
            assert!(!direct(uri), "{uri}");
        }
        assert!(direct("http://localhost:9090/") && direct("http://127.0.0.2/"));
        let proxy = proxies.of(&"http://other/".parse().unwrap()).unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy", 3128));
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic bWU6cEA=");
    }
}
