//! `test rules`: files of tests, one after the other.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use firesteel_config::{OsFiles, ReadFiles as _, RuleTests, load_rule_tests};

use super::{
    describe,
    junit::{Case, Suite},
    read,
    unit_test::{self, Options, Setup},
};
use crate::{Failure, Outcome};

pub(super) fn run(
    files: &[PathBuf],
    options: &Options,
    junit: Option<&PathBuf>,
    out: &mut dyn Write,
) -> Outcome {
    let mut suites = Vec::new();
    let mut failed = false;
    for file in files {
        let mut suite = Suite::new(&file.to_string_lossy());
        let errors = test_file(file, options, &mut suite);
        if errors.is_empty() {
            writeln!(out, "  SUCCESS")?;
        } else {
            out.flush()?;
            eprintln!("  FAILED:");
            for error in errors {
                eprintln!("{error}");
                writeln!(out)?;
                out.flush()?;
            }
            failed = true;
        }
        writeln!(out)?;
        suites.push(suite);
    }
    if let Some(path) = junit {
        std::fs::write(path, super::junit::document(&suites))
            .map_err(|error| Failure::of("failed to write JUnit XML", &error))?;
    }
    if failed { Err(Failure::Said(1)) } else { Ok(()) }
}

/// Runs the tests of a file; returns what failed.
fn test_file(path: &Path, options: &Options, suite: &mut Suite) -> Vec<String> {
    let (tests, setup) = match load(path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            suite.abort(&errors.join("\n"));
            return errors;
        }
    };
    let mut all = Vec::new();
    for (i, group) in tests.tests.iter().enumerate() {
        if options.run.as_ref().is_some_and(|run| !run.is_match(&group.name)) {
            continue;
        }
        let name = match group.name.as_str() {
            "" => format!("unnamed#{i}"),
            name => name.to_owned(),
        };
        let failures = unit_test::run(&name, group, &setup, options);
        suite.cases.push(Case { name, failures: failures.clone(), error: None });
        all.extend(failures);
    }
    all
}

/// Reads a file of tests, and finds its rule files.
fn load(path: &Path) -> Result<(RuleTests, Setup), Vec<String>> {
    let text = read(path).map_err(|error| vec![error])?;
    let tests = load_rule_tests(&path.to_string_lossy(), &text).map_err(|error| {
        match error.diagnostics() {
            [] => vec![error.to_string()],
            found => found.iter().map(describe).collect(),
        }
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rule_files = Vec::new();
    for pattern in &tests.rule_files {
        let pattern = clean(&folder.join(pattern));
        let found = OsFiles.expand(&pattern).map_err(|error| vec![error.to_string()])?;
        if found.is_empty() {
            eprintln!("  WARNING: no file match pattern {}", pattern.display());
        }
        rule_files.extend(found);
    }
    let mut order: Vec<String> = Vec::new();
    for name in &tests.group_eval_order {
        if order.contains(name) {
            return Err(vec![format!("group name repeated in evaluation order: {name}")]);
        }
        order.push(name.clone());
    }
    let setup = Setup {
        rule_files,
        order,
        interval: tests.evaluation_interval.unwrap_or(unit_test::DEFAULT_INTERVAL),
        fuzzy: tests.fuzzy_compare,
    };
    Ok((tests, setup))
}

/// A path without `.` in it.
fn clean(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
}
