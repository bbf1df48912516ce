//! Loads a configuration and prints it as `/api/v1/status/config` shows it, or what is wrong.
//!
//! `cargo run --example print -- prometheus.yml`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the example's purpose")]

use std::{path::Path, process::ExitCode};

use firesteel_config::{LoadOptions, OsFiles, load};

fn main() -> ExitCode {
    let path = std::env::args().nth(1).unwrap_or_else(|| "prometheus.yml".to_owned());
    match load(Path::new(&path), &OsFiles, &LoadOptions::default()) {
        Ok(config) => {
            for warning in config.warnings() {
                eprintln!("warning: {warning}");
            }
            for one in config.not_served() {
                eprintln!("not served: {}: {}", one.key_path, one.what);
            }
            print!("{}", config.to_yaml());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
