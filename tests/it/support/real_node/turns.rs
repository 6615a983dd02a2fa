//! Nodes that scenarios have to themselves, on each of them one scenario at a time.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use ephemon_base::lock;

use super::RealNode;
use super::variant::Variant;

/// So many nodes, each started when a scenario needs it: with one, those that need it follow each other long
/// after all others are done.
const NODES: usize = 2;

/// Which are taken.
static TAKEN: Mutex<[bool; NODES]> = Mutex::new([false; NODES]);
static GIVEN_BACK: Condvar = Condvar::new();

/// A scenario's turn on one of them; it is the next one's when dropped.
#[derive(Debug)]
pub(crate) struct Turn(usize);

// === impl Turn ===

impl Turn {
    /// Waits for a node that nobody has.
    pub(crate) fn take() -> Self {
        let mut taken = GIVEN_BACK
            .wait_while(lock(&TAKEN), |taken| taken.iter().all(|taken| *taken))
            .unwrap_or_else(PoisonError::into_inner);
        let number = taken.iter().position(|taken| !taken).expect("one is free");
        taken[number] = true;
        Self(number)
    }

    /// The node; none where the machine lacks a part, which it says.
    pub(crate) fn node(&self) -> Option<Arc<RealNode>> {
        static STARTED: [OnceLock<Option<Arc<RealNode>>>; NODES] =
            [const { OnceLock::new() }; NODES];
        let start = || RealNode::start(Variant::shared()).map(Arc::new);
        STARTED[self.0].get_or_init(start).clone()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&TAKEN)[self.0] = false;
        GIVEN_BACK.notify_one();
    }
}
