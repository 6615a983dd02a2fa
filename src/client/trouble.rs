//! What is the matter with an agent that cannot be asked.

use std::fmt;

use ephemon_base::visible;
use serde::Serialize;

/// What is the matter with a node's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The node, or the agent's address.
    pub node: String,
    /// A clause.
    pub why: String,
}

// === impl Trouble ===

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}: {}", visible(&self.node), self.why)
    }
}
