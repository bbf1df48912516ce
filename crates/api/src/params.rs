//! Parameters of a call, from the URL and from a posted form, and how Prometheus reads them.

use std::{sync::Arc, time::Duration};

use firesteel_model::{Timestamp, duration, storage::CancelToken};
use firesteel_promql::{Place, QueryOrigin};

use crate::envelope::ApiError;

/// The earliest time that a parameter stands for when it is not given. Half the range of an i64,
/// so that offsets can be added without overflow.
pub(crate) const MIN_TIME: Timestamp = i64::MIN / 2;
/// The latest time that a parameter stands for when it is not given.
pub(crate) const MAX_TIME: Timestamp = i64::MAX / 2;

/// Prometheus' own texts for the ends of time (`web/api/v1/api.go`).
const MIN_TIME_TEXT: &str = "-292273086-05-16T16:47:06Z";
const MAX_TIME_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";

/// The parameters of a call. Those of a posted form come before those of the URL.
#[derive(Debug, Default)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    /// The variable part of the path.
    pub(crate) path: Option<String>,
    /// Cancelled when the caller has gone away.
    pub(crate) cancel: CancelToken,
    /// The caller's turn among the running queries, for calls that run one.
    pub(crate) turn: Turn,
    /// Who calls.
    pub(crate) origin: Option<Arc<QueryOrigin>>,
}

/// What waiting for a place among the running queries gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) place: Option<Arc<Place>>,
    /// The query's time was over before there was a place.
    pub(crate) late: bool,
}

impl Params {
    pub(crate) fn new(form: &[u8], query: &str, path: Option<String>) -> Self {
        let pairs = form_urlencoded::parse(form)
            .chain(form_urlencoded::parse(query.as_bytes()))
            .map(|(k, v)| (k.into_owned(), v.into_owned()))
            .collect();
        Self { pairs, path, ..Self::default() }
    }

    /// The first value of a parameter, empty where it is not given.
    pub(crate) fn first(&self, name: &str) -> &str {
        self.pairs.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v)
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// A time, or `default` where it is not given.
    pub(crate) fn time_or(&self, name: &str, default: Timestamp) -> Result<Timestamp, ApiError> {
        match self.first(name) {
            "" => Ok(default),
            text => parse_time(text).map_err(|e| {
                ApiError::parameter(name, format_args!("invalid time value for '{name}': {e}"))
            }),
        }
    }

    /// A time that must be given.
    pub(crate) fn time(&self, name: &str) -> Result<Timestamp, ApiError> {
        parse_time(self.first(name)).map_err(|e| ApiError::parameter(name, e))
    }

    /// A duration, `None` where it is not given. Negative ones are errors of the caller's making.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<SignedDuration>, ApiError> {
        match self.first(name) {
            "" => Ok(None),
            text => parse_duration(text).map(Some).map_err(|e| ApiError::parameter(name, e)),
        }
    }

    /// `limit`: 0 where it is not given.
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        match self.first("limit") {
            "" => Ok(0),
            text => match text.parse::<i64>() {
                Ok(n) if n >= 0 => Ok(usize::try_from(n).unwrap_or(usize::MAX)),
                Ok(_) => Err(ApiError::parameter("limit", "limit must be non-negative")),
                Err(_) => Err(ApiError::parameter(
                    "limit",
                    format_args!("cannot parse {text:?} to a valid limit"),
                )),
            },
        }
    }
}

/// A duration that may be negative, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignedDuration(pub(crate) i64);

impl SignedDuration {
    /// As an unsigned duration; negative ones become zero.
    pub(crate) fn clamp(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

/// Seconds since the epoch with up to three decimals, or RFC 3339.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let failed = || format!("cannot parse {} to a valid timestamp", quote(text));
    if let Some(seconds) = parse_float(text) {
        let ms = seconds.trunc() * 1000.0 + (seconds.fract() * 1000.0).round();
        // Go's conversion of what does not fit is undefined; the ends of time are as good.
        return if ms.is_nan() { Err(failed()) } else { Ok((ms as i64).clamp(MIN_TIME, MAX_TIME)) };
    }
    match text {
        MIN_TIME_TEXT => return Ok(MIN_TIME),
        MAX_TIME_TEXT => return Ok(MAX_TIME),
        _ => {}
    }
    // RFC 3339 alone: the library reads more forms than Go does.
    if !text.contains(['T', 't']) {
        return Err(failed());
    }
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| failed())
}

/// Seconds, or a duration as `5m`.
fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    if let Some(seconds) = parse_float(text) {
        let ns = seconds * 1e9;
        if ns.is_nan() || ns > i64::MAX as f64 || ns < i64::MIN as f64 {
            let text = quote(text);
            return Err(format!("cannot parse {text} to a valid duration. It overflows int64"));
        }
        return Ok(SignedDuration(ns as i64));
    }
    duration::parse(text)
        .ok()
        .and_then(|d| i64::try_from(d.as_nanos()).ok())
        .map(SignedDuration)
        .ok_or_else(|| format!("cannot parse {} to a valid duration", quote(text)))
}

fn parse_float(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn quote(text: &str) -> String {
    firesteel_model::float::go_quote(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc3339() {
        for (text, ms) in [
            ("1700000000", 1_700_000_000_000),
            ("1700000000.1234", 1_700_000_000_123),
            ("-1.5", -1500),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718_555),
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
            (MIN_TIME_TEXT, MIN_TIME),
            (MAX_TIME_TEXT, MAX_TIME),
        ] {
            assert_eq!(parse_time(text), Ok(ms), "{text}");
        }
        for bad in ["", "abc", "30s", "2015-06-03", "NaN"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_time("x").unwrap_err(), "cannot parse \"x\" to a valid timestamp");
    }

    #[test]
    fn durations_are_seconds_or_prometheus_durations() {
        assert_eq!(parse_duration("0.5"), Ok(SignedDuration(500_000_000)));
        assert_eq!(parse_duration("5m"), Ok(SignedDuration(300_000_000_000)));
        assert_eq!(parse_duration("-1"), Ok(SignedDuration(-1_000_000_000)));
        for bad in ["", "abc", "1e30", "5x"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_form_comes_before_the_url() {
        let params = Params::new(b"query=a%2Bb&match[]=1", "query=c&match%5B%5D=2", None);
        assert_eq!(params.first("query"), "a+b");
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["1", "2"]);
    }
}
