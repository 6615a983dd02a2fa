//! Which container of a pod each pull is told of. An image that was told ahead is pulled before there
//! is one: then the pull is kept until a container has the image. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ephemon_model::PrePull;

/// Memory of one image in bytes: its pull, and its container's name of up to 63.
pub(crate) const TAKER_BYTES: usize = 256;

/// A pull that was done. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pulled {
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// The image's size.
    pub(crate) bytes: Option<u64>,
}

/// Of one pod, by the hashes of the images.
#[derive(Debug, Default)]
pub(crate) struct Takers {
    /// Containers that have an image: the first that was seen stays.
    containers: HashMap<u64, Arc<str>>,
    /// Pulls of images that no container has yet.
    pulled: HashMap<u64, Pulled>,
}

// === impl Takers ===

impl Takers {
    /// A container has the image. Returns what is now to be told.
    pub(crate) fn take(&mut self, key: u64, container: &Arc<str>) -> Option<PrePull> {
        self.containers.entry(key).or_insert_with(|| Arc::clone(container));
        let pulled = self.pulled.remove(&key)?;
        Some(told(container, pulled))
    }

    /// The image was pulled. Returns what is now to be told.
    pub(crate) fn pulled(&mut self, key: u64, pulled: Pulled) -> Option<PrePull> {
        if let Some(container) = self.containers.get(&key) {
            return Some(told(container, pulled));
        }
        self.pulled.insert(key, pulled);
        None
    }

    /// Forgets pulls of images that are not told of any more: their job is over.
    pub(crate) fn keep(&mut self, keys: &HashSet<u64>) {
        self.pulled.retain(|key, _| keys.contains(key));
    }
}

fn told(container: &Arc<str>, pulled: Pulled) -> PrePull {
    let Pulled { start_ns, end_ns, bytes } = pulled;
    PrePull { container: Arc::clone(container), start_ns, end_ns, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PULLED: Pulled = Pulled { start_ns: 1, end_ns: 2, bytes: Some(3) };

    fn of(container: &str) -> PrePull {
        PrePull { container: container.into(), start_ns: 1, end_ns: 2, bytes: Some(3) }
    }

    #[test]
    fn a_pull_is_told_of_the_first_container_once_both_are_known() {
        let mut takers = Takers::default();
        assert_eq!(takers.take(1, &"job".into()), None);
        assert_eq!(takers.take(1, &"again".into()), None);
        assert_eq!(takers.pulled(1, PULLED), Some(of("job")));
        assert_eq!(takers.pulled(2, PULLED), None);
        assert_eq!(takers.take(2, &"standby".into()), Some(of("standby")));
        assert_eq!(takers.take(2, &"standby-2".into()), None, "it is told once");
    }

    #[test]
    fn a_pull_of_a_job_that_is_over_is_nobody_elses() {
        let mut takers = Takers::default();
        takers.pulled(1, PULLED);
        takers.pulled(2, PULLED);
        takers.keep(&HashSet::from([2]));
        assert_eq!(takers.take(1, &"later".into()), None);
        assert_eq!(takers.take(2, &"standby".into()), Some(of("standby")));
    }
}
