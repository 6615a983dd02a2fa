//! Containers of a pod that are not held yet, because the event of their creation was not handled yet: on a
//! busy machine that takes longer than a short container needs. What they have used is in the pod's counters,
//! and must not become the remainder of another container that ends meanwhile: it would be counted twice.

use std::path::PathBuf;

use ephemon_cgroup::{Files, cpu_ns};
use ephemon_discovery::cgroups::containers_in;
use ephemon_model::{PodUid, Usage};

use super::accounting::EXACT_WITHIN_NS;
use super::held::Held;
use crate::additive::Additive;

impl Held {
    /// What the pod's containers have used that are not held yet. The pod's directory is listed only if so
    /// much of the pod's CPU time is left over that somebody would be given it.
    pub(super) fn unheld(&mut self, uid: &PodUid, left_ns: u64) -> Additive {
        let mut used = Additive::default();
        for path in self.unheld_paths(uid, left_ns) {
            let mut usage = Usage::default();
            let mut files = Files::open(&self.hierarchy, &path);
            // On version 1 a group that is being made may not have all its directories yet.
            if files.read(&mut usage, &mut self.buffer).is_ok() {
                used.add(&Additive::of(&usage));
            }
        }
        used
    }

    /// The same, of CPU time, in nanoseconds.
    pub(super) fn unheld_cpu_ns(&mut self, uid: &PodUid, left_ns: u64) -> u64 {
        let paths = self.unheld_paths(uid, left_ns);
        let used = paths.iter().filter_map(|path| cpu_ns(&self.hierarchy, path, &mut self.buffer));
        used.fold(0, u64::saturating_add)
    }

    fn unheld_paths(&self, uid: &PodUid, left_ns: u64) -> Vec<PathBuf> {
        // Containers that were refused are never held: what they use is an error of the accounting.
        let pod = self.pods.get(uid).filter(|pod| left_ns > EXACT_WITHIN_NS && !pod.has_refused);
        let Some(pod) = pod else { return Vec::new() };
        let all = containers_in(&self.watched(&pod.path));
        let unheld = all.filter(|(id, _)| self.population.key(id).is_none());
        unheld.map(|(_, name)| pod.path.join(name)).collect()
    }
}
