//! Whom to wake when a payload's fate is known: who gives from a plain thread cannot await it.

use std::fmt;
use std::sync::OnceLock;

/// What wakes the giver, once it is set.
#[derive(Default)]
pub(super) struct Waker(OnceLock<Box<dyn Fn() + Send + Sync>>);

// === impl Waker ===

impl Waker {
    /// Sets it; the first one counts.
    pub(super) fn set(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.0.set(Box::new(wake)).ok();
    }

    pub(super) fn wake(&self) {
        if let Some(wake) = self.0.get() {
            wake();
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Waker").field(&self.0.get().is_some()).finish()
    }
}
