//! TLS, users, headers and limits of the server itself, by the file of `--web.config.file`; beside the
//! real Prometheus where it is there.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
};

use firesteel_config::{Credential, HttpClientConfig, TlsConfig, TlsVersion};
use firesteel_net::{HttpClient, Request};
use support::{Process, Server, arguments, free_address, peer, run_to_end, wait_for};

/// bcrypt's hash of "fakepassword".
const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
/// `Authorization` of `me` with that password, and with another.
const RIGHT: &str = "Authorization: Basic bWU6ZmFrZXBhc3N3b3Jk";
const WRONG: &str = "Authorization: Basic bWU6b3RoZXI=";

/// Status line, headers (dates aside, sorted, in lower case) and body of an answer over plain TCP.
fn raw(address: SocketAddr, path: &str, header: &str) -> std::io::Result<(String, Vec<String>)> {
    let mut stream = TcpStream::connect(address)?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n\r\n");
    // At once: a server that refuses what it read first may not be there for the rest.
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default().to_owned();
    let mut rest: Vec<String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .filter(|line| !line.starts_with("date") && !line.starts_with("connection"))
        .collect();
    rest.sort_unstable();
    rest.push(body.to_owned());
    Ok((status, rest))
}

/// Waits for a server that may ask for credentials.
fn wait(address: SocketAddr, header: &str) {
    wait_for("readiness", || {
        raw(address, "/-/ready", header).ok()?.0.contains(" 200 ").then_some(())
    });
}

fn start(folder: &Path, web: &Path, header: &str) -> Server {
    let web = format!("--web.config.file={}", web.display());
    let server = Server::spawn(folder, &arguments(folder, &[&web]));
    wait(server.address, header);
    server
}

#[test]
fn users_and_headers_are_as_in_prometheus() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let web = folder.join("web.yml");
    let text = format!(
        "basic_auth_users: {{me: {HASH}}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny, \
         Content-Security-Policy: default-src 'self'}}}}\n"
    );
    fs::write(&web, &text).unwrap();
    let ours = start(folder, &web, RIGHT);
    let asked = [
        ("/-/healthy", ""),
        ("/-/healthy", RIGHT),
        ("/-/healthy", WRONG),
        ("/-/healthy", "Authorization: Basic eW91OmZha2VwYXNzd29yZA=="),
        ("/-/healthy", "Authorization: Bearer bWU6ZmFrZXBhc3N3b3Jk"),
        ("/-/healthy", "Authorization: Basic !"),
        ("/api/v1/query?query=1", WRONG),
        ("/nothing", ""),
    ];
    let (status, lines) = raw(ours.address, "/-/healthy", "").unwrap();
    assert_eq!(status, "HTTP/1.1 401 Unauthorized");
    for expected in ["www-authenticate: Basic", "x-frame-options: deny", "Unauthorized\n"] {
        assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:?}");
    }
    if let Some(program) = peer("prometheus") {
        let address = free_address();
        fs::write(folder.join("empty.yml"), "").unwrap();
        let flags = [
            format!("--config.file={}", folder.join("empty.yml").display()),
            format!("--storage.tsdb.path={}", folder.join("theirs").display()),
            format!("--web.listen-address={address}"),
            format!("--web.config.file={}", web.display()),
        ];
        let _theirs = Process::start(&program, &flags, folder);
        wait(address, RIGHT);
        for (path, header) in asked {
            let (theirs, ours) = (raw(address, path, header), raw(ours.address, path, header));
            let (theirs, mut ours) = (theirs.unwrap(), ours.unwrap());
            // Ours say so of every answer.
            if !theirs.1.contains(&"x-content-type-options: nosniff".to_owned()) {
                ours.1.retain(|line| line != "x-content-type-options: nosniff");
            }
            assert_eq!(ours, theirs, "{path} {header}");
        }
    }
    // The file counts as it is now, also where it is wrong.
    fs::write(&web, "basic_auth_users: {me: secret}\n").unwrap();
    let (status, lines) = raw(ours.address, "/-/healthy", RIGHT).unwrap();
    assert_eq!(status, "HTTP/1.1 500 Internal Server Error");
    assert_eq!(lines.last().unwrap(), "Internal Server Error\n");
    wait_for("the reason in the log", || {
        ours.log().contains("hashedSecret too short to be a bcrypted password").then_some(())
    });
    fs::write(&web, "").unwrap();
    assert_eq!(raw(ours.address, "/-/healthy", "").unwrap().0, "HTTP/1.1 200 OK");
    fs::write(&web, text).unwrap();
    assert_eq!(raw(ours.address, "/-/healthy", "").unwrap().0, "HTTP/1.1 401 Unauthorized");
    assert!(ours.stop().success());
}

