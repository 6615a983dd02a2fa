//! What podman's monitors use beside the pods is in the pods' books.

use std::path::Path;

use ephemon_cgroup::cpu_ns;

use super::held::Held;
use crate::monitors::Shares;

impl Held {
    /// Reads what the monitors have used since the last time, and adds it to that beside their pods.
    pub(super) fn count_monitors(&mut self) {
        for group in self.monitors.paths() {
            let Some(used_ns) = cpu_ns(&self.hierarchy, &group, &mut self.buffer) else {
                // Of its removal no event was seen.
                if !self.watched(&group).is_dir() {
                    self.monitors.is_gone(&group);
                }
                continue;
            };
            let directory = group.parent().unwrap_or(Path::new(""));
            let present = self.shares_in(directory);
            for (uid, used_ns) in self.monitors.count(&group, used_ns, present) {
                if let Some(pod) = self.pods.get_mut(&uid) {
                    pod.beside.monitors_used(used_ns);
                }
            }
        }
    }

    /// Whose containers are in a directory of podman's.
    fn shares_in(&self, directory: &Path) -> Shares {
        let mut shares = Shares::new();
        let nested = self.containers.values().filter(|container| container.is_beside());
        for container in nested.filter(|container| container.path.parent() == Some(directory)) {
            *shares.entry(Some(container.pod.clone())).or_default() += 1;
        }
        let others = self.engines.others_of_nobody(directory);
        if others > 0 {
            shares.insert(None, others);
        }
        shares
    }
}
