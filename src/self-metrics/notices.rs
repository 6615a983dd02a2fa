//! Which warnings that name a pod are said: one of a pod in ten minutes, and so many of all in one. A
//! node of hostile pods does not fill the agent's log with their names. Pure: the caller has the time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ephemon_model::PodUid;

/// A pod is named again after this time.
const AGAIN: Duration = Duration::from_mins(10);
/// Most pods named in a minute.
const MOST: usize = 10;
const MINUTE: Duration = Duration::from_mins(1);

/// What was said of which pod.
#[derive(Debug, Default)]
pub struct Notices {
    /// At most as many as are named in [`AGAIN`].
    said: HashMap<PodUid, Instant>,
    unsaid: u64,
}

// === impl Notices ===

impl Notices {
    /// Whether a warning of this pod is to be said now, and how many were not since the last one.
    pub fn admit(&mut self, pod: &PodUid, now: Instant) -> Option<u64> {
        let age = |said: &Instant| now.saturating_duration_since(*said);
        self.said.retain(|_, said| age(said) < AGAIN);
        let lately = self.said.values().filter(|said| age(said) < MINUTE).count();
        if lately >= MOST || self.said.contains_key(pod) {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.said.insert(pod.clone(), now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_is_named_once_and_not_too_many_of_them() {
        let pod = |number| PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap();
        let (mut notices, start) = (Notices::default(), Instant::now());
        assert_eq!(notices.admit(&pod(0), start), Some(0));
        assert_eq!(notices.admit(&pod(0), start), None, "said already");
        let said = (1..100).filter(|number| notices.admit(&pod(*number), start).is_some()).count();
        assert_eq!(said, MOST - 1);
        assert_eq!(notices.admit(&pod(99), start + MINUTE), Some(90));
        assert_eq!(notices.admit(&pod(0), start + MINUTE), None);
        assert_eq!(notices.admit(&pod(0), start + AGAIN), Some(1));
        assert!(notices.said.len() <= MOST * 10);
    }
}
