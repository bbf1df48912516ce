//! TLS of a server, as the file of `--web.config.file` has it. Source: `web/tls_config.go` of
//! exporter-toolkit.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use firesteel_config::{ClientAuth, Credential, TlsVersion, WebTls};
use rustls::{
    CipherSuite, DigitallySignedStruct, DistinguishedName, Error as TlsError, NamedGroup,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use x509_cert::{
    Certificate,
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::{NetErrorKind, auth::read_text, tls};

/// The TLS side of a server. Certificates and keys in files are read again for each connection;
/// rustls' own configuration is kept while they stay the same.
#[derive(Default)]
pub struct ServerTls {
    current: Mutex<Option<(Wanted, Arc<ServerConfig>)>>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

/// What a configuration of rustls is made of.
#[derive(Clone, PartialEq, Eq)]
struct Wanted {
    config: WebTls,
    http2: bool,
    cert: String,
    key: String,
    client_ca: Option<String>,
}

impl ServerTls {
    /// Reads the files that `config` names and makes rustls' configuration of them, unless it is there
    /// already. Blocks, so not for an async thread.
    ///
    /// # Errors
    /// A file cannot be read, or what it holds cannot be used; in exporter-toolkit's words where it
    /// has any.
    pub fn prepare(&self, config: &WebTls, http2: bool) -> Result<PreparedTls, NetErrorKind> {
        let wanted = Wanted {
            config: config.clone(),
            http2,
            cert: pem("cert_file", &config.cert)?,
            key: pem("key_file", &config.key)?,
            client_ca: match &config.client_ca {
                Credential::None => None,
                ca => Some(pem("client_ca_file", ca)?),
            },
        };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, config)) = &*current
            && *known == wanted
        {
            return Ok(PreparedTls(Arc::clone(config)));
        }
        let config = Arc::new(build(&wanted)?);
        *current = Some((wanted, Arc::clone(&config)));
        Ok(PreparedTls(config))
    }
}

/// What connections are accepted with.
#[derive(Clone, Debug)]
pub struct PreparedTls(Arc<ServerConfig>);

impl PreparedTls {
    /// Speaks TLS with a client. Give it a timeout.
    ///
    /// # Errors
    /// The client does not speak TLS, or not as the configuration asks.
    pub async fn accept<S>(
        &self,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        TlsAcceptor::from(Arc::clone(&self.0)).accept(stream).await
    }
}

fn pem(what: &'static str, credential: &Credential) -> Result<String, NetErrorKind> {
    let read = |path: &Path| {
        read_text(path).map_err(|error| {
            let path = path.display();
            let reason = match error.kind() {
                io::ErrorKind::NotFound => format!("open {path}: no such file or directory"),
                _ => format!("open {path}: {error}"),
            };
            NetErrorKind::TlsConfig(format!("failed to read {what} ({path}): {reason}"))
        })
    };
    match credential {
        Credential::None => Ok(String::new()),
        Credential::Inline(secret) => Ok(secret.expose().to_owned()),
        Credential::File(path) => read(path),
    }
}

fn wrong(what: &str, reason: impl std::fmt::Display) -> NetErrorKind {
    NetErrorKind::TlsConfig(format!("{what}: {reason}"))
}

fn build(wanted: &Wanted) -> Result<ServerConfig, NetErrorKind> {
    let config = &wanted.config;
    let provider = Arc::new(provider(config)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(config)?)
        .map_err(|e| wrong("tls_server_config", e))?;
    let builder = match config.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        _ => builder.with_client_cert_verifier(Arc::new(verifier(wanted, provider)?)),
    };
    let pair = "failed to load X509KeyPair";
    let key = PrivateKeyDer::from_pem_slice(wanted.key.as_bytes())
        .map_err(|e| wrong(pair, format!("key: {e}")))?;
    let chain = tls::certificates(pair, &wanted.cert)?;
    let mut made = builder.with_single_cert(chain, key).map_err(|e| wrong(pair, e))?;
    made.ignore_client_order = config.prefer_server_cipher_suites;
    if wanted.http2 {
        made.alpn_protocols.push(b"h2".to_vec());
    }
    made.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(made)
}

