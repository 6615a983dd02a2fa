//! Which container of a pod each pull is told of. An image that was told ahead may be pulled before there
//! is one: then the pull is kept until a container has the image. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ephemon_model::PrePull;

/// Memory of one image in bytes: its pull, and where its container's name is.
pub(crate) const TAKER_BYTES: usize = 160;

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
    /// Containers whose image is to be pulled or being pulled: the first that was seen stays.
    containers: HashMap<u64, Arc<str>>,
    /// Pulls of images that no container has yet.
    pulled: HashMap<u64, Pulled>,
}

// === impl Takers ===

impl Takers {
    /// A container has an image that is to be pulled, or being pulled.
    pub(crate) fn wait(&mut self, key: u64, container: &Arc<str>) {
        self.containers.entry(key).or_insert_with(|| Arc::clone(container));
    }

    /// A container has an image. Returns its pull, if that was done before.
    pub(crate) fn take(&mut self, key: u64, container: &Arc<str>) -> Option<PrePull> {
        Some(told(container, self.pulled.remove(&key)?))
    }

    /// The image was pulled. Returns the pull if a container waits for it.
    pub(crate) fn pulled(&mut self, key: u64, pulled: Pulled) -> Option<PrePull> {
        if let Some(container) = self.containers.get(&key) {
            return Some(told(container, pulled));
        }
        self.pulled.insert(key, pulled);
        None
    }

    /// The image is not being pulled any more.
    pub(crate) fn done(&mut self, key: u64) {
        self.containers.remove(&key);
    }

    /// Forgets containers of images that are not to be pulled any more, and pulls of images that are not
    /// told of any more: their job is over.
    pub(crate) fn keep(&mut self, is_pulled: impl Fn(u64) -> bool, awaited: &HashSet<u64>) {
        self.containers.retain(|key, _| is_pulled(*key));
        self.pulled.retain(|key, _| awaited.contains(key));
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
        takers.wait(1, &"job".into());
        takers.wait(1, &"again".into());
        assert_eq!(takers.pulled(1, PULLED), Some(of("job")));
        takers.done(1);
        assert_eq!(takers.take(1, &"again".into()), None);
        assert_eq!(takers.pulled(2, PULLED), None);
        assert_eq!(takers.take(2, &"standby".into()), Some(of("standby")));
        assert_eq!(takers.take(2, &"standby-2".into()), None, "it is told once");
    }

    #[test]
    fn a_pull_of_a_job_that_is_over_is_nobody_elses() {
        let mut takers = Takers::default();
        takers.pulled(1, PULLED);
        takers.pulled(2, PULLED);
        takers.wait(3, &"waits".into());
        takers.keep(|_| false, &HashSet::from([2]));
        assert!(takers.containers.is_empty());
        assert_eq!(takers.take(1, &"later".into()), None);
        assert_eq!(takers.take(2, &"standby".into()), Some(of("standby")));
    }
}
