//! Starts the real binary, and asks it over HTTP.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until `ask` has an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
}

/// The arguments of a server in `folder`, on a free port.
pub(crate) fn arguments(folder: &Path, more: &[&str]) -> Vec<String> {
    let mut all = vec![
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        "--web.listen-address=127.0.0.1:0".to_owned(),
    ];
    all.extend(more.iter().map(|a| (*a).to_owned()));
    all
}

impl Server {
    /// Starts it in `folder` and waits until it is ready.
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        Self::start_in(folder, more, &[])
    }

    /// The same, with variables of its environment.
    pub(crate) fn start_in(folder: &Path, more: &[&str], variables: &[(&str, &str)]) -> Self {
        let server = Self::spawn_in(folder, &arguments(folder, more), variables);
        wait_for("readiness", || (get(server.address, "/-/ready").ok()?.0 == 200).then_some(()));
        server
    }

    /// Starts it and waits until it listens.
    pub(crate) fn spawn(folder: &Path, arguments: &[String]) -> Self {
        Self::spawn_in(folder, arguments, &[])
    }

    fn spawn_in(folder: &Path, arguments: &[String], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_firesteel"))
            .args(arguments)
            .envs(variables.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let sink = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = sink.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address = wait_for("the address in the log", || {
            if let Some(status) = child.try_wait().unwrap() {
                thread::sleep(Duration::from_millis(100));
                panic!("the server stopped: {status}\n{}", log.lock().unwrap());
            }
            let log = log.lock().unwrap();
            let line = log.lines().find(|l| l.contains("listening"))?;
            line.split(' ').find_map(|f| f.strip_prefix("address="))?.parse().ok()
        });
        Self { child, address, log }
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Stops it with SIGTERM and waits.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        let child = &mut self.child;
        wait_for("the end of the server", || child.try_wait().unwrap())
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The data of a successful call.
    pub(crate) fn api(&self, path: &str) -> Value {
        let (status, body) = get(self.address, &format!("/api/v1/{path}")).unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        answer["data"].clone()
    }

    /// An instant query's result.
    pub(crate) fn query(&self, query: &str) -> Value {
        self.api(&format!("query?query={}", escape(query)))["result"].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the server to its end: status and standard error.
pub(crate) fn run_to_end(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_firesteel"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Status and body of a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, Vec<u8>)> {
    request(address, "GET", path, &[], b"")
}

/// Status and body of a request.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.ok_or_else(|| std::io::Error::other("an answer without headers"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Ok((status, answer.split_off(end + 4)))
}

/// Escapes a text for a query string.
pub(crate) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

/// A target on loopback: each connection gets what `answer` writes for the n-th request.
pub(crate) fn target(answer: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let answer = Arc::new(answer);
        for (n, stream) in listener.incoming().flatten().enumerate() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                let mut stream = stream;
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                answer(n, &mut stream);
            });
        }
    });
    address
}

/// A target that shows the same kind of page with a value that grows.
pub(crate) fn metrics_target(page: impl Fn(usize) -> String + Send + Sync + 'static) -> SocketAddr {
    target(move |n, stream| {
        let page = page(n);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            page.len()
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.as_bytes()));
    })
}

/// Writes a configuration with one job and these targets.
pub(crate) fn write_config(
    folder: &Path,
    interval: &str,
    more: &str,
    targets: &[SocketAddr],
) -> PathBuf {
    let list: Vec<String> = targets.iter().map(|t| format!("\"{t}\"")).collect();
    let file = folder.join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: {interval}\n  scrape_timeout: {interval}\nscrape_configs:\n\
         - job_name: test\n{more}  static_configs:\n  - targets: [{}]\n",
        list.join(", ")
    );
    fs::write(&file, text).unwrap();
    file
}

/// A real program to compare with; says so where it cannot be found.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let folder = std::env::var_os("FIRESTEEL_PEERS")
        .map_or_else(|| home.join(".cache/firesteel-peers/usr/bin"), PathBuf::from);
    let program = folder.join(name);
    if program.exists() {
        return Some(program);
    }
    skipped(&format!("the program {name} was not found (set FIRESTEEL_PEERS)"));
    None
}

/// A folder of the conformance data; says so where it cannot be found.
pub(crate) fn conformance(part: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FIRESTEEL_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"),
        PathBuf::from,
    );
    let path = folder.join(part);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("conformance data not found ({part}; set FIRESTEEL_CONFORMANCE)"));
    None
}

/// A process that is killed when dropped, its output thrown away.
pub(crate) struct Process(pub Child);

impl Process {
    pub(crate) fn start(program: &Path, arguments: &[String], folder: &Path) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("peer.log")).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Stops it with SIGTERM and waits.
    pub(crate) fn stop(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").arg("-TERM").arg(pid).status().unwrap().success());
        let child = &mut self.0;
        wait_for("the end of a peer", || child.try_wait().unwrap());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address on loopback that is free now, for programs that cannot choose one themselves.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts a real Prometheus on `data`, with `more` flags, and waits until it is ready.
pub(crate) fn prometheus(
    program: &Path,
    folder: &Path,
    data: &Path,
    config: &Path,
    more: &[&str],
) -> (Process, SocketAddr) {
    let address = free_address();
    let mut arguments = vec![
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", data.display()),
        format!("--web.listen-address={address}"),
    ];
    arguments.extend(more.iter().map(|a| (*a).to_owned()));
    let process = Process::start(program, &arguments, folder);
    wait_for("the real Prometheus", || (get(address, "/-/ready").ok()?.0 == 200).then_some(()));
    (process, address)
}

/// The data of a successful call to any server.
pub(crate) fn api_data(address: SocketAddr, path: &str) -> Value {
    let (status, body) = get(address, &format!("/api/v1/{path}")).unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200, "{path}: {answer}");
    answer["data"].clone()
}

/// What a query finds: by labels, a value or a histogram.
pub(crate) fn found(server: SocketAddr, query: &str) -> BTreeMap<String, Value> {
    found_at(server, query, now_ms() as f64 / 1e3)
}

/// The same at a time, in seconds.
pub(crate) fn found_at(server: SocketAddr, query: &str, time: f64) -> BTreeMap<String, Value> {
    let data = api_data(server, &format!("query?query={}&time={time:.3}", escape(query)));
    let point = |series: &Value| {
        let point = if series["value"].is_null() { &series["histogram"] } else { &series["value"] };
        point[1].clone()
    };
    let all = data["result"].as_array().unwrap();
    all.iter().map(|series| (series["metric"].to_string(), point(series))).collect()
}

/// The metadata that the targets of a job gave, a line for each.
pub(crate) fn metadata(server: SocketAddr, job: &str) -> Vec<String> {
    let of = escape(&format!("{{job=\"{job}\"}}"));
    let data = api_data(server, &format!("targets/metadata?match_target={of}"));
    let text = |m: &Value| format!("{} {} {} {}", m["metric"], m["type"], m["unit"], m["help"]);
    let mut all: Vec<_> = data.as_array().unwrap().iter().map(text).collect();
    all.sort();
    all
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis() as u64
}

/// Says that something was not tested. Straight to standard error: the print macros' output is
/// swallowed where the test passes, and the summary of a run counts these lines.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
