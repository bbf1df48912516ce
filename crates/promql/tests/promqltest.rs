//! Runs the conformance scripts.

mod common;

use std::fs;

use firesteel_promql::promqltest::{Command, Script};

#[test]
fn scripts_are_read() {
    let Some(folder) = common::conformance("promql") else { return };
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        match Script::parse(&text) {
            Ok(s) => {
                let n = s.commands.iter().filter(|c| matches!(c, Command::Eval(_))).count();
                println!("{:?} {n}", path.file_name());
            }
            Err(e) => println!("{:?} {e}", path.file_name()),
        }
    }
}
