//! Calls fuzz targets with mutated seeds for a time or a number of runs:
//!
//! ```text
//! fuzz [all|<target>...] [--seconds 60] [--runs 0] [--seed 1]
//! ```
//! The time is shared by the targets. An input that makes a target panic, or that takes longer than
//! ten seconds, is written to `fuzz/findings/` and ends the run with status 1.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]
#![allow(clippy::disallowed_methods, reason = "a limit of time is the point")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

use firesteel_fuzz::{TARGETS, Target, mutate};

const SLOW: Duration = Duration::from_secs(10);

struct Options {
    targets: Vec<Target>,
    seconds: u64,
    runs: u64,
    seed: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options { targets: Vec::new(), seconds: 60, runs: 0, seed: 1 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().ok_or(format!("{argument} wants a number"))?;
            value.parse::<u64>().map_err(|e| format!("{argument} {value}: {e}"))
        };
        match argument.as_str() {
            "--seconds" => options.seconds = number()?,
            "--runs" => options.runs = number()?,
            "--seed" => options.seed = number()?,
            "all" => options.targets.extend(TARGETS),
            name => {
                let target = TARGETS.iter().find(|t| t.name == name);
                options.targets.push(*target.ok_or(format!("there is no target {name}"))?);
            }
        }
    }
    if options.targets.is_empty() {
        options.targets.extend(TARGETS);
    }
    Ok(options)
}

fn save(target: &Target, input: &[u8]) {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/findings");
    let path = format!("{dir}/{}-{:08x}", target.name, crc32c::crc32c(input));
    match std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, input)) {
        Ok(()) => eprintln!("the input is in {path}"),
        Err(error) => eprintln!("{path}: {error}"),
    }
}

/// Runs a target; false where it failed.
fn fuzz(target: &Target, options: &Options, time: Duration) -> bool {
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let seeds = (target.seeds)();
    let begin = Instant::now();
    let (mut runs, mut slowest) = (0_u64, Duration::ZERO);
    loop {
        let enough = options.runs > 0 && runs >= options.runs;
        if enough || begin.elapsed() >= time {
            break;
        }
        let mut input = seeds[rng.usize(..seeds.len())].clone();
        let other = &seeds[rng.usize(..seeds.len())];
        // The first runs are the seeds as they are.
        if runs >= seeds.len() as u64 {
            mutate(&mut rng, &mut input, other);
            if rng.u8(..4) > 0 {
                (target.seal)(&mut input);
            }
        }
        let one = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        let took = one.elapsed();
        slowest = slowest.max(took);
        runs += 1;
        if done.is_err() || took > SLOW {
            eprintln!(
                "{}: run {runs} with seed {} failed after {took:?}",
                target.name, options.seed
            );
            save(target, &input);
            return false;
        }
    }
    println!("{}: {runs} runs, the slowest took {slowest:?}", target.name);
    true
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::from(2);
        }
    };
    let time = Duration::from_secs(options.seconds) / options.targets.len() as u32;
    let mut sound = true;
    for target in &options.targets {
        sound &= fuzz(target, &options, time);
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
