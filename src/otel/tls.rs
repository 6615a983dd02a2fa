//! Certificates: the trusted ones, and the client's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

pub(crate) use super::config::Tls as Files;

/// Why no connection to a collector can be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}, which OTEL_EXPORTER_OTLP_{variable} names: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The suffix of the variable's name.
        variable: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A file has other content.
    #[error(
        "{path}, which OTEL_EXPORTER_OTLP_{variable} names, contains no {wanted} in PEM format"
    )]
    NotPem {
        /// The file.
        path: PathBuf,
        /// The suffix of the variable's name.
        variable: &'static str,
        /// The expected content.
        wanted: &'static str,
    },
    /// Certificate and key do not match, or have an unsupported type.
    #[error("cannot use the client certificate: {0}")]
    Client(#[source] rustls::Error),
    /// The gRPC library rejects the settings.
    #[error("cannot set up gRPC: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// There is no trusted certificate.
    #[error(
        "no usable CA certificate: the system has none, or those in the file that \
         OTEL_EXPORTER_OTLP_CERTIFICATE names are invalid"
    )]
    NoRoots,
    /// TLS cannot be set up at all.
    #[error("cannot set up TLS: {0}")]
    Tls(#[source] rustls::Error),
}

/// The contents of the files.
struct Material {
    trusted: Option<Vec<u8>>,
    client: Option<(Vec<u8>, Vec<u8>)>,
}

/// Uses the configured files, or else the system's certificates; `None` if TLS is not used.
pub(super) fn client_config(files: Option<&Files>) -> Result<ClientConfig, Error> {
    let Material { trusted, client } = Material::read(files.unwrap_or(&Files::default()))?;
    let roots = match (files, trusted) {
        (None, _) => RootCertStore::empty(),
        (_, Some(pem)) => roots_of(CertificateDer::pem_slice_iter(&pem).flatten())?,
        // This reads `SSL_CERT_FILE` and `SSL_CERT_DIR`.
        (_, None) => roots_of(rustls_native_certs::load_native_certs().certs)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(roots);
    let Some((certificate, key)) = client else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(&certificate).flatten().collect();
    let key = PrivateKeyDer::from_pem_slice(&key);
    let key = key.map_err(|_| Error::Client(rustls::Error::General("no key".into())))?;
    builder.with_client_auth_cert(chain, key).map_err(Error::Client)
}

// === impl Material ===

impl Material {
    /// Reads the files and checks their content.
    fn read(tls: &Files) -> Result<Self, Error> {
        let certificates = |path: &Path, variable| {
            let pem = read(path, variable)?;
            let any = CertificateDer::pem_slice_iter(&pem).flatten().next().is_some();
            any.then_some(pem).ok_or_else(|| not_pem(path, variable, "certificate"))
        };
        let trusted = tls.certificate.as_deref();
        let trusted = trusted.map(|path| certificates(path, "CERTIFICATE")).transpose()?;
        let client = tls.client.as_ref().map(|(certificate, key)| {
            let certificate = certificates(certificate, "CLIENT_CERTIFICATE")?;
            let pem = read(key, "CLIENT_KEY")?;
            PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|_| not_pem(key, "CLIENT_KEY", "private key"))?;
            Ok::<_, Error>((certificate, pem))
        });
        Ok(Self { trusted, client: client.transpose()? })
    }
}

fn read(path: &Path, variable: &'static str) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), variable, source };
    std::fs::read(path).map_err(unreadable)
}

fn not_pem(path: &Path, variable: &'static str, wanted: &'static str) -> Error {
    Error::NotPem { path: path.to_owned(), variable, wanted }
}

fn roots_of(
    certificates: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() { Err(Error::NoRoots) } else { Ok(roots) }
}
