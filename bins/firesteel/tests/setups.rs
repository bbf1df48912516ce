//! Five set-ups as people run them start with their own flags and configurations.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{fs, path::Path};

use support::{Server, conformance, get};

/// Flags with their paths mapped into a scratch folder.
fn mapped(flags: &str, folder: &Path, config: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for flag in flags.lines().map(str::trim).filter(|f| !f.is_empty()) {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        match name {
            "--config.file" | "--storage.tsdb.path" | "--web.listen-address" => {}
            _ if value.starts_with('/') => all.push(format!("{name}={}{value}", folder.display())),
            _ => all.push(flag.to_owned()),
        }
    }
    all.push(format!("--config.file={}", config.display()));
    all.push(format!("--storage.tsdb.path={}", folder.join("data").display()));
    all.push("--web.listen-address=127.0.0.1:0".to_owned());
    all
}

#[test]
fn all_start_and_name_what_is_not_served_yet() {
    let Some(setups) = conformance("setups") else { return };
    for name in ["compose", "proxmox", "hybrid", "helm", "docker-engine"] {
        let source = setups.join(name);
        let flag_files: Vec<_> =
            ["flags", "flags.helm"].into_iter().map(|f| source.join(f)).collect();
        let mut flags: Vec<_> =
            flag_files.iter().filter_map(|f| fs::read_to_string(f).ok()).collect();
        if flags.is_empty() {
            flags.push(String::new());
        }
        for flags in flags {
            let folder = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(&source).unwrap().flatten() {
                fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
            let config = folder.path().join("prometheus.yml");
            let server = Server::spawn(folder.path(), &mapped(&flags, folder.path(), &config));
            support::wait_for("readiness", || {
                (get(server.address, "/-/ready").ok()?.0 == 200).then_some(())
            });
            let log = server.log();
            let named: Vec<_> = log.lines().filter(|l| l.contains("not served yet")).collect();
            println!("{name}: ready; {} settings not served yet", named.len());
            let runtime = server.api("status/runtimeinfo");
            let listed = runtime["notServed"].as_array().map_or(0, Vec::len);
            assert_eq!(listed, named.len(), "{name}: {log}\n{runtime}");
            assert!(server.stop().success(), "{name}");
        }
    }
}
