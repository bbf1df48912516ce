//! Which format a page is in: `Content-Type` read, `Accept` written.

use crate::Error;

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Prometheus text, 0.0.4 and 1.0.0.
    PrometheusText,
    /// OpenMetrics text, 0.0.1 and 1.0.0.
    OpenMetrics,
    /// Protobuf, `io.prometheus.client.MetricFamily` messages each behind its length.
    Protobuf,
}

/// The outcome of [`Format::from_content_type`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenFormat {
    /// The format to read the page with.
    pub format: Format,
    /// Why the fallback had to be used, in Prometheus' words; `None` where it was not.
    pub warning: Option<String>,
}

impl Format {
    /// The media type without parameters.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::PrometheusText => "text/plain",
            Self::OpenMetrics => "application/openmetrics-text",
            Self::Protobuf => "application/vnd.google.protobuf",
        }
    }

    /// The format that a `Content-Type` header names; where it names none, `fallback`. Pass the
    /// empty string for a reply without the header.
    ///
    /// # Errors
    /// The header names no format that can be read and there is no fallback.
    /// Source: `extractMediaType` in `model/textparse/interface.go`.
    pub fn from_content_type(
        content_type: &str,
        fallback: Option<Self>,
    ) -> Result<ChosenFormat, Error> {
        let quoted = || crate::error::quote(content_type.as_bytes());
        let (problem, alone, detail) = if content_type.is_empty() {
            let what = "non-compliant scrape target sending blank Content-Type".to_owned();
            let alone = format!("{what} and no fallback_scrape_protocol specified for target");
            (what, alone, None)
        } else {
            match media_type(content_type) {
                Ok(media_type) => {
                    let known = [Self::PrometheusText, Self::OpenMetrics, Self::Protobuf];
                    if let Some(format) = known.into_iter().find(|f| f.media_type() == media_type) {
                        return Ok(ChosenFormat { format, warning: None });
                    }
                    let what = format!("received unsupported Content-Type {}", quoted());
                    let alone =
                        format!("{what} and no fallback_scrape_protocol specified for target");
                    (what, alone, None)
                }
                Err(why) => {
                    let quoted = quoted();
                    (
                        format!("could not parse received Content-Type {quoted}"),
                        format!(
                            "cannot parse Content-Type {quoted} and no fallback_scrape_protocol for target"
                        ),
                        Some(why),
                    )
                }
            }
        };
        let with_detail = |text: String| match detail {
            Some(why) => format!("{text}\n{why}"),
            None => text,
        };
        match fallback {
            None => Err(Error::ContentType(with_detail(alone))),
            Some(format) => {
                let media_type = format.media_type();
                let text = format!("{problem}, using fallback_scrape_protocol \"{media_type}\"");
                Ok(ChosenFormat { format, warning: Some(with_detail(text)) })
            }
        }
    }
}

/// The media type of a header in lower case, its parameters checked as Go's
/// `mime.ParseMediaType` does.
fn media_type(header: &str) -> Result<String, &'static str> {
    let (media_type, mut rest) = match header.split_once(';') {
        Some((media_type, _)) => (media_type, header.get(media_type.len()..).unwrap_or_default()),
        None => (header, ""),
    };
    let media_type = media_type.trim().to_lowercase();
    check_media_type(&media_type)?;
    let mut seen: Vec<String> = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.trim() == ";" {
            return Ok(media_type);
        }
        let (name, after) = parameter(rest).ok_or("mime: invalid media parameter")?;
        if seen.contains(&name) {
            return Err("mime: duplicate parameter name");
        }
        if seen.len() == MAX_PARAMETERS {
            return Err("mime: too many media parameters");
        }
        seen.push(name);
        rest = after;
    }
}

/// No honest header has more.
const MAX_PARAMETERS: usize = 32;

fn check_media_type(text: &str) -> Result<(), &'static str> {
    let (kind, rest) = token(text);
    if kind.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let Some(rest) = rest.strip_prefix('/') else {
        return Err("mime: expected slash after first token");
    };
    let (subtype, rest) = token(rest);
    if subtype.is_empty() {
        return Err("mime: expected token after slash");
    }
    if !rest.is_empty() {
        return Err("mime: unexpected content after media subtype");
    }
    Ok(())
}

fn token(text: &str) -> (&str, &str) {
    let is_token = |b: u8| b.is_ascii_graphic() && !br#"()<>@,;:\"/[]?="#.contains(&b);
    let end = text.bytes().position(|b| !is_token(b)).unwrap_or(text.len());
    text.split_at(end)
}

/// `; name=value` at the start of `text`: the name in lower case and what follows.
fn parameter(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix(';')?.trim_start();
    let (name, rest) = token(text);
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    if name.is_empty() {
        return None;
    }
    let rest = match rest.strip_prefix('"') {
        Some(quoted) => {
            let mut escaped = false;
            let close = quoted.bytes().position(|b| {
                let closes = b == b'"' && !escaped;
                escaped = b == b'\\' && !escaped;
                closes
            })?;
            quoted.get(close + 1..)?
        }
        None => {
            let (value, rest) = token(rest);
            if value.is_empty() {
                return None;
            }
            rest
        }
    };
    Some((name.to_lowercase(), rest))
}

