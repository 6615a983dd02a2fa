//! Which output of a container a line of its log came by.

/// A container's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The runtime's record is malformed and does not say.
    Unknown,
}

impl LogStream {
    /// Every stream, in the order of figures that are kept by stream.
    pub const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Unknown];

    /// The value of `log.iostream` and of the `stream` label; the convention knows the first two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Unknown => "unknown",
        }
    }
}
