//! Mistakes that people make, and what helps them.

use crate::{
    decode,
    diagnose::Diagnostics,
    schema::{Schema, root},
    value::{Item, Section, Value},
    yaml::{Node, NodeKind},
};

/// Keys of the file of `--web.config.file`.
const WEB_KEYS: [&str; 4] =
    ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];

/// Flags that people look for in the file.
const FLAGS: [(&str, &str); 4] = [
    ("web", "the flags --web.*"),
    ("query", "the flags --query.*"),
    ("log_level", "the flag --log.level"),
    ("evaluation_interval", "the section global"),
];

/// A key that its section does not know: an error with what may help, or, for dotted keys under
/// `storage.tsdb`, a warning and the meaning that was plainly intended.
pub(crate) fn unknown_key(
    schema: &'static Schema,
    key: &str,
    key_node: &Node,
    value_node: &Node,
    section: &mut Section,
    diagnostics: &mut Diagnostics,
) {
    if std::ptr::eq(schema, &root::TSDB)
        && let Some(("retention", leaf)) = key.split_once('.')
    {
        return dotted_retention(leaf, key_node, value_node, section, diagnostics);
    }
    if diagnostics.lenient {
        return;
    }
    let mut message = decode::not_found(schema, key);
    if std::ptr::eq(schema, &root::CONFIG) {
        if WEB_KEYS.contains(&key) {
            message = format!(
                "field {key} not found in type {} (its place is the file named by --web.config.file)",
                schema.go_type
            );
        } else if let Some((_, place)) = FLAGS.iter().find(|(name, _)| *name == key) {
            message =
                format!("field {key} not found in type {} (its place is {place})", schema.go_type);
        }
    }
    diagnostics.below(key, |d| d.error(key_node.place, message));
}

fn dotted_retention(
    leaf: &str,
    key_node: &Node,
    value_node: &Node,
    section: &mut Section,
    diagnostics: &mut Diagnostics,
) {
    if diagnostics.prometheus_only {
        let message = format!(
            "field retention.{leaf} not found in type config.plain (to be written as\n  \
             retention:\n    {leaf}: {})",
            value_node.describe().trim_matches('`')
        );
        return diagnostics
            .below(&format!("retention.{leaf}"), |d| d.error(key_node.place, message));
    }
    // Decoded as the section that it stands for, so that the same rules and messages apply.
    let mut leaf_node = key_node.clone();
    if let NodeKind::Scalar(scalar) = &mut leaf_node.kind {
        leaf.clone_into(&mut scalar.text);
    }
    let nested =
        Node { place: key_node.place, kind: NodeKind::Map(vec![(leaf_node, value_node.clone())]) };
    let Some(new) =
        diagnostics.below("retention", |d| decode::section(&nested, &root::RETENTION, d))
    else {
        return;
    };
    let message = format!(
        "retention.{leaf} is not a key of Prometheus' configuration; it is taken for\n  \
         retention:\n    {leaf}: {}\nwhich is the form to write",
        value_node.describe().trim_matches('`')
    );
    diagnostics.below(&format!("retention.{leaf}"), |d| d.warn(key_node.place, message));
    match section.get_mut("retention") {
        Some(Item { value: Value::Section(old), place }) => {
            *place = key_node.place;
            for (old, new) in old.slots_mut().iter_mut().zip(new.slots()) {
                if new.is_some() {
                    old.clone_from(new);
                }
            }
        }
        _ => section
            .set("retention", Some(Item { value: Value::Section(new), place: key_node.place })),
    }
}
