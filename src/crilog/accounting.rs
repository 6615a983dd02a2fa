//! What became of a container's log: seen, delivered, lost. Pure.

use std::sync::Arc;

use ephemon_model::LogLoss;

use super::place::LogRef;

/// Bytes by [`LogLoss::ALL`].
pub type LostBytes = [u64; LogLoss::ALL.len()];

/// The figures of one log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Bytes seen in its files, records' headers included; those lost count too.
    pub seen_bytes: u64,
    /// Bytes of files whose lines were acknowledged.
    pub delivered_bytes: u64,
    /// Lines, and parts of lines, handed over.
    pub lines: u64,
    /// Those acknowledged.
    pub delivered_lines: u64,
    /// Whole lines handed over, by [`ephemon_model::LogStream`].
    pub stream_lines: [u64; 3],
    /// Bytes of their text, by [`ephemon_model::LogStream`].
    pub stream_bytes: [u64; 3],
    /// Bytes that are known to be lost, by reason.
    pub lost_bytes: LostBytes,
    /// More may be lost than `lost_bytes` says: nobody saw how long the file had become.
    pub lost_unknown: bool,
}

/// One log with its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLog {
    /// Whose log.
    pub log: Arc<LogRef>,
    /// Its figures.
    pub accounting: Accounting,
    /// Of [`Accounting::lost_bytes`], those that no earlier end of this log told of. A log ends again when
    /// its files grew after its end: a runtime that was slow, or somebody who is not a runtime.
    pub newly_lost_bytes: LostBytes,
    /// The container has ended and its log was read to the end.
    pub ended: bool,
    /// Proven: it ended, every byte that was in its files is delivered, none was lost.
    pub complete: bool,
}

/// What others are shown of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its figures.
    pub accounting: Accounting,
    /// `Some` once the log is over: whether every byte of it was delivered.
    pub complete: Option<bool>,
}

// === impl Accounting ===

impl Accounting {
    /// All bytes known to be lost.
    pub fn all_lost_bytes(&self) -> u64 {
        self.lost_bytes.iter().fold(0, |sum, lost| sum.saturating_add(*lost))
    }
}
