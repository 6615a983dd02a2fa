//! The end of a container: when, and how exact its last values are.

use std::sync::Arc;
use std::time::SystemTime;

/// How exact a container's final values are; the `quality` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quality {
    /// Read after the last process had ended and before the cgroup was removed.
    Exact,
    /// Completed from the pod's own counters: the pod's total minus all other containers.
    Residual,
    /// Like `Residual`, but several containers ended at once: their sum is exact, their shares are
    /// estimates.
    ResidualShared,
    /// Neither was possible: the last periodic sample, a lower bound.
    LastSample,
}

/// A container that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When its last process was seen to have ended.
    pub at: SystemTime,
    /// How exact the final values are.
    pub quality: Quality,
}

/// How a container's first process ended, as reported by the runtime or the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + signal number if a signal killed it.
    pub code: i32,
    /// The runtime's reason: `Completed`, `Error`, `OOMKilled`, `StartError`.
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
