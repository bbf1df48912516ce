//! The log of failed scrapes (`scrape_failure_log_file`): a line of JSON for each scrape that got no
//! page. What is wrong with a page that came is not in it, as with Prometheus.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use firesteel_config::ScrapeConfig;
use firesteel_model::Timestamp;

use crate::ScrapeError;

/// An open file. Several jobs may share one.
#[derive(Debug)]
pub(crate) struct FailureLog {
    file: Mutex<File>,
}

/// Where a pool's loops find the log that is in force; none if failures are not logged.
pub(crate) type FailureLogSlot = Arc<Mutex<Option<Arc<FailureLog>>>>;

impl FailureLog {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Appends a line in one write. Blocks for as long as the file system does.
    pub(crate) fn write(
        &self,
        time: Timestamp,
        job: &str,
        target: &str,
        error: &ScrapeError,
    ) -> io::Result<()> {
        let time = jiff::Timestamp::from_millisecond(time).unwrap_or_default();
        let (error, job, target) = (json(&error.to_string()), json(job), json(target));
        let line = format!(
            "{{\"time\":\"{time:.3}\",\"level\":\"ERROR\",\"source\":\"failure_log.rs:{}\",\"msg\":{error},\
             \"job_name\":{job},\"target\":{target}}}\n",
            line!()
        );
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
    }
}

/// A JSON string.
fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The logs of all jobs by file.
#[derive(Debug, Default)]
pub(crate) struct FailureLogs(BTreeMap<PathBuf, Arc<FailureLog>>);

impl FailureLogs {
    /// Opens the files of these jobs. Each call opens them anew, so that a reload follows a rotation.
    pub(crate) fn open(configs: &[ScrapeConfig]) -> Result<Self, ScrapeError> {
        let mut logs = BTreeMap::new();
        for path in configs.iter().filter_map(|c| c.scrape_failure_log_file.as_ref()) {
            if !logs.contains_key(path) {
                let log = FailureLog::open(path).map_err(|e| {
                    let path = path.display();
                    ScrapeError::FailureLog(format!("can't create json log file: open {path}: {e}"))
                })?;
                logs.insert(path.clone(), Arc::new(log));
            }
        }
        Ok(Self(logs))
    }

    /// The log of a job.
    pub(crate) fn of(&self, config: &ScrapeConfig) -> Option<Arc<FailureLog>> {
        self.0.get(config.scrape_failure_log_file.as_ref()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_json_wants_it() {
        assert_eq!(json("a\"b\\c\n\u{1}\u{e9}"), "\"a\\\"b\\\\c\\n\\u0001\u{e9}\"");
    }
}
