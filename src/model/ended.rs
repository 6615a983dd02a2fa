//! The end of a container: when, how it was seen, and how sure its last figures are.

use std::sync::Arc;
use std::time::SystemTime;

/// How sure a container's final figures are; the `quality` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quality {
    /// Read after the last process was gone and before the cgroup was removed.
    Exact,
    /// Completed from the pod's own counters: what all others did not use was this container's.
    Residual,
    /// As `Residual`, but several ended at once: their sum is exact, their shares are estimates.
    ResidualShared,
    /// Neither was possible: the last periodic sample, a lower bound.
    LastSample,
}

/// A container that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When its last process was seen gone.
    pub at: SystemTime,
    /// How sure the final figures are.
    pub quality: Quality,
}

/// How a container's first process ended, as the runtime or the API told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + signal number where a signal ended it.
    pub code: i32,
    /// The runtime's word: `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub reason: Arc<str>,
}

impl Quality {
    /// Every quality, best first.
    pub const ALL: [Self; 4] =
        [Self::Exact, Self::Residual, Self::ResidualShared, Self::LastSample];

    /// The value of the `quality` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Residual => "residual",
            Self::ResidualShared => "residual_shared",
            Self::LastSample => "last_sample",
        }
    }
}
