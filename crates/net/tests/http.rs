//! The client against servers on the loopback interface.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{sync::Arc, time::Duration};

use firesteel_config::{
    Auth, Authorization, BasicAuth, Credential, HttpClientConfig, HttpHeader, Secret, Url,
};
use firesteel_net::{HttpClient, Limits, NetErrorKind, Request};
use support::{answer, gzip, ok, serve};

fn client(change: impl FnOnce(&mut HttpClientConfig)) -> HttpClient {
    let mut config = HttpClientConfig::default();
    change(&mut config);
    HttpClient::new(&config).unwrap()
}

async fn body(client: &HttpClient, request: Request) -> Result<Vec<u8>, String> {
    let mut response = client.send(request).await.map_err(|e| e.to_string())?;
    Ok(response.body.whole(0).await.map_err(|e| e.to_string())?.into())
}

#[tokio::test]
async fn keeps_connections() {
    let server = serve(|_| ok(b"up 1\n")).await;
    let client = client(|_| {});
    for _ in 0..3 {
        let got = body(&client, Request::get(server.url("/metrics?a=b"))).await;
        assert_eq!(got.unwrap(), b"up 1\n");
    }
    assert_eq!(server.log.connections(), 1);
    assert!(server.log.requests()[0].starts_with("GET /metrics?a=b HTTP/1.1\r\n"));
    assert!(server.log.requests()[0].contains(&format!("host: {}\r\n", server.address)));
}

#[tokio::test]
async fn limits_bodies() {
    let server = serve(|_| ok(&[b'x'; 1000])).await;
    let client = client(|_| {});
    for (limit, fits) in [(1001, true), (1000, false), (10, false)] {
        let mut request = Request::get(server.url("/"));
        request.limits = Limits::body(limit);
        match body(&client, request).await {
            Ok(got) => assert!(fits && got.len() == 1000),
            Err(error) => assert!(!fits && error == "body size limit exceeded", "{error}"),
        }
    }
}

#[tokio::test]
async fn decompresses_under_limits() {
    let text = b"metric{label=\"value\"} 1\n".repeat(1000);
    let bomb = gzip(&vec![0; 64 << 20]);
    let packed = gzip(&text);
    let cut = packed[..packed.len() - 10].to_vec();
    let server = serve(move |head| {
        let body = match head.split(' ').nth(1) {
            Some("/bomb") => &bomb,
            Some("/cut") => &cut,
            _ => &packed,
        };
        answer("200 OK", "Content-Encoding: gzip\r\n", body)
    })
    .await;
    let client = client(|_| {});
    assert_eq!(body(&client, Request::get(server.url("/"))).await.unwrap(), text);
    let bomb = body(&client, Request::get(server.url("/bomb"))).await.unwrap_err();
    assert!(bomb.contains("compression ratio limit exceeded"), "{bomb}");
    let cut = body(&client, Request::get(server.url("/cut"))).await.unwrap_err();
    assert!(cut.starts_with("gzip: "), "{cut}");
    let mut small = Request::get(server.url("/"));
    small.limits = Limits::body(1000);
    assert_eq!(body(&client, small).await.unwrap_err(), "body size limit exceeded");
}

#[tokio::test]
async fn reads_credentials_at_each_use() {
    let server = serve(|_| ok(b"")).await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "one\n").unwrap();
    let client = client(|config| {
        config.auth = Auth::Authorization(Authorization::bearer(Credential::File(token.clone())));
    });
    body(&client, Request::get(server.url("/"))).await.unwrap();
    std::fs::write(&token, "two").unwrap();
    body(&client, Request::get(server.url("/"))).await.unwrap();
    let requests = server.log.requests();
    assert!(requests[0].contains("authorization: Bearer one\r\n"), "{}", requests[0]);
    assert!(requests[1].contains("authorization: Bearer two\r\n"), "{}", requests[1]);
    std::fs::remove_file(&token).unwrap();
    let error = body(&client, Request::get(server.url("/"))).await.unwrap_err();
    assert!(error.contains("unable to read credentials file"), "{error}");
}

#[tokio::test]
async fn follows_redirects_without_credentials_to_other_hosts() {
    let other = serve(|_| ok(b"other")).await;
    let target = other.url("/x");
    let server = serve(move |head| match head.split(' ').nth(1) {
        Some("/near") => answer("302 Found", "Location: /here\r\n", b""),
        Some("/far") => answer("307 Temporary Redirect", &format!("Location: {target}\r\n"), b""),
        Some("/loop") => answer("302 Found", "Location: /loop\r\n", b""),
        _ => ok(b"here"),
    })
    .await;
    let client = client(|config| {
        config.auth = Auth::Basic(BasicAuth::new("me", "pw"));
        let mut header = HttpHeader::default();
        header.name = "X-Scope".to_owned();
        header.secrets = vec![Secret::new("tenant")];
        config.headers = vec![header];
    });
    assert_eq!(body(&client, Request::get(server.url("/near"))).await.unwrap(), b"here");
    assert_eq!(body(&client, Request::get(server.url("/far"))).await.unwrap(), b"other");
    for head in server.log.requests() {
        assert!(head.contains("authorization: Basic bWU6cHc="), "{head}");
        assert!(head.contains("x-scope: tenant"), "{head}");
    }
    let far = &other.log.requests()[0];
    assert!(!far.contains("authorization") && !far.contains("x-scope"), "{far}");
    let looped = body(&client, Request::get(server.url("/loop"))).await.unwrap_err();
    assert!(looped.contains("stopped after 10 redirects"), "{looped}");
}

