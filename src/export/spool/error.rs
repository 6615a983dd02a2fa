//! What the disk can refuse.

use std::io;
use std::path::{Path, PathBuf};

/// The disk refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {path}: {source}")]
pub struct Error {
    act: Act,
    path: PathBuf,
    source: io::Error,
}

/// What was being done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Make,
    List,
    Read,
    Write,
    Sync,
}

impl Error {
    pub(super) fn new(act: Act, path: &Path, source: io::Error) -> Self {
        Self { act, path: path.to_owned(), source }
    }

    /// Whether the disk, or the account's share of it, is full.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self.source.kind(), StorageFull | QuotaExceeded)
    }
}

impl std::fmt::Display for Act {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Make => "make",
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write to",
            Self::Sync => "sync",
        })
    }
}
