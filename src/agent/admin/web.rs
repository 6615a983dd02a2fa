//! Access to the port: the web configuration file, in the format that Prometheus and its exporters
//! share (exporter-toolkit's `web-configuration.md`), and the rules that follow from it.
//!
//! Probes are answered for every client, with TLS or without, because a kubelet has neither
//! password nor certificate. All other requests must meet the file's rules.

mod config;
mod tls;
mod users;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use config::WebConfig;
pub(super) use tls::Tls;
pub(super) use users::{Users, Verdict};

/// Most bytes of a file that are read.
const MAX_BYTES: u64 = 1 << 20;

/// Why the web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// A file cannot be read.
    #[error("cannot read {path}, {named}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The key that names it.
        named: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A key or a value of the web configuration file is not valid.
    #[error("invalid web configuration {path}: {wrong}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its key.
        wrong: String,
    },
    /// A file that the configuration names has other content.
    #[error("{path}, {named}, contains no {wanted} in PEM format")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// The key that names it.
        named: &'static str,
        /// The expected content.
        wanted: &'static str,
    },
    /// Certificate and key do not match, or have an unsupported type.
    #[error("cannot use the certificate {path}: {source}")]
    Certificate {
        /// The certificate file.
        path: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// This authority cannot be used to verify client certificates.
    #[error("cannot verify client certificates with {path}: {why}")]
    Authority {
        /// The authority's file.
        path: PathBuf,
        /// The cause.
        why: String,
    },
}

/// The rules from the files.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// How connections are encrypted, if they are.
    pub(super) tls: Option<Tls>,
    /// The users whose passwords are accepted; `None` if no password is required.
    pub(super) users: Option<Users>,
}

/// The current rules; receivers are notified of changes. By default every request is allowed.
#[derive(Debug, Default)]
pub(super) struct Web {
    file: Option<PathBuf>,
    rules: watch::Sender<Arc<Rules>>,
    seen: Seen,
    /// Why the files cannot be used, if they cannot.
    trouble: Option<String>,
}

/// State of the files before they were read; `None` for a missing file.
type Seen = Vec<(PathBuf, Option<Stamp>)>;

/// What changes when a file is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

// === impl Web ===

impl Web {
    /// Reads the file and the files that it names.
    pub(super) fn open(file: &Path) -> Result<Self, WebError> {
        let (rules, seen) = load(file)?;
        let (rules, _) = watch::channel(Arc::new(rules));
        Ok(Self { file: Some(file.to_owned()), rules, seen, trouble: None })
    }

    /// A receiver that is notified of new rules.
    pub(super) fn rules(&self) -> watch::Receiver<Arc<Rules>> {
        self.rules.subscribe()
    }

    /// Whether new connections are encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.rules.borrow().tls.is_some()
    }

    /// Reads the files again if one has changed. If they cannot be used, the previous rules stay in
    /// effect, and every later call tries again.
    pub(super) fn look(&mut self) {
        let Some(file) = &self.file else { return };
        let changed = self.seen.iter().any(|(path, stamp)| Stamp::of(path) != *stamp);
        if !changed && self.trouble.is_none() {
            return;
        }
        match load(file) {
            Ok((rules, seen)) => {
                tracing::info!(file = %file.display(), "web configuration reloaded");
                self.rules.send_replace(Arc::new(rules));
                (self.seen, self.trouble) = (seen, None);
            }
            Err(error) => {
                let trouble = error.to_string();
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::error!("{trouble}; the previous configuration stays in effect");
                }
                self.trouble = Some(trouble);
            }
        }
    }
}

/// The rules, and the state of the files they were read from. A file that changes meanwhile is read
/// again later.
fn load(file: &Path) -> Result<(Rules, Seen), WebError> {
    let stamped = |path: &Path| (path.to_owned(), Stamp::of(path));
    let mut seen = vec![stamped(file)];
    let config = WebConfig::parse(file, &read(file, "the web configuration file")?)?;
    seen.extend(config.files().map(stamped));
    let tls = config.tls.as_ref().map(Tls::new).transpose()?;
    let users = (!config.users.is_empty()).then(|| Users::new(config.users));
    Ok((Rules { tls, users }, seen))
}

fn read(path: &Path, named: &'static str) -> Result<Vec<u8>, WebError> {
    let unreadable = |source| WebError::Unreadable { path: path.to_owned(), named, source };
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(unreadable)
}

// === impl Stamp ===

impl Stamp {
    /// `None` if the file does not exist.
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            place: (file.dev(), file.ino()),
            size: file.size(),
            written: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}
