//! The query log: a line of JSON for each query that ran. Source of its keys: `promql/engine.go`,
//! `util/logging/file.go`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use firesteel_api::stats_json;
use firesteel_model::{
    Timestamp,
    clock::Clock,
    metrics::{Collect, Counter, Families},
};
use firesteel_promql::{ObservedQuery, QueryObserver, QueryOrigin, QueryOutcome};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

/// Writes the log, if one is configured.
pub(crate) struct QueryLog {
    file: Mutex<Option<fs::File>>,
    clock: Arc<dyn Clock>,
    failures: Counter,
}

impl QueryLog {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { file: Mutex::new(None), clock, failures: Counter::new() }
    }

    /// Goes on in this file, opened anew so that it can be moved away before; `None` ends the log.
    pub(crate) fn open(&self, path: Option<&PathBuf>) -> io::Result<()> {
        let open = |path: &PathBuf| fs::File::options().append(true).create(true).open(path);
        let file = path.map(open).transpose()?;
        *self.file.lock() = file;
        Ok(())
    }

    /// Whether queries are logged.
    fn is_on(&self) -> bool {
        self.file.lock().is_some()
    }
}

/// What opening the log failed with, for the operator.
pub(crate) fn open_error(path: Option<&PathBuf>, error: &io::Error) -> String {
    let path = path.map(PathBuf::as_path).unwrap_or(Path::new(""));
    format!("opening query_log_file {}: {error}", path.display())
}

impl QueryObserver for QueryLog {
    fn finished(&self, query: &ObservedQuery<'_>, outcome: &QueryOutcome<'_>) {
        if !self.is_on() {
            return;
        }
        let mut line = line(query, outcome, self.clock.now()).to_string();
        line.push('\n');
        let mut file = self.file.lock();
        let Some(file) = file.as_mut() else { return };
        if let Err(error) = file.write_all(line.as_bytes()) {
            self.failures.add(1);
            tracing::error!(%error, "can't log query");
        }
    }
}

fn line(query: &ObservedQuery<'_>, outcome: &QueryOutcome<'_>, now: Timestamp) -> Value {
    let mut line = Map::new();
    let mut set = |key: &str, value: Value| line.insert(key.to_owned(), value);
    set("time", time(now).into());
    set("level", "INFO".into());
    set("source", "engine.rs".into());
    set("msg", "promql query logged".into());
    set(
        "params",
        json!({
            "query": query.text,
            "start": time(query.start),
            "end": time(query.end),
            // Whole seconds, as Prometheus logs it.
            "step": query.step / 1000,
        }),
    );
    if let Some(error) = outcome.error {
        set("error", error.to_string().into());
    }
    set("stats", stats_json(outcome.stats));
    set("spanID", "0000000000000000".into());
    set("traceID", "00000000000000000000000000000000".into());
    match query.origin {
        Some(QueryOrigin::Http { client_ip, method, path }) => {
            let request = json!({ "clientIP": client_ip, "method": method, "path": path });
            set("httpRequest", request);
        }
        Some(QueryOrigin::Rule { file, group }) => {
            set("ruleGroup", json!({ "file": file, "name": group }));
        }
        _ => {}
    }
    Value::Object(line)
}

/// RFC 3339 with milliseconds.
fn time(t: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(t).map_or_else(|_| t.to_string(), |t| format!("{t:.3}"))
}

impl Collect for QueryLog {
    fn collect(&self, out: &mut Families) {
        let on = f64::from(u8::from(self.is_on()));
        out.gauge("prometheus_engine_query_log_enabled", "State of the query log.", on);
        out.counter(
            "prometheus_engine_query_log_failures_total",
            "The number of query log failures.",
            self.failures.value() as f64,
        );
    }
}
