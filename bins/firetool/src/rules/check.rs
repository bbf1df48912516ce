//! `check rules`: what is wrong with rule files, and which rules there are twice.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
};

use firesteel_config::RuleGroupConfig;
use firesteel_rules::{LoadOptions, check_file};

use super::{describe, read};
use crate::{Failure, Outcome};

pub(super) struct Options {
    /// Whether to look for duplicates.
    pub(super) duplicates: bool,
    /// Whether duplicates make the exit status 3.
    pub(super) fatal: bool,
    pub(super) load: LoadOptions,
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Nothing is wrong.
    Good,
    /// Something could be better.
    Lint,
    /// It cannot be used.
    Bad,
}

pub(super) fn run(files: &[PathBuf], options: &Options, out: &mut dyn Write) -> Outcome {
    let worst = if files.is_empty() {
        writeln!(out, "Checking standard input")?;
        let text = io::read_to_string(io::stdin()).map_err(|error| error.to_string());
        check("standard input", text, options, out)?
    } else {
        check_files(files, options, out)?
    };
    match worst {
        Verdict::Bad => Err(Failure::Said(1)),
        Verdict::Lint if options.fatal => Err(Failure::Said(3)),
        _ => Ok(()),
    }
}

/// Looks at each file in turn; the worst verdict.
pub(super) fn check_files(
    files: &[PathBuf],
    options: &Options,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    let mut worst = Verdict::Good;
    for file in files {
        writeln!(out, "Checking {}", file.display())?;
        worst = worst.max(check(&file.to_string_lossy(), read(file), options, out)?);
    }
    Ok(worst)
}

/// Says on standard error what is wrong, after what was printed before.
fn say(errors: &[String], out: &mut dyn Write) -> io::Result<()> {
    out.flush()?;
    eprintln!("  FAILED:");
    for error in errors {
        eprintln!("{error}");
    }
    Ok(())
}

fn check(
    name: &str,
    text: Result<String, String>,
    options: &Options,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    let file = match text {
        Ok(text) => check_file(name, &text, &options.load),
        Err(error) => {
            say(&[error], out)?;
            return Ok(Verdict::Bad);
        }
    };
    if !file.errors.is_empty() {
        say(&file.errors.iter().map(describe).collect::<Vec<_>>(), out)?;
        return Ok(Verdict::Bad);
    }
    let duplicates = if options.duplicates { duplicates(&file.groups) } else { Vec::new() };
    let verdict = if duplicates.is_empty() {
        let count: usize = file.groups.iter().map(|group| group.rules.len()).sum();
        writeln!(out, "  SUCCESS: {count} rules found")?;
        Verdict::Good
    } else {
        say(&[report(&duplicates)], out)?;
        Verdict::Lint
    };
    writeln!(out)?;
    Ok(verdict)
}

/// Name and labels of a rule.
type Key<'a> = (&'a str, BTreeMap<&'a str, &'a str>);

/// What several rules make, each once.
fn duplicates(groups: &[RuleGroupConfig]) -> Vec<Key<'_>> {
    let mut seen: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    for group in groups {
        for rule in &group.rules {
            let mut labels: BTreeMap<&str, &str> =
                group.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            labels.extend(rule.labels.iter().map(|(k, v)| (k.as_str(), v.text.as_str())));
            *seen.entry((rule.name.text.as_str(), labels)).or_default() += 1;
        }
    }
    seen.into_iter().filter(|(_, count)| *count > 1).map(|(key, _)| key).collect()
}

fn report(duplicates: &[Key<'_>]) -> String {
    let mut text = format!("lint error {} duplicate rule(s) found.\n", duplicates.len());
    for (name, labels) in duplicates {
        text.push_str(&format!("Metric: {name}\nLabel(s):\n"));
        for (name, value) in labels {
            text.push_str(&format!("\t{name}: {value}\n"));
        }
    }
    text.push_str("Might cause inconsistency while recording expressions");
    text
}
