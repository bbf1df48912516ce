//! TLS, against servers on the loopback interface with the certificates of `testdata`.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use firesteel_config::{Credential, HttpClientConfig, TlsConfig, TlsVersion, Url};
use firesteel_net::{HttpClient, Request};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use support::{Log, Server, answer, ok, serve};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tokio_rustls::TlsAcceptor;

fn testdata(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(file)
}

fn acceptor(client_ca: bool, alpn: &[&[u8]]) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if client_ca {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(testdata("ca.pem")).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let cert = CertificateDer::from_pem_file(testdata("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(testdata("server.key")).unwrap();
    let mut config = builder.with_single_cert(vec![cert], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve_tls(client_ca: bool) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (log, acceptor) = (Log::default(), acceptor(client_ca, &[b"http/1.1"]));
    let shared = log.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            shared.connected();
            tokio::spawn(support::talk(stream, Arc::new(|_: &str| ok(b"secure")), shared.clone()));
        }
    });
    Server { address, log }
}

fn client(change: impl FnOnce(&mut TlsConfig)) -> HttpClient {
    let mut config = HttpClientConfig::default();
    change(&mut config.tls);
    HttpClient::new(&config).unwrap()
}

async fn get(client: &HttpClient, url: &str) -> Result<Vec<u8>, String> {
    let mut response =
        client.send(Request::get(url.parse().unwrap())).await.map_err(|e| e.to_string())?;
    Ok(response.body.whole(0).await.map_err(|e| e.to_string())?.into())
}

#[tokio::test]
async fn believes_the_configured_authority_only() {
    let server = serve_tls(false).await;
    let url = format!("https://{}/", server.address);
    let good = client(|tls| tls.ca = Credential::File(testdata("ca.pem")));
    assert_eq!(get(&good, &url).await.unwrap(), b"secure");
    let wrong = client(|tls| tls.ca = Credential::File(testdata("other.pem")));
    let error = get(&wrong, &url).await.unwrap_err();
    assert!(error.contains("tls: "), "{error}");
    let system = client(|_| {});
    assert!(get(&system, &url).await.is_err());
    let blind = client(|tls| tls.insecure_skip_verify = true);
    assert_eq!(get(&blind, &url).await.unwrap(), b"secure");
}

#[tokio::test]
async fn checks_the_configured_name_and_version() {
    let server = serve_tls(false).await;
    let url = format!("https://{}/", server.address);
    for (name, fits) in [("named.test", true), ("elsewhere.test", false)] {
        let client = client(|tls| {
            tls.ca = Credential::File(testdata("ca.pem"));
            tls.server_name = Some(name.to_owned());
            tls.max_version = Some(TlsVersion::Tls12);
        });
        assert_eq!(get(&client, &url).await.is_ok(), fits, "{name}");
    }
}

#[tokio::test]
async fn shows_its_certificate() {
    let server = serve_tls(true).await;
    let url = format!("https://{}/", server.address);
    let with = client(|tls| {
        tls.ca = Credential::File(testdata("ca.pem"));
        tls.cert = Credential::File(testdata("client.pem"));
        tls.key = Credential::File(testdata("client.key"));
    });
    assert_eq!(get(&with, &url).await.unwrap(), b"secure");
    let without = client(|tls| tls.ca = Credential::File(testdata("ca.pem")));
    assert!(get(&without, &url).await.is_err());
}

#[tokio::test]
async fn picks_up_a_rotated_authority() {
    let server = serve_tls(false).await;
    let url = format!("https://{}/", server.address);
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::copy(testdata("other.pem"), &ca).unwrap();
    let client = client(|tls| tls.ca = Credential::File(ca.clone()));
    assert!(get(&client, &url).await.is_err());
    std::fs::copy(testdata("ca.pem"), &ca).unwrap();
    assert_eq!(get(&client, &url).await.unwrap(), b"secure");
}

#[tokio::test]
async fn tunnels_through_proxies() {
    let server = serve_tls(false).await;
    let target = server.address;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap());
            }
            assert!(head.starts_with(b"CONNECT localhost:9443 HTTP/1.1\r\n"));
            let mut onward = tokio::net::TcpStream::connect(target).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
        }
    });
    let mut config = HttpClientConfig::default();
    config.proxy.url = Some(Url::parse(&format!("http://{address}")).unwrap());
    config.tls.ca = Credential::File(testdata("ca.pem"));
    let client = HttpClient::new(&config).unwrap();
    assert_eq!(get(&client, "https://localhost:9443/").await.unwrap(), b"secure");

    let refusing = serve(|_| answer("403 Forbidden", "", b"")).await;
    config.proxy.url = Some(Url::parse(&format!("http://{}", refusing.address)).unwrap());
    let client = HttpClient::new(&config).unwrap();
    let error = get(&client, "https://localhost:9443/").await.unwrap_err();
    assert!(error.contains("proxyconnect: HTTP/1.1 403 Forbidden"), "{error}");
}

#[tokio::test]
async fn speaks_http2_where_negotiated() {
    use http_body_util::Full;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = acceptor(false, &[b"h2", b"http/1.1"]);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.unwrap();
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = hyper::service::service_fn(move |request: http::Request<_>| async move {
                let _: &hyper::body::Incoming = request.body();
                let text = format!("{:?} {h2}", request.version());
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::<bytes::Bytes>::from(
                    text,
                )))
            });
            tokio::spawn(async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                if h2 {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let server = hyper::server::conn::http2::Builder::new(executor);
                    let _ = server.serve_connection(io, service).await;
                } else {
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = server.serve_connection(io, service).await;
                }
            });
        }
    });
    for (enable, expected) in [(true, "HTTP/2.0 true"), (false, "HTTP/1.1 false")] {
        let mut config = HttpClientConfig::default();
        config.tls.ca = Credential::File(testdata("ca.pem"));
        config.enable_http2 = enable;
        let client = HttpClient::new(&config).unwrap();
        let got = get(&client, &format!("https://{address}/")).await.unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), expected);
    }
}
