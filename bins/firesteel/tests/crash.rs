//! Killed under load at a moment of chance, again and again: what was ever visible stays.
//! `FIRESTEEL_CRASH_ROUNDS` sets how often (5).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{collections::BTreeMap, fmt::Write as _, thread, time::Duration};

use serde_json::Value;
use support::{Server, metrics_target, wait_for, write_config};

/// Times and bits of values, by series.
type Samples = BTreeMap<String, Vec<(u64, u64)>>;

/// Every sample of the last two minutes.
fn samples(server: &Server) -> Samples {
    let result = server.query("{__name__=~\".+\"}[2m]");
    let series = |row: &Value| {
        let point = |p: &Value| ((p[0].as_f64().unwrap() * 1000.0).round() as u64, bits(&p[1]));
        (row["metric"].to_string(), row["values"].as_array().unwrap().iter().map(point).collect())
    };
    result.as_array().unwrap().iter().map(series).collect()
}

fn bits(value: &Value) -> u64 {
    value.as_str().unwrap().trim_start_matches('+').parse::<f64>().unwrap().to_bits()
}

/// Time of the newest scrape.
fn newest(server: &Server) -> u64 {
    let result = server.query("max(timestamp(up))");
    result[0]["value"][1].as_str().map_or(0, |t| (t.parse::<f64>().unwrap() * 1000.0) as u64)
}

/// Checks that of `kept` all is there that the window still reaches, and counts it.
fn check(kept: &Samples, now: &Samples, since: u64) -> usize {
    let mut checked = 0;
    for (labels, points) in kept {
        let there = now.get(labels).map_or(&[][..], Vec::as_slice);
        for point in points.iter().filter(|(t, _)| *t > since) {
            assert!(there.binary_search(point).is_ok(), "lost {point:?} of {labels}");
            checked += 1;
        }
    }
    checked
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
    let (mut kept, mut checked) = (Samples::new(), 0);
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..rounds {
        let server = Server::start(folder.path(), &[&config]);
        checked += check(&kept, &samples(&server), support::now_ms() - 110_000);
        let before = newest(&server);
        wait_for("fresh samples", || (newest(&server) > before).then_some(()));
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        thread::sleep(Duration::from_millis(chance % 300));
        kept = samples(&server);
        server.kill();
    }
    println!("{rounds} rounds, {checked} samples compared");
    assert!(checked > 0);
}
