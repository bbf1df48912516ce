//! Values to YAML, as Prometheus prints its configuration: go-yaml version 2's block style, keys in
//! the schema's order, secrets masked.

use std::fmt::Write as _;

use firesteel_model::duration;

use crate::{
    schema::{Kind, Print},
    secret::MASK,
    size,
    value::{Item, Section, Value},
    yaml::write::{self, Context},
};

/// Prints a section as a document.
pub(crate) fn document(section: &Section) -> String {
    let mut out = String::new();
    if !mapping(&mut out, section, 0, true) {
        out.push_str("{}\n");
    }
    out
}

/// Writes the pairs of a section at an indentation; false if there is nothing to write. The first
/// line is not indented if the caller has done so.
fn mapping(out: &mut String, section: &Section, indent: usize, mut first: bool) -> bool {
    let mut any = false;
    for (field, slot) in section.schema().fields().zip(section.slots()) {
        let printed = match (field.print, slot) {
            (Print::Always, _) | (Print::WhenSet, Some(_)) => true,
            (Print::WhenSet, None) => false,
            (Print::NonZero | Print::Flow, slot) => {
                slot.as_ref().is_some_and(|item| !item.value.is_zero())
            }
        };
        if !printed {
            continue;
        }
        any = true;
        key(out, field.name, indent, &mut first);
        match slot {
            Some(item) if field.print == Print::Flow => flow_list(out, &item.value, indent),
            Some(item) => value(out, &item.value, indent),
            None => zero(out, field.kind),
        }
    }
    any
}

fn key(out: &mut String, name: &str, indent: usize, first: &mut bool) {
    if !std::mem::replace(first, false) {
        spaces(out, indent);
    }
    write::string(out, name, Context::Key);
    out.push(':');
}

fn spaces(out: &mut String, n: usize) {
    out.extend(std::iter::repeat_n(' ', n));
}

/// Writes what follows `key:`, with the end of its last line. `indent` is the key's.
fn value(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Section(section) => {
            let at = out.len();
            out.push('\n');
            if !mapping(out, section, indent + 2, false) {
                out.truncate(at);
                out.push_str(" {}\n");
            }
        }
        Value::Map(map) if map.is_empty() => out.push_str(" {}\n"),
        Value::Map(map) => {
            out.push('\n');
            let mut first = false;
            for (name, item) in map {
                key(out, name, indent + 2, &mut first);
                self::value(out, &item.value, indent + 2);
            }
        }
        Value::List(items) if items.is_empty() => out.push_str(" []\n"),
        Value::List(items) => {
            out.push('\n');
            for item in items {
                list_item(out, item, indent);
            }
        }
        scalar_value => {
            out.push(' ');
            scalar(out, scalar_value, Context::Block { indent: indent + 2 });
            out.push('\n');
        }
    }
}

/// Writes `- ...`; lists stand at the indentation of their key.
fn list_item(out: &mut String, item: &Item, indent: usize) {
    spaces(out, indent);
    out.push('-');
    match &item.value {
        Value::Section(section) => {
            let at = out.len();
            out.push(' ');
            if !mapping(out, section, indent + 2, true) {
                out.truncate(at);
                out.push_str(" {}\n");
            }
        }
        other => value(out, other, indent),
    }
}

fn scalar(out: &mut String, value: &Value, context: Context) {
    match value {
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) => {
            let _ = write!(out, "{n}");
        }
        Value::Uint(n) => {
            let _ = write!(out, "{n}");
        }
        Value::Float(v) => write::float(out, *v),
        Value::Text(text) => write::string(out, text, context),
        Value::Secret(secret) if secret.is_empty() => out.push_str("null"),
        Value::Secret(_) => out.push_str(MASK),
        Value::Duration(d) => write::string(out, &duration::format(*d), context),
        Value::Size(bytes) => write::string(out, &size::format(*bytes), context),
        Value::Url(url) => write::string(out, &url.redacted(), context),
        Value::List(_) | Value::Map(_) | Value::Section(_) => {}
    }
}

fn flow_list(out: &mut String, list: &Value, indent: usize) {
    let Value::List(items) = list else { return };
    out.push_str(" [");
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if write::column(out) > write::BEST_WIDTH {
            out.push('\n');
            spaces(out, indent + 2);
        } else if i > 0 {
            out.push(' ');
        }
        scalar(out, &item.value, Context::Flow { indent: indent + 2 });
    }
    out.push_str("]\n");
}

/// What Go prints for a field that is always printed and was never set.
fn zero(out: &mut String, kind: Kind) {
    out.push_str(match kind {
        Kind::Bool => " false\n",
        Kind::Int | Kind::Uint | Kind::Float => " 0\n",
        Kind::Duration => " 0s\n",
        Kind::List(_) | Kind::Sections(_) => " []\n",
        Kind::Map(_) | Kind::SectionMap(_) | Kind::Labels | Kind::Section(_) => " {}\n",
        Kind::Url | Kind::Secret => " null\n",
        Kind::Text | Kind::Size | Kind::Path | Kind::Checked(_) => " \"\"\n",
    });
}
