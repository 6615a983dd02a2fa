//! TLS, client certificates and passwords, with a real client.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::admin::web::Web;

const METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// A certificate authority that only these tests trust.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key in PEM format.
struct Pair {
    certificate: String,
    key: String,
}

/// The files of one server.
struct Files {
    home: TempDir,
    authority: Authority,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn pair(&self) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

impl Files {
    fn new(config: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let files = Self { home, authority: Authority::new() };
        files.write("web.yaml", config);
        files.write("ca.crt", &files.authority.issuer.pem());
        files.rotate();
        files
    }

    /// Replaced by a rename, as the kubelet does with the files of a Secret.
    fn write(&self, name: &str, text: &str) {
        let temporary = self.home.path().join("new");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, self.home.path().join(name)).unwrap();
    }

    /// First the certificate: for a moment it does not match the key.
    fn rotate(&self) {
        let pair = self.authority.pair();
        self.write("tls.crt", &pair.certificate);
        self.write("tls.key", &pair.key);
    }

    fn config(&self) -> std::path::PathBuf {
        self.home.path().join("web.yaml")
    }

    async fn server(&self) -> Server {
        server_with(|admin| admin.with_web_config(&self.config()).unwrap()).await
    }

    /// A client that trusts the server's authority, and has a certificate of `own`.
    fn client(&self, own: Option<&Authority>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own.map(Authority::pair) {
            None => builder.with_no_client_auth(),
            Some(Pair { certificate, key }) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

impl Server {
    async fn connect(&self, client: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        client.connect("localhost".try_into().unwrap(), stream).await
    }

    async fn ask_encrypted(&self, client: &TlsConnector, request: &str) -> io::Result<String> {
        ask_on(&mut self.connect(client).await?, request).await
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

const TLS: &str = "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n";

#[tokio::test]
async fn everything_but_probes_asks_for_the_right_password() {
    let hash = bcrypt::hash("right", 4).unwrap();
    let files = Files::new(&format!("basic_auth_users:\n  prometheus: {hash}\n"));
    let server = files.server().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(status(&server.get(path, "").await), "200");
    }
    let basic = |pair: &str| format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(pair));
    for path in ["/metrics", "/", "/nothing", "/healthz/../metrics", "//metrics"] {
        let refused = server.get(path, "").await;
        assert_eq!(status(&refused), "401", "{path}");
        assert!(refused.contains("www-authenticate: Basic"), "{refused}");
    }
    assert_eq!(status(&server.get("/metrics", &basic("prometheus:wrong")).await), "401");
    for _ in 0..2 {
        assert_eq!(status(&server.get("/metrics", &basic("prometheus:right")).await), "200");
    }
    let hash = bcrypt::hash("new", 4).unwrap();
    files.write("web.yaml", &format!("basic_auth_users:\n  prometheus: {hash}\n"));
    while status(&server.get("/metrics", &basic("prometheus:right")).await) == "200" {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&server.get("/metrics", &basic("prometheus:new")).await), "200");
}

#[tokio::test]
async fn with_tls_only_probes_are_answered_in_the_clear() {
    let files = Files::new(TLS);
    let server = files.server().await;
    let client = files.client(None);
    for request in [METRICS, HEALTHZ] {
        assert_eq!(status(&server.ask_encrypted(&client, request).await.unwrap()), "200");
    }
    assert_eq!(status(&server.get("/healthz", "").await), "200");
    for path in ["/metrics", "/"] {
        let refused = server.get(path, "").await;
        assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("https://"), "{refused}");
    }
    let stranger = Files::new(TLS).client(None);
    assert!(server.ask_encrypted(&stranger, METRICS).await.is_err(), "nobody's authority");
}

#[tokio::test]
async fn a_client_certificate_of_the_authority_is_asked_for_but_by_probes() {
    let demand = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let files = Files::new(&format!("{TLS}{demand}"));
    let server = files.server().await;
    let (without, with) = (files.client(None), files.client(Some(&files.authority)));
    assert_eq!(status(&server.ask_encrypted(&without, METRICS).await.unwrap()), "403");
    assert_eq!(status(&server.ask_encrypted(&without, HEALTHZ).await.unwrap()), "200");
    assert_eq!(status(&server.ask_encrypted(&with, METRICS).await.unwrap()), "200");
    let other = files.client(Some(&Authority::new()));
    assert!(server.ask_encrypted(&other, METRICS).await.is_err(), "signed by somebody else");
    assert!(server.ask_encrypted(&other, HEALTHZ).await.is_err());
}

#[tokio::test]
async fn a_rotated_certificate_is_shown_and_connections_under_the_old_one_end() {
    let files = Files::new(TLS);
    let server = files.server().await;
    let client = files.client(None);
    let mut kept = server.connect(&client).await.unwrap();
    ask_on(&mut kept, METRICS).await.unwrap();
    let shown = |stream: &TlsStream<TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].as_ref().to_vec()
    };
    let old = shown(&kept);
    files.rotate();
    let now = loop {
        let now = shown(&server.connect(&client).await.unwrap());
        if now != old {
            break now;
        }
        tokio::task::yield_now().await;
    };
    let file = fs::read(files.home.path().join("tls.crt")).unwrap();
    assert_eq!(now, CertificateDer::from_pem_slice(&file).unwrap().as_ref());
    assert_eq!(soon(kept.read(&mut [0])).await.unwrap_or_default(), 0);
}

