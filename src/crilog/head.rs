//! What a log file begins with: it stays the same through rename, compression and growth.

use memchr::memchr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How much of a file is looked at for its first line.
pub(super) const HEAD_BYTES: usize = 1024;

/// The first line of a file, or as much of it as is looked at.
///
/// A record begins with a time of nanoseconds, so no two files of a container share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The first eight bytes of its SHA-256.
    pub(super) hash: u64,
    length: u32,
    /// Where it begins: behind the NUL bytes that the file begins with.
    #[serde(default)]
    pub(super) at: u64,
}

// === impl Head ===

impl Head {
    /// Of a file's first bytes; nothing as long as the line is not whole.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        let start = start.get(..HEAD_BYTES).unwrap_or(start);
        match memchr(b'\n', start) {
            Some(end) => start.get(..=end).map(Self::exactly),
            None => (start.len() == HEAD_BYTES).then(|| Self::exactly(start)),
        }
    }

    /// Of a file that ends before its first line does.
    pub(super) fn exactly(start: &[u8]) -> Self {
        let digest = Sha256::digest(start);
        let hash = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        Self { hash, length: u32::try_from(start.len()).unwrap_or(u32::MAX), at: 0 }
    }

    /// The same, found behind so many NUL bytes.
    pub(super) fn behind(self, at: u64) -> Self {
        Self { at, ..self }
    }

    /// Whether a file that has this at the same place can be the same one.
    pub(super) fn matches(&self, start: &[u8]) -> bool {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        start.get(..length).is_some_and(|start| Self::exactly(start).behind(self.at) == *self)
    }
}
