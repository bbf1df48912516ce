//! The command line: promtool's names, arguments and defaults.

use std::{io::Write, path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};

use crate::{Failure, Outcome, analyze, checks, commands, dump, import, list, rules, verify};

const DEFAULT_PATH: &str = "data/";
const ALL_SERIES: &str = "{__name__=~'(?s:.*)'}";

/// All commands.
pub(crate) fn command() -> Command {
    let tsdb = Command::new("tsdb")
        .about("Commands for data directories.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(analyze_command())
        .subcommand(list_command())
        .subcommand(
            dump_command("dump", "Print series and samples, or series alone.").arg(
                Arg::new("format")
                    .long("format")
                    .default_value("prom")
                    .value_parser(PossibleValuesParser::new(["prom", "seriesjson"]))
                    .help("prom, or seriesjson for the label sets alone."),
            ),
        )
        .subcommand(dump_command(
            "dump-openmetrics",
            "Print floats as OpenMetrics text; native histograms are left out.",
        ))
        .subcommand(create_command())
        .subcommand(
            Command::new("verify")
                .about("Check every checksum of blocks, head chunks and logs. Changes nothing.")
                .arg(path_arg()),
        );
    Command::new("firetool")
        .about("Tools for Firesteel and Prometheus.")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("experimental")
                .long("experimental")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Accepted for promtool's sake: no command needs it."),
        )
        .arg(
            Arg::new("enable-feature")
                .long("enable-feature")
                .global(true)
                .action(ArgAction::Append)
                .help("Features to switch on, separated by commas, as for the server."),
        )
        .subcommand(tsdb)
        .subcommand(checks::command())
        .subcommand(rules::test_command())
        .subcommand(rules::rules_command())
        .subcommand(commands::query())
        .subcommand(commands::promql())
}

fn path_arg() -> Arg {
    Arg::new("path").value_name("db path").default_value(DEFAULT_PATH).help("Data directory.")
}

fn human_arg() -> Arg {
    Arg::new("human-readable")
        .long("human-readable")
        .short('r')
        .action(ArgAction::SetTrue)
        .help("Times and sizes for people.")
}

fn list_command() -> Command {
    Command::new("list").about("List blocks.").arg(human_arg()).arg(path_arg())
}

fn analyze_command() -> Command {
    Command::new("analyze")
        .about("Show what a block is made of: churn, cardinality, sizes of chunks.")
        .arg(path_arg())
        .arg(Arg::new("block").value_name("block id").help("Block (the last one by default)."))
        .arg(
            Arg::new("limit")
                .long("limit")
                .default_value("20")
                .value_parser(value_parser!(u64))
                .help("Lines of each list."),
        )
        .arg(
            Arg::new("extended")
                .long("extended")
                .action(ArgAction::SetTrue)
                .help("Look at the chunks, too."),
        )
        .arg(Arg::new("match").long("match").help("Look at these series only."))
}

fn dump_command(name: &'static str, about: &'static str) -> Command {
    let time = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_parser(value_parser!(i64))
            .allow_negative_numbers(true)
            .help(help)
    };
    Command::new(name)
        .about(about)
        .arg(path_arg())
        .arg(
            Arg::new("sandbox-dir-root")
                .long("sandbox-dir-root")
                .help("Accepted for promtool's sake: nothing is written here."),
        )
        .arg(time("min-time", "Oldest sample, milliseconds."))
        .arg(time("max-time", "Newest sample, milliseconds."))
        .arg(
            Arg::new("match")
                .long("match")
                .action(ArgAction::Append)
                .default_value(ALL_SERIES)
                .help("Series selector; may be given more than once."),
        )
}

