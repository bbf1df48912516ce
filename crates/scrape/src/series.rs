//! From a series on a page to the labels it is stored with: target labels, relabelling, checks.

use std::borrow::Cow;

use firesteel_exposition::Series;
use firesteel_model::{Labels, LabelsBuilder, METRIC_NAME, MetricType, float::go_quote, relabel};

use crate::{IngestSettings, ScrapeError};

/// Labels that begin so stay inside.
pub(crate) const RESERVED_PREFIX: &str = "__";

/// Labels of series that say what their family's metadata does.
const TYPE: &str = "__type__";
const UNIT: &str = "__unit__";

const EXPORTED_PREFIX: &str = "exported_";

/// The labels of a target that its series get.
pub(crate) fn public_labels(target: &Labels) -> Labels {
    target.without(|name| name.starts_with(RESERVED_PREFIX))
}

/// The labels to store a scraped series with; `None` if relabelling drops it. `unit` is its family's,
/// `builder` is scratch space.
pub(crate) fn stored_labels(
    series: &Series<'_, '_>,
    unit: &str,
    target: &Labels,
    settings: &IngestSettings,
    builder: &mut LabelsBuilder,
) -> Result<Option<Labels>, ScrapeError> {
    if settings.metric_relabel.is_empty()
        && !settings.type_and_unit_labels
        && let Some(labels) = plain_labels(series, target)
    {
        check(&labels, settings)?;
        return Ok(Some(labels));
    }
    series.labels_into(builder)?;
    if settings.type_and_unit_labels {
        // What the page itself says there gives way.
        if series.kind() != MetricType::Unknown {
            builder.set(TYPE, series.kind().as_str());
        }
        if !unit.is_empty() {
            builder.set(UNIT, unit);
        }
    }
    if settings.honor_labels {
        // A label that is there but empty keeps the target's away, too.
        let empty = |name: &str| series.labels().any(|(n, v)| n == name && v.is_empty());
        for (name, value) in target {
            if builder.get(name).is_none() && !empty(name) {
                builder.set(name, value);
            }
        }
    } else {
        override_labels(target, builder);
    }
    if !relabel::process(&settings.metric_relabel, builder) || builder.is_empty() {
        return Ok(None);
    }
    let labels = builder.build();
    check(&labels, settings)?;
    Ok(Some(labels))
}

/// Fast path: scraped labels and the target's side by side, if all names differ and nothing is empty.
fn plain_labels(series: &Series<'_, '_>, target: &Labels) -> Option<Labels> {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(16);
    pairs.push((METRIC_NAME.into(), series.metric_name()));
    pairs.extend(series.labels());
    pairs.extend(target.iter().map(|(name, value)| (name.into(), value.into())));
    pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let plain = pairs.windows(2).all(|w| matches!(w, [a, b] if a.0 != b.0))
        && pairs.iter().all(|(_, value)| !value.is_empty());
    plain.then(|| Labels::from_sorted(pairs.iter().map(|(name, value)| (&**name, &**value))))
}

/// Sets the target's labels; scraped ones of the same name move to `exported_...`.
fn override_labels(target: &Labels, builder: &mut LabelsBuilder) {
    let mut moved: Vec<(String, String)> = Vec::new();
    for (name, value) in target {
        if let Some(scraped) = builder.get(name) {
            moved.push((name.to_owned(), scraped.to_owned()));
        }
        builder.set(name, value);
    }
    moved.sort_by_key(|(name, _)| name.len());
    for (name, value) in moved {
        let mut name = format!("{EXPORTED_PREFIX}{name}");
        while builder.get(&name).is_some() {
            name.insert_str(0, EXPORTED_PREFIX);
        }
        builder.set(&name, &value);
    }
}

fn check(labels: &Labels, settings: &IngestSettings) -> Result<(), ScrapeError> {
    let Some(metric) = labels.metric_name() else { return Err(ScrapeError::MissingName) };
    let scheme = settings.scheme;
    let names_valid = scheme.is_metric_name(metric)
        && labels.iter().all(|(name, _)| name == METRIC_NAME || scheme.is_label_name(name));
    if !names_valid {
        return Err(ScrapeError::InvalidNames(labels.to_string()));
    }
    check_limits(labels, metric, settings).map_err(ScrapeError::LabelLimit)
}

