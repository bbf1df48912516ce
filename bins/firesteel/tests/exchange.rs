//! Four hours of samples, sent to us and to the real Prometheus: both directories, dumped by
//! promtool and by firetool, hold the same.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;
#[path = "support/write.rs"]
mod write;

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use support::{Process, Server, escape, free_address, get, now_ms, peer, wait_for};
use write::{Load, STEP, send};

/// Steps of the load: a little more than four hours.
const STEPS: usize = 980;
/// Steps per request.
const BATCH: usize = 10;
/// A step after the one at which a block is cut.
const AFTER_BLOCKS: usize = 780;

fn config(folder: &Path) -> PathBuf {
    let file = folder.join("exchange.yml");
    let text = "scrape_configs: []\nstorage: {tsdb: {out_of_order_time_window: 1h}}\n";
    fs::write(&file, text).unwrap();
    file
}

fn load() -> Load {
    const RANGE: i64 = 7_200_000;
    let now = i64::try_from(now_ms()).unwrap();
    // So that one block is cut, after three hours. Late samples are before its end, or come after
    // it was cut: promtool takes a block of late samples in the newest range for a sign that the log
    // has nothing more.
    let start = (now - STEPS as i64 * STEP) / RANGE * RANGE;
    Load { floats: 440, histograms: 60, start, late_every: 50, not_late: 430..800 }
}

/// Sends everything, each to a receiver's address; with its data directory, where it has to have made
/// a block of the first late samples before the last ones come.
fn fill(load: &Load, receivers: &[(SocketAddr, &Path)]) {
    for from in (0..STEPS).step_by(BATCH) {
        if from == AFTER_BLOCKS && load.late_every > 0 {
            for (_, data) in receivers {
                wait_for("a block of late samples", || has_late_block(data).then_some(()));
            }
        }
        let body = load.request(from..(from + BATCH).min(STEPS));
        for &(receiver, _) in receivers {
            let (status, said) = send(receiver, &body);
            assert!(matches!(status, 200 | 204), "{receiver} at step {from}: {status} {said}");
        }
    }
}

/// Whether late samples are in a block, or in one that it became a part of.
fn has_late_block(data: &Path) -> bool {
    let entries = fs::read_dir(data).unwrap().flatten();
    entries.filter_map(|e| fs::read_to_string(e.path().join("meta.json")).ok()).any(|meta| {
        let meta: serde_json::Value = serde_json::from_str(&meta).unwrap();
        let compaction = &meta["compaction"];
        compaction["level"].as_u64() > Some(1)
            || compaction["hints"].to_string().contains("from-out-of-order")
    })
}

/// Blocks in a data directory.
fn blocks(data: &Path) -> usize {
    let entries = fs::read_dir(data).unwrap().flatten();
    entries.filter(|e| e.path().join("meta.json").exists()).count()
}

/// The lines of a dump, sorted.
fn dump(program: &Path, data: &Path) -> Vec<String> {
    let output = Command::new(program).args(["tsdb", "dump"]).arg(data).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {}: {errors}", program.display(), data.display());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// All that promtool prints firetool prints, too. promtool's loops over floats, float histograms and
/// histograms step over the first sample of the next kind, so that it leaves out the first float
/// histogram and the first two histograms of a series.
fn assert_promtool(what: &str, firetool: &[String], promtool: &[String], series: usize) {
    let theirs: BTreeSet<_> = promtool.iter().collect();
    let (more, same): (Vec<_>, Vec<_>) =
        firetool.iter().cloned().partition(|line| !theirs.contains(line));
    assert_same(&format!("firetool and promtool: {what}"), &same, promtool);
    let histograms = more.iter().all(|line| line.contains("{count:"));
    assert!(histograms && more.len() <= series * 2, "{} more: {:?}", more.len(), more.first());
}

/// Our own tool, where it was built beside the server.
fn firetool() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_firesteel")).with_file_name("firetool");
    if !program.exists() {
        support::skipped("firetool was not built (cargo build -p firesteel-firetool)");
        return None;
    }
    Some(program)
}

/// Bytes and samples of all blocks, by their own account.
fn block_sizes(data: &Path) -> (u64, u64) {
    let (mut bytes, mut samples) = (0, 0);
    for entry in fs::read_dir(data).unwrap().flatten() {
        let Ok(meta) = fs::read(entry.path().join("meta.json")) else { continue };
        let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
        samples += meta["stats"]["numSamples"].as_u64().unwrap();
        bytes += fs::metadata(entry.path().join("index")).unwrap().len();
        for chunk in fs::read_dir(entry.path().join("chunks")).unwrap().flatten() {
            bytes += chunk.metadata().unwrap().len();
        }
    }
    (bytes, samples)
}

fn assert_same(what: &str, a: &[String], b: &[String]) {
    let differs = a.iter().zip(b).find(|(a, b)| a != b);
    if a.len() != b.len() || differs.is_some() {
        let (in_a, in_b): (BTreeSet<_>, BTreeSet<_>) = (a.iter().collect(), b.iter().collect());
        let first = |x: &BTreeSet<_>, y: &BTreeSet<_>| {
            x.difference(y).take(5).map(|l: &&String| (*l).clone()).collect::<Vec<_>>().join("\n  ")
        };
        panic!(
            "{what}: {} and {} lines\nonly in the first ({}):\n  {}\nonly in the second ({}):\n  {}",
            a.len(),
            b.len(),
            in_a.difference(&in_b).count(),
            first(&in_a, &in_b),
            in_b.difference(&in_a).count(),
            first(&in_b, &in_a)
        );
    }
    println!("{what}: {} lines, all the same", a.len());
}

