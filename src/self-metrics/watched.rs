//! What the agent watches for names, and whether it answers.

/// A source that the agent watches over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// The API server's pods of this node.
    Pods,
    /// The container runtime, over its CRI socket.
    Runtime,
}

// === impl Watched ===

impl Watched {
    /// The value of the `watch` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Runtime => "runtime",
        }
    }
}
