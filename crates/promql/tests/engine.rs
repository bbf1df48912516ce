//! Runs Prometheus' test scripts on the engine over the storage in memory.

#![cfg(feature = "promqltest")]

mod common;

use std::{fs, time::Duration};

use firesteel_model::{
    Timestamp, Value,
    storage::{AppendOptions, Appendable, SeriesKey, memory::MemoryStorage},
};
use firesteel_promql::{
    Engine, EngineOptions, ParserOptions, QueryError, QueryOptions, QueryResult, SampleValue,
    promqltest::{Backend, Category, Loaded, Outcome, Script, run},
};

struct InMemory {
    engine: Engine,
    storage: MemoryStorage,
}

impl InMemory {
    /// With the options of Prometheus' own test engine.
    fn new(type_and_unit_labels: bool) -> Self {
        let options = EngineOptions {
            max_samples: 10_000,
            timeout: Duration::from_secs(100),
            delayed_name_removal: true,
            use_start_timestamps: true,
            type_and_unit_labels,
            parser: ParserOptions::experimental(),
            ..EngineOptions::default()
        };
        Self { engine: Engine::new(options), storage: MemoryStorage::new() }
    }

    fn outcome(query: &str, result: Result<QueryResult, QueryError>) -> Result<Outcome, String> {
        let result = result.map_err(|e| e.to_string())?;
        Ok(Outcome {
            value: result.value,
            warnings: result.annotations.warnings(query, 0),
            infos: result.annotations.infos(query, 0),
        })
    }
}

impl Backend for InMemory {
    fn clear(&mut self) -> Result<(), String> {
        self.storage = MemoryStorage::new();
        Ok(())
    }

    fn load(&mut self, series: &[Loaded]) -> Result<(), String> {
        let mut appender = self.storage.appender();
        for series in series {
            let key = SeriesKey::Labels(&series.labels);
            for sample in &series.samples {
                let value = match &sample.value {
                    SampleValue::Float(v) => Value::Float(*v),
                    SampleValue::Histogram(h) => Value::FloatHistogram(h),
                };
                let options =
                    AppendOptions { start_timestamp: sample.start, ..AppendOptions::default() };
                appender.append(key, sample.t, value, &options).map_err(|e| e.to_string())?;
            }
        }
        appender.commit().map(drop).map_err(|e| e.to_string())
    }

    fn instant(&mut self, query: &str, t: Timestamp) -> Result<Outcome, String> {
        let options = QueryOptions::default();
        Self::outcome(query, self.engine.instant(&self.storage, query, t, &options))
    }

    fn range(
        &mut self,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
    ) -> Result<Outcome, String> {
        let options = QueryOptions::default();
        let result = self.engine.range(&self.storage, query, start, end, step, &options);
        Self::outcome(query, result)
    }
}

#[test]
fn prometheus_scripts() {
    let Some(folder) = common::conformance("promql") else { return };
    let only = std::env::var("PROMQLTEST").unwrap_or_default();
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut totals = [(0, 0); 3];
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !only.is_empty() && only != name {
            continue;
        }
        let script = match Script::parse(&fs::read_to_string(&path).unwrap()) {
            Ok(script) => script,
            Err(error) => {
                println!("{name}: {error}");
                continue;
            }
        };
        let report = run(&script, &mut InMemory::new(name == "type_and_unit"));
        let categories = [Category::Plain, Category::NativeHistograms, Category::Experimental];
        let counts = categories.map(|c| report.counts(c));
        println!("{name}: {counts:?}");
        for (total, count) in totals.iter_mut().zip(counts) {
            *total = (total.0 + count.0, total.1 + count.1);
        }
        if std::env::var_os("PROMQLTEST_VERBOSE").is_some() {
            report.failures().for_each(|f| println!("  {f}"));
        }
    }
    println!("plain, histograms, experimental: {totals:?}");
}