#[tokio::test]
async fn leaves_redirects_alone_where_told() {
    let server = serve(|_| answer("302 Found", "Location: /x\r\n", b"")).await;
    let client = client(|config| config.follow_redirects = false);
    let response = client.send(Request::get(server.url("/"))).await.unwrap();
    assert_eq!(response.status, 302);
}

#[tokio::test]
async fn users_in_urls_are_credentials_and_stay_secret() {
    let server = serve(|_| ok(b"")).await;
    let client = client(|_| {});
    let url = format!("http://me:hunter2@{}/", server.address).parse().unwrap();
    body(&client, Request::get(url)).await.unwrap();
    assert!(server.log.requests()[0].contains("authorization: Basic bWU6aHVudGVyMg=="));
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://me:hunter2@{closed}/x").parse().unwrap();
    let error = body(&client, Request::get(url)).await.unwrap_err();
    let expected = format!(
        "Get \"http://me:xxxxx@{closed}/x\": dial tcp {closed}: connect: connection refused"
    );
    assert_eq!(error, expected);
}

#[tokio::test(start_paused = true)]
async fn gives_up_when_the_time_is_over() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: http::Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let client = client(|_| {});
    let error = client
        .get(&url, &http::HeaderMap::new(), Limits::default(), Duration::from_secs(3))
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.to_string(), format!("Get \"{url}\": context deadline exceeded"));
}

#[cfg(unix)]
#[tokio::test]
async fn speaks_over_unix_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let log = support::Log::default();
    let shared = log.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(support::talk(stream, Arc::new(|_: &str| ok(b"local")), shared.clone()));
        }
    });
    let mut request = Request::get("http://localhost/metrics".parse().unwrap());
    request.unix_socket = Some(path);
    assert_eq!(body(&client(|_| {}), request).await.unwrap(), b"local");
    assert!(log.requests()[0].contains("host: localhost\r\n"));
}

#[tokio::test]
async fn goes_through_proxies() {
    let proxy = serve(|_| ok(b"proxied")).await;
    let url = Url::parse(&format!("http://u:p@{}", proxy.address)).unwrap();
    let client = client(|config| config.proxy.url = Some(url));
    let got = body(&client, Request::get("http://far.test:9100/metrics".parse().unwrap())).await;
    assert_eq!(got.unwrap(), b"proxied");
    let head = &proxy.log.requests()[0];
    assert!(head.starts_with("GET http://far.test:9100/metrics HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic dTpw\r\n"), "{head}");
}

#[tokio::test]
async fn fetches_tokens_once() {
    let server = serve(|head| {
        if head.starts_with("POST /token") {
            // This server wants the client's credentials in the form.
            return if head.contains("authorization: Basic") {
                answer("401 Unauthorized", "Connection: close\r\n", b"")
            } else {
                let token = br#"{"access_token":"t1","token_type":"bearer","expires_in":3600}"#;
                answer("200 OK", "Connection: close\r\n", token)
            };
        }
        ok(b"")
    })
    .await;
    let url = format!("http://{}", server.address);
    let text = format!(
        "scrape_configs: [{{job_name: a, oauth2: {{client_id: me, client_secret: pw, token_url: '{url}/token', scopes: [a, b]}}}}]"
    );
    let config = firesteel_config::load_str("p.yml", &text).unwrap();
    let client = HttpClient::new(&config.scrape_configs[0].http).unwrap();
    for _ in 0..2 {
        body(&client, Request::get(server.url("/metrics"))).await.unwrap();
    }
    let requests = server.log.requests();
    let tokens = requests.iter().filter(|r| r.starts_with("POST /token")).count();
    assert_eq!((requests.len(), tokens), (4, 2), "one refused, one granted, two scrapes");
    assert!(requests[3].contains("authorization: Bearer t1\r\n"), "{}", requests[3]);
    assert!(!format!("{client:?}").contains("t1"));
}

#[tokio::test]
async fn refuses_what_it_cannot_do() {
    let mut config = HttpClientConfig::default();
    config.proxy.url = Some(Url::parse("socks4://p:1").unwrap());
    let error = HttpClient::new(&config).unwrap_err();
    assert!(matches!(error.kind(), NetErrorKind::NotServed { key: "proxy_url", .. }));
    assert!(error.to_string().starts_with("proxy_url is not served yet"));
    let client = client(|_| {});
    // 2f78 is "/x": a redirect must not be able to name a socket of this machine.
    for bad in
        ["ftp://a/", "/x", "http://2f78.unix-socket.invalid/", "http://2f78.UNIX-socket.invalid./"]
    {
        assert!(client.send(Request::get(bad.parse().unwrap())).await.is_err(), "{bad}");
    }
}
