//! Nodes to values, by a schema. Everything that is wrong is reported; what is right is kept.

use std::collections::{BTreeMap, btree_map::Entry};

use firesteel_model::{duration, float::go_quote};

use crate::{
    Place, Secret, Url,
    diagnose::{Diagnostics, nearest},
    schema::{Field, Kind, Print, Schema},
    size,
    value::{Item, Section, Value},
    yaml::{
        Node, NodeKind,
        scalar::{self, TextError},
        shorten,
    },
};

/// Decodes a section. `None` if it is not a mapping, which has been reported.
pub(crate) fn section(
    node: &Node,
    schema: &'static Schema,
    diagnostics: &mut Diagnostics,
) -> Option<Section> {
    let NodeKind::Map(pairs) = &node.kind else {
        diagnostics.error(node.place, format!("expected a mapping, found {}", node.describe()));
        return None;
    };
    let before = diagnostics.errors.len();
    let mut section = Section::with_defaults(schema, node.place);
    let mut seen = vec![false; schema.fields().count()];
    for (key_node, value_node) in pairs {
        let Some(key) = text(key_node, diagnostics) else { continue };
        let Some((index, field)) = schema.field(&key) else {
            crate::mistakes::unknown_key(
                schema,
                &key,
                key_node,
                value_node,
                &mut section,
                diagnostics,
            );
            continue;
        };
        if std::mem::replace(&mut seen[index], true) {
            let message = format!("field {key} already set in type {}", schema.go_type);
            diagnostics.below(&key, |d| d.error(key_node.place, message));
            continue;
        }
        let decoded = diagnostics.below(&key, |d| field_value(value_node, field, d));
        section.slots_mut()[index] = decoded.map(|value| Item { value, place: value_node.place });
    }
    // A check would only repeat in other words what has been reported.
    if diagnostics.errors.len() == before {
        (schema.check)(&mut section, diagnostics);
    }
    Some(section)
}

/// A key's value; `None` for nothing at all, which go-yaml reads as the zero value.
fn field_value(node: &Node, field: &Field, diagnostics: &mut Diagnostics) -> Option<Value> {
    if node.is_null() {
        // The one text whose absence means something else than its being empty.
        let regex = matches!((field.kind, field.print), (Kind::Text, Print::WhenSet));
        return regex.then(|| Value::Text(String::new()));
    }
    value(node, field.kind, diagnostics)
}

fn value(node: &Node, kind: Kind, diagnostics: &mut Diagnostics) -> Option<Value> {
    match kind {
        Kind::Section(schema) => section(node, schema, diagnostics).map(Value::Section),
        Kind::Sections(schema) => list(node, Kind::Section(schema), diagnostics).map(Value::List),
        Kind::SectionMap(schema) => map(node, Kind::Section(schema), diagnostics).map(Value::Map),
        Kind::List(inner) => list(node, *inner, diagnostics).map(Value::List),
        Kind::Map(inner) => map(node, *inner, diagnostics).map(Value::Map),
        Kind::Labels => labels(node, diagnostics).map(Value::Map),
        kind => scalar(node, kind, diagnostics),
    }
}

/// Decodes a list of sections.
pub(crate) fn sections(
    node: &Node,
    schema: &'static Schema,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Item>> {
    list(node, Kind::Section(schema), diagnostics)
}

fn list(node: &Node, kind: Kind, diagnostics: &mut Diagnostics) -> Option<Vec<Item>> {
    let NodeKind::List(nodes) = &node.kind else {
        diagnostics.error(node.place, format!("expected a list, found {}", node.describe()));
        return None;
    };
    let item = |(i, node): (usize, &Node)| {
        let place = node.place;
        let value = if node.is_null() {
            null(kind, place)
        } else {
            diagnostics.at_index(i, |d| value(node, kind, d))?
        };
        Some(Item { value, place })
    };
    Some(nodes.iter().enumerate().filter_map(item).collect())
}

/// The zero value of an item that is not there; the checks of the section above know how to call it.
fn null(kind: Kind, place: Place) -> Value {
    match kind {
        Kind::Section(schema) => Value::Section(Section::zero(schema, place)),
        Kind::List(_) | Kind::Sections(_) => Value::List(Vec::new()),
        Kind::Map(_) | Kind::SectionMap(_) | Kind::Labels => Value::Map(BTreeMap::new()),
        Kind::Secret => Value::Secret(Secret::default()),
        _ => Value::Text(String::new()),
    }
}

fn map(node: &Node, kind: Kind, diagnostics: &mut Diagnostics) -> Option<BTreeMap<String, Item>> {
    let NodeKind::Map(pairs) = &node.kind else {
        diagnostics.error(node.place, format!("expected a mapping, found {}", node.describe()));
        return None;
    };
    let mut map = BTreeMap::new();
    for (key_node, value_node) in pairs {
        let Some(key) = text(key_node, diagnostics) else { continue };
        if map.contains_key(&key) {
            let message = format!("key {} already set in map", go_quote(&key));
            diagnostics.error(key_node.place, message);
            continue;
        }
        let decoded = if value_node.is_null() {
            Some(null(kind, value_node.place))
        } else {
            diagnostics.below(&key, |d| value(value_node, kind, d))
        };
        if let Some(value) = decoded {
            map.insert(key, Item { value, place: value_node.place });
        }
    }
    Some(map)
}

