//! Real exporters, scraped by us and by the real Prometheus at once: the same series, metadata and
//! counts of samples. What a page shows changes from moment to moment, so each comparison has a
//! minute to come out even: what differs all that time differs.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use support::{
    Process, Server, found, free_address, get, metadata, metrics_target, now_ms, peer, request,
    skipped, wait_for,
};

/// How long a job's comparison may take to come out even.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job, and what has to run for it.
struct Exporter {
    job: &'static str,
    /// Keys of the job besides its name and targets.
    keys: String,
    targets: Vec<String>,
    _processes: Vec<Process>,
}

/// Starts a program that takes `listen` for its address; waits until its page is there.
fn start(
    folder: &Path,
    name: &str,
    listen: &str,
    arguments: &[String],
) -> Option<(Process, SocketAddr)> {
    let program = peer(name)?;
    let address = free_address();
    let mut all = vec![format!("{listen}={address}")];
    all.extend_from_slice(arguments);
    let process = Process::start(&program, &all, folder);
    wait_for(name, || (get(address, "/metrics").ok()?.0 == 200).then_some(()));
    Some((process, address))
}

/// An exporter that needs nothing but its arguments.
fn plain(
    folder: &Path,
    job: &'static str,
    name: &str,
    listen: &str,
    arguments: &[String],
) -> Option<Exporter> {
    let (process, address) = start(folder, name, listen, arguments)?;
    let targets = vec![address.to_string()];
    Some(Exporter { job, keys: String::new(), targets, _processes: vec![process] })
}

/// The probing exporter: targets become parameters, and the exporter itself is what is asked.
fn blackbox(folder: &Path) -> Option<Exporter> {
    let modules = "modules:\n  http_2xx: {prober: http}\n  tcp_connect: {prober: tcp}\n";
    let file = folder.join("blackbox.yml");
    fs::write(&file, modules).unwrap();
    let config = [format!("--config.file={}", file.display())];
    let name = "prometheus-blackbox-exporter";
    let (process, address) = start(folder, name, "--web.listen-address", &config)?;
    let site = metrics_target(|_| "something_to_probe 1\n".to_owned());
    let keys = format!(
        "metrics_path: /probe, params: {{module: [http_2xx]}}, relabel_configs: [\
         {{source_labels: [__address__], target_label: __param_target}}, \
         {{source_labels: [__param_target], target_label: instance}}, \
         {{target_label: __address__, replacement: '{address}'}}],"
    );
    let targets = vec![
        format!("http://{site}/a"),
        format!("http://{site}/b"),
        "http://127.0.0.1:1/".to_owned(),
    ];
    Some(Exporter { job: "blackbox", keys, targets, _processes: vec![process] })
}

/// A gateway with metrics of others, whose labels win.
fn pushgateway(folder: &Path) -> Option<Exporter> {
    let mut exporter =
        plain(folder, "pushgateway", "prometheus-pushgateway", "--web.listen-address", &[])?;
    let address: SocketAddr = exporter.targets[0].parse().unwrap();
    let page = "# TYPE backup_size gauge\n# HELP backup_size What was saved.\nbackup_size{disk=\"a\"} 1\n\
        # TYPE backup_seconds histogram\nbackup_seconds_bucket{le=\"1\"} 1\nbackup_seconds_bucket{le=\"+Inf\"} 2\n\
        backup_seconds_sum 3\nbackup_seconds_count 2\n";
    for path in ["/metrics/job/nightly/instance/db", "/metrics/job/hourly"] {
        let (status, _) = request(address, "PUT", path, &[], page.as_bytes()).unwrap();
        assert_eq!(status, 200);
    }
    exporter.keys = "honor_labels: true,".to_owned();
    Some(exporter)
}

/// A real database behind its exporter.
fn mysqld(folder: &Path) -> Option<Exporter> {
    let exporter = peer("prometheus-mysqld-exporter")?;
    let usr = exporter.parent().and_then(Path::parent).unwrap_or(folder);
    let program = ["/usr/sbin/mariadbd".into(), usr.join("sbin/mariadbd")];
    let Some(program) = program.into_iter().find(|p| p.exists()) else {
        skipped("the program mariadbd was not found (apt-get download mariadb-server-core)");
        return None;
    };
    let (data, database) = (folder.join("mariadb"), free_address());
    fs::create_dir(&data).unwrap();
    let share = usr.join("share/mysql");
    let mut arguments: Vec<String> = vec![
        "--no-defaults".into(),
        format!("--datadir={}", data.display()),
        format!("--socket={}", data.join("socket").display()),
        format!("--port={}", database.port()),
        "--bind-address=127.0.0.1".into(),
        "--skip-grant-tables".into(),
        "--user=root".into(),
        "--innodb-buffer-pool-size=8M".into(),
        "--innodb-log-file-size=4M".into(),
    ];
    if share.exists() {
        arguments.push(format!("--lc-messages-dir={}", share.display()));
        arguments.push(format!("--character-sets-dir={}", share.join("charsets").display()));
    }
    let server = Process::start(&program, &arguments, folder);
    wait_for("MariaDB", || std::net::TcpStream::connect(database).ok());
    let credentials = folder.join("my.cnf");
    fs::write(
        &credentials,
        format!("[client]\nuser=root\nhost=127.0.0.1\nport={}\n", database.port()),
    )
    .unwrap();
    let config = [
        format!("--config.my-cnf={}", credentials.display()),
        format!("--mysqld.address={database}"),
    ];
    let mut exporter =
        plain(folder, "mysqld", "prometheus-mysqld-exporter", "--web.listen-address", &config)?;
    exporter._processes.push(server);
    Some(exporter)
}

