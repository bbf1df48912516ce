//! `/status`, `/config` and `/flags`.

use super::html::Html;
use crate::{params::Params, service::Inner};

pub(super) fn status(inner: &Inner, _: &Params) -> String {
    let mut html = Html::page(inner, "/status");
    let Some(source) = &inner.status else { return html.finish() };
    let (build, runtime) = (source.build_info(), source.runtime_info());
    let cores = runtime.gomaxprocs.to_string();
    html.raw("<h2>Runtime</h2>").pairs([
        ("Start time", runtime.start_time.as_str()),
        ("Working directory", &runtime.cwd),
        ("Host name", &runtime.hostname),
        ("Server time", &runtime.server_time),
        (
            "Configuration reload",
            if runtime.reload_config_success { "successful" } else { "failed" },
        ),
        ("Last successful configuration", &runtime.last_config_time),
        ("Cores", &cores),
        ("Storage retention", &runtime.storage_retention),
    ]);
    html.raw("<h2>Build</h2>").pairs([
        ("Program", build.application.as_str()),
        ("Version", &build.application_version),
        ("Compatible with Prometheus", &build.version),
        ("Revision", &build.revision),
        ("Compiler", &build.go_version),
    ]);
    if !runtime.not_served.is_empty() {
        html.raw("<h2>Settings without effect yet</h2><ul>");
        for line in &runtime.not_served {
            html.raw("<li>").text(line).raw("</li>");
        }
        html.raw("</ul>");
    }
    if let Some(tsdb) = source.tsdb_status(10) {
        let rows = [
            ("Series", tsdb.num_series),
            ("Chunks", tsdb.chunk_count),
            ("Label pairs", tsdb.num_label_pairs),
        ]
        .map(|(name, n)| (name, n.to_string()));
        html.raw("<h2>Head</h2>").pairs(rows.iter().map(|(n, v)| (*n, v.as_str())));
        html.raw("<h2>Metrics with the most series</h2>");
        let rows: Vec<_> = tsdb
            .series_count_by_metric_name
            .iter()
            .map(|e| (e.name.as_str(), e.value.to_string()))
            .collect();
        html.pairs(rows.iter().map(|(n, v)| (*n, v.as_str())));
    }
    html.finish()
}

pub(super) fn config(inner: &Inner, _: &Params) -> String {
    let mut html = Html::page(inner, "/config");
    if let Some(source) = &inner.status {
        html.raw("<pre>").text(&source.config_yaml()).raw("</pre>");
    }
    html.finish()
}

pub(super) fn flags(inner: &Inner, _: &Params) -> String {
    let mut html = Html::page(inner, "/flags");
    if let Some(source) = &inner.status {
        let flags = source.flags();
        html.pairs(flags.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    }
    html.finish()
}
