//! A target's URL, as Go's `net/url` writes it: the target's hash is made from this text.

use firesteel_model::Labels;

use crate::target::{ADDRESS, METRICS_PATH, PARAM_PREFIX, SCHEME, UNIX_SOCKET};

/// What may stand as it is.
#[derive(Clone, Copy)]
enum Part {
    Host,
    Path,
    Query,
}

fn stands(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        return true;
    }
    match part {
        Part::Host => b"!$&'()*+,;=:[]<>\"".contains(&byte),
        Part::Path => b"$&+,/:;=@".contains(&byte),
        Part::Query => false,
    }
}

fn escape(out: &mut String, text: &str, part: Part) {
    for byte in text.bytes() {
        if matches!(part, Part::Query) && byte == b' ' {
            out.push('+');
        } else if stands(byte, part) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The URL of a target with these labels; `params` are the job's, of which the labels override the
/// first values.
pub(crate) fn target_url(labels: &Labels, params: &[(String, Vec<String>)]) -> String {
    let get = |name: &str| labels.get(name).unwrap_or_default();
    let host = match get(ADDRESS) {
        "" if labels.has(UNIX_SOCKET) => "localhost",
        host => host,
    };
    let path = get(METRICS_PATH);
    let mut url = format!("{}://", get(SCHEME));
    escape(&mut url, host, Part::Host);
    if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
        url.push('/');
    }
    if path == "*" {
        url.push('*');
    } else {
        escape(&mut url, path, Part::Path);
    }
    let mut separator = '?';
    for (name, values) in merged_params(labels, params) {
        for value in values {
            url.push(separator);
            separator = '&';
            escape(&mut url, &name, Part::Query);
            url.push('=');
            escape(&mut url, &value, Part::Query);
        }
    }
    url
}

/// Parameters sorted by name.
fn merged_params(
    labels: &Labels,
    params: &[(String, Vec<String>)],
) -> std::collections::BTreeMap<String, Vec<String>> {
    let mut all: std::collections::BTreeMap<String, Vec<String>> = params.iter().cloned().collect();
    for (name, value) in labels {
        let Some(name) = name.strip_prefix(PARAM_PREFIX) else { continue };
        let values = all.entry(name.to_owned()).or_default();
        match values.first_mut() {
            Some(first) => value.clone_into(first),
            None => values.push(value.to_owned()),
        }
    }
    all
}

/// Where this server can be reached from outside, and where it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExternalAddress {
    /// `host:port` that it listens on.
    pub listen: String,
    /// Host, with a port where it has one, of the external URL.
    pub host: String,
    /// Scheme of the external URL.
    pub scheme: String,
}

impl ExternalAddress {
    /// From the listening address and the external URL's host and scheme.
    #[must_use]
    pub fn new(listen: &str, host: &str, scheme: &str) -> Self {
        Self { listen: listen.into(), host: host.into(), scheme: scheme.into() }
    }

    /// A target's URL as it is reached from outside: a target on this host under its external name.
    /// Source: `getGlobalURL` in `web/api/v1/api.go`.
    #[must_use]
    pub fn globalize(&self, url: &str) -> String {
        self.globalized(url).unwrap_or_else(|| url.to_owned())
    }

    fn globalized(&self, url: &str) -> Option<String> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (host, port) = split_port(authority)?;
        if !["127.0.0.1", "localhost", "::1"].contains(&host) {
            return None;
        }
        let own_port = split_port(&self.listen).map(|(_, port)| port);
        if own_port == Some(port) {
            return Some(format!("{}://{}{tail}", self.scheme, self.host));
        }
        let host = split_port(&self.host).map_or(self.host.as_str(), |(host, _)| host);
        Some(format!("{scheme}://{host}:{port}{tail}"))
    }
}

/// Host without brackets, and port.
fn split_port(authority: &str) -> Option<(&str, &str)> {
    let (host, port) = authority.rsplit_once(':')?;
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match inner {
        Some(host) => Some((host, port)),
        None if host.contains(':') => None,
        None => Some((host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_written_as_go_writes_them() {
        for (address, path, expected) in [
            ("h:1", "/metrics", "http://h:1/metrics"),
            ("[::1]:9100", "", "http://[::1]:9100"),
            ("h", "metrics", "http://h/metrics"),
            ("h", "/a b?c", "http://h/a%20b%3Fc"),
            ("h", "/a*(b)/\u{e9}", "http://h/a%2A%28b%29/%C3%A9"),
        ] {
            let labels =
                Labels::from_pairs([(ADDRESS, address), (SCHEME, "http"), (METRICS_PATH, path)]);
            assert_eq!(target_url(&labels, &[]), expected);
        }
        let labels = Labels::from_pairs([
            (ADDRESS, "h"),
            (SCHEME, "https"),
            (METRICS_PATH, "/"),
            ("__param_target", "http://x/?y"),
        ]);
        let params = [("a".to_owned(), vec!["1".to_owned(), "&".to_owned()])];
        assert_eq!(
            target_url(&labels, &params),
            "https://h/?a=1&a=%26&target=http%3A%2F%2Fx%2F%3Fy"
        );
    }

    #[test]
    fn local_targets_are_shown_under_the_external_name() {
        let external = ExternalAddress::new("0.0.0.0:9090", "prom.example:443", "https");
        for (url, expected) in [
            ("http://localhost:9090/metrics", "https://prom.example:443/metrics"),
            ("http://127.0.0.1:9100/metrics?a=b", "http://prom.example:9100/metrics?a=b"),
            ("http://[::1]:9100/metrics", "http://prom.example:9100/metrics"),
            ("http://pi:9100/metrics", "http://pi:9100/metrics"),
            ("http://localhost/metrics", "http://localhost/metrics"),
        ] {
            assert_eq!(external.globalize(url), expected);
        }
    }
}
