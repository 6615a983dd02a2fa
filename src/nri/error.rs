//! Why a session with the runtime ended.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

/// Longest text of the runtime that is shown, in characters.
const MAX_TEXT: usize = 256;

/// Why a session with the runtime ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be used.
    #[error("cannot connect to NRI socket {}: {source}; {}", path.display(), advice(source))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("the connection to the runtime broke: {0}")]
    Broken(#[from] io::Error),
    /// The runtime has closed the connection.
    #[error("the runtime has closed the connection: it was stopped, or its time limit passed")]
    Closed,
    /// The runtime says that it stops.
    #[error("the runtime shuts down")]
    Shutdown,
    /// What the runtime sent is not the protocol.
    #[error("what the runtime sent is not NRI: {0}; is this its NRI socket?")]
    Nonsense(&'static str),
    /// The runtime does not take the plugin.
    #[error("the runtime refuses the plugin: {0}")]
    Refused(String),
    /// The runtime does not answer.
    #[error("the runtime does not complete the registration in {} s", .0.as_secs())]
    Silent(Duration),
}

// === impl Error ===

impl Error {
    /// The runtime refuses with this text.
    pub(super) fn refused(text: &str) -> Self {
        let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self::Refused(printable.take(MAX_TEXT).collect())
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => {
            "check --nri-socket, that its directory is mounted, and that the runtime has NRI enabled \
             (containerd 2: by default; CRI-O: enable_nri)"
        }
        ErrorKind::PermissionDenied => "run as a user that can use the socket, usually root",
        ErrorKind::ConnectionRefused => "the runtime is not running",
        _ => "check that the runtime is running",
    }
}
