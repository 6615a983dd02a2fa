//! What is wrong with a line's record in a container's log.

/// What is wrong with a line's record. Such a line has no time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFlaw {
    /// It is no record of a runtime: the line is all that stood there.
    Record,
    /// Its stamp is broken.
    Stamp,
}

// === impl LogFlaw ===

impl LogFlaw {
    /// Every flaw.
    pub const ALL: [Self; 2] = [Self::Record, Self::Stamp];

    /// The value of `ephemon.log.malformed` and of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Stamp => "stamp",
        }
    }
}
