//! Killed under load at a moment of chance, again and again: what was ever visible stays.
//! `FIRESTEEL_CRASH_ROUNDS` sets how often (5).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{collections::BTreeMap, fmt::Write as _, thread, time::Duration};

use serde_json::Value;
use support::{Server, metrics_target, wait_for, write_config};

type Samples = BTreeMap<(String, u64), u64>;

/// Every sample of the last two minutes, by series and time; values by their bits.
fn samples(server: &Server) -> Samples {
    let mut all = Samples::new();
    for series in server.query("{__name__=~\".+\"}[2m]").as_array().unwrap() {
        let labels = series["metric"].to_string();
        for point in series["values"].as_array().map_or(&[][..], Vec::as_slice) {
            let t = (point[0].as_f64().unwrap() * 1000.0).round() as u64;
            all.insert((labels.clone(), t), bits(&point[1]));
        }
    }
    all
}

fn bits(value: &Value) -> u64 {
    value.as_str().unwrap().trim_start_matches('+').parse::<f64>().unwrap().to_bits()
}

#[test]
fn nothing_visible_is_ever_lost() {
    let rounds = std::env::var("FIRESTEEL_CRASH_ROUNDS").map_or(5, |r| r.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let page = |n: usize| {
        (0..100).fold(String::new(), |mut page, i| {
            let _ = writeln!(page, "load{{i=\"{i}\"}} {}", n * 1000 + i);
            page
        })
    };
    let targets: Vec<_> = (0..2).map(|_| metrics_target(page)).collect();
    let file = write_config(folder.path(), "200ms", "", &targets);
    let config = format!("--config.file={}", file.display());
    let mut kept = Samples::new();
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..rounds {
        let server = Server::start(folder.path(), &[&config]);
        let mut now = samples(&server);
        kept.retain(|(_, t), _| *t + 110_000 > newest(&now));
        let lost: Vec<_> = kept.iter().filter(|(k, v)| now.get(*k) != Some(v)).take(3).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?} of {}", kept.len());
        wait_for("fresh samples", || {
            let fresh = samples(&server);
            let grown = newest(&fresh) > newest(&now);
            now = fresh;
            grown.then_some(())
        });
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        thread::sleep(Duration::from_millis(chance % 300));
        kept = samples(&server);
        server.kill();
    }
    println!("{rounds} rounds, {} samples compared in the last", kept.len());
}

fn newest(samples: &Samples) -> u64 {
    samples.keys().map(|(_, t)| *t).max().unwrap_or(0)
}
