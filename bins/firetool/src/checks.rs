//! The command lines of `check`.

use std::{io::Write, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};

use crate::{Outcome, check_config, check_metrics};

/// `check` and its commands.
pub(crate) fn command() -> Command {
    Command::new("check")
        .about("Check files, pages and targets.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("query.lookback-delta")
                .long("query.lookback-delta")
                .global(true)
                .default_value("5m")
                .value_parser(firesteel_model::duration::parse)
                .help("The server's --query.lookback-delta."),
        )
        .subcommand(config_command())
        .subcommand(metrics_command())
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn files_arg(help: &'static str) -> Arg {
    Arg::new("files").required(true).num_args(1..).value_parser(value_parser!(PathBuf)).help(help)
}

fn config_command() -> Command {
    Command::new("config")
        .about("Check configurations, and the files that they name.")
        .arg(files_arg("Configurations."))
        .arg(flag("syntax-only", "Do not look at the files that they name."))
        .arg(Arg::new("lint").long("lint").default_value("duplicate-rules").help(
            "What to look for besides mistakes, separated by commas: all, duplicate-rules, none, \
             too-long-scrape-interval.",
        ))
        .arg(flag("lint-fatal", "Exit with 3 where something of that was found."))
        .arg(flag("ignore-unknown-fields", "Leave out keys of rule groups that are not known."))
        .arg(flag("agent", "The configurations are agents'."))
        .arg(
            Arg::new("compat")
                .long("compat")
                .default_value("firesteel")
                .value_parser(PossibleValuesParser::new(["firesteel", "prometheus"]))
                .help("With prometheus: refuse what only Firesteel takes. Firesteel only."),
        )
}

fn metrics_command() -> Command {
    Command::new("metrics")
        .about("Look through a page of metrics from standard input for problems.")
        .arg(
            Arg::new("extended")
                .long("extended")
                .action(ArgAction::SetTrue)
                .help("Print how many series each metric has."),
        )
        .arg(
            Arg::new("lint")
                .long("lint")
                .default_value("all")
                .value_parser(PossibleValuesParser::new(["all", "none"]))
                .help("What to look for."),
        )
        .arg(Arg::new("openmetrics").long("openmetrics").action(ArgAction::SetTrue).help(
            "The page is OpenMetrics: hold it against the whole specification. Firesteel only.",
        ))
}

/// Runs a command of `check`.
pub(crate) fn run(name: &str, arguments: &ArgMatches, out: &mut dyn Write) -> Outcome {
    match name {
        "config" => config(arguments, out),
        "metrics" => check_metrics::run(
            check_metrics::Options {
                extended: arguments.get_flag("extended"),
                lint: arguments.get_one::<String>("lint").is_none_or(|lint| lint != "none"),
                openmetrics: arguments.get_flag("openmetrics"),
            },
            out,
        ),
        _ => Ok(()),
    }
}

fn config(arguments: &ArgMatches, out: &mut dyn Write) -> Outcome {
    let files: Vec<PathBuf> = arguments.get_many("files").unwrap_or_default().cloned().collect();
    let text = |name: &str| arguments.get_one::<String>(name).map_or("", String::as_str);
    let options = check_config::Options {
        agent: arguments.get_flag("agent"),
        syntax_only: arguments.get_flag("syntax-only"),
        lint: check_config::Lint::parse(text("lint"), out)?,
        lint_fatal: arguments.get_flag("lint-fatal"),
        prometheus_only: text("compat") == "prometheus",
        lookback: arguments.get_one("query.lookback-delta").copied().unwrap_or_default(),
    };
    check_config::run(&files, &options, out)
}
