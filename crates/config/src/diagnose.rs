//! Collecting what is wrong, with the path of keys that leads there.

use crate::{Diagnostic, Place, value::Section};

/// Beyond this many errors of a file no more are kept.
const MAX_ERRORS: usize = 100;

/// What was found in one file, and where the reader stands.
pub(crate) struct Diagnostics {
    file: String,
    path: Vec<String>,
    /// Keys that nobody knows are passed over.
    pub(crate) lenient: bool,
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Whether what Prometheus would refuse is an error, not a warning.
    pub(crate) prometheus_only: bool,
}

impl Diagnostics {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            path: Vec::new(),
            lenient: false,
            errors: Vec::new(),
            warnings: Vec::new(),
            prometheus_only: false,
        }
    }

    /// Runs `inner` one key deeper.
    pub(crate) fn below<T>(&mut self, key: &str, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let result = inner(self);
        self.path.pop();
        result
    }

    /// Runs `inner` for an item of a list.
    pub(crate) fn at_index<T>(&mut self, index: usize, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.below(&format!("[{index}]"), inner)
    }

    /// The path of keys to here: `scrape_configs[0].job_name`.
    pub(crate) fn key_path(&self) -> String {
        let mut path = String::new();
        for part in &self.path {
            if !path.is_empty() && !part.starts_with('[') {
                path.push('.');
            }
            path.push_str(part);
        }
        path
    }

    fn diagnostic(&self, place: Place, message: String) -> Diagnostic {
        Diagnostic { file: self.file.clone(), place, key_path: self.key_path(), message }
    }

    /// Something is wrong here.
    pub(crate) fn error(&mut self, place: Place, message: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            let diagnostic = self.diagnostic(place, message.into());
            self.errors.push(diagnostic);
        }
    }

    /// Something is wrong with a key of the section that the reader stands at.
    pub(crate) fn error_at(&mut self, section: &Section, key: &str, message: impl Into<String>) {
        let place = section.place_of(key);
        self.below(key, |d| d.error(place, message));
    }

    /// Something is wrong with the section that the reader stands at.
    pub(crate) fn error_in(&mut self, section: &Section, message: impl Into<String>) {
        self.error(section.place(), message);
    }

    /// Something is odd here.
    pub(crate) fn warn(&mut self, place: Place, message: impl Into<String>) {
        if self.warnings.len() < MAX_ERRORS {
            let diagnostic = self.diagnostic(place, message.into());
            self.warnings.push(diagnostic);
        }
    }
}

/// The known name nearest to a wrong one, if any is near.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = 1 + wrong.len().min(64) / 4;
    known
        .map(|name| (distance(wrong, name), name))
        .filter(|(d, _)| *d <= most)
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// Levenshtein's distance; far apart where one text is much longer than any key.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let up = row[j + 1];
            let cost = diagonal + usize::from(ca != *cb);
            left = cost.min(up + 1).min(left + 1);
            diagonal = up;
            row[j + 1] = left;
        }
        row[0] = i + 1;
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_name() {
        let known = ["scrape_interval", "scrape_timeout", "job_name"];
        assert_eq!(nearest("scrape_intervall", known.into_iter()), Some("scrape_interval"));
        assert_eq!(nearest("jobname", known.into_iter()), Some("job_name"));
        assert_eq!(nearest("targets", known.into_iter()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
