//! Who may ask what, and over what: the web configuration file, in the form that Prometheus and its
//! exporters share (exporter-toolkit's `web-configuration.md`), and what it makes of this port.
//!
//! Probes are answered to everybody, with TLS or without: a kubelet has neither password nor
//! certificate. Everything else asks for what the file asks for.

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

/// Bytes of a file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// The web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// A file cannot be read.
    #[error("cannot read {path}, {named}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What names it.
        named: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A key or a value of the web configuration file.
    #[error("the web configuration {path}: {wrong}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its key.
        wrong: String,
    },
    /// A file that it names holds something else.
    #[error("{path}, {named}, holds no {wanted} in PEM format")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What names it.
        named: &'static str,
        /// What it should hold.
        wanted: &'static str,
    },
    /// Certificate and key do not fit, or are of a kind that is not supported.
    #[error("cannot use the certificate {path}: {source}")]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// Clients' certificates cannot be verified by this authority.
    #[error("cannot verify clients by {path}: {why}")]
    Authority {
        /// The authority's file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// What the files say now.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Connections are encrypted.
    pub(super) tls: Option<Tls>,
    /// Requests need a user and a password.
    pub(super) users: Option<Users>,
}

/// The rules in force; those who hold a receiver hear of new ones. By default everybody may ask
/// everything.
#[derive(Debug, Default)]
pub(super) struct Web {
    file: Option<PathBuf>,
    rules: watch::Sender<Arc<Rules>>,
    seen: Seen,
    /// Why the files cannot be used as they are.
    trouble: Option<String>,
}

/// Files as they were before they were read; nothing for one that was not there.
type Seen = Vec<(PathBuf, Option<Stamp>)>;

/// What changes when a file does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

// === impl Web ===

impl Web {
    /// Reads the file and what it names.
    pub(super) fn open(file: &Path) -> Result<Self, WebError> {
        let (rules, seen) = load(file)?;
        let (rules, _) = watch::channel(Arc::new(rules));
        Ok(Self { file: Some(file.to_owned()), rules, seen, trouble: None })
    }

    /// Hears of new rules.
    pub(super) fn rules(&self) -> watch::Receiver<Arc<Rules>> {
        self.rules.subscribe()
    }

    /// Whether connections are encrypted now.
    pub(super) fn is_encrypted(&self) -> bool {
        self.rules.borrow().tls.is_some()
    }

    /// Reads the files again where one has changed. Those that cannot be used change nothing: what
    /// was in force stays, and is tried again at every look.
    pub(super) fn look(&mut self) {
        let Some(file) = &self.file else { return };
        let changed = self.seen.iter().any(|(path, stamp)| Stamp::of(path) != *stamp);
        if !changed && self.trouble.is_none() {
            return;
        }
        match load(file) {
            Ok((rules, seen)) => {
                tracing::info!(file = %file.display(), "web configuration read again");
                self.rules.send_replace(Arc::new(rules));
                (self.seen, self.trouble) = (seen, None);
            }
            Err(error) => {
                let trouble = error.to_string();
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::error!("{trouble}; what was in force stays");
                }
                self.trouble = Some(trouble);
            }
        }
    }
}

/// The rules, and which files they were made of. A file that changes meanwhile is read again later.
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
    /// Nothing for a file that is not there.
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
