//! What became of a container's log: seen, delivered, lost. Pure.

use std::sync::Arc;

use super::place::LogRef;

/// Why bytes of a log can no longer be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The file was cut short before it was read.
    Truncated,
    /// The file was rotated away and deleted while the agent was down.
    Rotated,
    /// The pod was deleted while the agent was down.
    Removed,
    /// More deleted files were held than the bound allows; the oldest was given up.
    Cap,
    /// The file could not be read, or its compressed form is broken.
    Unreadable,
}

/// The figures of one log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    /// Bytes seen in its files, records' headers included; those lost count too.
    pub seen_bytes: u64,
    /// Bytes of files whose lines were acknowledged.
    pub delivered_bytes: u64,
    /// Lines, and parts of lines, handed over.
    pub lines: u64,
    /// Those acknowledged.
    pub delivered_lines: u64,
    /// Whole lines handed over since this agent started, by [`super::Stream`].
    pub stream_lines: [u64; 3],
    /// Bytes of their text, by [`super::Stream`].
    pub stream_bytes: [u64; 3],
    /// Bytes that are known to be lost, by [`Loss::ALL`].
    pub lost_bytes: [u64; 5],
    /// More may be lost than `lost_bytes` says: nobody saw how long the file had become.
    pub lost_unknown: bool,
}

/// One log with its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLog {
    /// Whose log.
    pub log: Arc<LogRef>,
    /// Its figures.
    pub books: Books,
    /// Of [`Books::lost_bytes`], those that no earlier end of this log told of. A log ends again when
    /// its files grew after its end: a runtime that was slow, or somebody who is not a runtime.
    pub newly_lost_bytes: [u64; 5],
    /// The container has ended and its log was read to the end.
    pub ended: bool,
    /// Proven: it ended, every byte that was in its files is delivered, none was lost.
    pub complete: bool,
}

// === impl Loss ===

impl Loss {
    /// Every reason, in the order of [`Books::lost_bytes`].
    pub const ALL: [Self; 5] =
        [Self::Truncated, Self::Rotated, Self::Removed, Self::Cap, Self::Unreadable];

    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Rotated => "rotated",
            Self::Removed => "removed",
            Self::Cap => "cap",
            Self::Unreadable => "unreadable",
        }
    }
}

// === impl Books ===

impl Books {
    /// All bytes known to be lost.
    pub fn all_lost_bytes(&self) -> u64 {
        self.lost_bytes.iter().fold(0, |sum, lost| sum.saturating_add(*lost))
    }
}
