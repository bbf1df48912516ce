//! Rule files: `check rules`, `test rules`, `rules dry-run`.

mod backfill;
mod check;
mod compare;
mod dry_run;
mod junit;
mod unit_test;
mod unit_test_file;

use std::{io::Write, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use firesteel_config::{Diagnostic, OsFiles, ReadFiles as _};
use firesteel_promql::ParserOptions;

pub(crate) use self::check::Verdict;
use crate::{Failure, Outcome, commands::features};

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn files(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).num_args(0..).value_parser(value_parser!(PathBuf)).help(help)
}

fn ignore_unknown_fields() -> Arg {
    flag(
        "ignore-unknown-fields",
        "Pass over keys of rule files that do not exist. The server does not.",
    )
}

/// `check rules`.
pub(crate) fn check_command() -> Command {
    Command::new("rules")
        .about("Check whether rule files are valid.")
        .arg(files("rule-files", "Files to check; standard input by default."))
        .arg(
            Arg::new("lint")
                .long("lint")
                .default_value("duplicate-rules")
                .help("What to look for besides: all, duplicate-rules, none."),
        )
        .arg(flag("lint-fatal", "Exit with status 3 where there is something to improve."))
        .arg(ignore_unknown_fields())
}

/// `test`.
pub(crate) fn test_command() -> Command {
    let rules = Command::new("rules")
        .about("Run unit tests of rules.")
        .arg(files("test-rule-file", "Files of tests.").required(true).num_args(1..))
        .arg(
            Arg::new("run")
                .long("run")
                .action(ArgAction::Append)
                .help("Run tests alone whose names match; may be repeated."),
        )
        .arg(flag("debug", "Print when tests begin and end, and all data at their end."))
        .arg(flag("diff", "Print what differs between expected and actual alerts."))
        .arg(
            Arg::new("junit")
                .long("junit")
                .value_parser(value_parser!(PathBuf))
                .help("File for the results as JUnit XML."),
        )
        .arg(ignore_unknown_fields());
    Command::new("test")
        .about("Run unit tests.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(rules)
}

fn paths(arguments: &ArgMatches, name: &str) -> Result<Vec<PathBuf>, Failure> {
    let paths: Vec<PathBuf> = arguments.get_many(name).unwrap_or_default().cloned().collect();
    match paths.iter().find(|path| !path.exists()) {
        Some(path) => Err(Failure::Message(format!("path '{}' does not exist", path.display()))),
        None => Ok(paths),
    }
}

/// What queries may use, by `--enable-feature`.
fn parser(arguments: &ArgMatches) -> ParserOptions {
    features(arguments).0
}

/// `rules`.
pub(crate) fn rules_command() -> Command {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    let dry_run = Command::new("dry-run")
        .about(
            "Tell when the alerts of a rule file would have been pending and firing. Firesteel \
             only.",
        )
        .arg(files("rule-file", "File of rules.").required(true).num_args(1))
        .arg(
            Arg::new("path")
                .value_name("db path")
                .default_value("data/")
                .value_parser(value_parser!(PathBuf))
                .help("Data directory."),
        )
        .arg(text("url", "Server to ask instead of a data directory."))
        .arg(
            Arg::new("alert")
                .long("alert")
                .action(ArgAction::Append)
                .help("Name of an alert to look at; may be repeated. All by default."),
        )
        .arg(text("start", "Start (RFC 3339 or seconds); a day before the end by default."))
        .arg(text("end", "End (RFC 3339 or seconds); the newest sample, or now, by default."))
        .arg(flag("json", "Print JSON."));
    Command::new("rules")
        .about("Commands for rules.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(dry_run)
}

/// `tsdb create-blocks-from rules`.
pub(crate) fn backfill_command() -> Command {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    Command::new("rules")
        .about("Make blocks of what recording rules would have recorded.")
        .arg(
            text("http.config.file", "Settings of the HTTP client: credentials, TLS, proxy.")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(text("url", "Server that has the data.").default_value("http://localhost:9090"))
        .arg(text("start", "Start (RFC 3339 or seconds).").required(true))
        .arg(text("end", "End (RFC 3339 or seconds); three hours ago by default."))
        .arg(text("output-dir", "Where the blocks go.").default_value("data/"))
        .arg(
            text("eval-interval", "How often groups are evaluated that do not say.")
                .default_value("60s")
                .value_parser(firesteel_model::duration::parse),
        )
        .arg(files("rule-files", "Files of rules.").required(true).num_args(1..))
}

/// Runs `tsdb create-blocks-from rules`.
pub(crate) fn backfill(
    arguments: &ArgMatches,
    blocks: crate::import::Options,
    out: &mut dyn Write,
) -> Outcome {
    let text = |name: &str| arguments.get_one::<String>(name).cloned();
    let time = |name: &str, what: &str| {
        let wrong = |e: String| Failure::Message(format!("error parsing {what} time: {e}"));
        text(name).map(|t| unit_test::start_time(&t)).transpose().map_err(wrong)
    };
    let options = backfill::Options {
        files: paths(arguments, "rule-files")?,
        server: crate::query::Server {
            url: text("url").unwrap_or_default(),
            config: arguments.get_one("http.config.file").cloned(),
            headers: Vec::new(),
            json: false,
        },
        start: time("start", "start")?.unwrap_or_default(),
        end: time("end", "end")?,
        output: text("output-dir").unwrap_or_default().into(),
        interval: arguments.get_one("eval-interval").copied().unwrap_or_default(),
        parser: parser(arguments),
        blocks,
    };
    backfill::run(&options, out)
}

/// Runs `rules dry-run`.
pub(crate) fn dry_run(arguments: &ArgMatches, out: &mut dyn Write) -> Outcome {
    let text = |name: &str| arguments.get_one::<String>(name).cloned();
    let path = |name: &str| arguments.get_one::<PathBuf>(name).cloned().unwrap_or_default();
    let time = |name: &str| -> Result<_, Failure> {
        text(name).map(|t| unit_test::start_time(&t)).transpose().map_err(Failure::Message)
    };
    let options = dry_run::Options {
        rules: path("rule-file"),
        data: path("path"),
        url: text("url"),
        alerts: arguments.get_many("alert").unwrap_or_default().cloned().collect(),
        start: time("start")?,
        end: time("end")?,
        json: arguments.get_flag("json"),
        parser: parser(arguments),
    };
    dry_run::run(&options, out)
}

/// Runs `check rules`.
pub(crate) fn check(arguments: &ArgMatches, out: &mut dyn Write) -> Outcome {
    let lint = arguments.get_one::<String>("lint").map_or("", String::as_str);
    let mut options = check::Options {
        duplicates: false,
        fatal: arguments.get_flag("lint-fatal"),
        load: load_options(arguments),
    };
    for setting in lint.split(',') {
        match setting {
            "all" | "duplicate-rules" => options.duplicates = true,
            "none" => {}
            other => {
                let other = firesteel_model::float::go_quote(other);
                writeln!(out, "WARNING: unknown lint option: {other}")?;
            }
        }
    }
    check::run(&paths(arguments, "rule-files")?, &options, out)
}

/// Looks at the rule files that a configuration names, as [`check()`] does.
pub(crate) fn check_files(
    files: &[PathBuf],
    duplicates: bool,
    load: &firesteel_rules::LoadOptions,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    check::check_files(files, &check::Options { duplicates, fatal: false, load: load.clone() }, out)
}

/// What rule files may say, by `--ignore-unknown-fields` and `--enable-feature`.
pub(crate) fn load_options(arguments: &ArgMatches) -> firesteel_rules::LoadOptions {
    firesteel_rules::LoadOptions {
        ignore_unknown_fields: arguments.get_flag("ignore-unknown-fields"),
        parser: parser(arguments),
        ..firesteel_rules::LoadOptions::default()
    }
}

/// Runs `test rules`.
pub(crate) fn test(arguments: &ArgMatches, out: &mut dyn Write) -> Outcome {
    let run: Vec<String> = arguments.get_many("run").unwrap_or_default().cloned().collect();
    let run = match run.is_empty() {
        true => None,
        false => {
            let pattern = run.join("|");
            Some(firesteel_model::regex::Regex::unanchored(&pattern).map_err(Failure::new)?)
        }
    };
    let (parser, delayed_name_removal) = features(arguments);
    let options = unit_test::Options {
        run,
        debug: arguments.get_flag("debug"),
        diff: arguments.get_flag("diff"),
        ignore_unknown_fields: arguments.get_flag("ignore-unknown-fields"),
        parser,
        delayed_name_removal,
    };
    let junit = arguments.get_one::<PathBuf>("junit");
    unit_test_file::run(&paths(arguments, "test-rule-file")?, &options, junit, out)
}

/// Something wrong with a rule file as promtool prints it: `file: line:column: message`.
fn describe(diagnostic: &Diagnostic) -> String {
    let mut text = format!("{}:", diagnostic.file);
    if diagnostic.place.line > 0 {
        text.push_str(&format!(" {}:{}:", diagnostic.place.line, diagnostic.place.column));
    }
    format!("{text} {}", diagnostic.message)
}

/// Reads a file, or says why not.
fn read(path: &std::path::Path) -> Result<String, String> {
    OsFiles.read(path).map_err(|error| format!("{}: {error}", path.display()))
}
