//! Whether the files of a configuration have changed.

use std::{
    hash::{DefaultHasher, Hasher as _},
    path::Path,
};

use crate::{
    ConfigError, Diagnostic, ReadFiles, paths,
    yaml::{self, Node, NodeKind},
};

/// A number that differs, but for one chance in 2^64, when the configuration `path` has changed, or a
/// file that its `rule_files` or `scrape_config_files` match, or which files these are. It holds within
/// one process only. What the configuration says besides is not looked at, so a file with mistakes has
/// one, too. Reads every file whole. Source: `config/reload.go`.
///
/// # Errors
/// A file cannot be read, a pattern is malformed, or `path` is not YAML.
pub fn fingerprint(path: &Path, files: &dyn ReadFiles) -> Result<u64, ConfigError> {
    let read = |path: &Path| {
        files.read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
    };
    let mut hasher = DefaultHasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.write_usize(bytes.len());
        hasher.write(bytes);
    };
    let text = read(path)?;
    add(text.as_bytes());
    let document = yaml::load(&text).map_err(|error| {
        ConfigError::Invalid(vec![Diagnostic {
            file: path.to_string_lossy().into_owned(),
            place: error.place,
            key_path: String::new(),
            message: error.message,
        }])
    })?;
    let dir = path.parent().unwrap_or(Path::new(""));
    for key in ["rule_files", "scrape_config_files"] {
        for pattern in document.iter().flat_map(|document| texts(document, key)) {
            let pattern = paths::join(dir, &pattern);
            let found = files
                .expand(&pattern)
                .map_err(|source| ConfigError::Read { path: pattern.clone(), source })?;
            for file in found {
                add(key.as_bytes());
                add(file.as_os_str().as_encoded_bytes());
                add(read(&file)?.as_bytes());
            }
        }
    }
    Ok(hasher.finish())
}

/// The strings of the list under a key of a mapping, if all that is there.
fn texts(document: &Node, key: &str) -> Vec<String> {
    let NodeKind::Map(pairs) = &document.kind else { return Vec::new() };
    let scalar = |node: &Node| match &node.kind {
        NodeKind::Scalar(scalar) => scalar.string().ok(),
        _ => None,
    };
    pairs
        .iter()
        .filter(|(name, _)| scalar(name).as_deref() == Some(key))
        .flat_map(|(_, list)| match &list.kind {
            NodeKind::List(items) => items.as_slice(),
            _ => &[],
        })
        .filter_map(scalar)
        .collect()
}
