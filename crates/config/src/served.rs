//! What a configuration asks for that this version reads but does not do.

use crate::{
    Place,
    schema::discovery::MECHANISMS,
    value::{Item, Section},
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

/// Sections of the top level that are not.
const SECTIONS: [(&str, &str); 5] = [
    ("rule_files", "recording and alerting rules are not evaluated yet"),
    ("alerting", "alerts are not sent to Alertmanagers yet"),
    ("remote_write", "samples are not sent to remote storage yet"),
    ("remote_read", "samples are not read from remote storage yet"),
    ("tracing", "traces are not sent yet"),
];

/// Everything in the main file that is not served.
pub(crate) fn not_served(file: &str, document: &Section) -> Vec<NotServed> {
    let mut found = Vec::new();
    for (key, what) in SECTIONS {
        if document.has(key) {
            found.push(entry(file, key.to_owned(), document.place_of(key), what));
        }
    }
    if document.get("otlp").is_some_and(|item| item.place.line > 0) {
        let what = "OTLP is not received yet";
        found.push(entry(file, "otlp".to_owned(), document.place_of("otlp"), what));
    }
    if let Some(global) = document.section("global").filter(|g| g.has("query_log_file")) {
        let what = "queries are not logged to a file yet";
        let place = global.place_of("query_log_file");
        found.push(entry(file, "global.query_log_file".to_owned(), place, what));
    }
    found.extend(not_served_jobs(file, document));
    found
}

/// Everything in the jobs of a file that is not served.
pub(crate) fn not_served_jobs(file: &str, document: &Section) -> Vec<NotServed> {
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
        if job.get("oauth2").is_some() {
            let what =
                format!("targets of job {name} are not scraped: OAuth 2.0 is not served yet");
            add("oauth2", job.place_of("oauth2"), what);
        }
        if job.url("proxy_url").is_some_and(|url| url.scheme() != "http") {
            let what = format!(
                "targets of job {name} are not scraped: only proxies with http:// are served yet"
            );
            add("proxy_url", job.place_of("proxy_url"), what);
        }
        if job.has("scrape_failure_log_file") {
            let place = job.place_of("scrape_failure_log_file");
            add(
                "scrape_failure_log_file",
                place,
                "failed scrapes are not logged to a file yet".into(),
            );
        }
    }
    found
}

fn entry(file: &str, key_path: String, place: Place, what: &str) -> NotServed {
    NotServed { key_path, file: file.to_owned(), place, what: what.to_owned() }
}
