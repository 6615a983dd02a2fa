//! Connections that the HTTP server ends by itself.

/// Why the HTTP server closed a connection whose peer was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It made room for another.
    Room,
    /// Its peer sent nothing.
    Silent,
    /// Its peer did not end its request, or its TLS handshake, in time.
    SlowRequest,
    /// Its peer did not read its answer in time.
    SlowReader,
}

// === impl Closed ===

impl Closed {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Room, Self::Silent, Self::SlowRequest, Self::SlowReader];

    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Silent => "silent",
            Self::SlowRequest => "slow_request",
            Self::SlowReader => "slow_reader",
        }
    }
}
