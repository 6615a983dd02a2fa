//! Where the counts and the jobs under way are shown to whoever asks, while the keeper goes on.

use std::sync::{Arc, Mutex, PoisonError};

use super::job::Job;
use super::tally::Tally;

/// Shared, cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Shown>>);

/// What stands on it.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The counts.
    pub tally: Arc<Tally>,
    /// Jobs under way, and those that ended a short time ago.
    pub jobs: Vec<Arc<Job>>,
}

// === impl Board ===

impl Board {
    /// Puts up what is to be seen from now on.
    pub fn put(&self, shown: Shown) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// What is to be seen.
    pub fn shown(&self) -> Shown {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
