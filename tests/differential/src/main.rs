//! Random queries to Firesteel and to the real Prometheus.
//!
//! `differential --queries 100000 --seed 1` compares the library; with `--server PROGRAM` the
//! server, through its HTTP API. `--query Q --time T` (`--end T --step S`, milliseconds) shows both
//! answers to one query, `--index N` those to one query of the seed.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::{path::PathBuf, time::Instant};

use firesteel_differential::{
    Result,
    data::Dataset,
    http::Client,
    peer::{self, Server},
    remote,
    run::{self, Plan},
    subject::{Library, Subject, When},
};

struct Arguments {
    plan: Plan,
    data: u64,
    connections: usize,
    server: Option<PathBuf>,
    delayed_name_removal: bool,
    queries: Vec<(String, When)>,
    index: Option<u64>,
}

fn arguments() -> Result<Arguments> {
    let mut arguments = Arguments {
        plan: Plan { seed: 1, queries: 10_000, differences: 20 },
        data: 1,
        connections: 2,
        server: None,
        delayed_name_removal: false,
        queries: Vec::new(),
        index: None,
    };
    let (mut query, mut time, mut end, mut step) = (None, 0, None, 15_000);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        if flag == "--delayed-name-removal" {
            arguments.delayed_name_removal = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match &*flag {
            "--queries" => arguments.plan.queries = value.parse()?,
            "--seed" => arguments.plan.seed = value.parse()?,
            "--differences" => arguments.plan.differences = value.parse()?,
            "--data" => arguments.data = value.parse()?,
            "--connections" => arguments.connections = value.parse()?,
            "--server" => arguments.server = Some(std::path::absolute(value)?),
            "--index" => arguments.index = Some(value.parse()?),
            "--query" => query = Some(value),
            "--time" => time = value.parse()?,
            "--end" => end = Some(value.parse()?),
            "--step" => step = value.parse()?,
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let when = end.map_or(When::Instant(time), |end| When::Range { start: time, end, step });
    arguments.queries.extend(query.map(|query| (query, when)));
    Ok(arguments)
}

fn main() -> Result<()> {
    let arguments = arguments()?;
    let program = peer::prometheus().ok_or("Prometheus is not there: set FIRESTEEL_PEERS")?;
    let data = match arguments.server {
        Some(_) => Dataset::for_servers(arguments.data),
        None => Dataset::new(arguments.data),
    };
    let mut features = peer::FEATURES.to_vec();
    if arguments.delayed_name_removal {
        features.push("promql-delayed-name-removal");
    }
    let theirs = Server::start(&program, &features)?;
    let mut client = Client::new(theirs.address);
    remote::write(&mut client, &data)?;
    let held = remote::read(&mut client)?;
    let server = arguments.server.as_ref().map(|p| Server::start(p, &features)).transpose()?;
    if let Some(server) = &server {
        remote::write(&mut Client::new(server.address), &data)?;
    }
    let library = Library::new(&data, &held, arguments.delayed_name_removal)?;
    let mut subjects: Vec<(Client, Box<dyn Subject>)> = (0..arguments.connections)
        .map(|_| {
            let ours: Box<dyn Subject> = match &server {
                Some(server) => Box::new(Client::new(server.address)),
                None => Box::new(library.clone()),
            };
            (Client::new(theirs.address), ours)
        })
        .collect();
    let mut queries = arguments.queries;
    queries.extend(arguments.index.map(|index| {
        let question = run::question(&data, arguments.plan.seed, index);
        (question.node.to_string(), question.when)
    }));
    if !queries.is_empty() {
        let (theirs, ours) = &mut subjects[0];
        for (query, when) in queries {
            println!("{query}\n{when:?}");
            println!("theirs: {}", String::from_utf8_lossy(&theirs.ask(&query, when)?));
            println!("ours:   {}", String::from_utf8_lossy(&ours.ask(&query, when)?));
        }
        return Ok(());
    }
    let began = Instant::now();
    let pairs = subjects.iter_mut().map(|(a, b)| (a as &mut dyn Subject, &mut **b));
    let fresh = || -> Result<Box<dyn Subject>> {
        Ok(Box::new(remote::Filled::start(&program, &features, &data)?))
    };
    let report = run::run(&data, arguments.plan, pairs.collect(), &fresh)?;
    print!("{report}");
    println!("{:.1} s", began.elapsed().as_secs_f64());
    if report.different > 0 {
        std::process::exit(1);
    }
    Ok(())
}
