//! Whether a thread still makes progress, for a liveness probe.
//!
//! The thread says when it begins to work and when it waits; whoever asks learns how long it has been at
//! work. A thread that waits is alive however long it waits: its wakes are the kernel's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shared between a thread and those who ask about it; every clone is the same.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    epoch: Instant,
    /// When the work began, in milliseconds after `epoch` plus one; 0 while the thread waits.
    busy_since_ms: Arc<AtomicU64>,
}

// === impl Heartbeat ===

impl Default for Heartbeat {
    /// Of a thread that waits.
    fn default() -> Self {
        Self::since(Instant::now())
    }
}

impl Heartbeat {
    /// Of a thread that waits; no work that it tells of began before `epoch`.
    pub fn since(epoch: Instant) -> Self {
        Self { epoch, busy_since_ms: Arc::default() }
    }

    /// The thread works from now on. Called again, it has made progress.
    pub fn work(&self, now: Instant) {
        self.busy_since_ms.store(self.ms(now) + 1, Ordering::Relaxed);
    }

    /// The thread waits.
    pub fn wait(&self) {
        self.busy_since_ms.store(0, Ordering::Relaxed);
    }

    /// For how long the thread has worked without progress; nothing while it waits.
    pub fn busy_for(&self, now: Instant) -> Option<Duration> {
        let since_ms = self.busy_since_ms.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.ms(now).saturating_sub(since_ms)))
    }

    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ages_until_there_is_progress_and_waiting_never_does() {
        let heartbeat = Heartbeat::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(heartbeat.busy_for(at(1000)), None);
        heartbeat.work(at(10));
        let seen = heartbeat.clone();
        assert_eq!(seen.busy_for(at(40)).map(|busy| busy.as_secs()), Some(30));
        heartbeat.work(at(39));
        assert_eq!(seen.busy_for(at(40)).map(|busy| busy.as_secs()), Some(1));
        heartbeat.wait();
        assert_eq!(seen.busy_for(at(100)), None);
    }
}
