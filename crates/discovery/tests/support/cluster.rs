//! A Kubernetes API server of objects in memory: lists in pages, watches, bookmarks, and whatever
//! goes wrong with them when a test says so.

#![allow(dead_code, unreachable_pub, reason = "not every test uses all of it")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use serde_json::{Value, json};

pub struct Cluster {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By plural name, then by `namespace/name`.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    version: u64,
    /// What has happened: version, plural name, kind of event, object.
    log: Vec<(u64, String, &'static str, Value)>,
    /// Watches from before this version are refused.
    compacted: u64,
    /// Watches that began in an earlier epoch are cut off, in the middle of an event.
    epoch: u64,
    /// Watches that end by an error that says so.
    expire_epoch: u64,
    /// Answers to the next requests: status and reason.
    failures: Vec<(u16, &'static str)>,
    /// Pages are no longer than this, whatever was asked for.
    page: usize,
    requests: Vec<String>,
}

const KINDS: &[(&str, &str)] = &[
    ("Node", "nodes"),
    ("Pod", "pods"),
    ("Service", "services"),
    ("Endpoints", "endpoints"),
    ("EndpointSlice", "endpointslices"),
    ("Ingress", "ingresses"),
    ("Namespace", "namespaces"),
    ("ReplicaSet", "replicasets"),
    ("Job", "jobs"),
];

fn plural(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap();
    KINDS.iter().find(|(k, _)| *k == kind).unwrap().1.to_owned()
}

fn key(object: &Value) -> String {
    let meta = &object["metadata"];
    let namespace = meta["namespace"].as_str().unwrap_or_default();
    format!("{namespace}/{}", meta["name"].as_str().unwrap())
}

impl Cluster {
    /// Serves these objects on a free port of the loopback interface.
    pub fn start(objects: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { page: usize::MAX, version: 1, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let cluster = Self { address, shared: shared.clone() };
        objects.iter().for_each(|object| cluster.put(object.clone()));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), shared) = (stream, shared.clone()) else { return };
                thread::spawn(move || {
                    let _ = serve(stream, &shared);
                });
            }
        });
        cluster
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().unwrap());
        self.shared.changed.notify_all();
    }

    /// Adds an object, or puts it in the place of one.
    pub fn put(&self, mut object: Value) {
        self.change(|state| {
            state.version += 1;
            object["metadata"]["resourceVersion"] = json!(state.version.to_string());
            let plural = plural(&object);
            let all = state.objects.entry(plural.clone()).or_default();
            let known = all.insert(key(&object), object.clone()).is_some();
            let event = if known { "MODIFIED" } else { "ADDED" };
            state.log.push((state.version, plural, event, object));
        });
    }

    /// Removes an object.
    pub fn delete(&self, plural: &str, key: &str) {
        self.change(|state| {
            state.version += 1;
            let mut object = state.objects.get_mut(plural).unwrap().remove(key).unwrap();
            object["metadata"]["resourceVersion"] = json!(state.version.to_string());
            state.log.push((state.version, plural.to_owned(), "DELETED", object));
        });
    }

    /// Sends a bookmark to the watches of a kind.
    pub fn bookmark(&self, plural: &str) {
        self.change(|state| {
            state.version += 1;
            let kind = KINDS.iter().find(|(_, p)| *p == plural).unwrap().0;
            let version = state.version.to_string();
            let object =
                json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": version}});
            state.log.push((state.version, plural.to_owned(), "BOOKMARK", object));
        });
    }

    /// Forgets what has happened so far: watches from before are refused.
    pub fn compact(&self) {
        self.change(|state| {
            state.compacted = state.version;
            state.log.clear();
        });
    }

    /// Cuts all watches off in the middle of an event.
    pub fn disconnect(&self) {
        self.change(|state| state.epoch += 1);
    }

    /// Ends all watches by an event that says that their version is too old.
    pub fn expire(&self) {
        self.change(|state| {
            state.compacted = state.version;
            state.expire_epoch += 1;
        });
    }

    /// Answers the next requests with these.
    pub fn fail(&self, failures: Vec<(u16, &'static str)>) {
        self.change(|state| state.failures = failures);
    }

    /// Lists come in pages of so many.
    pub fn pages_of(&self, page: usize) {
        self.change(|state| state.page = page);
    }

    /// The paths and queries of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().requests.clone()
    }
}

/// A request's path and query, and its headers are read over.
fn request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            return Ok(first.split(' ').nth(1).map(str::to_owned));
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).unwrap()
}

/// What is asked for.
#[derive(Clone)]
struct Asked {
    plural: String,
    namespace: String,
    query: BTreeMap<String, String>,
}

impl Asked {
    fn of(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = pairs.map(|(k, v)| (unescape(k), unescape(v))).collect();
        let parts: Vec<&str> = path.split('/').collect();
        let plural = parts.last().unwrap().to_string();
        let at = parts.iter().position(|p| *p == "namespaces");
        let namespace = at.and_then(|i| parts.get(i + 1)).map(|n| n.to_string());
        Self { plural, namespace: namespace.unwrap_or_default(), query }
    }

