//! Why a part of a log is lost.

/// Why bytes of a log can no longer be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogLoss {
    /// The file was truncated before it was read.
    Truncated,
    /// The file was rotated away and deleted while the agent was down.
    Rotated,
    /// The pod was deleted while the agent was down.
    Removed,
    /// More deleted files were held open than the limit allows; the oldest was closed.
    Cap,
    /// The file could not be read, or its compressed form is damaged.
    Unreadable,
    /// NUL bytes stand where text was, as after a crash of the node.
    Nul,
}

// === impl LogLoss ===

impl LogLoss {
    /// Every reason, in the order of a log's counts.
    pub const ALL: [Self; 6] =
        [Self::Truncated, Self::Rotated, Self::Removed, Self::Cap, Self::Unreadable, Self::Nul];

    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Rotated => "rotated",
            Self::Removed => "removed",
            Self::Cap => "cap",
            Self::Unreadable => "unreadable",
            Self::Nul => "nul",
        }
    }
}
