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
    found.extend(not_served_jobs(file, document));
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

/// What in the jobs is not served depending on its value.
fn not_served_jobs(file: &str, document: &Section) -> Vec<NotServed> {
    let mut found = Vec::new();
    for (i, job) in document.sections("scrape_configs").enumerate() {
        let name = firesteel_model::float::go_quote(job.text("job_name"));
        let mut add = |key: &str, place: Place, what: String| {
            found.push(entry(file, format!("scrape_configs[{i}].{key}"), place, &what));
        };
        for field in MECHANISMS.iter().filter(|f| !SERVED_MECHANISMS.contains(&f.name)) {
            if let Some(Item { place, .. }) =
                job.get(field.name).filter(|item| !item.value.is_zero())
            {
                let what =
                    format!("targets of job {name} are not discovered by this mechanism yet");
                add(field.name, *place, what);
            }
        }
        let grant = job.section("oauth2").map_or("", |oauth2| oauth2.text("grant_type"));
        if !matches!(grant, "" | "client_credentials") {
            let what =
                format!("targets of job {name} are not scraped: this grant is not served yet");
            add("oauth2.grant_type", job.place_of("oauth2"), what);
        }
        if job.url("proxy_url").is_some_and(|url| url.scheme() != "http") {
            let what = format!(
                "targets of job {name} are not scraped: only proxies with http:// are served yet"
            );
            add("proxy_url", job.place_of("proxy_url"), what);
        }
    }
    found
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
        let mechanism =
            MECHANISMS.iter().any(|m| m.name == field.name && prefix == "scrape_configs.")
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
