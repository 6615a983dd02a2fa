//! An authority for one test, with a certificate for the collector and one for its client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A name that the collector's certificate has beside `localhost`.
pub(crate) const BEHIND_A_PROXY: &str = "collector.test";

/// All in PEM format.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    /// The authority's certificate.
    pub(crate) authority: String,
    /// The collector's.
    pub(crate) server: Pair,
    /// The client's.
    pub(crate) client: Pair,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The same, as files.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

// === impl Pki ===

impl Pki {
    /// A new authority, which nothing else trusts.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pair = |names: &[&str]| {
            let key = KeyPair::generate().unwrap();
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let params = CertificateParams::new(names).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap().pem();
            Pair { certificate, key: key.serialize_pem() }
        };
        let (server, client) =
            (pair(&["localhost", BEHIND_A_PROXY, "127.0.0.1"]), pair(&["agent"]));
        Self { authority: authority.pem(), server, client }
    }

    /// Writes what a client needs.
    pub(crate) fn write(&self, home: &Path) -> Files {
        let write = |name: &str, text: &str| {
            let path = home.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Files {
            authority: write("ca.pem", &self.authority),
            certificate: write("client.pem", &self.client.certificate),
            key: write("client.key", &self.client.key),
        }
    }

    /// The same certificate for all comers.
    pub(crate) fn public_config(&self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificate = CertificateDer::from_pem_slice(self.server.certificate.as_bytes());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.unwrap()],
                PrivateKeyDer::from_pem_slice(self.server.key.as_bytes()).unwrap(),
            )
            .unwrap()
    }

    /// Asks for client certificates of this authority.
    pub(super) fn server_config(&self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let certificate = CertificateDer::from_pem_slice(self.server.certificate.as_bytes());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![certificate.unwrap()],
                PrivateKeyDer::from_pem_slice(self.server.key.as_bytes()).unwrap(),
            )
            .unwrap()
    }
}
