//! What the server says of its configuration is what the real Prometheus says of the same file.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use support::{Process, Server, api_data, conformance, free_address, get, peer, request, wait_for};

/// Keys that Prometheus 3.14 prints and 3.5 does not, or the other way round, by their paths.
const NEWER: [&str; 15] = [
    "global.scrape_native_histograms",
    "global.extra_scrape_metrics",
    "scrape_configs.scrape_native_histograms",
    "scrape_configs.extra_scrape_metrics",
    // Filled in since 3.14 where a file does not set it; `scrape_protocols` no more.
    "global.metric_name_validation_scheme",
    "scrape_configs.metric_name_validation_scheme",
    "global.scrape_protocols",
    "storage.tsdb.outofordertimewindow",
    "storage.tsdb.retention",
    "otlp.label_name_underscore_sanitization",
    "otlp.label_name_preserve_multiple_underscores",
    "scrape_configs.digitalocean_sd_configs.role",
    "scrape_configs.kubernetes_sd_configs.attach_metadata.namespace",
    "scrape_configs.kubernetes_sd_configs.attach_metadata.deployment",
    "scrape_configs.kubernetes_sd_configs.attach_metadata.job",
];

/// Further ones, which every section of their kind has.
const NEWER_LINES: [&str; 3] = ["separator: \"\"", "replacement: \"\"", "cronjob: false"];

/// Sections that are not printed where nothing is in them.
const HEADINGS: [&str; 3] = ["storage:", "  tsdb:", "otlp:"];

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-']).len()
}

/// A printed configuration without the keys above.
fn common(yaml: &str) -> String {
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut kept: Vec<&str> = Vec::new();
    let mut skipping = None;
    for line in yaml.lines() {
        let text = line.trim_start_matches([' ', '-']);
        // What is deeper, or an item of a list, which stands as deep as its key.
        if skipping.is_some_and(|at| indent(line) > at) {
            continue;
        }
        path.retain(|(at, _)| *at < indent(line));
        path.push((indent(line), text.split(':').next().unwrap_or_default()));
        let full = path.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
        let newer = NEWER.contains(&full.as_str()) || NEWER_LINES.contains(&text);
        skipping = newer.then(|| indent(line));
        if !newer {
            kept.push(line);
        }
    }
    let mut out: Vec<&str> = Vec::new();
    for line in kept.into_iter().rev() {
        let filled = out.last().is_some_and(|next| indent(next) > indent(line));
        if filled || !HEADINGS.contains(&line) {
            out.push(line);
        }
    }
    out.reverse();
    out.join("\n")
}

/// A file without its `retention` below `storage.tsdb`, which 3.5 does not know.
fn without_retention(text: &str) -> String {
    let mut out = Vec::new();
    let mut below = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if below.is_some_and(|at| indent > at) {
            continue;
        }
        below = (line.trim() == "retention:").then_some(indent);
        if below.is_none() {
            out.push(line);
        }
    }
    out.join("\n") + "\n"
}

/// The files to compare with.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders =
        vec![root.join("config"), root.join("real/configs-operator"), root.join("setups")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

/// The real Prometheus, started again where a configuration makes it panic.
struct Oracle {
    program: PathBuf,
    folder: PathBuf,
    running: Option<(Process, SocketAddr)>,
}

impl Oracle {
    fn run(program: &Path, folder: &Path) -> (Process, SocketAddr) {
        let address = free_address();
        let arguments = [
            format!("--config.file={}", folder.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", folder.join("peer-data").display()),
            format!("--web.listen-address={address}"),
            "--web.enable-lifecycle".to_owned(),
            // Samples for addresses that do not exist are not waited for.
            "--storage.remote.flush-deadline=1ms".to_owned(),
        ];
        let process = Process::start(program, &arguments, folder);
        wait_for("the real Prometheus", || (get(address, "/-/ready").ok()?.0 == 200).then_some(()));
        (process, address)
    }

    /// Its answer to a file: the printed configuration, or why there is none.
    fn load(&mut self, text: &str) -> Result<String, String> {
        let file = self.folder.join("prometheus.yml");
        let address = match &self.running {
            Some((_, address)) => *address,
            None => {
                fs::write(&file, "global: {}\n").unwrap();
                self.running.insert(Self::run(&self.program, &self.folder)).1
            }
        };
        fs::write(&file, text).unwrap();
        let Ok((status, body)) = request(address, "POST", "/-/reload", &[], b"") else {
            self.running = None;
            return Err("it crashed".to_owned());
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        // The file was loaded and something in it could not be had, such as a certificate.
        if status != 200 && !text.contains("one or more errors occurred") {
            return Err(text);
        }
        Ok(api_data(address, "status/config")["yaml"].as_str().unwrap().to_owned())
    }
}

#[test]
fn status_config_is_what_prometheus_prints() {
    let Some(root) = conformance("") else { return };
    let Some(program) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = folder.join("prometheus.yml");
    // Files that configurations name stand beside them.
    for name in ["first.rules", "scrape_configs"] {
        copy(&root.join("config").join(name), &folder.join(name));
    }
    fs::write(&file, "global: {}\n").unwrap();
    let ours = Server::start(
        folder,
        &["--web.enable-lifecycle", &format!("--config.file={}", file.display())],
    );
    let mut oracle = Oracle { program, folder: folder.to_owned(), running: None };
    let (mut compared, mut newer, mut wrong) = (0, 0, Vec::new());
    for path in files(&root) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let mut text = fs::read_to_string(&path).unwrap();
        let mut theirs = oracle.load(&text);
        if theirs.as_ref().is_err_and(|e| e.contains("field retention not found")) {
            text = without_retention(&text);
            theirs = oracle.load(&text);
        }
        let Ok(theirs) = theirs else { continue };
        let (status, body) = request(ours.address, "POST", "/-/reload", &[], b"").unwrap();
        if status != 200 {
            let body = String::from_utf8_lossy(&body).into_owned();
            // Checked since 3.11.
            if body.contains("remote write queue") {
                newer += 1;
            } else {
                wrong.push(format!("{name}: refused: {body}"));
            }
            continue;
        }
        compared += 1;
        let ours = ours.api("status/config")["yaml"].as_str().unwrap().to_owned();
        if common(&ours) != common(&theirs) {
            wrong.push(format!("{name}:\n{}", difference(&common(&theirs), &common(&ours))));
        }
    }
    println!("{compared} configurations compared, {newer} refused by rules newer than 3.5");
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 350, "only {compared}");
    assert!(ours.stop().success());
}

/// The first lines that differ.
fn difference(theirs: &str, ours: &str) -> String {
    let (mut theirs, mut ours) = (theirs.lines(), ours.lines());
    let mut line = 0;
    loop {
        line += 1;
        match (theirs.next(), ours.next()) {
            (None, None) => return String::new(),
            (a, b) if a != b => return format!("  line {line}: {a:?} is {b:?} here"),
            _ => {}
        }
    }
}

/// Copies a file, or a folder of files.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else if from.exists() {
        fs::copy(from, to).unwrap();
    }
}
