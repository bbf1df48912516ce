//! One relabelling rule. Source: `model/relabel/relabel.go`.

use super::{Kind, Preset, Schema, TEXTS, anything_goes, key};

pub(crate) static RELABEL: Schema = Schema::new(
    "relabel.plain",
    &[&[
        key("source_labels", TEXTS).flow(),
        key("separator", Kind::Text).always().or(Preset::Text(";")),
        // Without a preset: Prometheus does not print the default, and tells it from the same text in
        // the file.
        key("regex", Kind::Text).when_set(),
        key("modulus", Kind::Uint),
        key("target_label", Kind::Text),
        key("replacement", Kind::Text).always().or(Preset::Text("$1")),
        key("action", Kind::Checked(action)).or(Preset::Text("replace")),
    ]],
    anything_goes,
);

/// A list of rules.
pub(crate) const RULES: Kind = Kind::Sections(&RELABEL);

const ACTIONS: [&str; 11] = [
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
];

fn action(text: &str) -> Result<String, String> {
    let lower = text.to_lowercase();
    if ACTIONS.contains(&lower.as_str()) {
        Ok(lower)
    } else {
        Err(format!("unknown relabel action {text:?} (expected one of {})", ACTIONS.join(", ")))
    }
}