/// A protocol that a scrape can ask for: the values of `scrape_protocols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// `PrometheusProto`.
    PrometheusProto,
    /// `PrometheusText0.0.4`.
    PrometheusText0_0_4,
    /// `PrometheusText1.0.0`.
    PrometheusText1_0_0,
    /// `OpenMetricsText0.0.1`.
    OpenMetricsText0_0_1,
    /// `OpenMetricsText1.0.0`.
    OpenMetricsText1_0_0,
}

impl Protocol {
    /// What Prometheus asks for by default, the best first.
    pub const DEFAULT: [Self; 4] = [
        Self::OpenMetricsText1_0_0,
        Self::OpenMetricsText0_0_1,
        Self::PrometheusText1_0_0,
        Self::PrometheusText0_0_4,
    ];

    /// The name in `scrape_protocols`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrometheusProto => "PrometheusProto",
            Self::PrometheusText0_0_4 => "PrometheusText0.0.4",
            Self::PrometheusText1_0_0 => "PrometheusText1.0.0",
            Self::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            Self::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
        }
    }

    /// The media range for an `Accept` header.
    #[must_use]
    pub const fn media_range(self) -> &'static str {
        match self {
            Self::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::PrometheusText0_0_4 => "text/plain;version=0.0.4",
            Self::PrometheusText1_0_0 => "text/plain;version=1.0.0",
            Self::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            Self::OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
        }
    }

    /// The format of its pages.
    #[must_use]
    pub const fn format(self) -> Format {
        match self {
            Self::PrometheusProto => Format::Protobuf,
            Self::PrometheusText0_0_4 | Self::PrometheusText1_0_0 => Format::PrometheusText,
            Self::OpenMetricsText0_0_1 | Self::OpenMetricsText1_0_0 => Format::OpenMetrics,
        }
    }
}

/// The `Accept` header for these protocols, the best first; `escaping` is the scheme for names
/// that are not in the old syntax, `allow-utf-8` by default.
#[must_use]
pub fn accept_header(protocols: &[Protocol], escaping: &str) -> String {
    let mut header = String::new();
    // Prometheus counts down from the number of protocols it knows, plus one.
    let mut weight = 6;
    for protocol in protocols {
        header.push_str(protocol.media_range());
        if matches!(protocol, Protocol::PrometheusText1_0_0 | Protocol::OpenMetricsText1_0_0) {
            header.push_str(";escaping=");
            header.push_str(escaping);
        }
        header.push_str(&format!(";q=0.{weight},"));
        weight -= 1;
    }
    header.push_str(&format!("*/*;q=0.{weight}"));
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_choose_formats() {
        use Format::{OpenMetrics, PrometheusText};
        for (content_type, fallback, expected) in [
            (
                "",
                None,
                Err(
                    "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target",
                ),
            ),
            (
                "",
                Some(PrometheusText),
                Ok((
                    PrometheusText,
                    "non-compliant scrape target sending blank Content-Type, using fallback_scrape_protocol \"text/plain\"",
                )),
            ),
            ("invalid/", None, Err("expected token after slash")),
            ("invalid/", Some(OpenMetrics), Ok((OpenMetrics, "expected token after slash"))),
            ("invalid/invalid/invalid", None, Err("unexpected content after media subtype")),
            ("/", None, Err("no media type")),
            (
                "application/openmetrics-text; charset=UTF-8; charset=utf-8",
                None,
                Err("duplicate parameter name"),
            ),
            ("application/openmetrics-text", None, Ok((OpenMetrics, ""))),
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                None,
                Ok((OpenMetrics, "")),
            ),
            ("text/plain", None, Ok((PrometheusText, ""))),
            ("Text/Plain ; version=\"0.0.4\" ;", None, Ok((PrometheusText, ""))),
            ("text/plain; version", None, Err("invalid media parameter")),
            (
                "text/html",
                None,
                Err(
                    "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target",
                ),
            ),
            (
                "text/html",
                Some(PrometheusText),
                Ok((
                    PrometheusText,
                    "received unsupported Content-Type \"text/html\", using fallback_scrape_protocol \"text/plain\"",
                )),
            ),
        ] {
            match (Format::from_content_type(content_type, fallback), expected) {
                (Ok(chosen), Ok((format, warning))) => {
                    assert_eq!(chosen.format, format, "{content_type}");
                    assert!(chosen.warning.unwrap_or_default().contains(warning), "{content_type}");
                }
                (Err(e), Err(text)) => assert!(e.to_string().contains(text), "{content_type}: {e}"),
                (got, _) => panic!("{content_type}: {got:?}"),
            }
        }
    }

    #[test]
    fn the_accept_header_is_prometheus_own() {
        assert_eq!(
            accept_header(&Protocol::DEFAULT, "allow-utf-8"),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
    }
}
