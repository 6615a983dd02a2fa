//! Init in front of an image's own entrypoint, put there when the runtime creates a container.

/// What came of a container that asks for it, and that the runtime was about to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFront {
    /// The runtime was told to start init, and init the image's own command. One whose NRI is older
    /// than v0.10.0 does not.
    Applied,
    /// Init is not mounted at its place, or the command cannot be passed on.
    Left,
    /// The API server had not told of the container in time.
    Unknown,
    /// The decision took too long.
    Late,
}

// === impl InFront ===

impl InFront {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Applied, Self::Left, Self::Unknown, Self::Late];

    /// The value of the `result` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Left => "left",
            Self::Unknown => "unknown",
            Self::Late => "late",
        }
    }
}