/// A label set. Its names are checked here only for what no naming scheme allows.
fn labels(node: &Node, diagnostics: &mut Diagnostics) -> Option<BTreeMap<String, Item>> {
    let NodeKind::Map(pairs) = &node.kind else {
        diagnostics.error(node.place, format!("expected a mapping, found {}", node.describe()));
        return None;
    };
    let mut map = BTreeMap::new();
    for (key_node, value_node) in pairs {
        let Some(name) = label_part(key_node, "name", diagnostics) else { continue };
        let value = diagnostics.below(&name, |d| label_part(value_node, "value", d));
        if name.is_empty() {
            diagnostics.error(key_node.place, "\"\" is not a valid label name");
            continue;
        }
        match map.entry(name) {
            Entry::Occupied(earlier) => {
                let message = format!("key {} already set in map", go_quote(earlier.key()));
                diagnostics.error(key_node.place, message);
            }
            Entry::Vacant(free) => {
                if let Some(value) = value {
                    free.insert(Item { value: Value::Text(value), place: value_node.place });
                }
            }
        }
    }
    Some(map)
}

fn label_part(node: &Node, part: &str, diagnostics: &mut Diagnostics) -> Option<String> {
    if node.is_null() {
        return Some(String::new());
    }
    if let NodeKind::Scalar(s) = &node.kind
        && let Err(TextError::NotUtf8(bytes)) = s.string()
    {
        let message = format!("{} is not a valid label {part}", quote_bytes(&bytes));
        diagnostics.error(node.place, message);
        return None;
    }
    text(node, diagnostics)
}

/// Bytes as Go's `%q` shows them.
fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        out.push_str(go_quote(chunk.valid()).trim_matches('"'));
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// A scalar as a string, whatever it looks like.
fn text(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let NodeKind::Scalar(scalar) = &node.kind else {
        diagnostics.error(node.place, format!("expected a string, found {}", node.describe()));
        return None;
    };
    match scalar.string() {
        Ok(text) => Some(text),
        Err(TextError::Base64) => {
            diagnostics.error(node.place, "!!binary value contains invalid base64 data");
            None
        }
        Err(TextError::NotUtf8(_)) => {
            diagnostics.error(node.place, "!!binary value is not UTF-8");
            None
        }
    }
}

fn scalar(node: &Node, kind: Kind, diagnostics: &mut Diagnostics) -> Option<Value> {
    let result = match kind {
        Kind::Bool => typed(node, scalar::as_bool)
            .map(Value::Bool)
            .ok_or_else(|| expected("true or false", node)),
        Kind::Int => typed(node, int)
            .and_then(|n| i64::try_from(n).ok())
            .map(Value::Int)
            .ok_or_else(|| expected("a whole number", node)),
        Kind::Uint => typed(node, int)
            .and_then(|n| u64::try_from(n).ok())
            .map(Value::Uint)
            .ok_or_else(|| expected("a whole number, 0 or more", node)),
        Kind::Float => typed(node, scalar::as_float)
            .map(Value::Float)
            .ok_or_else(|| expected("a number", node)),
        kind => {
            return text(node, diagnostics).and_then(|text| {
                string(text, kind).map_err(|message| diagnostics.error(node.place, message)).ok()
            });
        }
    };
    result.map_err(|message| diagnostics.error(node.place, message)).ok()
}

fn string(text: String, kind: Kind) -> Result<Value, String> {
    Ok(match kind {
        Kind::Secret => Value::Secret(Secret::new(text)),
        Kind::Duration => Value::Duration(duration::parse(&text).map_err(|e| {
            format!("{e} (expected a number with a unit, such as 15s, 1m or 1h30m)")
        })?),
        Kind::Size => Value::Size(
            size::parse(&text)
                .map_err(|e| format!("{e} (expected a number with a unit, such as 10MB or 1GB)"))?,
        ),
        Kind::Url => Value::Url(Url::parse(&text).map_err(|e| e.to_string())?),
        Kind::Checked(check) => Value::Text(check(&text)?),
        _ => Value::Text(text),
    })
}

fn typed<T>(node: &Node, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    match &node.kind {
        NodeKind::Scalar(scalar) => scalar.typed().and_then(read),
        _ => None,
    }
}

/// A whole number; go-yaml also takes floats, cut.
fn int(text: &str) -> Option<i128> {
    scalar::as_int(text)
        .or_else(|| scalar::as_float(text).filter(|v| v.abs() < 9.2e18).map(|v| v.trunc() as i128))
}

fn expected(what: &str, node: &Node) -> String {
    format!("expected {what}, found {}", node.describe())
}

/// What to say about a key that does not exist.
pub(crate) fn not_found(schema: &Schema, key: &str) -> String {
    let mut message = format!("field {} not found in type {}", shorten(key), schema.go_type);
    match nearest(key, schema.fields().map(|f| f.name)) {
        Some(name) => message.push_str(&format!(" (did you mean {name}?)")),
        None => {
            let mut names: Vec<_> = schema.fields().map(|f| f.name).collect();
            names.sort_unstable();
            if names.len() <= 16 {
                message.push_str(&format!(" (known: {})", names.join(", ")));
            }
        }
    }
    message
}