fn start_prometheus(program: &Path, folder: &Path, data: &Path) -> (Process, SocketAddr) {
    let address = free_address();
    let arguments = [
        format!("--config.file={}", config(folder).display()),
        format!("--storage.tsdb.path={}", data.display()),
        format!("--web.listen-address={address}"),
        "--web.enable-remote-write-receiver".to_owned(),
        "--enable-feature=native-histograms,exemplar-storage".to_owned(),
    ];
    let process = Process::start(program, &arguments, folder);
    wait_for("the real Prometheus", || (get(address, "/-/ready").ok()?.0 == 200).then_some(()));
    (process, address)
}

fn start_ours(folder: &Path) -> Server {
    let config = format!("--config.file={}", config(folder).display());
    Server::start(
        folder,
        &[
            &config,
            "--web.enable-remote-write-receiver",
            "--web.enable-admin-api",
            "--enable-feature=exemplar-storage",
        ],
    )
}

#[test]
fn both_directories_hold_the_same_whoever_reads_them() {
    let (Some(prometheus), Some(promtool)) = (peer("prometheus"), peer("promtool")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("data"), folder.path().join("theirs"));
    let load = load();
    let server = start_ours(folder.path());
    let (process, address) = start_prometheus(&prometheus, folder.path(), &theirs);
    fill(&load, &[(server.address, &ours), (address, &theirs)]);
    wait_for("our blocks", || (blocks(&ours) >= 1).then_some(()));
    wait_for("their blocks", || (blocks(&theirs) >= 1).then_some(()));
    let exemplars = |address| {
        let (start, end) = (load.start / 1000, load.time(STEPS) / 1000);
        let query = escape("{__name__=~\".+\"}");
        let path = format!("query_exemplars?query={query}&start={start}&end={end}");
        let mut all = support::api_data(address, &path);
        all.as_array_mut().unwrap().sort_by_key(|row| row["seriesLabels"].to_string());
        all
    };
    assert_eq!(exemplars(server.address), exemplars(address), "exemplars");
    // Killed, so that the logs count; stopped below.
    server.kill();
    process.stop();
    let (a, b) = (dump(&promtool, &ours), dump(&promtool, &theirs));
    assert_same("promtool: our directory after a kill, theirs after a stop", &a, &b);
    assert!(a.len() > 400_000, "{} lines", a.len());
    if let Some(firetool) = firetool() {
        let (x, y) = (dump(&firetool, &ours), dump(&firetool, &theirs));
        assert_same("firetool: our directory and theirs", &x, &y);
        assert_promtool("our directory", &x, &a, load.histograms);
        assert_promtool("their directory", &y, &b, load.histograms);
    }
    for (whose, data) in [("ours", &ours), ("theirs", &theirs)] {
        let (bytes, samples) = block_sizes(data);
        let each = bytes as f64 / samples as f64;
        println!("blocks, {whose}: {bytes} bytes for {samples} samples, {each:.3} each");
    }
    for command in ["list", "analyze"] {
        let output = Command::new(&promtool).args(["tsdb", command]).arg(&ours).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {text}{:?}", output.stderr);
        println!("{}", text.lines().take(4).collect::<Vec<_>>().join("\n"));
    }
    // Each starts on the other's, and stops; nothing is lost or added.
    let (process, _) = start_prometheus(&prometheus, folder.path(), &ours);
    process.stop();
    fs::rename(&ours, folder.path().join("was-ours")).unwrap();
    fs::rename(&theirs, &ours).unwrap();
    assert!(start_ours(folder.path()).stop().success());
    let (c, d) = (dump(&promtool, &folder.path().join("was-ours")), dump(&promtool, &ours));
    assert_same("promtool: ours after a run of Prometheus, theirs after a run of ours", &c, &d);
    assert_same("promtool: before and after the exchange", &a, &c);
}

/// A snapshot of ours with its head, given to the program with which people move to
/// VictoriaMetrics.
#[test]
fn vmctl_imports_a_snapshot() {
    let (Some(vmctl), Some(victoria)) = (peer("vmctl"), peer("victoria-metrics")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let load = Load { floats: 50, histograms: 0, late_every: 0, ..load() };
    let server = start_ours(folder.path());
    fill(&load, &[(server.address, folder.path())]);
    let (status, body) =
        support::request(server.address, "POST", "/api/v1/admin/tsdb/snapshot", &[], b"").unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let name = answer["data"]["name"].as_str().unwrap();
    let snapshot = folder.path().join("data/snapshots").join(name);
    let address = free_address();
    let arguments = [
        format!("-storageDataPath={}", folder.path().join("victoria").display()),
        format!("-httpListenAddr={address}"),
        "-retentionPeriod=100y".to_owned(),
        "-search.latencyOffset=0s".to_owned(),
    ];
    let _victoria = Process::start(&victoria, &arguments, folder.path());
    wait_for("VictoriaMetrics", || (get(address, "/health").ok()?.0 == 200).then_some(()));
    let output = Command::new(&vmctl)
        .args(["prometheus", "-s", "--disable-progress-bar"])
        .arg(format!("--prom-snapshot={}", snapshot.display()))
        .arg(format!("--vm-addr=http://{address}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stdout));
    let end = load.time(STEPS) / 1000;
    let count = |address| {
        let query = escape("sum(count_over_time({job=\"load\"}[6h]))");
        let data = support::api_data(address, &format!("query?query={query}&time={end}"));
        data["result"][0]["value"][1].as_str().and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0)
    };
    // Names are dropped by the function, so that series must differ in more than these.
    let expected = count(server.address);
    assert!(expected > 40_000.0, "{expected}");
    let _ = get(address, "/internal/force_flush");
    let found = wait_for("imported samples", || {
        let found = count(address);
        (found >= expected).then_some(found)
    });
    println!("{found} samples imported");
}