fn testdata(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/net/testdata").join(file)
}

/// Body of an answer over TLS; `shown` is the certificate that the client shows.
fn secure(
    address: SocketAddr,
    shown: Option<&str>,
    change: impl FnOnce(&mut TlsConfig),
) -> Result<String, String> {
    let mut config = HttpClientConfig::default();
    config.tls.ca = Credential::File(testdata("ca.pem"));
    if let Some(name) = shown {
        config.tls.cert = Credential::File(testdata(&format!("{name}.pem")));
        config.tls.key = Credential::File(testdata(&format!("{name}.key")));
    }
    change(&mut config.tls);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = HttpClient::new(&config).map_err(|e| e.to_string())?;
        let request = Request::get(format!("https://{address}/-/healthy").parse().unwrap());
        let mut response = client.send(request).await.map_err(|e| e.to_string())?;
        let body = response.body.whole(0).await.map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    })
}

const HEALTHY: &str = "Prometheus Server is Healthy.\n";

#[test]
fn tls_and_certificates_of_clients() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for file in ["ca.pem", "other.pem", "server.pem", "server.key"] {
        fs::copy(testdata(file), folder.join(file)).unwrap();
    }
    let web = folder.join("web.yml");
    let pair = "cert_file: server.pem, key_file: server.key";
    let write = |more: &str| {
        fs::write(&web, format!("tls_server_config: {{{pair}{more}}}\n")).unwrap();
    };
    write("");
    let flag = format!("--web.config.file={}", web.display());
    let server = Server::spawn(folder, &arguments(folder, &[&flag]));
    let address = server.address;
    wait_for("TLS", || secure(address, None, |_| {}).ok());
    assert_eq!(secure(address, None, |_| {}).unwrap(), HEALTHY);
    let (status, lines) = raw(address, "/-/healthy", "").unwrap();
    assert_eq!(status, "HTTP/1.0 400 Bad Request");
    assert_eq!(lines, ["Client sent an HTTP request to an HTTPS server.\n"]);

    // Each connection is made as the file says by then.
    let ca = ", client_ca_file: ca.pem, client_auth_type:";
    let other = ", client_ca_file: other.pem, client_auth_type:";
    for (more, without, with) in [
        (String::new(), true, true),
        (", client_auth_type: RequestClientCert".to_owned(), true, true),
        (", client_auth_type: RequireAnyClientCert".to_owned(), false, true),
        (format!("{ca} VerifyClientCertIfGiven"), true, true),
        (format!("{ca} RequireAndVerifyClientCert"), false, true),
        (format!("{other} RequireAndVerifyClientCert"), false, false),
        (format!("{other} VerifyClientCertIfGiven"), true, false),
        (format!("{other} RequireAnyClientCert"), false, true),
        (
            format!("{ca} RequireAndVerifyClientCert, client_allowed_sans: [a, named.test]"),
            false,
            true,
        ),
        (format!("{ca} RequireAndVerifyClientCert, client_allowed_sans: [127.0.0.1]"), false, true),
        (format!("{ca} RequireAndVerifyClientCert, client_allowed_sans: [test]"), false, false),
    ] {
        write(&more);
        assert_eq!(secure(address, None, |_| {}).is_ok(), without, "{more} without");
        assert_eq!(secure(address, Some("client"), |_| {}).is_ok(), with, "{more} with");
    }
    write(", min_version: TLS13");
    assert!(secure(address, None, |tls| tls.max_version = Some(TlsVersion::Tls12)).is_err());
    secure(address, None, |_| {}).unwrap();
    write(
        ", max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384], \
         curve_preferences: [CurveP384]",
    );
    secure(address, None, |tls| tls.max_version = Some(TlsVersion::Tls12)).unwrap();
    assert!(secure(address, None, |tls| tls.min_version = Some(TlsVersion::Tls13)).is_err());

    // Keys rotate; a file that is wrong costs the connections that meet it only.
    fs::copy(testdata("client.key"), folder.join("server.key")).unwrap();
    assert!(secure(address, None, |_| {}).is_err());
    fs::copy(testdata("client.pem"), folder.join("server.pem")).unwrap();
    secure(address, None, |_| {}).unwrap();
    assert!(server.stop().success());
}

