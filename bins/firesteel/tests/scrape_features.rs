//! What features make of a scrape, by us and by the real Prometheus: types and units as labels, zeros
//! where counters began.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{fs, io::Write as _, net::SocketAddr};

use support::{Process, Server, found, free_address, get, now_ms, peer, target, wait_for};

const FEATURES: &str = "type-and-unit-labels,created-timestamp-zero-ingestion,metadata-wal-records";

/// A page with everything that the features look at. Each family has its unit or comes first: 3.5
/// takes the last unit for that of the next family, too.
fn page(created: u64) -> String {
    let created = format!("{}.{:03}", created / 1000, created % 1000);
    format!(
        "# TYPE plain unknown\nplain 1\n\
         # TYPE free gauge\nfree{{__type__=\"mine\",a=\"b\"}} 2\n\
         # TYPE requests counter\nrequests_total{{code=\"200\"}} 7\n\
         requests_created{{code=\"200\"}} {created}\n\
         # TYPE size_bytes summary\n# UNIT size_bytes bytes\n\
         size_bytes_count 4\nsize_bytes_sum 9\nsize_bytes{{quantile=\"0.5\"}} 2\n\
         size_bytes_created {created}\n\
         # TYPE took_seconds histogram\n# UNIT took_seconds seconds\n\
         took_seconds_bucket{{le=\"1\"}} 2\ntook_seconds_bucket{{le=\"+Inf\"}} 3\n\
         took_seconds_count 3\ntook_seconds_sum 2.5\ntook_seconds_created {created}\n# EOF\n"
    )
}

#[test]
fn features_do_what_they_do_in_prometheus() {
    let Some(program) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let created = now_ms() / 1000 * 1000 - 60_000;
    let page = page(created);
    let address = target(move |_, stream| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            page.len()
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.as_bytes()));
    });
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{address}']}}]\n"
    );
    fs::write(&config, text).unwrap();
    let theirs = free_address();
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.path().join("theirs").display()),
        format!("--web.listen-address={theirs}"),
        format!("--enable-feature={FEATURES}"),
    ];
    let _peer = Process::start(&program, &arguments, folder.path());
    wait_for("the real Prometheus", || (get(theirs, "/-/ready").ok()?.0 == 200).then_some(()));
    let config = format!("--config.file={}", config.display());
    let features = format!("--enable-feature={FEATURES}");
    let server = Server::start(folder.path(), &[&config, &features]);
    let scraped = |server: SocketAddr, what: &str| {
        let up = || found(server, "count_over_time(up[1m]) >= 2").into_values().next();
        wait_for(what, up);
    };
    scraped(theirs, "two scrapes by Prometheus");
    scraped(server.address, "two scrapes by us");
    let selector = "{job=\"j\",__name__!~\"up|scrape_.+\"}";
    let now = now_ms() / 1000;
    for (what, query) in [
        ("series", format!("{selector} @ {now}")),
        // Nothing but the zeros is so old.
        ("zeros", format!("{selector} @ {}", created / 1000 + 10)),
        ("nothing", format!("{selector} @ {}", created / 1000 - 10)),
    ] {
        let (expected, mine) = (found(theirs, &query), found(server.address, &query));
        println!("{what}: {} series", expected.len());
        assert_eq!(mine, expected, "{what}");
        assert_eq!(expected.is_empty(), what == "nothing", "{what}");
    }
}
