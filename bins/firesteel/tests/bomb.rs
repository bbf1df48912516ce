//! A gzip bomb among many targets: it costs bounded memory, and no other target is late.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use support::{Server, metrics_target, target, wait_for, write_config};

const TARGETS: usize = 200;
const BOMB: u64 = 400 << 20;
/// How much the resident memory may rise, bytes.
const RISE: u64 = 32 << 20;
const INTERVAL_MS: u64 = 2000;

/// Four hundred mebibytes of lines that would parse, in as few bytes as gzip can say them.
fn bomb() -> Vec<u8> {
    let lines = "boom{with=\"one label\"} 1\n".repeat(40_000);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let mut left = BOMB;
    while left > 0 {
        let mut piece = lines.as_bytes().take(left);
        left -= std::io::copy(&mut piece, &mut gzip).unwrap();
    }
    gzip.finish().unwrap()
}

/// A line of the process' status, in bytes.
fn status(server: &Server, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap();
    let kib: String = line.chars().filter(char::is_ascii_digit).collect();
    kib.parse::<u64>().unwrap() << 10
}

/// Milliseconds between neighbouring scrapes of the good targets, the longest there are.
fn longest_gap(server: &Server, seconds: u64) -> u64 {
    let series = server.query(&format!("up{{kind=\"good\"}}[{seconds}s]"));
    let series = series.as_array().unwrap();
    assert_eq!(series.len(), TARGETS - 1);
    let gaps = series.iter().flat_map(|one| {
        let samples = one["values"].as_array().unwrap();
        assert!(samples.iter().all(|s| s[1] == "1"), "{one}");
        let times: Vec<_> =
            samples.iter().map(|s| (s[0].as_f64().unwrap() * 1000.0) as u64).collect();
        assert!(times.len() > 2, "{one}");
        times.windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>()
    });
    gaps.max().unwrap()
}

#[test]
fn it_goes_off_alone() {
    let bomb = bomb();
    println!("{BOMB} bytes in {}", bomb.len());
    let folder = tempfile::tempdir().unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let armed = Arc::new(AtomicUsize::new(0));
    let (count, is_armed) = (Arc::clone(&served), Arc::clone(&armed));
    let bad = target(move |_, stream| {
        let page: (&str, &[u8]) = match is_armed.load(Ordering::Acquire) {
            0 => ("", b"quiet 1\n"),
            _ => ("Content-Encoding: gzip\r\n", &bomb),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n{}Content-Length: {}\r\n\
             Connection: close\r\n\r\n",
            page.0,
            page.1.len()
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.1));
        count.fetch_add(page.0.len().min(1), Ordering::AcqRel);
    });
    let mut targets: Vec<_> = (1..TARGETS)
        .map(|i| metrics_target(move |n| format!("good{{target=\"{i}\"}} {n}\n")))
        .collect();
    targets.push(bad);
    let relabel = format!(
        "  relabel_configs: [{{target_label: kind, replacement: good}}, {{source_labels: [__address__], \
         regex: '{bad}', target_label: kind, replacement: bomb}}]\n"
    );
    let interval = format!("{INTERVAL_MS}ms");
    let file = write_config(folder.path(), &interval, &relabel, &targets);
    let server = Server::start(folder.path(), &[&format!("--config.file={}", file.display())]);
    let ups = |n: usize| {
        let query = format!("count(count_over_time(up[1m]) >= {n})");
        let all = server.query(&query);
        (all[0]["value"][1].as_str()? == TARGETS.to_string()).then_some(())
    };
    wait_for("the first scrapes", || ups(4));

    let before = status(&server, "VmRSS:");
    // From here on the peak counts anew.
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").unwrap();
    armed.store(1, Ordering::Release);
    wait_for("three bombs", || (served.load(Ordering::Acquire) >= 3).then_some(()));
    thread::sleep(Duration::from_millis(INTERVAL_MS));
    let peak = status(&server, "VmHWM:");
    println!("resident {} KiB before, at most {} KiB after", before >> 10, peak >> 10);
    let targets = server.api("targets")["activeTargets"].as_array().unwrap().clone();
    let mine = targets.iter().find(|t| t["labels"]["kind"] == "bomb").unwrap();
    assert_eq!(mine["health"], "down", "{mine}");
    let reason = mine["lastError"].as_str().unwrap();
    assert!(reason.contains("limit exceeded"), "{reason}");
    assert!(peak.saturating_sub(before) < RISE, "{before} bytes before, {peak} after");
    let gap = longest_gap(&server, 5 * INTERVAL_MS / 1000);
    println!("{reason}; at most {gap} ms between scrapes of others");
    assert!(gap < INTERVAL_MS * 3 / 2, "{gap} ms between scrapes");
}