#[test]
fn requests_over_the_limit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web.yml");
    fs::write(&web, "rate_limit: {interval: 1h, burst: 3}\n").unwrap();
    let web = format!("--web.config.file={}", web.display());
    let server = Server::spawn(folder.path(), &arguments(folder.path(), &[&web]));
    let statuses: Vec<String> =
        (0..5).map(|_| raw(server.address, "/-/healthy", "").unwrap().0).collect();
    assert_eq!(statuses.iter().filter(|s| *s == "HTTP/1.1 200 OK").count(), 3);
    assert_eq!(statuses[4], "HTTP/1.1 429 Too Many Requests");
}

#[test]
fn what_cannot_be_had_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("basic_auth_users: {me: x}", "web.yml:1:24: basic_auth_users.me: crypto/bcrypt: hashed"),
        (
            "tls_server_config: {cert_file: none.pem, key_file: none.key}",
            "failed to read cert_file (none.pem): open none.pem: no such file or directory",
        ),
        ("tls_config: {}", "field tls_config not found in type web.Config"),
    ] {
        fs::write(folder.path().join("web.yml"), text).unwrap();
        let (code, log) = run_to_end(folder.path(), &["--web.config.file=web.yml"]);
        assert!(code == Some(1) && log.contains(expected), "{code:?} {log}");
    }
    let (code, log) = run_to_end(folder.path(), &["--web.cors.origin=("]);
    assert!(code == Some(2) && log.contains("could not compile CORS regex string \"(\""), "{log}");
}

#[test]
fn origins_are_told_what_they_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("empty.yml"), "").unwrap();
    let cors = "--web.cors.origin=https?://(a|b)\\.example";
    let ours = Server::start(folder, &[cors]);
    let theirs = peer("prometheus").map(|program| {
        let address = free_address();
        let flags = [
            format!("--config.file={}", folder.join("empty.yml").display()),
            format!("--storage.tsdb.path={}", folder.join("theirs").display()),
            format!("--web.listen-address={address}"),
            cors.to_owned(),
        ];
        let process = Process::start(&program, &flags, folder);
        wait(address, "X: y");
        (process, address)
    });
    let about_origins = |address, path: &str, header: &str| {
        let (status, lines) = raw(address, path, header).unwrap();
        let keep = |l: &String| l.starts_with("access-") || l == "vary: Origin";
        (status, lines.into_iter().filter(keep).collect::<Vec<_>>())
    };
    for path in ["/api/v1/query?query=1", "/api/v1/query?query=", "/api/v1/none", "/metrics"] {
        for header in ["Origin: http://a.example", "Origin: http://c.example", "X: y"] {
            let seen = about_origins(ours.address, path, header);
            let may = "access-control-allow-origin: http://a.example".to_owned();
            let expected = header.contains("a.example") && path.contains("query");
            assert_eq!(seen.1.contains(&may), expected, "{path} {header} {seen:?}");
            if let Some((_, address)) = &theirs {
                assert_eq!(seen, about_origins(*address, path, header), "{path} {header}");
            }
        }
    }
    let (status, _) = support::request(
        ours.address,
        "OPTIONS",
        "/api/v1/query",
        &[("Origin", "http://a.example")],
        b"",
    )
    .unwrap();
    assert_eq!(status, 204);
}
