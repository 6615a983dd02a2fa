//! A pod and its resource.

use std::sync::Arc;
use std::time::SystemTime;

use ephemon_base::clock::unix_ns;
use ephemon_capture::readings::PodRecord;

use super::owner::Owner;
use super::points::Subject;

/// A pod as it was last read, or as it ended.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Whose points these are.
    pub owner: Arc<Owner>,
    /// The figures.
    pub record: Arc<PodRecord>,
    /// When it began: its first container's birth.
    pub since: SystemTime,
    /// When the figures were read.
    pub at: SystemTime,
}

impl Subject for Pod {
    type Read = PodRecord;

    fn read(&self) -> &Self::Read {
        &self.record
    }

    fn start_ns(&self) -> u64 {
        unix_ns(self.since)
    }

    fn at_ns(&self) -> u64 {
        unix_ns(self.at).max(self.start_ns())
    }
}
