//! Where the counts and the jobs under way are shown to whoever asks, while the keeper goes on.

use std::sync::{Arc, Mutex};

use ephemon_base::lock;
use tokio::sync::Notify;

use super::job::Job;
use super::tally::Tally;

/// Shared, cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct JobsView(Arc<Wall>);

#[derive(Debug, Default)]
struct Wall {
    shown: Mutex<Shown>,
    news: Notify,
}

/// What stands on it.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The counts.
    pub tally: Arc<Tally>,
    /// Jobs under way, and those that ended a short time ago.
    pub jobs: Vec<Arc<Job>>,
}

// === impl JobsView ===

impl JobsView {
    /// Puts up what is to be seen from now on.
    pub fn put(&self, shown: Shown) {
        *lock(&self.0.shown) = shown;
        self.0.news.notify_one();
    }

    /// What is to be seen.
    pub fn shown(&self) -> Shown {
        lock(&self.0.shown).clone()
    }

    /// Resolves when something else was put up since the last call. For one caller.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }
}
