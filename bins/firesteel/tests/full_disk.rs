//! A real disk of 64 MiB that fills up: queries go on, ingestion comes back by itself, nothing
//! acknowledged is lost. `FIRESTEEL_DISK_ROUNDS` sets how often (2). Needs the right to mount.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;
#[path = "support/write.rs"]
mod write;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use support::{Server, now_ms, wait_for};
use write::{Load, STEP, send};

/// Longest time between space coming back and the first accepted write.
const RESUME: Duration = Duration::from_secs(10);
const DISK: &str = "size=64m";
/// What is left for the server when the disk is filled.
const LEFT: u64 = 3 << 20;

/// A disk in memory, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None` where this process may not mount.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(at).output();
        done.is_ok_and(|o| o.status.success()).then(|| Self(at.to_owned()))
    }

    fn free(&self) -> u64 {
        let output =
            Command::new("df").args(["--output=avail", "-B1"]).arg(&self.0).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().nth(1).unwrap().trim().parse().unwrap()
    }

    /// A file that leaves only `left` bytes free.
    fn fill(&self, left: u64) -> PathBuf {
        let file = self.0.join("ballast");
        let bytes = self.free().saturating_sub(left);
        fs::write(&file, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
        file
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn start(folder: &Path) -> Server {
    Server::start(
        folder,
        &[
            "--config.file=idle.yml",
            "--web.enable-remote-write-receiver",
            "--storage.tsdb.retention.time=100y",
        ],
    )
}

/// Whether a query for everything is answered; how many samples there are.
fn samples(server: &Server, load: &Load, step: usize) -> u64 {
    let time = load.time(step) as f64 / 1000.0;
    let query = support::escape("sum(count_over_time({job=\"load\"}[1d]))");
    let data = server.api(&format!("query?query={query}&time={time}"));
    data["result"][0]["value"][1].as_str().map_or(0, |v| v.parse().unwrap())
}

/// Samples of the load up to a step that is not in it.
fn expected(load: &Load, steps: usize) -> u64 {
    // Pauses: one of ten series leaves out 19 of 20 steps of every seventh score.
    let count = |i: usize| {
        let pauses = |s: &usize| i % 10 == 3 && (s / 20) % 7 == 5;
        // Staleness markers are not counted by count_over_time.
        (0..steps).filter(|s| !pauses(s)).count() as u64
    };
    (0..load.floats).map(count).sum()
}

#[test]
fn a_full_disk_stops_ingestion_alone_and_not_for_ever() {
    let rounds = std::env::var("FIRESTEEL_DISK_ROUNDS").map_or(2, |r| r.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(&folder.path().join("disk")) else {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: this process may not mount a disk");
        return;
    };
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        for entry in fs::read_dir(&disk.0).unwrap().flatten() {
            let _ = fs::remove_dir_all(entry.path());
        }
        fs::write(disk.0.join("idle.yml"), "scrape_configs: []\n").unwrap();
        let start_time = (i64::try_from(now_ms()).unwrap() - 10_000 * STEP) / STEP * STEP;
        let load =
            Load { floats: 2000, histograms: 0, start: start_time, late_every: 0, not_late: 0..0 };
        let server = start(&disk.0);
        let mut step = 0;
        let acknowledge = |server: &Server, step: &mut usize| {
            let (status, said) = send(server.address, &load.request(*step..*step + 5));
            if matches!(status, 200 | 204) {
                *step += 5;
                return Ok(());
            }
            Err((status, said))
        };
        for _ in 0..3 + round {
            acknowledge(&server, &mut step).unwrap();
        }
        let ballast = disk.fill(LEFT);
        let (status, said) = loop {
            if let Err(refused) = acknowledge(&server, &mut step) {
                break refused;
            }
            assert!(step < 9000, "the disk does not get full");
        };
        // As Prometheus says it; senders try again.
        assert_eq!(status, 500, "{said}");
        assert!(said.contains("space"), "{said}");
        // While it is full, what was acknowledged is there, again and again.
        for _ in 0..5 {
            let (found, meant) = (samples(&server, &load, step), expected(&load, step));
            assert_eq!(found, meant, "round {round}: while the disk is full");
            assert!(acknowledge(&server, &mut step).is_err(), "the disk is full");
            thread::sleep(Duration::from_millis(100));
        }
        fs::remove_file(ballast).unwrap();
        let freed = Instant::now();
        wait_for("ingestion", || acknowledge(&server, &mut step).ok());
        slowest = slowest.max(freed.elapsed());
        assert!(freed.elapsed() <= RESUME, "ingestion came back after {:?}", freed.elapsed());
        for _ in 0..5 {
            acknowledge(&server, &mut step).unwrap();
        }
        server.kill();
        let server = start(&disk.0);
        assert_eq!(samples(&server, &load, step), expected(&load, step), "after a kill");
        drop(server);
    }
    println!("{rounds} rounds; ingestion came back after {slowest:?} at most");
}
