//! Alertmanagers of several sections, each with its own way of looking at alerts.

use firesteel_model::clock::ManualClock;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use super::*;

/// An Alertmanager on loopback: its address, and the requests that it gets, with path and alerts.
async fn listen() -> (String, mpsc::Receiver<(String, Vec<Value>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (requests, received) = mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let request = loop {
                if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                    return;
                }
                if let Some(request) = complete(&bytes) {
                    break request;
                }
            };
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            if requests.send(request).await.is_err() {
                return;
            }
        }
    });
    (address, received)
}

/// A request's path and alerts, once all of it is there.
fn complete(bytes: &[u8]) -> Option<(String, Vec<Value>)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap().to_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: "))?;
    let body = &bytes[end + 4..];
    (body.len() == length.parse::<usize>().unwrap()).then(|| {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        (path, serde_json::from_slice(body).unwrap())
    })
}

fn alert(labels: &[(&str, &str)]) -> Alert {
    Alert {
        labels: Labels::from_pairs(labels.iter().copied()),
        annotations: [].into(),
        starts_at: Some(0),
        ends_at: None,
        generator_url: "".into(),
    }
}

/// The labels of alerts, sorted by name.
fn labels(alerts: &[Value]) -> Vec<String> {
    let mut all: Vec<_> = alerts.iter().map(|alert| alert["labels"].to_string()).collect();
    all.sort();
    all
}

/// A notifier with this section `alerting`, once it has found `count` Alertmanagers.
async fn notifier(alerting: &str, external: &Labels, count: usize) -> Notifier {
    let config = firesteel_config::load_str("test", &format!("alerting:\n{alerting}")).unwrap();
    let notifier = Notifier::new(NotifierOptions::new("test", Arc::new(ManualClock::new(0))));
    let mut found = notifier.discovery.targets();
    notifier.apply(&config.alerting, external).await.unwrap();
    while notifier.alertmanagers().active.len() < count {
        found.changed().await.unwrap();
        notifier.inner.sync(&found.borrow_and_update().clone());
    }
    notifier
}

#[tokio::test]
async fn each_alertmanager_gets_alerts_as_its_section_has_them() {
    let ((first, mut of_first), (second, mut of_second)) = (listen().await, listen().await);
    let alerting = format!(
        "  alert_relabel_configs:
  - {{action: labeldrop, regex: replica}}
  - {{action: drop, source_labels: [alertname], regex: Nobody}}
  alertmanagers:
  - path_prefix: /first
    alert_relabel_configs:
    - {{action: keep, source_labels: [severity], regex: page}}
    - {{target_label: team, replacement: night}}
    static_configs: [{{targets: ['{first}']}}]
  - alert_relabel_configs:
    - {{action: labelmap, regex: severity, replacement: priority}}
    static_configs: [{{targets: ['{second}']}}]
"
    );
    let external = Labels::from_pairs([("region", "korea"), ("replica", "a")]);
    let notifier = notifier(&alerting, &external, 2).await;
    notifier.send(vec![
        alert(&[("alertname", "Pages"), ("severity", "page"), ("region", "its own")]),
        alert(&[("alertname", "Writes"), ("severity", "mail")]),
        alert(&[("alertname", "Nobody"), ("severity", "page")]),
    ]);
    let (path, alerts) = of_first.recv().await.unwrap();
    assert_eq!(path, "/first/api/v2/alerts");
    assert_eq!(
        labels(&alerts),
        [r#"{"alertname":"Pages","region":"its own","severity":"page","team":"night"}"#]
    );
    let (path, alerts) = of_second.recv().await.unwrap();
    assert_eq!(path, "/api/v2/alerts");
    assert_eq!(
        labels(&alerts),
        [
            r#"{"alertname":"Pages","priority":"page","region":"its own","severity":"page"}"#,
            r#"{"alertname":"Writes","priority":"mail","region":"korea","severity":"mail"}"#
        ]
    );
    notifier.shutdown().await;
}

#[tokio::test]
async fn relabelling_chooses_alertmanagers_and_their_addresses() {
    let (address, mut received) = listen().await;
    let alerting = format!(
        "  alertmanagers:
  - relabel_configs:
    - {{action: drop, source_labels: [role], regex: standby}}
    - {{source_labels: [tenant], target_label: __alerts_path__, replacement: '/$1/alerts'}}
    static_configs:
    - {{targets: ['{address}'], labels: {{tenant: blue}}}}
    - {{targets: ['standby:9093'], labels: {{role: standby, tenant: green}}}}
"
    );
    let notifier = notifier(&alerting, &Labels::empty(), 1).await;
    let found = notifier.alertmanagers();
    assert_eq!(found.active, [format!("http://{address}/blue/alerts")]);
    assert_eq!(found.dropped, ["http://standby:9093/api/v2/alerts"]);
    notifier.send(vec![alert(&[("alertname", "A")])]);
    assert_eq!(received.recv().await.unwrap().0, "/blue/alerts");
    notifier.shutdown().await;
}

#[tokio::test]
async fn a_section_that_changes_takes_the_next_alerts_only() {
    let (address, mut received) = listen().await;
    let section = |team: &str| {
        format!(
            "  alertmanagers:
  - alert_relabel_configs: [{{target_label: team, replacement: {team}}}]
    static_configs: [{{targets: ['{address}']}}]
"
        )
    };
    let notifier = notifier(&section("day"), &Labels::empty(), 1).await;
    notifier.send(vec![alert(&[("alertname", "First")])]);
    let expected = r#"{"alertname":"First","team":"day"}"#;
    assert_eq!(labels(&received.recv().await.unwrap().1), [expected]);
    let text = format!("alerting:\n{}", section("night"));
    let config = firesteel_config::load_str("test", &text).unwrap();
    let mut found = notifier.discovery.targets();
    notifier.apply(&config.alerting, &Labels::empty()).await.unwrap();
    while notifier.alertmanagers().active.is_empty() {
        found.changed().await.unwrap();
        notifier.inner.sync(&found.borrow_and_update().clone());
    }
    notifier.send(vec![alert(&[("alertname", "Second")])]);
    let expected = r#"{"alertname":"Second","team":"night"}"#;
    assert_eq!(labels(&received.recv().await.unwrap().1), [expected]);
    notifier.shutdown().await;
}
