//! Limits that are set when the runtime creates a container.

/// What came of the limits of a container that the runtime was about to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtCreation {
    /// All are set before the container's first instruction.
    Applied,
    /// Some are; the others are left to `--enforce-limits`.
    Partial,
    /// None is: each is too small for the runtime to start the container with, has no controller, or
    /// is set by another plugin.
    Left,
    /// The text is not valid.
    Invalid,
    /// The API server had not told of the container in time.
    Unknown,
    /// The decision took too long.
    Late,
    /// The runtime's request could not be read.
    Unreadable,
}

// === impl AtCreation ===

impl AtCreation {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Applied,
        Self::Partial,
        Self::Left,
        Self::Invalid,
        Self::Unknown,
        Self::Late,
        Self::Unreadable,
    ];

    /// The value of the `result` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Partial => "partial",
            Self::Left => "left",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
            Self::Late => "late",
            Self::Unreadable => "unreadable",
        }
    }
}
