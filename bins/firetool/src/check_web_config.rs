//! `check web-config`: files of `--web.config.file`, and what they name.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use firesteel_config::{OsFiles, load_web};
use firesteel_net::ServerTls;

use crate::{Failure, Outcome};

/// Looks at each file in turn. Everything is said on standard error, as promtool does.
pub(crate) fn run(files: &[PathBuf], out: &mut dyn Write) -> Outcome {
    out.flush()?;
    let mut failed = false;
    for file in files {
        match check(file) {
            Ok(()) => eprintln!("{} SUCCESS", file.display()),
            Err(error) => {
                eprintln!("{} FAILED: {error}", file.display());
                failed = true;
            }
        }
    }
    if failed { Err(Failure::Said(1)) } else { Ok(()) }
}

fn check(file: &Path) -> Result<(), String> {
    let config = load_web(file, &OsFiles).map_err(|error| error.to_string())?;
    if let Some(tls) = &config.tls {
        ServerTls::default().prepare(tls, config.http2).map_err(|error| error.to_string())?;
    }
    Ok(())
}
