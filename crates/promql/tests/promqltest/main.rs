//! Runs PromQL test scripts on the engine over each kind of storage: Prometheus' own, which are
//! conformance data, and ours in `testdata`. Prints how each went.
//!
//! `PROMQLTEST=operators` runs only scripts with that in their name and prints all failures.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that reports what it runs")]

#[path = "../common/mod.rs"]
mod common;
mod storages;

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use firesteel_model::Timestamp;
use firesteel_promql::{
    Engine, EngineOptions, ParserOptions, QueryError, QueryOptions, QueryResult,
    promqltest::{Backend, Category, Loaded, Outcome, Report, Script, run},
};
use storages::{Place, Storage};

/// The engine with everything on, as Prometheus runs its scripts.
struct Subject {
    engine: Engine,
    storage: Storage,
}

impl Subject {
    fn new(script: &str, place: Place) -> Self {
        let options = EngineOptions {
            parser: ParserOptions::experimental(),
            delayed_name_removal: true,
            use_start_timestamps: true,
            type_and_unit_labels: script == "type_and_unit",
            max_samples: 10_000,
            ..EngineOptions::default()
        };
        Self { engine: Engine::new(options), storage: Storage::new(place) }
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

impl Backend for Subject {
    fn clear(&mut self) -> Result<(), String> {
        self.storage.clear();
        Ok(())
    }

    fn load(&mut self, series: &[Loaded]) -> Result<(), String> {
        self.storage.load(series);
        Ok(())
    }

    fn instant(&mut self, query: &str, t: Timestamp) -> Result<Outcome, String> {
        let storage = self.storage.queryable()?;
        outcome(query, self.engine.instant(storage, query, t, &QueryOptions::default()))
    }

    fn range(
        &mut self,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
    ) -> Result<Outcome, String> {
        let storage = self.storage.queryable()?;
        let options = QueryOptions::default();
        outcome(query, self.engine.range(storage, query, start, end, step, &options))
    }
}

const CATEGORIES: [Category; 3] =
    [Category::Plain, Category::NativeHistograms, Category::Experimental];

/// Runs all scripts of a folder in one place; returns the number of cases, and the failures.
fn run_folder(folder: &Path, place: Place) -> (usize, String) {
    let only = std::env::var("PROMQLTEST").ok();
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "test"));
    paths.sort();
    let mut totals = [(0, 0); 3];
    let (mut evals, mut failures, mut table) = (0, String::new(), String::new());
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        evals += text.lines().filter(|line| line.trim_start().starts_with("eval")).count();
        let script = Script::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let report: Report = run(&script, &mut Subject::new(&name, place));
        let counts = CATEGORIES.map(|category| report.counts(category));
        let cell = |(passed, all): (usize, usize)| {
            if all == 0 { "-".to_owned() } else { format!("{passed}/{all}") }
        };
        let [plain, native, experimental] = counts.map(cell);
        writeln!(table, "{name:28} {plain:>11} {native:>17} {experimental:>13}").unwrap();
        for (total, count) in totals.iter_mut().zip(counts) {
            *total = (total.0 + count.0, total.1 + count.1);
        }
        for failure in report.failures().take(if only.is_some() { usize::MAX } else { 5 }) {
            let text: String = failure.to_string().chars().take(600).collect();
            writeln!(failures, "{name} {:?} {text}", failure.category).unwrap();
        }
    }
    let (passed, all) = totals.iter().fold((0, 0), |(p, a), t| (p + t.0, a + t.1));
    println!(
        "over {}: {passed} of {all} cases passed, of {evals} eval lines\n{:28} {:>11} {:>17} \
         {:>13}\n{table}{failures}",
        place.name(),
        "script",
        "plain",
        "native histograms",
        "experimental"
    );
    if all != evals {
        writeln!(failures, "{all} cases ran, of {evals} eval lines").unwrap();
    }
    (all, failures)
}

/// Every case of every script passes in every place, and each `eval` line is a case.
fn pass_everywhere(folder: &Path) {
    let mut failures = String::new();
    for place in Place::ALL {
        let (cases, failed) = run_folder(folder, place);
        assert!(cases > 0 || std::env::var_os("PROMQLTEST").is_some(), "no case");
        if !failed.is_empty() {
            writeln!(failures, "over {}:\n{failed}", place.name()).unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn scripts_of_prometheus() {
    let Some(folder) = common::conformance("promql") else { return };
    pass_everywhere(&folder);
}

#[test]
fn scripts_of_our_own() {
    pass_everywhere(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"));
}
