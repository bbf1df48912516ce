//! The command lines of `check`.

use std::{io::Write, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};

use crate::{Outcome, check_config, check_metrics, check_sd, check_web_config, rules};

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
        .subcommand(
            Command::new("web-config")
                .about("Check files of --web.config.file.")
                .arg(files_arg("Files.")),
        )
        .subcommand(metrics_command())
        .subcommand(discovery_command())
        .subcommand(rules::check_command())
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn files_arg(help: &'static str) -> Arg {
    Arg::new("files").required(true).num_args(1..).value_parser(value_parser!(PathBuf)).help(help)
}

fn files(arguments: &ArgMatches) -> Vec<PathBuf> {
    arguments.get_many("files").unwrap_or_default().cloned().collect()
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

fn discovery_command() -> Command {
    Command::new("service-discovery")
        .visible_alias("sd")
        .about("Discover the targets of a job, and show what relabelling makes of them.")
        .arg(
            Arg::new("file")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Configuration."),
        )
        .arg(Arg::new("job").required(true).help("The job's name."))
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .default_value("30s")
                .value_parser(firesteel_model::duration::parse)
                .help("How long to wait at most; less where nothing more comes."),
        )
}

/// Runs a command of `check`.
pub(crate) fn run(name: &str, arguments: &ArgMatches, out: &mut dyn Write) -> Outcome {
    match name {
        "config" => config(arguments, out),
        "service-discovery" => {
            let file = arguments.get_one::<PathBuf>("file").cloned().unwrap_or_default();
            let job = arguments.get_one::<String>("job").map_or("", String::as_str);
            let time = arguments.get_one("timeout").copied().unwrap_or_default();
            check_sd::run(&file, job, time, out)
        }
        "web-config" => check_web_config::run(&files(arguments), out),
        "metrics" => check_metrics::run(
            check_metrics::Options {
                extended: arguments.get_flag("extended"),
                lint: arguments.get_one::<String>("lint").is_none_or(|lint| lint != "none"),
                openmetrics: arguments.get_flag("openmetrics"),
            },
            out,
        ),
        "rules" => rules::check(arguments, out),
        _ => Ok(()),
    }
}

fn config(arguments: &ArgMatches, out: &mut dyn Write) -> Outcome {
    let text = |name: &str| arguments.get_one::<String>(name).map_or("", String::as_str);
    let options = check_config::Options {
        agent: arguments.get_flag("agent"),
        syntax_only: arguments.get_flag("syntax-only"),
        lint: check_config::Lint::parse(text("lint"), out)?,
        lint_fatal: arguments.get_flag("lint-fatal"),
        prometheus_only: text("compat") == "prometheus",
        lookback: arguments.get_one("query.lookback-delta").copied().unwrap_or_default(),
        rules: rules::load_options(arguments),
    };
    check_config::run(&files(arguments), &options, out)
}