    fn get(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn wants(&self, object: &Value) -> bool {
        let meta = &object["metadata"];
        let here = self.namespace.is_empty() || meta["namespace"] == *self.namespace;
        let label = |part: &str| match part.split_once('=') {
            Some((name, value)) => meta["labels"][name] == *value,
            None => !meta["labels"][part].is_null(),
        };
        let field = |part: &str| {
            let (path, value) = part.split_once('=').unwrap();
            let at = path.split('.').fold(object, |at, name| &at[name]);
            at.as_str().unwrap_or_default() == value
        };
        let all = |selector: &str, is: &dyn Fn(&str) -> bool| {
            selector.split(',').filter(|part| !part.is_empty()).all(is)
        };
        here && all(self.get("labelSelector"), &label) && all(self.get("fieldSelector"), &field)
    }
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
           "message": format!("the server says {reason}")})
}

fn answer(stream: &mut TcpStream, code: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(target) = request(&mut reader)? {
        let asked = Asked::of(&target);
        let mut state = shared.state.lock().unwrap();
        state.requests.push(target);
        if !state.failures.is_empty() {
            let (code, reason) = state.failures.remove(0);
            drop(state);
            answer(&mut stream, code, &status(code, reason))?;
        } else if asked.get("sendInitialEvents") == "true" {
            // As servers that cannot list by watching: clients list then.
            drop(state);
            answer(&mut stream, 422, &status(422, "Invalid"))?;
        } else if matches!(asked.get("watch"), "true" | "1") {
            return watch(stream, shared, state, &asked);
        } else {
            let (code, body) = list(&state, &asked);
            drop(state);
            answer(&mut stream, code, &body)?;
        }
    }
    Ok(())
}

fn list(state: &State, asked: &Asked) -> (u16, Value) {
    let none = BTreeMap::new();
    let all = state.objects.get(&asked.plural).unwrap_or(&none);
    let found: Vec<&Value> = all.values().filter(|o| asked.wants(o)).collect();
    let from = match asked.get("continue").split_once('@') {
        Some((_, version)) if version.parse::<u64>().unwrap() < state.compacted => {
            return (410, status(410, "Expired"));
        }
        Some((from, _)) => from.parse().unwrap(),
        None => 0,
    };
    let limit = asked.get("limit").parse().unwrap_or(usize::MAX).min(state.page);
    let page: Vec<&&Value> = found.iter().skip(from).take(limit).collect();
    let end = from + page.len();
    let next = if end < found.len() { format!("{end}@{}", state.version) } else { String::new() };
    let kind = KINDS.iter().find(|(_, p)| *p == asked.plural).map_or("", |(k, _)| *k);
    let group = match asked.plural.as_str() {
        "endpointslices" => "discovery.k8s.io/v1",
        "ingresses" => "networking.k8s.io/v1",
        "replicasets" => "apps/v1",
        "jobs" => "batch/v1",
        _ => "v1",
    };
    let version = state.version.to_string();
    let body = json!({
        "kind": format!("{kind}List"), "apiVersion": group,
        "metadata": {"resourceVersion": version, "continue": next},
        "items": page,
    });
    (200, body)
}

fn watch<'a>(
    mut stream: TcpStream,
    shared: &'a Shared,
    mut state: MutexGuard<'a, State>,
    asked: &Asked,
) -> std::io::Result<()> {
    let mut at: u64 = asked.get("resourceVersion").parse().unwrap_or(0);
    if at < state.compacted {
        drop(state);
        return answer(&mut stream, 410, &status(410, "Expired"));
    }
    let (epoch, expire_epoch) = (state.epoch, state.expire_epoch);
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    let chunk =
        |stream: &mut TcpStream, text: &str| write!(stream, "{:x}\r\n{text}\r\n", text.len());
    loop {
        if state.epoch != epoch {
            return chunk(&mut stream, "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Po");
        }
        if state.expire_epoch != expire_epoch {
            let event = json!({"type": "ERROR", "object": status(410, "Expired")});
            chunk(&mut stream, &format!("{event}\n"))?;
            return stream.write_all(b"0\r\n\r\n");
        }
        let news: Vec<_> = state
            .log
            .iter()
            .filter(|(version, plural, kind, object)| {
                *version > at
                    && *plural == asked.plural
                    && (*kind == "BOOKMARK" || asked.wants(object))
            })
            .map(|(version, _, kind, object)| (*version, json!({"type": kind, "object": object})))
            .collect();
        if news.is_empty() {
            state = shared.changed.wait(state).unwrap();
            continue;
        }
        drop(state);
        for (version, event) in news {
            at = version;
            // In two pieces, as a network may.
            let line = format!("{event}\n");
            let mut middle = line.len() / 2;
            while !line.is_char_boundary(middle) {
                middle += 1;
            }
            let (one, two) = line.split_at(middle);
            chunk(&mut stream, one)?;
            chunk(&mut stream, two)?;
        }
        state = shared.state.lock().unwrap();
    }
}
