//! Where a redirect leads.

use http::{Method, StatusCode, Uri, uri::Authority};

/// Go's limit.
pub(crate) const MOST: usize = 10;

/// The method after a redirect of this kind; `None` if it is not followed.
pub(crate) fn method(status: StatusCode, method: &Method) -> Option<Method> {
    match status.as_u16() {
        301..=303 if *method == Method::HEAD => Some(Method::HEAD),
        301..=303 => Some(Method::GET),
        307 | 308 => Some(method.clone()),
        _ => None,
    }
}

/// A `Location` seen from where it was met. `None` if it is not a URL of `http` or `https`.
pub(crate) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str()?;
    let authority = base.authority()?.as_str();
    let whole = if location.contains("://") && !location.starts_with(['/', '?', '.']) {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else {
        let (path, query) = match location.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (location, String::new()),
        };
        let path = if path.is_empty() {
            base.path().to_owned()
        } else if path.starts_with('/') {
            without_dots(path)
        } else {
            let dir = base.path().rsplit_once('/').map_or("", |(dir, _)| dir);
            without_dots(&format!("{dir}/{path}"))
        };
        format!("{scheme}://{authority}{path}{query}")
    };
    let uri: Uri = whole.parse().ok()?;
    (matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()).then_some(uri)
}

fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        parts.push("");
    }
    format!("/{}", parts.join("/"))
}

/// Whether credentials for `from` may be sent to `to`: the same host and port, and not from TLS to
/// plain text.
pub(crate) fn same_host(from: &Uri, to: &Uri) -> bool {
    let host_port = |uri: &Uri| {
        let host = uri.host().map(str::to_ascii_lowercase);
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        (host, uri.authority().and_then(Authority::port_u16).unwrap_or(default))
    };
    let downgrade = from.scheme_str() == Some("https") && to.scheme_str() != Some("https");
    host_port(from) == host_port(to) && !downgrade
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_locations() {
        let base: Uri = "http://a:1/x/y?z".parse().unwrap();
        for (location, expected) in [
            ("/m", Some("http://a:1/m")),
            ("m?q#f", Some("http://a:1/x/m?q")),
            ("../m", Some("http://a:1/m")),
            ("//b/m", Some("http://b/m")),
            ("https://b/m", Some("https://b/m")),
            ("?q", Some("http://a:1/x/y?q")),
            ("/m?to=http://b/", Some("http://a:1/m?to=http://b/")),
            ("ftp://b/m", None),
            ("file:///etc/passwd", None),
        ] {
            let got = resolve(&base, location).map(|uri| uri.to_string());
            assert_eq!(got.as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn knows_the_same_host() {
        let same = |a: &str, b: &str| same_host(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("http://a/x", "http://A:80/y"));
        assert!(!same("http://a/x", "http://a:81/y"));
        assert!(!same("https://a:1/x", "http://a:1/y"));
        assert!(!same("http://a/x", "https://a/y"));
        assert!(!same("http://a/", "http://b/"));
    }
}
