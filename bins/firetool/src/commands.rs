//! The command lines of `query` and `promql`.

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use firesteel_model::duration;
use firesteel_promql::ParserOptions;

use crate::{
    Outcome, promql,
    query::{self, Analysis, Range, Server},
};

fn required(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).required(true).allow_hyphen_values(true).help(help)
}

fn option(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).allow_hyphen_values(true).help(help)
}

fn repeated(name: &'static str, help: &'static str) -> Arg {
    option(name, help).action(ArgAction::Append)
}

/// A duration as Go or Prometheus writes it, in seconds.
fn seconds(text: &str) -> Result<f64, String> {
    let wrong = |_| format!("invalid duration {text:?}");
    duration::parse(text).map(|d| d.as_secs_f64()).or_else(|_| text.parse::<f64>().map_err(wrong))
}

/// `query` and its commands.
pub(crate) fn query() -> Command {
    let server = || required("server", "Server to query.");
    let expr = || required("expr", "PromQL expression.");
    let header = || repeated("header", "Header to send, as NAME=VALUE; may be repeated.");
    let start = || option("start", "Start (RFC 3339 or seconds).");
    let end = || option("end", "End (RFC 3339 or seconds).");
    let step = || option("step", "Step (duration).").value_parser(seconds);
    let time = || option("time", "Evaluation time (RFC 3339 or seconds); now by default.");
    let matches = || repeated("match", "Series selector; may be repeated.");
    Command::new("query")
        .about("Ask a server.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("format")
                .long("format")
                .short('o')
                .global(true)
                .default_value("promql")
                .value_parser(PossibleValuesParser::new(["promql", "json"]))
                .help("How to print."),
        )
        .arg(
            Arg::new("http.config.file")
                .long("http.config.file")
                .global(true)
                .value_parser(value_parser!(std::path::PathBuf))
                .help("Settings of the HTTP client: credentials, TLS, proxy."),
        )
        .subcommand(
            Command::new("instant")
                .about("Ask for values at one time.")
                .args([server(), expr(), time(), header()]),
        )
        .subcommand(
            Command::new("range")
                .about("Ask for values over a range of time.")
                .args([server(), expr(), header(), start(), end(), step()]),
        )
        .subcommand(Command::new("explain").about(
            "Run a query, at one time or with --start or --step over a range, and print its plan \
             and what each part took. Firesteel only.",
        ).args([server(), expr(), time(), header(), start(), end(), step()]))
        .subcommand(
            Command::new("series")
                .about("Ask for label sets of series.")
                .args([server(), matches().required(true), start(), end()]),
        )
        .subcommand(
            Command::new("labels")
                .about("Ask for the values of a label.")
                .args([server(), required("name", "Label name."), start(), end(), matches()]),
        )
        .subcommand(
            Command::new("analyze")
                .about("Tell how many buckets of histograms are in use.")
                .args([
                    option("server", "Server to query.").required(true),
                    option("type", "Type of metric: histogram.").required(true),
                    option("duration", "How far to look back.")
                        .default_value("1h")
                        .value_parser(seconds),
                    time(),
                    matches().required(true),
                ]),
        )
}

/// Runs a command of `query`.
pub(crate) fn run_query(name: &str, arguments: &ArgMatches, out: &mut dyn Write) -> Outcome {
    let text = |name: &str| arguments.try_get_one::<String>(name).ok().flatten().cloned();
    let texts = |name: &str| -> Vec<String> {
        let all = arguments.try_get_many::<String>(name).ok().flatten();
        all.unwrap_or_default().cloned().collect()
    };
    let number = |name: &str| arguments.try_get_one::<f64>(name).ok().flatten().copied();
    let server = Server {
        url: text("server").unwrap_or_default(),
        config: arguments.get_one("http.config.file").cloned(),
        headers: texts("header"),
        json: text("format").is_some_and(|f| f == "json"),
    };
    let expr = text("expr").unwrap_or_default();
    let range = Range { start: text("start"), end: text("end"), step: number("step") };
    match name {
        "instant" => query::instant(&server, &expr, text("time").as_deref(), out),
        "range" => query::range(&server, &expr, &range, out),
        "explain" => query::explain(&server, &expr, text("time").as_deref(), &range, out),
        "series" => query::series(&server, &texts("match"), &range, out),
        "labels" => {
            let name = text("name").unwrap_or_default();
            query::labels(&server, &name, &texts("match"), &range, out)
        }
        _ => {
            let analysis = Analysis {
                kind: text("type").unwrap_or_default(),
                duration: (number("duration").unwrap_or(3600.0) * 1000.0) as i64,
                time: text("time"),
                matchers: texts("match"),
            };
            query::analyze(&server, &analysis, out)
        }
    }
}

/// `promql` and its commands.
pub(crate) fn promql() -> Command {
    let query = || required("query", "PromQL query.");
    Command::new("promql")
        .about("Format and edit queries.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("format").about("Print a query in its pretty form.").arg(query()))
        .subcommand(
            Command::new("label-matchers")
                .about("Edit the matchers of a query's selectors.")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(
                    Command::new("set")
                        .about("Set a matcher in every selector.")
                        .arg(
                            option("type", "Type of the matcher.")
                                .short('t')
                                .default_value("=")
                                .value_parser(PossibleValuesParser::new(["=", "!=", "=~", "!~"])),
                        )
                        .args([
                            query(),
                            required("name", "Label name."),
                            required("value", "Value."),
                        ]),
                )
                .subcommand(
                    Command::new("delete")
                        .about("Delete the matchers of a label.")
                        .args([query(), required("name", "Label name.")]),
                ),
        )
}

/// What `--enable-feature` says about queries: what they may use, and whether metric names are
/// dropped at their end.
pub(crate) fn features(arguments: &ArgMatches) -> (ParserOptions, bool) {
    let features: Vec<&str> = arguments
        .get_many::<String>("enable-feature")
        .unwrap_or_default()
        .flat_map(|v| v.split(','))
        .collect();
    let on = |name: &str| features.contains(&name);
    let options = ParserOptions {
        experimental_functions: on("promql-experimental-functions"),
        extended_range_selectors: on("promql-extended-range-selectors"),
        fill_modifiers: on("promql-binop-fill-modifiers"),
        duration_expressions: true,
        ..ParserOptions::default()
    };
    (options, on("promql-delayed-name-removal"))
}

/// Runs a command of `promql`.
pub(crate) fn run_promql(name: &str, arguments: &ArgMatches, out: &mut dyn Write) -> Outcome {
    let (name, arguments) = match arguments.subcommand() {
        Some((name, arguments)) => (name, arguments),
        None => (name, arguments),
    };
    let text = |name: &str| arguments.get_one::<String>(name).cloned().unwrap_or_default();
    let (options, _) = features(arguments);
    match name {
        "format" => promql::format(&text("query"), &options, out),
        "set" => {
            promql::set(&text("query"), &text("type"), &text("name"), &text("value"), &options, out)
        }
        _ => promql::delete(&text("query"), &text("name"), &options, out),
    }
}
