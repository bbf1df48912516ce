//! The server's command line: flags, then [`firesteel_server::run`].
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::process::ExitCode;

/// Gives memory back sooner and holds less of it than the system's allocator. Without transparent
/// huge pages, which doubled the memory of 50 000 series (112 to 56 MiB).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let flags = match firesteel_server::flags::parse(std::env::args_os(), env!("CARGO_PKG_VERSION"))
    {
        Ok(flags) => flags,
        Err(error) if error.exit_code == 0 => {
            print!("{}", error.text);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("{}", error.text);
            return ExitCode::from(error.exit_code);
        }
    };
    match firesteel_server::run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firesteel: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
