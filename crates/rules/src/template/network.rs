//! Hosts and ports, and the path of a URL. Source: Go's `net.SplitHostPort` and `net/url`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Go's `net.SplitHostPort`: `host:port`, `[host]:port`.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            // The bracket ends right before the last colon.
            let end = text.find(']')?;
            (end + 1 == host.len()).then_some(())?;
            inner.get(..end - 1)?
        }
        None if host.contains(':') => return None,
        None => host,
    };
    let stray = |part: &str| part.contains(['[', ']']);
    (!stray(host) && !stray(port)).then_some((host, port))
}

/// Go's `net.ParseIP`.
fn is_ip(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok()
}

/// `stripPort`
pub(super) fn strip_port(text: &str) -> &str {
    split_host_port(text).map_or(text, |(host, _)| host)
}

/// `stripDomain`
pub(super) fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if is_ip(host) {
        return text.to_owned();
    }
    let host = host.split('.').next().unwrap_or_default();
    match port {
        "" => host.to_owned(),
        port if host.contains(':') => format!("[{host}]:{port}"),
        port => format!("{host}:{port}"),
    }
}

/// The path of a URL, without its escapes.
pub(super) fn path(url: &str) -> String {
    let rest = url.split(['?', '#']).next().unwrap_or_default();
    let rest = match rest.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => rest,
    };
    let mut bytes = Vec::with_capacity(rest.len());
    let mut left = rest.as_bytes();
    while let Some((byte, after)) = left.split_first() {
        let escaped = (*byte == b'%').then(|| std::str::from_utf8(after.get(..2)?).ok()).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                left = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*byte);
                left = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_ports_and_domains() {
        for (text, port, domain) in [
            ("foo.example.com", "foo.example.com", "foo"),
            ("foo.example.com:12345", "foo.example.com", "foo:12345"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:12345", "192.0.2.1", "192.0.2.1:12345"),
            ("2001:0DB8::1", "2001:0DB8::1", "2001:0DB8::1"),
            ("[2001:0DB8::1]:12345", "2001:0DB8::1", "[2001:0DB8::1]:12345"),
            ("[2001:0DB8::1]::12345", "[2001:0DB8::1]::12345", "[2001:0DB8::1]::12345"),
            ("", "", ""),
            (":80", "", ":80"),
        ] {
            assert_eq!((strip_port(text), strip_domain(text).as_str()), (port, domain), "{text}");
        }
    }

    #[test]
    fn paths_are_without_escapes() {
        for (url, expected) in [
            ("http://testhost:9090/path/prefix", "/path/prefix"),
            ("http://testhost:9090", ""),
            ("http://h/a%20b?x=/y", "/a b"),
            ("", ""),
        ] {
            assert_eq!(path(url), expected);
        }
    }
}
