//! Runs PromQL test scripts on the engine over memory: Prometheus' own, which are conformance
//! data, and ours in `testdata`. Prints how each went.
//!
//! `PROMQLTEST=operators` runs only scripts with that in their name and prints all failures.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that reports what it runs")]

mod common;

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use firesteel_model::{Timestamp, storage::memory::MemoryStorage};
use firesteel_promql::{
    Engine, EngineOptions, ParserOptions, QueryError, QueryOptions, QueryResult,
    promqltest::{Backend, Category, Loaded, Outcome, Report, Script, append, give_hints, run},
};

/// The engine with everything on, as Prometheus runs its scripts.
struct Memory {
    engine: Engine,
    storage: MemoryStorage,
}

impl Memory {
    fn new(script: &str) -> Self {
        let options = EngineOptions {
            parser: ParserOptions::experimental(),
            delayed_name_removal: true,
            use_start_timestamps: true,
            type_and_unit_labels: script == "type_and_unit",
            max_samples: 10_000,
            ..EngineOptions::default()
        };
        Self { engine: Engine::new(options), storage: MemoryStorage::new() }
    }
}

fn outcome(query: &str, result: Result<QueryResult, QueryError>) -> Result<Outcome, String> {
    let result = result.map_err(|e| e.to_string())?;
    Ok(Outcome {
        value: result.value,
        warnings: result.annotations.warnings(query, 0),
        infos: result.annotations.infos(query, 0),
    })
}

impl Backend for Memory {
    fn clear(&mut self) -> Result<(), String> {
        self.storage = MemoryStorage::new();
        Ok(())
    }

    fn load(&mut self, series: &[Loaded]) -> Result<(), String> {
        let mut series = series.to_vec();
        give_hints(&mut series);
        append(&series, &self.storage)
    }

    fn instant(&mut self, query: &str, t: Timestamp) -> Result<Outcome, String> {
        outcome(query, self.engine.instant(&self.storage, query, t, &QueryOptions::default()))
    }

    fn range(
        &mut self,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
    ) -> Result<Outcome, String> {
        let options = QueryOptions::default();
        outcome(query, self.engine.range(&self.storage, query, start, end, step, &options))
    }
}

const CATEGORIES: [Category; 3] =
    [Category::Plain, Category::NativeHistograms, Category::Experimental];

/// Runs all scripts of a folder; returns passed and all cases by category, and the failures.
fn run_folder(folder: &Path) -> ([(usize, usize); 3], String) {
    let only = std::env::var("PROMQLTEST").ok();
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "test"));
    paths.sort();
    let mut totals = [(0, 0); 3];
    let mut failures = String::new();
    println!("{:28} {:>11} {:>17} {:>13}", "script", "plain", "native histograms", "experimental");
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let script = Script::parse(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let report: Report = run(&script, &mut Memory::new(&name));
        let counts = CATEGORIES.map(|category| report.counts(category));
        let cell = |(passed, all): (usize, usize)| {
            if all == 0 { "-".to_owned() } else { format!("{passed}/{all}") }
        };
        let [plain, native, experimental] = counts.map(cell);
        println!("{name:28} {plain:>11} {native:>17} {experimental:>13}");
        for (total, count) in totals.iter_mut().zip(counts) {
            *total = (total.0 + count.0, total.1 + count.1);
        }
        for failure in report.failures().take(if only.is_some() { usize::MAX } else { 5 }) {
            let text: String = failure.to_string().chars().take(600).collect();
            writeln!(failures, "{name} {:?} {text}", failure.category).unwrap();
        }
    }
    for (category, (passed, all)) in CATEGORIES.iter().zip(totals) {
        println!("{category:?}: {passed} of {all} passed, {} failed", all - passed);
    }
    println!("{failures}");
    (totals, failures)
}

#[test]
fn scripts_of_prometheus() {
    let Some(folder) = common::conformance("promql") else { return };
    let (totals, failures) = run_folder(&folder);
    let (passed, all) = totals[0];
    assert!(passed * 100 >= all * 95, "{passed} of {all} plain cases pass\n{failures}");
}

#[test]
fn scripts_of_our_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let (totals, failures) = run_folder(&folder);
    assert!(totals.iter().all(|(passed, all)| passed == all), "{failures}");
}
