//! URLs as configuration holds them: checked for their shape, printed without a password.

use std::fmt;

/// An absolute or relative URL whose parts have been told apart. Nothing is decoded or normalised.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    text: String,
    scheme_len: usize,
    /// Where the authority lies; empty if there is none.
    authority: (usize, usize),
}

/// Why a text is not a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse {text:?}: {reason}")]
pub struct UrlError {
    /// The text, without a password.
    text: String,
    reason: &'static str,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// Control characters or spaces in it, an empty scheme, or a host that is not one.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let fail = |reason| Err(UrlError { text: redact(text), reason });
        if text.chars().any(|c| c.is_ascii_control()) {
            return fail("invalid control character in URL");
        }
        let scheme_len = match text.find([':', '/', '?', '#']) {
            Some(0) if text.starts_with(':') => return fail("missing protocol scheme"),
            Some(i) if text[i..].starts_with(':') => i,
            _ => 0,
        };
        let scheme = &text[..scheme_len];
        if scheme_len > 0 && !is_scheme(scheme) {
            return fail("first path segment in URL cannot contain colon");
        }
        let rest_at = if scheme_len > 0 { scheme_len + 1 } else { 0 };
        let rest = &text[rest_at..];
        let authority = if rest.starts_with("//") {
            let start = rest_at + 2;
            let len = text[start..].find(['/', '?', '#']).unwrap_or(text.len() - start);
            (start, start + len)
        } else {
            (rest_at, rest_at)
        };
        let url = Self { text: text.to_owned(), scheme_len, authority };
        if url.host_port().contains([' ', '<', '>', '"', '\\', '^', '`', '{', '}']) {
            return fail("invalid character in host name");
        }
        if url.port().is_some_and(|p| !p.bytes().all(|b| b.is_ascii_digit())) {
            return fail("invalid port after host");
        }
        Ok(url)
    }

    /// The text as it was given, with its password.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme, empty for a relative URL.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.text[..self.scheme_len]
    }

    fn authority(&self) -> &str {
        &self.text[self.authority.0..self.authority.1]
    }

    /// User and password, if the URL holds any: `user:password`.
    #[must_use]
    pub fn user_info(&self) -> Option<&str> {
        self.authority().rsplit_once('@').map(|(user, _)| user)
    }

    /// Host and port as they stand in the URL, empty if there is none.
    #[must_use]
    pub fn host_port(&self) -> &str {
        self.authority().rsplit_once('@').map_or(self.authority(), |(_, host)| host)
    }

    /// The port, if the URL names one.
    #[must_use]
    pub fn port(&self) -> Option<&str> {
        let host = self.host_port();
        let after_v6 = host.rfind(']').map_or(0, |i| i + 1);
        host[after_v6..].split_once(':').map(|(_, port)| port).filter(|p| !p.is_empty())
    }

    /// The host without its port; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.host_port();
        let after_v6 = host.rfind(']').map_or(0, |i| i + 1);
        host[after_v6..].find(':').map_or(host, |i| &host[..after_v6 + i])
    }

    /// Everything after the authority: path, query and fragment.
    #[must_use]
    pub fn path_and_more(&self) -> &str {
        &self.text[self.authority.1..]
    }

    /// The URL with `xxxxx` for its password: for logs, errors and `/api/v1/status/config`.
    #[must_use]
    pub fn redacted(&self) -> String {
        redact(&self.text)
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Replaces the password of anything that looks like a URL.
fn redact(text: &str) -> String {
    let Some(start) = text.find("//").map(|i| i + 2) else { return text.to_owned() };
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |i| start + i);
    let Some(at) = text[start..end].rfind('@').map(|i| start + i) else { return text.to_owned() };
    match text[start..at].find(':').map(|i| start + i) {
        Some(colon) => format!("{}:xxxxx{}", &text[..colon], &text[at..]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tells_the_parts_apart() {
        let url = Url::parse("https://me:pw@[::1]:8443/a?b=c").unwrap();
        assert_eq!((url.scheme(), url.host(), url.port()), ("https", "[::1]", Some("8443")));
        assert_eq!((url.user_info(), url.path_and_more()), (Some("me:pw"), "/a?b=c"));
        assert_eq!(url.to_string(), "https://me:xxxxx@[::1]:8443/a?b=c");
        assert_eq!(format!("{url:?}"), "\"https://me:xxxxx@[::1]:8443/a?b=c\"");
        let socket = Url::parse("unix:///var/run/docker.sock").unwrap();
        assert_eq!((socket.host(), socket.path_and_more()), ("", "/var/run/docker.sock"));
        assert_eq!(Url::parse("example.org/x").unwrap().host(), "");
    }

    #[test]
    fn refuses_without_showing_the_password() {
        for bad in ["://x", "http://a b/", "http://h:port/", "1a:b", "http://a\n"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        let error = Url::parse("http://me:pw@h:x/").unwrap_err().to_string();
        assert!(!error.contains("pw@"), "{error}");
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,30}") {
            if let Ok(url) = Url::parse(&text) {
                let _ = (url.host(), url.port(), url.redacted(), url.path_and_more());
            }
        }
    }
}