fn create_command() -> Command {
    let openmetrics = Command::new("openmetrics")
        .about("Make blocks of a file in the OpenMetrics format, every sample with its time.")
        .arg(
            Arg::new("label")
                .long("label")
                .action(ArgAction::Append)
                .help("Label for all series, as name=value; may be given more than once."),
        )
        .arg(Arg::new("input").value_name("input file").required(true).help("File to read."))
        .arg(
            Arg::new("output")
                .value_name("output directory")
                .default_value(DEFAULT_PATH)
                .help("Where the blocks go."),
        );
    Command::new("create-blocks-from")
        .about("Make blocks of other data.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(human_arg().global(true))
        .arg(
            Arg::new("quiet")
                .long("quiet")
                .short('q')
                .action(ArgAction::SetTrue)
                .global(true)
                .help("Do not list the blocks made."),
        )
        .arg(
            Arg::new("max-block-duration")
                .long("max-block-duration")
                .hide(true)
                .global(true)
                .help("Longest range of a block; less than 2h is ignored."),
        )
        .subcommand(openmetrics)
        .subcommand(rules::backfill_command())
}

/// Runs what the command line says.
pub(crate) fn run(matches: &ArgMatches, out: &mut dyn Write) -> Outcome {
    let Some((group, commands)) = matches.subcommand() else { return Ok(()) };
    let Some((name, arguments)) = commands.subcommand() else { return Ok(()) };
    match group {
        "query" => return commands::run_query(name, arguments, out),
        "promql" => return commands::run_promql(name, arguments, out),
        "check" => return checks::run(name, arguments, out),
        "test" => return rules::test(arguments, out),
        "rules" => return rules::dry_run(arguments, out),
        _ => {}
    }
    match name {
        "list" => list::run(&path(arguments), arguments.get_flag("human-readable"), out),
        "analyze" => analyze::run(
            &path(arguments),
            &analyze::Options {
                block: arguments.get_one::<String>("block").cloned(),
                limit: arguments.get_one::<u64>("limit").map_or(20, |n| *n as usize),
                extended: arguments.get_flag("extended"),
                selector: arguments.get_one::<String>("match").cloned(),
            },
            out,
        ),
        "dump" | "dump-openmetrics" => {
            let format = match name {
                "dump-openmetrics" => dump::Format::OpenMetrics,
                _ if arguments.get_one::<String>("format").is_some_and(|f| f == "seriesjson") => {
                    dump::Format::SeriesJson
                }
                _ => dump::Format::Samples,
            };
            let time = |name: &str, default| arguments.get_one(name).copied().unwrap_or(default);
            let selectors = arguments.get_many::<String>("match").unwrap_or_default();
            dump::run(
                &path(arguments),
                (time("min-time", i64::MIN), time("max-time", i64::MAX)),
                &selectors.cloned().collect::<Vec<_>>(),
                format,
                out,
            )
        }
        "verify" => verify::run(&path(arguments), out),
        _ => create(arguments, out),
    }
}

fn path(arguments: &ArgMatches) -> PathBuf {
    arguments.get_one::<String>("path").map_or(DEFAULT_PATH, String::as_str).into()
}

fn create(arguments: &ArgMatches, out: &mut dyn Write) -> Outcome {
    let Some((name, arguments)) = arguments.subcommand() else { return Ok(()) };
    let text = |name: &str| arguments.get_one::<String>(name).cloned();
    if name == "rules" {
        return rules::backfill(arguments, create_options(arguments, Vec::new())?, out);
    }
    let mut labels = Vec::new();
    for label in arguments.get_many::<String>("label").unwrap_or_default() {
        let wrong = || Failure::Message(format!("expected KEY=VALUE got {label:?}"));
        let (name, value) = label.split_once('=').ok_or_else(wrong)?;
        labels.push((name.to_owned(), value.to_owned()));
    }
    import::run(
        text("input").unwrap_or_default().as_ref(),
        text("output").unwrap_or_default().as_ref(),
        &create_options(arguments, labels)?,
        out,
    )
}

/// How blocks are made.
fn create_options(
    arguments: &ArgMatches,
    labels: Vec<(String, String)>,
) -> Result<import::Options, Failure> {
    let longest = match arguments.get_one::<String>("max-block-duration") {
        Some(text) => firesteel_model::duration::parse(text).map_err(Failure::new)?,
        None => Duration::ZERO,
    };
    Ok(import::Options {
        human: arguments.get_flag("human-readable"),
        quiet: arguments.get_flag("quiet"),
        longest,
        labels,
    })
}