/// TLS 1.2 and 1.3, as far as the configuration allows: the older ones are broken and not spoken.
fn versions(config: &WebTls) -> Result<&'static [&'static SupportedProtocolVersion], NetErrorKind> {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    if config.max_version < config.min_version.max(TlsVersion::Tls12) {
        return Err(wrong(
            "tls: no supported versions satisfy MinVersion and MaxVersion",
            "TLS 1.2 and 1.3 are spoken",
        ));
    }
    Ok(match (config.min_version, config.max_version) {
        (TlsVersion::Tls13, _) => &BOTH[..1],
        (_, TlsVersion::Tls12) => &BOTH[1..],
        _ => &BOTH,
    })
}

/// Suites and curves of which the configuration names some. As in Go, suites of TLS 1.3 are not a
/// matter of configuration, and what is not spoken here is left out.
fn provider(config: &WebTls) -> Result<CryptoProvider, NetErrorKind> {
    let mut provider = ring::default_provider();
    if !config.cipher_suites.is_empty() {
        let named = |suite: CipherSuite| {
            let name = suite.as_str().unwrap_or_default();
            config.cipher_suites.iter().any(|wanted| wanted == name)
        };
        provider.cipher_suites.retain(|suite| suite.tls13().is_some() || named(suite.suite()));
        let older = provider.cipher_suites.iter().any(|suite| suite.tls13().is_none());
        if config.max_version == TlsVersion::Tls12 && !older {
            return Err(wrong("cipher_suites", "none of them is spoken"));
        }
    }
    if !config.curves.is_empty() {
        let group = |name: &String| match name.as_str() {
            "CurveP256" => Some(NamedGroup::secp256r1),
            "CurveP384" => Some(NamedGroup::secp384r1),
            "CurveP521" => Some(NamedGroup::secp521r1),
            "X25519" => Some(NamedGroup::X25519),
            _ => None,
        };
        let wanted: Vec<NamedGroup> = config.curves.iter().filter_map(group).collect();
        let known = std::mem::take(&mut provider.kx_groups);
        provider.kx_groups = wanted
            .iter()
            .filter_map(|wanted| known.iter().find(|known| known.name() == *wanted).copied())
            .collect();
        if provider.kx_groups.is_empty() {
            return Err(wrong("curve_preferences", "none of them is spoken"));
        }
    }
    Ok(provider)
}

fn verifier(
    wanted: &Wanted,
    provider: Arc<CryptoProvider>,
) -> Result<ClientVerifier, NetErrorKind> {
    let auth = wanted.config.client_auth;
    let chain = match auth {
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify => {
            let roots = tls::roots(wanted.client_ca.as_deref())?;
            let builder =
                WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
            Some(builder.build().map_err(|e| wrong("client_ca", e))?)
        }
        _ => None,
    };
    Ok(ClientVerifier {
        provider,
        mandatory: matches!(auth, ClientAuth::RequireAny | ClientAuth::RequireAndVerify),
        chain,
        allowed_names: wanted.config.client_allowed_sans.clone(),
    })
}

/// Checks what `client_auth_type` and `client_allowed_sans` ask of a client's certificate.
#[derive(Debug)]
struct ClientVerifier {
    provider: Arc<CryptoProvider>,
    mandatory: bool,
    /// Follows the certificate to a root; where it is `None` any certificate will do.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    allowed_names: Option<Vec<String>>,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        if let Some(chain) = &self.chain {
            chain.verify_client_cert(certificate, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_names {
            let names = alternative_names(certificate)
                .map_err(|_| TlsError::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
            if !names.iter().any(|name| allowed.contains(name)) {
                return Err(TlsError::InvalidCertificate(
                    rustls::CertificateError::ApplicationVerificationFailure,
                ));
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Hosts, mail addresses, IP addresses and URIs of a certificate's subjectAltName.
fn alternative_names(certificate: &[u8]) -> Result<Vec<String>, x509_cert::der::Error> {
    let certificate = Certificate::from_der(certificate)?;
    let Some((_, names)) = certificate.tbs_certificate().get_extension::<SubjectAltName>()? else {
        return Ok(Vec::new());
    };
    let text = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::Rfc822Name(name) => Some(name.to_string()),
        GeneralName::UniformResourceIdentifier(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => ip(bytes.as_bytes()),
        _ => None,
    };
    Ok(names.0.iter().filter_map(text).collect())
}

fn ip(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}