#[tokio::test]
async fn a_silent_peer_of_a_port_with_tls_is_hung_up_on_before_and_in_its_handshake() {
    let files = Files::new(TLS);
    let short = Duration::from_millis(50);
    let patience = Patience { first_byte: short, head: short, ..Patience::default() };
    let server =
        server_with(|admin| Admin { patience, ..admin.with_web_config(&files.config()).unwrap() })
            .await;
    for sent in [&b""[..], b"\x16\x03\x01"] {
        let mut peer = TcpStream::connect(server.address).await.unwrap();
        peer.write_all(sent).await.unwrap();
        assert_eq!(soon(peer.read(&mut [0])).await.unwrap_or_default(), 0);
    }
    for why in [ephemon_self_metrics::Closed::Silent, ephemon_self_metrics::Closed::SlowRequest] {
        assert_eq!(server.self_metrics.connections_closed_so_far(why), 1, "{why:?}");
    }
}

#[test]
fn files_that_cannot_be_used_change_nothing_until_they_can() {
    let files = Files::new(TLS);
    let mut web = Web::open(&files.config()).unwrap();
    let mut rules = web.rules();
    web.look();
    assert!(!rules.has_changed().unwrap(), "nothing has changed");
    for (name, junk) in [("tls.crt", "junk"), ("tls.key", "junk"), ("web.yaml", "tls: 1\n")] {
        let good = fs::read_to_string(files.home.path().join(name)).unwrap();
        files.write(name, junk);
        web.look();
        assert!(!rules.has_changed().unwrap(), "{name}");
        files.write(name, &good);
        web.look();
        assert!(rules.has_changed().unwrap(), "{name}");
        rules.mark_unchanged();
    }
    let alien = files.authority.pair();
    files.write("tls.key", &alien.key);
    web.look();
    assert!(!rules.has_changed().unwrap(), "a key of another certificate");
}

#[test]
fn a_start_with_unusable_files_names_what_is_wrong_and_where() {
    let said = |path: &Path| Web::open(path).unwrap_err().to_string();
    let files = Files::new(TLS);
    files.write("tls.crt", "junk");
    let error = said(&files.config());
    assert!(error.contains("tls.crt") && error.contains("cert_file"), "{error}");
    files.rotate();
    files.write("tls.key", &files.authority.pair().key);
    assert!(said(&files.config()).contains("tls.crt"));
    fs::remove_file(files.home.path().join("tls.key")).unwrap();
    let error = said(&files.config());
    assert!(error.contains("tls.key") && error.contains("key_file"), "{error}");
    let error = said(Path::new("/nowhere/web.yaml"));
    assert!(error.contains("/nowhere/web.yaml"), "{error}");
}