fn alertmanager(folder: &Path) -> Option<Exporter> {
    let file = folder.join("alertmanager.yml");
    fs::write(&file, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.path={}", folder.join("alertmanager").display()),
        "--cluster.listen-address=".to_owned(),
    ];
    plain(folder, "alertmanager", "prometheus-alertmanager", "--web.listen-address", &arguments)
}

fn exporters(folder: &Path) -> Vec<Exporter> {
    let listen = "--web.listen-address";
    let victoria = [format!("-storageDataPath={}", folder.join("victoria").display())];
    // A process that changes little.
    let names = ["-procnames=prometheus-node".to_owned()];
    let all = [
        plain(folder, "node", "prometheus-node-exporter", listen, &[]),
        plain(folder, "process", "prometheus-process-exporter", "-web.listen-address", &names),
        plain(folder, "victoria", "victoria-metrics", "-httpListenAddr", &victoria),
        mysqld(folder),
        blackbox(folder),
        alertmanager(folder),
        pushgateway(folder),
    ];
    all.into_iter().flatten().collect()
}

/// Label sets of a job at a time.
fn series(server: SocketAddr, job: &str, time: u64) -> BTreeSet<String> {
    // Of a gateway's series some have other jobs, but all went through the scrape's own labels.
    let selector = match job {
        "pushgateway" => "{job=~\"pushgateway|nightly|hourly\"}".to_owned(),
        job => format!("{{job=\"{job}\"}}"),
    };
    found(server, &format!("{selector} @ {time}")).into_keys().collect()
}

/// What the last scrapes of a job said about themselves.
fn counts(server: SocketAddr, job: &str) -> Vec<(String, String)> {
    let query = format!("{{job=\"{job}\",__name__=~\"up|scrape_samples_.+\"}}");
    found(server, &query).into_iter().map(|(labels, v)| (labels, v.to_string())).collect()
}

fn first_differences<T: Ord + std::fmt::Debug>(ours: &BTreeSet<T>, theirs: &BTreeSet<T>) -> String {
    let missing: Vec<_> = theirs.difference(ours).take(5).collect();
    let more: Vec<_> = ours.difference(theirs).take(5).collect();
    format!("{} instead of {}, missing {missing:?}, too much {more:?}", ours.len(), theirs.len())
}

/// Compares once; the number of series, or what differs.
fn compare(ours: SocketAddr, theirs: SocketAddr, job: &str) -> Result<usize, String> {
    let time = now_ms() / 1000 - 1;
    let (mine, expected) = (series(ours, job, time), series(theirs, job, time));
    if mine != expected {
        return Err(format!("{job}: series: {}", first_differences(&mine, &expected)));
    }
    let text = |all: Vec<String>| all.into_iter().collect::<BTreeSet<_>>();
    let (mine, expected) = (text(metadata(ours, job)), text(metadata(theirs, job)));
    if mine != expected {
        return Err(format!("{job}: metadata: {}", first_differences(&mine, &expected)));
    }
    let (mine, expected) = (counts(ours, job), counts(theirs, job));
    if mine != expected {
        return Err(format!("{job}: {mine:?} instead of {expected:?}"));
    }
    let up = |(labels, v): &&(String, String)| labels.contains("\"up\"") && v == "\"1\"";
    if mine.iter().filter(up).count() == 0 {
        return Err(format!("{job}: no target is up"));
    }
    Ok(series(theirs, job, time).len())
}

#[test]
fn real_exporters_look_the_same() {
    let Some(program) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let exporters = exporters(folder.path());
    let theirs = free_address();
    let own = Exporter {
        job: "prometheus",
        keys: String::new(),
        targets: vec![theirs.to_string()],
        _processes: Vec::new(),
    };
    let exporters: Vec<_> = exporters.into_iter().chain([own]).collect();
    let write = |name: &str, native: &str| {
        let mut text =
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n".to_owned();
        for Exporter { job, keys, targets, .. } in &exporters {
            text.push_str(&format!(
                "- {{job_name: {job}, {native} {keys} static_configs: [{{targets: {targets:?}}}]}}\n"
            ));
        }
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let arguments = [
        format!("--config.file={}", write("theirs.yml", "").display()),
        format!("--storage.tsdb.path={}", folder.path().join("theirs").display()),
        format!("--web.listen-address={theirs}"),
        "--enable-feature=native-histograms".to_owned(),
    ];
    let _peer = Process::start(&program, &arguments, folder.path());
    wait_for("the real Prometheus", || (get(theirs, "/-/ready").ok()?.0 == 200).then_some(()));
    let config = write("ours.yml", "scrape_native_histograms: true,");
    let server = Server::start(folder.path(), &[&format!("--config.file={}", config.display())]);
    for Exporter { job, .. } in &exporters {
        let began = Instant::now();
        let compared = loop {
            match compare(server.address, theirs, job) {
                Ok(compared) => break compared,
                Err(difference) => assert!(began.elapsed() < PATIENCE, "{difference}"),
            }
            thread::sleep(Duration::from_millis(300));
        };
        println!("{job}: {compared} series");
        assert!(compared > 10, "{job}: only {compared} series");
    }
}
