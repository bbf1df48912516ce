//! Deleting series and making snapshots by HTTP. Texts are Prometheus' (`web/api/v1/api.go`).
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use support::{Server, metrics_target, request, wait_for};

fn call(server: &Server, method: &str, path: &str, form: &str) -> (u16, String) {
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let path = format!("/api/v1/admin/tsdb/{path}");
    let (status, body) = request(server.address, method, &path, &headers, form.as_bytes()).unwrap();
    (status, String::from_utf8(body).unwrap())
}

fn error(kind: &str, text: &str) -> String {
    let text = text.replace('"', "\\\"");
    format!("{{\"status\":\"error\",\"errorType\":\"{kind}\",\"error\":\"{text}\"}}")
}

#[test]
fn series_are_deleted_and_snapshots_made() {
    let folder = tempfile::tempdir().unwrap();
    let target = metrics_target(|n| format!("kept {n}\ngone{{a=\"b\"}} {n}\n"));
    let config = folder.path().join("config.yml");
    std::fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs:\n- job_name: test\n  static_configs: [{{targets: ['{target}']}}]\n"
        ),
    )
    .unwrap();
    let config = format!("--config.file={}", config.display());
    let server = Server::start(folder.path(), &[&config, "--web.enable-admin-api"]);
    let count = |query: &str| {
        let result = server.query(query);
        result[0]["value"][1].as_str().map_or(0.0, |v| v.parse::<f64>().unwrap())
    };
    wait_for("samples", || (count("count_over_time(gone[5m])") >= 3.0).then_some(()));

    let none = call(&server, "POST", "delete_series", "");
    assert_eq!(none, (400, error("bad_data", "no match[] parameter provided")));
    let (status, body) = call(&server, "POST", "delete_series", "match[]=kept&start=x");
    let text = "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp";
    assert_eq!((status, body), (400, error("bad_data", text)));
    let (status, _) = call(&server, "PUT", "delete_series", "match[]=kept{");
    assert_eq!(status, 400);
    let wrong = call(&server, "POST", "snapshot", "skip_head=maybe");
    assert_eq!(wrong.0, 400);
    assert!(wrong.1.contains("unable to parse boolean: strconv.ParseBool: parsing"), "{}", wrong.1);

    let before = server.query("timestamp(gone)")[0]["value"][1].as_str().unwrap().to_owned();
    let deleted = call(&server, "PUT", "delete_series", &format!("match[]=gone&end={before}"));
    assert_eq!(deleted, (204, String::new()));
    let left = count(&format!("count_over_time(gone[5m] @ {before})"));
    assert!(left == 0.0 && count("count_over_time(kept[5m])") >= 3.0, "{left} are left");
    assert_eq!(call(&server, "POST", "clean_tombstones", ""), (204, String::new()));

    let (status, body) = call(&server, "POST", "snapshot", "");
    assert_eq!(status, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let name = answer["data"]["name"].as_str().unwrap();
    let mut found = Vec::new();
    let mut look = vec![folder.path().to_path_buf()];
    while let Some(dir) = look.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.path().is_dir() {
                if entry.file_name() == name {
                    found.extend(std::fs::read_dir(entry.path()).unwrap().flatten());
                }
                look.push(entry.path());
            }
        }
    }
    // The head is in it as a block.
    assert_eq!(found.len(), 1);
    assert!(found[0].path().join("index").exists());
}

#[test]
fn they_are_off_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for path in ["snapshot", "delete_series", "clean_tombstones"] {
        let off = (500, error("unavailable", "admin APIs disabled"));
        assert_eq!(call(&server, "POST", path, ""), off, "{path}");
    }
}
