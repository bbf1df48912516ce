//! `check config`: configurations and what they name, as promtool looks at them. Source:
//! `cmd/promtool/main.go` of Prometheus.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use firesteel_config::{
    AlertmanagerConfig, Auth, Config, Credential, DiscoveryConfig, FileSdConfig, HttpClientConfig,
    LoadOptions, OsFiles, ReadFiles as _, ScrapeConfig, TlsConfig, load,
};
use firesteel_discovery::{ADDRESS, TargetGroup, read_target_groups};
use firesteel_model::{duration, float::go_quote, relabel};
use firesteel_scrape::Target;

use crate::{
    Failure, Outcome,
    rules::{Verdict, check_files},
};

/// The exit status where something could be better and `--lint-fatal` is given.
const LINT_STATUS: u8 = 3;

/// What to look for besides mistakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lint {
    /// Rules that there are twice.
    pub(crate) duplicate_rules: bool,
    /// Intervals of scrapes from which samples are stale before the next one.
    pub(crate) too_long_scrape_interval: bool,
}

/// How to look.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The configuration is an agent's.
    pub(crate) agent: bool,
    /// Files that the configuration names are not looked at.
    pub(crate) syntax_only: bool,
    /// What to look for besides mistakes.
    pub(crate) lint: Lint,
    /// Whether that makes the exit status 3.
    pub(crate) lint_fatal: bool,
    /// What only Firesteel takes is refused.
    pub(crate) prometheus_only: bool,
    /// How far an instant selector looks back.
    pub(crate) lookback: Duration,
    /// How rule files are read.
    pub(crate) rules: firesteel_rules::LoadOptions,
}

impl Lint {
    /// Reads the value of `--lint`; what it does not know is said in `out`.
    pub(crate) fn parse(text: &str, out: &mut dyn Write) -> io::Result<Self> {
        let mut lint = Self::default();
        let mut none = false;
        for option in text.split(',') {
            match option {
                "all" => lint = Self { duplicate_rules: true, too_long_scrape_interval: true },
                "duplicate-rules" => lint.duplicate_rules = true,
                "too-long-scrape-interval" => lint.too_long_scrape_interval = true,
                "none" => none = true,
                "" => {}
                other => writeln!(out, "WARNING: unknown lint option: {}", go_quote(other))?,
            }
        }
        Ok(if none { Self::default() } else { lint })
    }
}

/// Looks at each file in turn.
pub(crate) fn run(files: &[PathBuf], options: &Options, out: &mut dyn Write) -> Outcome {
    let (mut wrong, mut lints) = (false, false);
    for file in files {
        writeln!(out, "Checking {}", file.display())?;
        let mut report = Report::default();
        let config = check(file, options, &mut report);
        for warning in &report.warnings {
            writeln!(out, "  WARNING: {warning}")?;
        }
        if report.errors.is_empty() {
            if !report.rule_files.is_empty() {
                writeln!(out, "  SUCCESS: {} rule files found", report.rule_files.len())?;
            }
            writeln!(out, " SUCCESS: {} is valid prometheus config file syntax", file.display())?;
        }
        writeln!(out)?;
        out.flush()?;
        for error in &report.errors {
            eprintln!("  FAILED: {error}");
        }
        wrong |= !report.errors.is_empty();
        if let Some(config) = config.filter(|_| report.errors.is_empty() && !options.syntax_only) {
            lints |= too_long_interval(&config, options);
        }
        if report.errors.is_empty() {
            let duplicates = options.lint.duplicate_rules;
            let verdict = check_files(&report.rule_files, duplicates, &options.rules, out)?;
            wrong |= verdict == Verdict::Bad;
            lints |= verdict == Verdict::Lint;
        }
    }
    match (wrong, lints && options.lint_fatal) {
        (true, _) => Err(Failure::Said(1)),
        (false, true) => Err(Failure::Said(LINT_STATUS)),
        (false, false) => Ok(()),
    }
}

/// What was found in one file.
#[derive(Default)]
struct Report {
    errors: Vec<String>,
    warnings: Vec<String>,
    rule_files: Vec<PathBuf>,
}

impl Report {
    fn note<E: ToString>(&mut self, result: Result<(), E>) {
        self.errors.extend(result.err().map(|error| error.to_string()));
    }
}

fn check(file: &Path, options: &Options, report: &mut Report) -> Option<Config> {
    let mut load_options = LoadOptions::default();
    load_options.prometheus_only = options.prometheus_only;
    load_options.without_included_files = options.syntax_only;
    let config = match load(file, &OsFiles, &load_options) {
        Ok(config) => config,
        Err(error) => {
            report.errors.push(error.to_string());
            return None;
        }
    };
    report.warnings.extend(config.warnings().iter().map(ToString::to_string));
    if options.agent {
        report.note(config.check_agent(&file.to_string_lossy()));
    }
    if options.syntax_only {
        return Some(config);
    }
    for pattern in &config.rule_files {
        match rule_files(pattern) {
            Ok(found) => report.rule_files.extend(found),
            Err(error) => report.errors.push(error),
        }
    }
    for job in &config.scrape_configs {
        check_job(job, report);
    }
    for alertmanager in &config.alerting.alertmanagers {
        check_alertmanager(alertmanager, report);
    }
    Some(config)
}

/// The files that a pattern matches; one without `*` must be there.
fn rule_files(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let found = OsFiles.expand(pattern).map_err(|error| error.to_string())?;
    let text = pattern.to_string_lossy();
    if found.is_empty() && !text.contains('*') {
        return Err(format!("{} does not point to an existing file", go_quote(&text)));
    }
    Ok(found)
}

