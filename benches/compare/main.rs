//! Runs the same work on Firesteel and on real peers and prints the figures side by side:
//! CPU per million samples, anonymous memory, bytes per sample on disk, query times; with `restart`
//! as first argument, the time to the right answer after a kill and after a stop; with `queries`,
//! queries of dashboards over a day of samples.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod dataset;
mod exporter;
mod http;
mod peer;
mod process;
mod queries;
mod restart;
mod work;
mod write;

use std::path::PathBuf;

use peer::{Kind, Peer};
use work::{Plan, Report};

fn main() {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("{text}");
            std::process::exit(2);
        }
    };
    if let Work::Queries(plan) = &arguments.work {
        if let Err(error) = queries::run(&arguments.peers, plan) {
            eprintln!("{error}");
            std::process::exit(1);
        }
        return;
    }
    let mut reports = Vec::new();
    for peer in &arguments.peers {
        eprintln!("running {} ({})", peer.kind.name(), peer.program.display());
        let report = match &arguments.work {
            Work::Scrape(plan) => work::run(peer, plan),
            Work::Restart(plan) => restart::run(peer, plan),
            Work::Queries(_) => return,
        };
        match report {
            Ok(report) => reports.push(report),
            Err(error) => eprintln!("{}: {error}", peer.kind.name()),
        }
    }
    match &arguments.work {
        Work::Scrape(plan) => println!(
            "\n{} targets x {} series, every {} ms, {} s measured after warming up",
            plan.targets, plan.series, plan.interval_ms, plan.seconds
        ),
        Work::Restart(plan) => println!(
            "\n{} series of nine labels x {} samples, written by remote write in runs of ten",
            plan.series, plan.samples
        ),
        Work::Queries(_) => return,
    }
    print_table(&reports);
}

struct Arguments {
    peers: Vec<Peer>,
    work: Work,
}

/// What is measured.
enum Work {
    Scrape(Plan),
    Restart(restart::Plan),
    Queries(queries::Plan),
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut plan = Plan::default();
        let mut restart = restart::Plan { series: 500_000, samples: 40 };
        let mut programs: Vec<(Kind, Option<PathBuf>)> =
            Kind::ALL.into_iter().map(|kind| (kind, kind.find())).collect();
        let mut args = std::env::args().skip(1).peekable();
        let mut queries = queries::Plan::default();
        let restarts = args.next_if(|a| a == "restart").is_some();
        let asks = args.next_if(|a| a == "queries").is_some();
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let number =
                || value.parse::<u64>().map_err(|_| format!("{flag} {value}: not a number"));
            match flag.as_str() {
                "--targets" => {
                    plan.targets = number()? as usize;
                    queries.targets = plan.targets;
                }
                "--series" => {
                    plan.series = number()? as usize;
                    restart.series = plan.series;
                }
                "--hours" => queries.hours = number()? as usize,
                "--repeats" => queries.repeats = number()?.max(1) as usize,
                "--memory" => queries.memory_series = number()? as usize,
                "--data" => queries.data = Some(PathBuf::from(&value)),
                "--samples" => restart.samples = number()? as usize,
                "--only" => programs.retain(|(kind, _)| value.split(',').any(|v| v == kind.name())),
                "--interval" => plan.interval_ms = number()?,
                "--seconds" => {
                    plan.seconds = number()?;
                    queries.seconds = plan.seconds;
                }
                _ => {
                    let kind = flag.trim_start_matches('-');
                    let known = programs.iter_mut().find(|(k, _)| k.name() == kind);
                    // Peers run in a folder of their own.
                    let program =
                        std::path::absolute(&value).map_err(|e| format!("{value}: {e}"))?;
                    known.ok_or_else(|| format!("unknown flag {flag}"))?.1 = Some(program);
                }
            }
        }
        let peers = programs
            .into_iter()
            .filter_map(|(kind, program)| Some(Peer { kind, program: program? }))
            .collect();
        let work = match (restarts, asks) {
            (true, _) => Work::Restart(restart),
            (_, true) => Work::Queries(queries),
            _ => Work::Scrape(plan),
        };
        Ok(Self { peers, work })
    }
}

fn print_table(reports: &[Report]) {
    print!("{:44}", "");
    for report in reports {
        print!("{:>17}", report.name);
    }
    println!();
    let rows = reports.first().map_or(0, |r| r.rows.len());
    for row in 0..rows {
        print!("{:44}", reports[0].rows[row].0);
        for report in reports {
            print!("{:>17}", report.rows.get(row).map_or("-".to_owned(), |r| format_figure(r.1)));
        }
        // How many times more the peers need than the first.
        let ours = reports[0].rows[row].1;
        for report in &reports[1..] {
            print!(
                "{:>8}",
                report.rows.get(row).map_or(String::new(), |r| format!("{:.1}x", r.1 / ours))
            );
        }
        println!();
    }
}

fn format_figure(v: f64) -> String {
    if v >= 100.0 { format!("{v:.0}") } else { format!("{v:.2}") }
}
