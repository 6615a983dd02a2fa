//! The server's side of TLS, from the files that the web configuration names.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::config::TlsConfig;
use super::{WebError, read};

/// Most bytes that one connection buffers for a client that does not read.
const MAX_BUFFERED: usize = 16 * 1024;

/// How connections are encrypted.
#[derive(Clone)]
pub(in crate::admin) struct Tls {
    config: Arc<ServerConfig>,
    demands_client: bool,
}

// === impl Tls ===

impl Tls {
    /// Reads the files.
    pub(super) fn new(config: &TlsConfig) -> Result<Self, WebError> {
        let chain = certificates(&config.certificate, "which tls_server_config.cert_file names")?;
        let named = "which tls_server_config.key_file names";
        let key = PrivateKeyDer::from_pem_slice(&read(&config.key, named)?).map_err(|_| {
            WebError::NotPem { path: config.key.clone(), named, wanted: "private key" }
        })?;
        let unusable = |source| WebError::Certificate { path: config.certificate.clone(), source };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[_] = if config.only_13 {
            &[&rustls::version::TLS13]
        } else {
            &[&rustls::version::TLS13, &rustls::version::TLS12]
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(unusable)?;
        let builder = match &config.client_authority {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let refused = |why: String| WebError::Authority { path: path.clone(), why };
                let mut roots = RootCertStore::empty();
                for root in certificates(path, "which tls_server_config.client_ca_file names")? {
                    roots.add(root).map_err(|error| refused(error.to_string()))?;
                }
                // A client without a certificate may still send probes; `demands_client` is checked
                // per path.
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .allow_unauthenticated()
                        .build()
                        .map_err(|error| refused(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut server = builder.with_single_cert(chain, key).map_err(unusable)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(server), demands_client: config.demands_client })
    }

    /// Whether requests need a client's certificate.
    pub(in crate::admin) fn demands_client(&self) -> bool {
        self.demands_client
    }

    /// Turns plain streams into encrypted ones.
    pub(in crate::admin) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Limits the bytes that a connection buffers.
    pub(in crate::admin) fn bound(connection: &mut rustls::ServerConnection) {
        connection.set_buffer_limit(Some(MAX_BUFFERED));
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("demands_client", &self.demands_client).finish_non_exhaustive()
    }
}

/// Reads the certificates of a PEM file; an error if there are none.
fn certificates(
    path: &Path,
    named: &'static str,
) -> Result<Vec<CertificateDer<'static>>, WebError> {
    let pem = read(path, named)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| WebError::NotPem {
        path: path.to_owned(),
        named,
        wanted: "certificate",
    })
}
