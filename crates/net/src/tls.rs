//! TLS by rustls with ring. Certificates and keys in files are read again for each connection, so
//! that rotated ones are picked up; rustls' own configuration is kept while they stay the same.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use firesteel_config::{Credential, TlsConfig, TlsVersion};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{NetErrorKind, auth::read_text, connect::Transport};

/// The TLS side of a client.
pub(crate) struct Tls {
    config: TlsConfig,
    http2: bool,
    /// What the current configuration was made of, and the configuration.
    current: Mutex<Option<(Material, Arc<ClientConfig>)>>,
}

/// The texts of certificates and keys.
#[derive(Clone, PartialEq, Eq)]
struct Material {
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl Tls {
    pub(crate) fn new(config: &TlsConfig, http2: bool) -> Result<Self, NetErrorKind> {
        if config.max_version.is_some_and(|v| v < TlsVersion::Tls12) {
            let what = "TLS 1.0 and 1.1 are broken and not spoken";
            return Err(NetErrorKind::NotServed { key: "tls_config.max_version", what });
        }
        Ok(Self { config: config.clone(), http2, current: Mutex::new(None) })
    }

    /// Speaks TLS over a connection to `host`.
    pub(crate) async fn handshake(
        self: &Arc<Self>,
        host: &str,
        transport: Transport,
    ) -> Result<TlsStream<Transport>, NetErrorKind> {
        let tls = self.clone();
        // Reading files and the system's certificates takes milliseconds.
        let config = tokio::task::spawn_blocking(move || tls.client_config())
            .await
            .map_err(|e| NetErrorKind::TlsConfig(e.to_string()))??;
        let name = self.config.server_name.as_deref().unwrap_or(host);
        let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare)
            .map_err(|_| NetErrorKind::TlsConfig(format!("{name:?} is not a server's name")))?;
        let connect = TlsConnector::from(config).connect(name, transport).await;
        connect.map_err(|e| NetErrorKind::Connect(format!("tls: {}", reason(&e))))
    }

    fn client_config(&self) -> Result<Arc<ClientConfig>, NetErrorKind> {
        let material = Material {
            ca: text("CA cert", &self.config.ca)?,
            cert: text("client cert", &self.config.cert)?,
            key: text("client key", &self.config.key)?,
        };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, config)) = &*current
            && *known == material
        {
            return Ok(config.clone());
        }
        let config = Arc::new(self.build(&material)?);
        *current = Some((material, config.clone()));
        Ok(config)
    }

    fn build(&self, material: &Material) -> Result<ClientConfig, NetErrorKind> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions())
            .map_err(|e| NetErrorKind::TlsConfig(e.to_string()))?;
        let builder = if self.config.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
        } else {
            builder.with_root_certificates(roots(material.ca.as_deref())?)
        };
        let mut config = match (&material.cert, &material.key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|e| NetErrorKind::TlsConfig(format!("client key: {e}")))?;
                builder
                    .with_client_auth_cert(certificates("client cert", cert)?, key)
                    .map_err(|e| NetErrorKind::TlsConfig(format!("client cert and key: {e}")))?
            }
            _ => builder.with_no_client_auth(),
        };
        if self.http2 {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        config.alpn_protocols.push(b"http/1.1".to_vec());
        Ok(config)
    }

    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match (self.config.min_version, self.config.max_version) {
            (Some(TlsVersion::Tls13), _) => &BOTH[..1],
            (_, Some(TlsVersion::Tls12)) => &BOTH[1..],
            _ => &BOTH,
        }
    }
}

fn text(what: &'static str, credential: &Credential) -> Result<Option<String>, NetErrorKind> {
    let read = |path: &Path| {
        read_text(path).map_err(|source| NetErrorKind::File { what, path: path.to_owned(), source })
    };
    match credential {
        Credential::None => Ok(None),
        Credential::Inline(secret) => Ok(Some(secret.expose().to_owned())),
        Credential::File(path) => read(path).map(Some),
    }
}

pub(crate) fn certificates(
    what: &str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, NetErrorKind> {
    let fail = |reason: String| NetErrorKind::TlsConfig(format!("{what}: {reason}"));
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| fail(e.to_string()))?;
    if found.is_empty() { Err(fail("no certificate in PEM form".to_owned())) } else { Ok(found) }
}

pub(crate) fn roots(ca: Option<&str>) -> Result<RootCertStore, NetErrorKind> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        for certificate in certificates("CA cert", ca)? {
            roots.add(certificate).map_err(|e| NetErrorKind::TlsConfig(format!("CA cert: {e}")))?;
        }
    } else {
        // Single bad certificates of the system are no reason to refuse all.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

/// What a failed handshake is about; without the words that every one begins with.
fn reason(error: &std::io::Error) -> String {
    match error.get_ref() {
        Some(inner) => crate::error::innermost(inner),
        None => error.to_string(),
    }
}

/// For `insecure_skip_verify`: believes any certificate. The server must still hold its key.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
