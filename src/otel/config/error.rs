//! Why a variable is ignored. Values are not quoted, because they may be secrets.

/// A variable, or an entry of one, that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Its value is not one of the allowed ones.
    #[error("{variable} is ignored: it must be {allowed}")]
    NotAllowed {
        /// The variable.
        variable: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// It names several exporters, of which one is used.
    #[error("{variable}: only `{used}` is used, because a signal has one exporter")]
    Several {
        /// The variable.
        variable: String,
        /// The exporter that is used.
        used: &'static str,
    },
    /// One of its pairs is not valid.
    #[error(
        "{variable}: entry {entry} is ignored, because it {trouble}; the format is `key=value,key=value`, with `%2C` for a comma in a value"
    )]
    Pair {
        /// The variable.
        variable: String,
        /// The number of the pair, from 1.
        entry: usize,
        /// What is wrong with it.
        trouble: &'static str,
    },
    /// One of its pairs is not valid, so the whole variable is ignored.
    #[error(
        "{variable} is ignored, because entry {entry} {trouble}; the format is `key=value,key=value`, with `%2C` for a comma in a value"
    )]
    List {
        /// The variable.
        variable: String,
        /// The number of the pair, from 1.
        entry: usize,
        /// What is wrong with it.
        trouble: &'static str,
    },
    /// It requires another variable.
    #[error("{variable} is ignored: {other} is not set, and a client certificate needs its key")]
    Alone {
        /// The variable.
        variable: String,
        /// The missing variable.
        other: String,
    },
}
