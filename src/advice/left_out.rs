//! Jobs that no advice is about. Plain values.

/// Jobs that no advice is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// They run, or too little is known of them.
    pub unknown: u64,
    /// Their steps ran in other pods than their runners'.
    pub elsewhere: u64,
}
