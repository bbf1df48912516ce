//! What a configuration may need from around it: files, patterns, environment variables.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The loader's view of the world. The crate reads nothing by any other way.
pub trait ReadFiles {
    /// The whole text of a file.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The files that match a pattern, sorted; a path without pattern characters matches itself if
    /// it exists. `*`, `?` and `[...]` have a meaning in the last component only.
    ///
    /// # Errors
    /// The pattern is malformed. A directory that is not there just matches nothing.
    fn expand(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;

    /// An environment variable; used in `external_labels` only.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The file system and the environment of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFiles;

impl ReadFiles for OsFiles {
    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn expand(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let Some(name) = pattern.file_name().and_then(|n| n.to_str()) else {
            return Ok(if pattern.exists() { vec![pattern.to_owned()] } else { Vec::new() });
        };
        if !name.contains(['*', '?', '[', '\\']) {
            return Ok(if pattern.exists() { vec![pattern.to_owned()] } else { Vec::new() });
        }
        check_pattern(name)?;
        let dir = pattern.parent().unwrap_or(Path::new(""));
        let list = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let Ok(entries) = fs::read_dir(list) else { return Ok(Vec::new()) };
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|file| matches(name, file))
            .map(|file| dir.join(file))
            .collect();
        found.sort();
        Ok(found)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// No files and no environment: for configurations made of one text.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl ReadFiles for NoFiles {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn expand(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

fn check_pattern(pattern: &str) -> io::Result<()> {
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let complete = match c {
            '\\' => rest.next().is_some(),
            '[' => rest.by_ref().skip(1).any(|c| c == ']'),
            _ => true,
        };
        if !complete {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "syntax error in pattern"));
        }
    }
    Ok(())
}

/// Whether a file's name matches a pattern of Go's `filepath.Match`, without separators.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on after a mismatch: behind the last star, one character later.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, n));
            p += 1;
        } else if let Some(next) = match_one(&pattern, p, name[n]) {
            (p, n) = (next, n + 1);
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            (p, n) = (star, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Matches one character; where the pattern goes on if it does.
fn match_one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' => (*pattern.get(at + 1)? == c).then_some(at + 2),
        '[' => {
            let negated = pattern.get(at + 1) == Some(&'^');
            let mut i = at + 1 + usize::from(negated);
            let mut hit = false;
            let mut first = true;
            loop {
                let mut low = *pattern.get(i)?;
                if low == ']' && !first {
                    return (hit != negated).then_some(i + 1);
                }
                first = false;
                if low == '\\' {
                    i += 1;
                    low = *pattern.get(i)?;
                }
                let mut high = low;
                if pattern.get(i + 1) == Some(&'-') && pattern.get(i + 2).is_some_and(|c| *c != ']')
                {
                    high = pattern[i + 2];
                    i += 2;
                }
                hit |= (low..=high).contains(&c);
                i += 1;
            }
        }
        literal => (*literal == c).then_some(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_as_go_does() {
        for (pattern, name, expected) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a*b*c", "axxbyyc", true),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("\\*", "*", true),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(pattern in r"[a-c*?\[\]\\^-]{0,12}", name in "[a-c]{0,8}") {
            let _ = (matches(&pattern, &name), check_pattern(&pattern));
        }
    }
}