fn check_limits(labels: &Labels, metric: &str, settings: &IngestSettings) -> Result<(), String> {
    let over = |n: usize, limit: u64| limit > 0 && n as u64 > limit;
    let metric = cut(metric);
    let (limit, name_limit) = (settings.label_limit, settings.label_name_length_limit);
    let value_limit = settings.label_value_length_limit;
    if limit > 0 {
        let n = labels.len();
        if over(n, limit) {
            return Err(format!(
                "label_limit exceeded (metric: {metric}, number of labels: {n}, limit: {limit})"
            ));
        }
    }
    if name_limit == 0 && value_limit == 0 {
        return Ok(());
    }
    for (name, value) in labels {
        let short = cut(name);
        if over(name.len(), name_limit) {
            let n = name.len();
            return Err(format!(
                "label_name_length_limit exceeded (metric: {metric}, label name: {short}, length: {n}, limit: {name_limit})"
            ));
        }
        if over(value.len(), value_limit) {
            let (n, value) = (value.len(), go_quote(cut(value)));
            return Err(format!(
                "label_value_length_limit exceeded (metric: {metric}, label name: {short}, value: {value}, length: {n}, limit: {value_limit})"
            ));
        }
    }
    Ok(())
}

/// The first 50 characters.
fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(50).map_or(text.len(), |(i, _)| i);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firesteel_exposition::{Entry, Format, Parser};
    use firesteel_model::relabel::{Action, RelabelConfig};

    fn stored(line: &str, settings: &IngestSettings) -> Result<Option<String>, String> {
        let target = Labels::from_pairs([("job", "j"), ("instance", "i")]);
        let mut parser = Parser::new(Format::PrometheusText, line.as_bytes());
        let Ok(Some(Entry::Series(series))) = parser.next_entry() else { panic!("a series") };
        let labels = stored_labels(&series, "", &target, settings, &mut LabelsBuilder::new());
        labels.map(|l| l.map(|l| l.to_string())).map_err(|e| e.to_string())
    }

    #[test]
    fn target_labels_win_or_give_way() {
        let mut settings = IngestSettings::default();
        for (line, expected) in [
            ("m{a=\"b\"} 1", r#"{__name__="m", a="b", instance="i", job="j"}"#),
            ("m{job=\"x\"} 1", r#"{__name__="m", exported_job="x", instance="i", job="j"}"#),
            (
                "m{job=\"x\",exported_job=\"y\"} 1",
                r#"{__name__="m", exported_exported_job="x", exported_job="y", instance="i", job="j"}"#,
            ),
        ] {
            assert_eq!(stored(line, &settings), Ok(Some(expected.to_owned())), "{line}");
        }
        settings.honor_labels = true;
        for (line, expected) in [
            ("m{job=\"x\"} 1", r#"{__name__="m", instance="i", job="x"}"#),
            ("m{job=\"\"} 1", r#"{__name__="m", instance="i"}"#),
        ] {
            assert_eq!(stored(line, &settings), Ok(Some(expected.to_owned())), "{line}");
        }
    }

    #[test]
    fn relabelling_drops_and_checks_complain() {
        let mut settings = IngestSettings::default();
        let drop_name = RelabelConfig {
            regex: firesteel_model::regex::Regex::anchored("__name__").unwrap(),
            ..RelabelConfig::new(Action::LabelDrop)
        };
        settings.metric_relabel = vec![drop_name];
        assert_eq!(
            stored("m 1", &settings),
            Err("missing metric name (__name__ label)".to_owned())
        );
        let mut settings = IngestSettings { label_limit: 3, ..IngestSettings::default() };
        assert!(stored("m 1", &settings).is_ok());
        assert_eq!(
            stored("m{a=\"b\"} 1", &settings).unwrap_err(),
            "label_limit exceeded (metric: m, number of labels: 4, limit: 3)"
        );
        settings = IngestSettings { label_value_length_limit: 3, ..IngestSettings::default() };
        assert_eq!(
            stored("m{a=\"\\\"bcd\"} 1", &settings).unwrap_err(),
            r#"label_value_length_limit exceeded (metric: m, label name: a, value: "\"bcd", length: 4, limit: 3)"#
        );
        settings = IngestSettings { label_name_length_limit: 8, ..IngestSettings::default() };
        assert_eq!(
            stored("m{abcdefghi=\"b\"} 1", &settings).unwrap_err(),
            "label_name_length_limit exceeded (metric: m, label name: abcdefghi, length: 9, limit: 8)"
        );
        settings = IngestSettings::default();
        settings.scheme = firesteel_model::ValidationScheme::Legacy;
        assert_eq!(
            stored("{\"a.b\"} 1", &settings).unwrap_err(),
            r#"invalid metric name or label names: {__name__="a.b", instance="i", job="j"}"#
        );
        assert_eq!(
            stored("m{a=\"1\",a=\"2\"} 1", &settings).unwrap_err(),
            "label name \"a\" is not unique: invalid sample"
        );
    }
}
