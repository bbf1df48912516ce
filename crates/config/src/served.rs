//! What a configuration asks for that this version reads but does not do.

use crate::{
    Place,
    schema::{Kind, Schema, discovery::MECHANISMS, root::CONFIG},
    value::{Item, Section, Value},
};

/// Something that is configured and has no effect yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotServed {
    /// Path of keys: `remote_write[0]`.
    pub key_path: String,
    /// The file that asks for it.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// What is not done, as a sentence without its end.
    pub what: String,
}

/// Discovery mechanisms that are served.
const SERVED_MECHANISMS: [&str; 3] = ["static_configs", "file_sd_configs", "http_sd_configs"];

/// Keys that are read and have no effect, lists left out of the paths, and why. The one place that
/// says so: the warnings at the start and `docs/compatibility.md` come from it.
const KEYS: &[(&str, &str)] = &[
    ("alerting.alertmanagers.sigv4", "requests to Alertmanagers are not signed yet"),
    ("remote_write", "samples are not sent to remote storage yet"),
    ("remote_read", "samples are not read from remote storage yet"),
    ("tracing", "traces are not sent yet"),
    ("otlp", "OTLP is not received yet"),
    ("runtime.gogc", "there is no garbage collector to tune"),
];

/// Everything in a file that is not served.
pub(crate) fn not_served(file: &str, document: &Section) -> Vec<NotServed> {
    let mut found = Vec::new();
    for (path, what) in KEYS {
        let parts: Vec<_> = path.split('.').collect();
        visit(document, &parts, "", &mut |key_path, place| {
            found.push(entry(file, key_path, place, what));
        });
    }
    let jobs = document.sections("scrape_configs").enumerate();
    for (i, job) in jobs {
        let name = firesteel_model::float::go_quote(job.text("job_name"));
        let of = Client {
            path: format!("scrape_configs[{i}]"),
            discovered: format!("targets of job {name} are not discovered"),
            reached: format!("targets of job {name} are not scraped"),
        };
        found.extend(of.not_served(file, job));
    }
    let alerting = document.schema().field("alerting").and_then(|_| document.section("alerting"));
    let sections = alerting.into_iter().flat_map(|a| a.sections("alertmanagers")).enumerate();
    for (i, alertmanagers) in sections {
        let of = Client {
            path: format!("alerting.alertmanagers[{i}]"),
            discovered: "Alertmanagers are not discovered".to_owned(),
            reached: "Alertmanagers are not reached".to_owned(),
        };
        found.extend(of.not_served(file, alertmanagers));
    }
    found
}

/// Calls `found` for each place where the file sets the key at `path`, through lists of sections.
fn visit(section: &Section, path: &[&str], prefix: &str, found: &mut dyn FnMut(String, Place)) {
    let [first, rest @ ..] = path else { return };
    // An included file has a part of the keys only.
    if section.schema().field(first).is_none() {
        return;
    }
    let Some(item) = section.get(first) else { return };
    if rest.is_empty() {
        if item.place.line > 0 && !item.value.is_zero() {
            found(format!("{prefix}{first}"), item.place);
        }
        return;
    }
    match &item.value {
        Value::Section(inner) => visit(inner, rest, &format!("{prefix}{first}."), found),
        Value::List(items) => {
            for (i, item) in items.iter().enumerate() {
                if let Value::Section(inner) = &item.value {
                    visit(inner, rest, &format!("{prefix}{first}[{i}]."), found);
                }
            }
        }
        _ => {}
    }
}

/// A section that finds servers and reaches them by HTTP.
struct Client {
    /// The path of its keys.
    path: String,
    /// What is not done where a mechanism is not served, and where a way to reach them is not.
    discovered: String,
    reached: String,
}

impl Client {
    /// What in the section is not served depending on its value.
    fn not_served(&self, file: &str, section: &Section) -> Vec<NotServed> {
        let mut found = Vec::new();
        let mut add = |key: &str, place: Place, what: String| {
            found.push(entry(file, format!("{}.{key}", self.path), place, &what));
        };
        for field in MECHANISMS.iter().filter(|f| !SERVED_MECHANISMS.contains(&f.name)) {
            let set = section.get(field.name).filter(|item| !item.value.is_zero());
            if let Some(Item { place, .. }) = set {
                add(field.name, *place, format!("{} by this mechanism yet", self.discovered));
            }
        }
        let grant = section.section("oauth2").map_or("", |oauth2| oauth2.text("grant_type"));
        if !matches!(grant, "" | "client_credentials") {
            let what = format!("{}: this grant is not served yet", self.reached);
            add("oauth2.grant_type", section.place_of("oauth2"), what);
        }
        if section.url("proxy_url").is_some_and(|url| url.scheme() != "http") {
            let what = format!("{}: only proxies with http:// are served yet", self.reached);
            add("proxy_url", section.place_of("proxy_url"), what);
        }
        found
    }
}

fn entry(file: &str, key_path: String, place: Place, what: &str) -> NotServed {
    NotServed { key_path, file: file.to_owned(), place, what: what.to_owned() }
}

/// A key of `prometheus.yml`, for documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Its path, lists left out: `scrape_configs.job_name`.
    pub path: String,
    /// Why it has no effect; `None` where it works.
    pub not_served: Option<&'static str>,
}

/// All keys of `prometheus.yml`, in the order in which Prometheus prints them. What lies below a key
/// without effect is left out.
#[must_use]
pub fn keys() -> Vec<KeyInfo> {
    let mut all = Vec::new();
    list(&CONFIG, "", &mut all);
    all
}

fn list(schema: &Schema, prefix: &str, all: &mut Vec<KeyInfo>) {
    for field in schema.parts.iter().copied().flatten() {
        let path = format!("{prefix}{}", field.name);
        let known = KEYS.iter().find(|(key, _)| *key == path).map(|(_, why)| *why);
        let mechanism = ["scrape_configs.", "alerting.alertmanagers."].contains(&prefix)
            && MECHANISMS.iter().any(|m| m.name == field.name)
            && !SERVED_MECHANISMS.contains(&field.name);
        let not_served = known
            .or_else(|| mechanism.then_some("targets are not discovered by this mechanism yet"));
        all.push(KeyInfo { path: path.clone(), not_served });
        if not_served.is_none()
            && let Kind::Section(inner) | Kind::Sections(inner) = field.kind
        {
            list(inner, &format!("{path}."), all);
        }
    }
}
