//! `/admin/tsdb/*`: work on the storage. Source: Prometheus `web/api/v1/api.go`.

use std::hash::{BuildHasher as _, Hasher as _};

use firesteel_model::Timestamp;
use serde_json::json;

use crate::{
    envelope::{ApiError, ErrorKind, Reply},
    params::{MAX_TIME, MIN_TIME, Params},
    service::Inner,
    sources::StorageAdmin,
};

fn admin(inner: &Inner) -> Result<&dyn StorageAdmin, ApiError> {
    let disabled = || ApiError::new(ErrorKind::Unavailable, "admin APIs disabled");
    inner.admin.as_deref().ok_or_else(disabled)
}

fn internal(text: String) -> ApiError {
    ApiError::new(ErrorKind::Internal, text)
}

pub(crate) fn delete_series(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let admin = admin(inner)?;
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let start = params.time_or("start", MIN_TIME)?;
    let end = params.time_or("end", MAX_TIME)?;
    // All are read before the first is deleted.
    let parse = |text| {
        let parsed = firesteel_promql::parse_metric_selector(text);
        parsed.map_err(|e| ApiError::parameter("match[]", e))
    };
    let sets: Vec<_> = params.all("match[]").map(parse).collect::<Result<_, _>>()?;
    for matchers in sets {
        admin.delete_series(&matchers, start, end).map_err(internal)?;
    }
    Ok(Reply::none())
}

pub(crate) fn clean_tombstones(inner: &Inner, _: &Params) -> Result<Reply, ApiError> {
    admin(inner)?.clean_tombstones().map_err(internal)?;
    Ok(Reply::none())
}

pub(crate) fn snapshot(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let admin = admin(inner)?;
    let skip_head = match params.first("skip_head") {
        "" => false,
        text => parse_bool(text).map_err(|e| ApiError::parameter("skip_head", e))?,
    };
    let name = name(inner.clock.now());
    let failed = |e| internal(format!("create snapshot: {e}"));
    admin.snapshot(&name, !skip_head).map_err(failed)?;
    Reply::json(&json!({ "name": name }))
}

/// What Go's `strconv.ParseBool` takes.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => {
            let text = firesteel_model::float::go_quote(text);
            Err(format!(
                "unable to parse boolean: strconv.ParseBool: parsing {text}: invalid syntax"
            ))
        }
    }
}

/// Time and 63 random bits: `20060102T150405Z-0123456789abcdef`.
fn name(now: Timestamp) -> String {
    // The keys of the hasher are random.
    let random = std::hash::RandomState::new().build_hasher().finish() >> 1;
    let time = jiff::Timestamp::from_millisecond(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{}-{random:016x}", time.strftime("%Y%m%dT%H%M%SZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_prometheus_makes_them() {
        let name = name(1_136_214_245_000);
        let (time, random) = name.split_once('-').unwrap();
        assert_eq!((time, random.len()), ("20060102T150405Z", 16));
        assert!(u64::from_str_radix(random, 16).unwrap() < 1 << 63);
    }

    #[test]
    fn booleans_are_gos() {
        assert_eq!((parse_bool("T"), parse_bool("0")), (Ok(true), Ok(false)));
        let text = "unable to parse boolean: strconv.ParseBool: parsing \"yes\": invalid syntax";
        assert_eq!(parse_bool("yes").unwrap_err(), text);
    }
}
