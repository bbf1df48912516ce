//! Target groups in JSON, as files and HTTP servers give them: strict about keys, as Prometheus is.

use firesteel_model::Labels;
use serde_json::Value;

use crate::{DiscoveryError, TargetGroup};

/// Reads a list of groups; the i-th gets the source `name:i` and `meta` for a label.
pub(crate) fn groups(
    name: &str,
    meta: &str,
    text: &[u8],
) -> Result<Vec<TargetGroup>, DiscoveryError> {
    let fail = |reason: String| DiscoveryError::Groups { from: name.to_owned(), reason };
    let value: Value = serde_json::from_slice(text).map_err(|e| fail(e.to_string()))?;
    let items = match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        _ => return Err(fail("expected a list of target groups".to_owned())),
    };
    let group = |(i, item): (usize, Value)| {
        let (targets, labels) = one(item).map_err(|e| fail(format!("group {i}: {e}")))?;
        let mut builder = labels.to_builder();
        builder.set(meta, name);
        Ok(TargetGroup::new(format!("{name}:{i}"), targets, builder.build()))
    };
    items.into_iter().enumerate().map(group).collect()
}

fn one(item: Value) -> Result<(Vec<String>, Labels), String> {
    let Value::Object(fields) = item else {
        return Err("nil target group item found".to_owned());
    };
    let (mut targets, mut labels) = (Vec::new(), Labels::empty());
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("targets" | "labels", Value::Null) => {}
            ("targets", Value::Array(list)) => {
                targets = list
                    .into_iter()
                    .map(|target| match target {
                        Value::String(text) => Ok(text),
                        other => Err(format!("targets: expected a string, found {other}")),
                    })
                    .collect::<Result<_, _>>()?;
            }
            ("labels", Value::Object(map)) => {
                let pair = |(name, value)| match value {
                    Value::String(text) => Ok((name, text)),
                    other => Err(format!("label {name}: expected a string, found {other}")),
                };
                let pairs = map.into_iter().map(pair).collect::<Result<Vec<_>, _>>()?;
                labels = Labels::from_pairs(pairs);
            }
            ("targets", _) => return Err("targets: expected a list".to_owned()),
            ("labels", _) => return Err("labels: expected a mapping".to_owned()),
            (unknown, _) => return Err(format!("unknown field {unknown:?}")),
        }
    }
    Ok((targets, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_groups() {
        let text = br#"[{"targets":["a:1","b:1"],"labels":{"x":"1"}},{"targets":[]}]"#;
        let groups = groups("f", "__meta_filepath", text).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(&*groups[0].source, "f:0");
        let labels: Vec<_> = groups[0].merged().map(|l| l.to_string()).collect();
        assert_eq!(labels[1], r#"{__address__="b:1", __meta_filepath="f", x="1"}"#);
    }

    #[test]
    fn refuses_other_things() {
        for bad in [
            "{}",
            "[null]",
            r#"[{"target":[]}]"#,
            r#"[{"targets":[1]}]"#,
            r#"[{"labels":{"a":1}}]"#,
            "[",
        ] {
            assert!(groups("f", "m", bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
