//! Who is asked: a server through its HTTP API, or the library over memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use firesteel_api::write_query_value;
use firesteel_model::{
    FloatHistogram, Histogram, Labels, Timestamp, Value as Appended,
    storage::{AppendOptions, Appendable as _, SeriesKey, memory::MemoryStorage},
};
use firesteel_promql::{
    Engine, EngineOptions, ParserOptions, QueryError, QueryOptions, QueryResult,
};

use crate::{
    Result,
    answer::Answer,
    data::{Dataset, Value},
    http::Client,
    remote::Held,
};

/// At which times a query is evaluated, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At one time.
    Instant(Timestamp),
    /// At `start`, `start + step`, ... up to `end`.
    Range {
        /// The first time.
        start: Timestamp,
        /// The last time, if the steps hit it.
        end: Timestamp,
        /// Between two times.
        step: i64,
    },
}

/// Somebody who answers queries with the body of `/api/v1/query` or `/api/v1/query_range`.
pub trait Subject: Send {
    /// The answer to a query, as JSON.
    ///
    /// # Errors
    /// There is none, not even one that says what is wrong.
    fn ask(&mut self, query: &str, when: When) -> Result<Vec<u8>>;
}

fn seconds(ms: Timestamp) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

impl Subject for Client {
    fn ask(&mut self, query: &str, when: When) -> Result<Vec<u8>> {
        let response = match when {
            When::Instant(t) => {
                self.form("/api/v1/query", &[("query", query), ("time", &seconds(t))])
            }
            When::Range { start, end, step } => self.form(
                "/api/v1/query_range",
                &[
                    ("query", query),
                    ("start", &seconds(start)),
                    ("end", &seconds(end)),
                    ("step", &seconds(step)),
                ],
            ),
        };
        let (status, body) = response?;
        if status != expected_status(&body) {
            let body = String::from_utf8_lossy(&body).into_owned();
            return Err(format!("status {status} of {query}: {body}").into());
        }
        Ok(body)
    }
}

/// The status that goes with an answer.
fn expected_status(body: &[u8]) -> u16 {
    match Answer::parse(body).ok().and_then(|answer| answer.error) {
        None => 200,
        Some((kind, _)) => match &*kind {
            "bad_data" => 400,
            "execution" => 422,
            "timeout" | "canceled" => 503,
            _ => 500,
        },
    }
}

/// Our engine, over the data in memory.
#[derive(Clone, Debug)]
pub struct Library {
    engine: Engine,
    storage: Arc<MemoryStorage>,
}

impl Library {
    /// The engine with the same features as the Prometheus that is compared to. `held` says what
    /// Prometheus made of histograms.
    ///
    /// # Errors
    /// Prometheus does not hold all of the data.
    pub fn new(
        data: &Dataset,
        held: &HashMap<Labels, Held>,
        delayed_name_removal: bool,
    ) -> Result<Self> {
        let options = EngineOptions {
            parser: ParserOptions {
                experimental_functions: true,
                duration_expressions: true,
                ..ParserOptions::default()
            },
            delayed_name_removal,
            ..EngineOptions::default()
        };
        let storage = MemoryStorage::new();
        for series in data.series() {
            let held = held.get(&series.labels);
            let held = held.ok_or_else(|| format!("Prometheus lacks {}", series.labels))?;
            // A staleness marker right at the change from floats to histograms may get lost.
            if held.len() + 5 < series.samples.len() {
                let (some, all) = (held.len(), series.samples.len());
                return Err(format!("{}: {some} of {all} samples", series.labels).into());
            }
            let mut appender = storage.appender();
            for (t, value) in &series.samples {
                if let Some(held) = held.get(t) {
                    append(&mut *appender, &series.labels, *t, value, held.as_ref())?;
                }
            }
            appender.commit()?;
        }
        Ok(Self { engine: Engine::new(options), storage: Arc::new(storage) })
    }
}

fn append(
    appender: &mut dyn firesteel_model::storage::Appender,
    labels: &Labels,
    t: Timestamp,
    value: &Value,
    held: Option<&FloatHistogram>,
) -> Result<()> {
    let (key, options) = (SeriesKey::Labels(labels), AppendOptions::default());
    match (held, value) {
        (Some(h), value) => {
            let mut h = h.clone();
            // Remote read leaves them out.
            if let Value::Integers(Histogram { layout, .. })
            | Value::Floats(FloatHistogram { layout, .. }) = value
            {
                h.layout.custom_values.clone_from(&layout.custom_values);
            }
            appender.append(key, t, Appended::FloatHistogram(&h), &options)?
        }
        (None, Value::Float(v)) => appender.append(key, t, Appended::Float(*v), &options)?,
        (None, _) => return Err(format!("{labels}: a histogram is held as a float").into()),
    };
    Ok(())
}

impl Subject for Library {
    fn ask(&mut self, query: &str, when: When) -> Result<Vec<u8>> {
        let (storage, options) = (&*self.storage, QueryOptions::default());
        let result = match when {
            When::Instant(t) => self.engine.instant(storage, query, t, &options),
            When::Range { start, end, step } => {
                let step = Duration::from_millis(step.unsigned_abs());
                self.engine.range(storage, query, start, end, step, &options)
            }
        };
        Ok(match result {
            Ok(result) => success(query, &result),
            Err(error) => failure(&error),
        })
    }
}

fn success(query: &str, result: &QueryResult) -> Vec<u8> {
    let mut out = b"{\"status\":\"success\",\"data\":{".to_vec();
    write_query_value(&mut out, &result.value);
    out.push(b'}');
    let lists = [
        ("warnings", result.annotations.warnings(query, 10)),
        ("infos", result.annotations.infos(query, 10)),
    ];
    for (name, texts) in lists.iter().filter(|(_, texts)| !texts.is_empty()) {
        let texts = serde_json::Value::from(texts.clone());
        out.extend_from_slice(format!(",\"{name}\":{texts}").as_bytes());
    }
    out.push(b'}');
    out
}

fn failure(error: &QueryError) -> Vec<u8> {
    let (kind, text) = match error {
        QueryError::Parse(_) | QueryError::Invalid(_) => {
            ("bad_data", format!("invalid parameter \"query\": {error}"))
        }
        QueryError::Canceled(_) => ("canceled", error.to_string()),
        QueryError::TimedOut(_) => ("timeout", error.to_string()),
        QueryError::Storage(_) => ("internal", error.to_string()),
        _ => ("execution", error.to_string()),
    };
    let answer = serde_json::json!({"status": "error", "errorType": kind, "error": text});
    answer.to_string().into_bytes()
}