fn check_job(job: &ScrapeConfig, report: &mut Report) {
    report.note(check_credentials(&job.http));
    report.note(check_tls(&job.http.tls));
    for discovery in &job.discovery {
        match discovery {
            DiscoveryConfig::Static(groups) => {
                let mut groups = groups.iter().enumerate().map(|(i, group)| {
                    TargetGroup::new(i.to_string(), &group.targets, group.labels.clone())
                });
                report.note(groups.try_for_each(|group| check_targets(&group, job)));
            }
            DiscoveryConfig::File(files) => {
                let whose = format!("in scrape job {}", go_quote(&job.job_name));
                check_group_files(files, &whose, report, |group| check_targets(group, job));
            }
            _ => {}
        }
    }
}

fn check_alertmanager(alertmanager: &AlertmanagerConfig, report: &mut Report) {
    for discovery in &alertmanager.discovery {
        match discovery {
            DiscoveryConfig::Static(groups) => {
                let mut groups = groups.iter().map(|group| {
                    TargetGroup::new(String::new(), &group.targets, group.labels.clone())
                });
                report.note(groups.try_for_each(|group| check_addresses(&group, alertmanager)));
            }
            DiscoveryConfig::File(files) => {
                check_group_files(files, "in alertmanager config", report, |group| {
                    check_addresses(group, alertmanager)
                });
            }
            _ => {}
        }
    }
}

/// What stands for a missing file in messages.
fn exists(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("stat {}: no such file or directory", path.display()))
        }
        Err(error) => Err(format!("stat {}: {error}", path.display())),
    }
}

/// The file of an `authorization`, also one that was given as `bearer_token_file`.
fn check_credentials(http: &HttpClientConfig) -> Result<(), String> {
    let Auth::Authorization(authorization) = &http.auth else { return Ok(()) };
    let Credential::File(file) = &authorization.credentials else { return Ok(()) };
    exists(file).map_err(|error| {
        format!(
            "error checking authorization credentials or bearer token file {}: {error}",
            go_quote(&file.to_string_lossy())
        )
    })
}

fn check_tls(tls: &TlsConfig) -> Result<(), String> {
    for (credential, what) in [(&tls.cert, "client cert"), (&tls.key, "client key")] {
        if let Credential::File(file) = credential {
            exists(file).map_err(|error| {
                let file = go_quote(&file.to_string_lossy());
                format!("error checking {what} file {file}: {error}")
            })?;
        }
    }
    Ok(())
}

/// Reads the target groups that `file_sd_configs` name; files that are not there yet are odd only.
fn check_group_files(
    config: &FileSdConfig,
    whose: &str,
    report: &mut Report,
    check: impl Fn(&TargetGroup) -> Result<(), String>,
) {
    for pattern in &config.files {
        let text = go_quote(&pattern.to_string_lossy());
        let found = match OsFiles.expand(pattern) {
            Ok(found) => found,
            Err(error) => {
                report.errors.push(error.to_string());
                continue;
            }
        };
        if found.is_empty() {
            report.warnings.push(format!("file {text} for file_sd {whose} does not exist"));
        }
        for file in found {
            match read_target_groups(&file) {
                Ok(groups) => report.note(groups.iter().try_for_each(&check)),
                Err(error) => {
                    report.errors.push(format!("checking SD file {text}: {error}"));
                }
            }
        }
    }
}

/// Whether targets can be made of a group.
fn check_targets(group: &TargetGroup, job: &ScrapeConfig) -> Result<(), String> {
    for (i, labels) in group.merged().enumerate() {
        Target::from_discovered(&labels, job)
            .map_err(|error| format!("instance {i} in group {}: {error}", group.source))?;
    }
    Ok(())
}

/// Whether Alertmanagers can be reached at a group's addresses.
fn check_addresses(group: &TargetGroup, alertmanager: &AlertmanagerConfig) -> Result<(), String> {
    for labels in group.merged() {
        let mut builder = labels.to_builder();
        builder.set("__scheme__", &alertmanager.scheme);
        if !relabel::process(&alertmanager.relabel_configs, &mut builder) {
            continue;
        }
        let address = builder.get(ADDRESS).unwrap_or_default();
        if address.contains('/') {
            return Err(format!("{} is not a valid hostname", go_quote(address)));
        }
    }
    Ok(())
}

/// Whether a job's samples are stale before the next come; says so.
fn too_long_interval(config: &Config, options: &Options) -> bool {
    let lint = options.lint.too_long_scrape_interval && !options.lookback.is_zero();
    let too_long = |job: &&ScrapeConfig| lint && job.scrape_interval >= options.lookback;
    let Some(job) = config.scrape_configs.iter().find(too_long) else { return false };
    eprintln!(
        "  FAILED: too long scrape interval found, data point will be marked as stale - job: {}, \
         interval: {}",
        job.job_name,
        duration::format(job.scrape_interval)
    );
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_are_read_as_promtool_reads_them() {
        let both = Lint { duplicate_rules: true, too_long_scrape_interval: true };
        for (text, lint, said) in [
            ("duplicate-rules", Lint { too_long_scrape_interval: false, ..both }, ""),
            ("too-long-scrape-interval", Lint { duplicate_rules: false, ..both }, ""),
            ("all", both, ""),
            ("duplicate-rules,too-long-scrape-interval", both, ""),
            ("all,none", Lint::default(), ""),
            ("", Lint::default(), ""),
            ("al", Lint::default(), "WARNING: unknown lint option: \"al\"\n"),
        ] {
            let mut out = Vec::new();
            assert_eq!(Lint::parse(text, &mut out).unwrap(), lint, "{text}");
            assert_eq!(String::from_utf8(out).unwrap(), said);
        }
    }
}
