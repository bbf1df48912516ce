//! Targets that want to know who asks: client certificates, passwords, tokens in files that change,
//! OAuth 2.0, a proxy.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use support::{Server, wait_for};

/// What has been seen so far.
type Seen = Arc<Mutex<BTreeSet<String>>>;

fn has(seen: &Seen, what: &str) -> bool {
    seen.lock().unwrap().contains(what)
}

/// The head of a request.
fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|len| len == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// The value of a header.
fn header(head: &str, name: &str) -> String {
    let line = |l: &str| {
        let (key, value) = l.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.to_owned())
    };
    head.lines().find_map(line).unwrap_or_default()
}

fn answer(stream: &mut impl Write, status: u16, kind: &str, body: &str) {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

fn page(stream: &mut impl Write) {
    answer(stream, 200, "text/plain; version=0.0.4", "secret_metric 1\n");
}

/// A server that hands each connection to `serve`.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A target that answers only to an `Authorization` that `is_right` likes, and notes it.
fn guarded(seen: &Seen, is_right: impl Fn(&str) -> bool + Send + Sync + 'static) -> SocketAddr {
    let seen = seen.clone();
    listen(move |mut stream| {
        let authorization = header(&head(&mut stream), "authorization");
        if is_right(&authorization) {
            seen.lock().unwrap().insert(authorization);
            page(&mut stream);
        } else {
            answer(&mut stream, 401, "text/plain", "");
        }
    })
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A target that wants a client's certificate, and notes it.
fn tls_target(authority: &Authority, seen: &Seen) -> SocketAddr {
    let (pem, key) = authority.issue("target.test");
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&authority.pem)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(
            vec![certificate(&pem)],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let (config, seen) = (Arc::new(config), seen.clone());
    listen(move |stream| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        if head(&mut stream).is_empty() {
            return;
        }
        let peer = stream.conn.peer_certificates().and_then(|all| all.first()).cloned();
        seen.lock().unwrap().insert(format!("{:?}", peer.unwrap().as_ref()));
        page(&mut stream);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

/// Gives `token-1`, then `token-2`, ... to who knows the secret.
fn token_server(seen: &Seen) -> SocketAddr {
    let seen = seen.clone();
    let count = Mutex::new(0);
    listen(move |mut stream| {
        let head = head(&mut stream);
        let length: usize = header(&head, "content-length").parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        // `me` and `s3cret`.
        if header(&head, "authorization") != "Basic bWU6czNjcmV0" {
            return answer(&mut stream, 401, "application/json", "{}");
        }
        seen.lock().unwrap().insert(body);
        let mut count = count.lock().unwrap();
        *count += 1;
        // Shorter than what is left for the way: asked for again each time.
        let text =
            format!(r#"{{"access_token":"token-{count}","token_type":"bearer","expires_in":5}}"#);
        answer(&mut stream, 200, "application/json", &text);
    })
}

/// Fetches what it is asked for, and notes it.
fn proxy(seen: &Seen) -> SocketAddr {
    let seen = seen.clone();
    listen(move |mut stream| {
        let head = head(&mut stream);
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let credentials = header(&head, "proxy-authorization");
        seen.lock().unwrap().insert(format!("{target} {credentials}"));
        let rest = target.strip_prefix("http://").unwrap_or_default();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let Ok(mut to) = TcpStream::connect(host) else { return };
        let _ = to.write_all(
            format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        let _ = std::io::copy(&mut to, &mut stream);
    })
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    // By renaming, as rotation does, so that nobody reads half of it.
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    fs::write(&new, text).unwrap();
    fs::rename(new, &path).unwrap();
    path.display().to_string()
}

#[test]
fn targets_that_want_to_know_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let seen = Seen::default();
    let authority = Authority::new();
    let first = authority.issue("client-1");
    let ca = write(place, "ca.pem", &authority.pem);
    let cert = write(place, "client.pem", &first.0);
    let key = write(place, "client.key", &first.1);
    let secret = write(place, "secret", "s3cret\n");
    let token = write(place, "token", "bearer-1\n");
    let tls = tls_target(&authority, &seen);
    let basic = guarded(&seen, |a| a == "Basic bWU6czNjcmV0");
    let bearer = guarded(&seen, |a| a.starts_with("Bearer bearer-"));
    let oauth = guarded(&seen, |a| a.starts_with("Bearer token-"));
    let tokens = token_server(&seen);
    let open = listen(|mut stream| {
        head(&mut stream);
        page(&mut stream);
    });
    let proxy = proxy(&seen);
    let job = |name: &str, target: SocketAddr, more: &str| {
        format!("- job_name: {name}\n{more}  static_configs:\n  - targets: ['{target}']\n")
    };
    let jobs = [
        job(
            "tls",
            tls,
            &format!(
                "  scheme: https\n  tls_config: {{ca_file: {ca}, cert_file: {cert}, key_file: {key}, server_name: target.test}}\n"
            ),
        ),
        job("basic", basic, &format!("  basic_auth: {{username: me, password_file: {secret}}}\n")),
        job("bearer", bearer, &format!("  authorization: {{credentials_file: {token}}}\n")),
        job(
            "oauth",
            oauth,
            &format!(
                "  oauth2:\n    client_id: me\n    client_secret_file: {secret}\n    token_url: http://{tokens}/token\n    scopes: [read, write]\n    endpoint_params: {{audience: metrics}}\n"
            ),
        ),
        job("proxied", open, &format!("  proxy_url: http://who:pass@{proxy}\n")),
        job("refused", basic, "  basic_auth: {username: me, password: wrong}\n"),
    ];
    let config = place.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 300ms, scrape_timeout: 300ms}}\nscrape_configs:\n{}",
        jobs.concat()
    );
    fs::write(&config, text).unwrap();
    let server = Server::start(place, &[&format!("--config.file={}", config.display())]);
    for job in ["tls", "basic", "bearer", "oauth", "proxied"] {
        wait_for(&format!("job {job}"), || {
            let result = server.query(&format!("secret_metric{{job={job:?}}}"));
            result.as_array().is_some_and(|all| all.len() == 1).then_some(())
        });
    }
    assert_eq!(server.query("up{job='refused'}")[0]["value"][1], "0");
    assert!(has(&seen, &format!("http://{open}/metrics Basic d2hvOnBhc3M=")), "{seen:?}");
    let form = "grant_type=client_credentials&scope=read+write&audience=metrics";
    assert!(has(&seen, form), "{seen:?}");
    assert!(has(&seen, &format!("{:?}", certificate(&first.0).as_ref())));

    // Files change, and nobody tells the server.
    write(place, "token", "bearer-2\n");
    wait_for("the new token", || has(&seen, "Bearer bearer-2").then_some(()));
    wait_for("another token", || has(&seen, "Bearer token-2").then_some(()));
    let second = authority.issue("client-2");
    write(place, "client.key", &second.1);
    write(place, "client.pem", &second.0);
    let new = format!("{:?}", certificate(&second.0).as_ref());
    wait_for("the new certificate", || has(&seen, &new).then_some(()));
    // What the server prints of its configuration holds no secret.
    let shown = server.api("status/config")["yaml"].as_str().unwrap().to_owned();
    assert!(!shown.contains("wrong") && shown.contains("<secret>"), "{shown}");
    assert!(!server.log().contains("s3cret"));
}
