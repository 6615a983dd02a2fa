//! The output stream of a line in a container's log.

/// A container's output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The runtime's record is malformed and does not contain it.
    Unknown,
}

impl LogStream {
    /// Every stream, in the order of counts per stream.
    pub const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Unknown];

    /// The value of `log.iostream` and of the `stream` label; the convention defines only the first
    /// two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Unknown => "unknown",
        }
    }
}
