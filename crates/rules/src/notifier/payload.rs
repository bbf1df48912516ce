//! What Alertmanager's API version 2 takes. Source: `notifier/util.go`,
//! `api/v2/models/postable_alert.go` of Alertmanager.

use serde_json::{Map, Value, json};

use super::Alert;
use crate::Nanos;

/// A batch as a request's body.
pub(super) fn encode<'a>(alerts: impl Iterator<Item = &'a Alert>) -> Vec<u8> {
    let alerts: Vec<Value> = alerts.map(alert).collect();
    Value::Array(alerts).to_string().into_bytes()
}

fn alert(alert: &Alert) -> Value {
    json!({
        "annotations": pairs(alert.annotations.iter().map(|(n, v)| (n.as_str(), v.as_str()))),
        "endsAt": time(alert.ends_at),
        "startsAt": time(alert.starts_at),
        "generatorURL": &*alert.generator_url,
        "labels": pairs(alert.labels.iter()),
    })
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    Value::Object(pairs.map(|(n, v)| (n.to_owned(), json!(v))).collect::<Map<_, _>>())
}

/// RFC 3339 with milliseconds; what never happened is Go's zero time.
fn time(t: Option<Nanos>) -> String {
    t.and_then(|t| jiff::Timestamp::from_nanosecond(i128::from(t)).ok()).map_or_else(
        || "0001-01-01T00:00:00.000Z".to_owned(),
        |t| t.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use firesteel_model::Labels;

    use super::*;

    #[test]
    fn alerts_are_written_as_alertmanager_reads_them() {
        let alert = Alert {
            labels: Labels::from_pairs([("alertname", "A"), ("x", "\"")]),
            annotations: [("empty".to_owned(), String::new())].into(),
            starts_at: Some(1_700_000_000_123_999_999),
            ends_at: None,
            generator_url: "http://h/graph".into(),
        };
        let text = String::from_utf8(encode([alert].iter())).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[0]["startsAt"], "2023-11-14T22:13:20.123Z");
        assert_eq!(value[0]["endsAt"], "0001-01-01T00:00:00.000Z");
        assert_eq!(value[0]["labels"]["x"], "\"");
        assert_eq!(value[0]["annotations"]["empty"], "");
    }
}
