//! Paths relative to the configuration file, as Go's `filepath` joins them.

use std::path::{Component, Path, PathBuf};

use crate::{
    schema::Kind,
    value::{Item, Section, Value},
};

/// Makes every relative path of a section relative to `dir` instead of to the file.
pub(crate) fn set_directory(section: &mut Section, dir: &Path) {
    let schema = section.schema();
    for (field, slot) in schema.fields().zip(section.slots_mut()) {
        if let Some(item) = slot {
            join_all(item, field.kind, dir);
        }
    }
}

fn join_all(item: &mut Item, kind: Kind, dir: &Path) {
    match (&mut item.value, kind) {
        (Value::Text(text), Kind::Path) => {
            *text = join(dir, text).to_string_lossy().into_owned();
        }
        (Value::Section(section), _) => set_directory(section, dir),
        (Value::List(items), kind) => {
            let inner = if let Kind::List(inner) = kind { *inner } else { kind };
            for item in items {
                join_all(item, inner, dir);
            }
        }
        (Value::Map(map), kind) => {
            let inner = if let Kind::Map(inner) = kind { *inner } else { kind };
            for item in map.values_mut() {
                join_all(item, inner, dir);
            }
        }
        _ => {}
    }
}

/// A path of a file in `dir`, relative to where `dir` is.
pub(crate) fn join(dir: &Path, path: &str) -> PathBuf {
    if path.is_empty() || Path::new(path).is_absolute() {
        return PathBuf::from(path);
    }
    clean(&dir.join(path))
}

/// Removes `.`, doubled slashes and `..` where it can, without looking at the file system.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => {
                    out.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                _ => out.push(".."),
            },
            part => out.push(part),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_as_go_does() {
        for (dir, path, joined) in [
            ("", "a.yml", "a.yml"),
            (".", "./a.yml", "a.yml"),
            ("/etc/prometheus", "rules/*.yml", "/etc/prometheus/rules/*.yml"),
            ("/etc/prometheus", "../x", "/etc/x"),
            ("a", "../../x", "../x"),
        ] {
            assert_eq!(clean(&Path::new(dir).join(path)), Path::new(joined), "{dir} {path}");
        }
    }
}
