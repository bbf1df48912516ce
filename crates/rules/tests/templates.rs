//! Templates compared with what the real Prometheus makes of them.
//!
//! `testdata/templates.json` holds texts of annotations, the data of their alert, and the results
//! of Prometheus 3.5.3. With `FIRESTEEL_GENERATE` set (and `FIRESTEEL_PEERS`) the results are made
//! anew: texts that `promtool check rules` refuses have its message for a result, the others stand
//! in a rule file that a real server evaluates.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use firesteel_model::Labels;
use firesteel_promql::SampleValue;
use firesteel_rules::template::{AlertData, AlertTemplate, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize, Serialize)]
struct Table {
    comment: String,
    external_url: String,
    external_labels: BTreeMap<String, String>,
    /// What the alert's rule asks; one sample with `labels` and `value`.
    expression: String,
    labels: BTreeMap<String, String>,
    value: f64,
    queries: Vec<Answer>,
    templates: Vec<Case>,
}

/// What a query in a template returns.
#[derive(Deserialize, Serialize)]
struct Answer {
    text: String,
    samples: Vec<Sample>,
}

#[derive(Deserialize, Serialize)]
struct Sample {
    labels: BTreeMap<String, String>,
    value: f64,
}

#[derive(Deserialize, Serialize)]
struct Case {
    text: String,
    /// The annotation, or why the rule was refused.
    result: Option<String>,
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/templates.json")
}

fn table() -> Table {
    serde_json::from_str(&fs::read_to_string(path()).expect("the table")).expect("a table")
}

/// The name of a case's alert, which errors quote.
fn alert(index: usize) -> String {
    format!("T{index:04}")
}

struct Answers(HashMap<String, Vec<(Labels, SampleValue)>>);

impl Query for Answers {
    fn query(&self, text: &str) -> Result<Vec<(Labels, SampleValue)>, String> {
        self.0.get(text).cloned().ok_or_else(|| format!("no answer to {text}"))
    }
}

/// What an alert's annotation would be.
fn annotation(table: &Table, answers: &Answers, index: usize, text: &str) -> String {
    let name = format!("__alert_{}", alert(index));
    let template = match AlertTemplate::parse(&name, text) {
        Ok(template) => template,
        Err(error) => return error.message().to_owned(),
    };
    let (labels, external_labels) =
        (Labels::from_pairs(&table.labels), Labels::from_pairs(&table.external_labels));
    let data = AlertData {
        labels: &labels,
        external_labels: &external_labels,
        external_url: &table.external_url,
        value: &SampleValue::Float(table.value),
    };
    match template.expand(&data, 1_700_000_000_000, answers) {
        Ok(text) => text,
        Err(error) => format!("<error expanding template: {error}>"),
    }
}

#[test]
fn templates_give_what_prometheus_gives() {
    let table = table();
    let answers = table.queries.iter().map(|answer| {
        let samples = answer.samples.iter();
        let samples =
            samples.map(|s| (Labels::from_pairs(&s.labels), SampleValue::Float(s.value))).collect();
        (answer.text.clone(), samples)
    });
    let answers = Answers(answers.collect());
    let (mut compared, mut different) = (0, Vec::new());
    for (index, case) in table.templates.iter().enumerate() {
        let Some(expected) = &case.result else { continue };
        compared += 1;
        let got = annotation(&table, &answers, index, &case.text);
        if got != *expected {
            different.push(format!("{:?}\n  theirs {expected:?}\n  ours   {got:?}", case.text));
        }
    }
    println!("{compared} templates, {} different", different.len());
    assert!(different.is_empty(), "{} different:\n{}", different.len(), different.join("\n"));
    assert!(compared >= 250, "only {compared} templates have results");
}

/// A rule file, as JSON, which is YAML too.
fn rule_file(table: &Table, indexes: &[usize]) -> String {
    let rule = |index: &usize| {
        let text = &table.templates[*index].text;
        json!({
            "alert": alert(*index),
            "expr": table.expression,
            "annotations": {"text": text},
        })
    };
    let rules: Vec<Value> = indexes.iter().map(rule).collect();
    json!({"groups": [{"name": "templates", "interval": "1s", "rules": rules}]}).to_string()
}

/// The messages of promtool, by alert.
fn refused(promtool: &Path, file: &Path) -> HashMap<String, String> {
    let output = Command::new(promtool).args(["check", "rules"]).arg(file).output();
    let output = output.expect("promtool runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut messages = HashMap::new();
    for part in text.split("annotation \"text\": ").skip(1) {
        // Messages may have lines; the next message begins with the file.
        let message = part.split(&format!("\n{}", file.display())).next().unwrap_or(part);
        let name = part.split("__alert_").nth(1).and_then(|rest| rest.get(..5));
        let name = name.expect("the message names the template");
        messages.insert(name.to_owned(), message.trim_end().to_owned());
    }
    messages
}

struct Server(Child, u16);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(prometheus: &Path, folder: &Path, external_url: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
        let port = port.expect("an address").port();
        let child = Command::new(prometheus)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--web.external-url={external_url}"))
            .arg("--web.route-prefix=/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).expect("a log"))
            .spawn();
        Self(child.expect("Prometheus starts"), port)
    }

    fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.1)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
    }

    /// The annotations of all alerts, once every rule was evaluated.
    fn annotations(&self, count: usize) -> HashMap<String, String> {
        for _ in 0..600 {
            std::thread::sleep(Duration::from_millis(100));
            let Some(answer) = self.get("/api/v1/alerts") else { continue };
            let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
            if alerts.len() < count {
                continue;
            }
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let entry = |alert: &Value| {
                (text(&alert["labels"]["alertname"]), text(&alert["annotations"]["text"]))
            };
            return alerts.iter().map(entry).collect();
        }
        panic!("the rules were not evaluated");
    }
}

#[test]
fn generate() {
    let Some(peers) = std::env::var_os("FIRESTEEL_PEERS").map(PathBuf::from) else { return };
    if std::env::var_os("FIRESTEEL_GENERATE").is_none() {
        return;
    }
    let mut table = table();
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.yml");
    let all: Vec<usize> = (0..table.templates.len()).collect();
    fs::write(&rules, rule_file(&table, &all)).expect("written");
    let refused = refused(&peers.join("promtool"), &rules);

    let good = |index: &usize| !refused.contains_key(&alert(*index));
    let good: Vec<usize> = all.iter().copied().filter(good).collect();
    fs::write(&rules, rule_file(&table, &good)).expect("written");
    let config = json!({
        "global": {"external_labels": table.external_labels, "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
    });
    fs::write(folder.path().join("prometheus.yml"), config.to_string()).expect("written");
    let server = Server::start(&peers.join("prometheus"), folder.path(), &table.external_url);
    let annotations = server.annotations(good.len());

    for (index, case) in table.templates.iter_mut().enumerate() {
        let name = alert(index);
        case.result = refused.get(&name).or_else(|| annotations.get(&name)).cloned();
        // Addresses differ from run to run.
        if case.result.as_ref().is_some_and(|result| result.contains("0xc00")) {
            case.result = None;
        }
    }
    let text = serde_json::to_string_pretty(&table).expect("JSON");
    fs::write(path(), text + "\n").expect("written");
}
