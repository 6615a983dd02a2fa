//! What can be wrong with a variable, which is then ignored. No value is quoted: it may hold a secret.

/// A variable, or an entry of one, that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Its value is none of those that are allowed.
    #[error("{variable} is ignored: it must be {allowed}")]
    NotAllowed {
        /// The variable.
        variable: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// One of its pairs makes no sense.
    #[error(
        "{variable}: entry {entry} is ignored, because it {trouble}; the format is `key=value,key=value`, with `%2C` for a comma in a value"
    )]
    Pair {
        /// The variable.
        variable: String,
        /// Which, from 1.
        entry: usize,
        /// What is wrong.
        trouble: &'static str,
    },
    /// One of its pairs makes no sense, and so nothing of it is taken.
    #[error(
        "{variable} is ignored, because entry {entry} {trouble}; the format is `key=value,key=value`, with `%2C` for a comma in a value"
    )]
    List {
        /// The variable.
        variable: String,
        /// Which, from 1.
        entry: usize,
        /// What is wrong.
        trouble: &'static str,
    },
    /// It needs another one.
    #[error("{variable} is ignored: {other} is not set, and a client certificate needs its key")]
    Alone {
        /// The variable.
        variable: String,
        /// The one that is missing.
        other: String,
    },
}
