#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod analyze;
mod check_config;
mod check_metrics;
mod check_sd;
mod check_web_config;
mod checks;
mod cli;
mod commands;
mod dump;
mod import;
mod list;
mod progress;
mod promql;
mod query;
mod rules;
mod text;
mod verify;

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

/// As the server's: gives memory back sooner than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a command ends with: nothing, or a line for the standard error.
type Outcome = Result<(), Failure>;

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// Said on standard error; the exit status is 1.
    Message(String),
    /// Said on standard error already; this is the exit status.
    Said(u8),
    /// Said on standard error; nothing is broken but something could be better, so the exit status is
    /// 3, as promtool's.
    Lint(String),
    /// The reader of the output has gone away, as `head` does.
    Closed,
}

impl Failure {
    fn new(message: impl ToString) -> Self {
        Self::Message(message.to_string())
    }

    /// An error with its causes, as `context: error: cause`.
    fn of(context: &str, error: &dyn std::error::Error) -> Self {
        let mut text = format!("{context}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Message(text)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::new(error),
        }
    }
}

fn main() -> ExitCode {
    let matches = match cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            // promtool's status for a wrong command line is 1.
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let done = cli::run(&matches, &mut out);
    let done = out.flush().map_err(Failure::from).and(done);
    match done {
        Ok(()) | Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Message(text)) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
        Err(Failure::Said(status)) => ExitCode::from(status),
        Err(Failure::Lint(text)) => {
            eprintln!("{text}");
            ExitCode::from(3)
        }
    }
}
