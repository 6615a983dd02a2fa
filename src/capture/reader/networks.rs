//! Whose network file stands for a pod's: its sandbox's.

use ephemon_model::PodUid;

use super::Reader;

impl Reader {
    /// Takes the network of pods that have none yet. Called when all births of a walk are known: a
    /// job's process may be in a network namespace that it made itself, with any figures, and a
    /// container of it may be found before the sandbox is.
    pub(super) fn adopt_networks(&mut self) {
        for uid in std::mem::take(&mut self.networks_due) {
            if !self.pods.get(&uid).is_some_and(super::Pod::lacks_network) {
                continue;
            }
            if let Some(pid) = self.sandbox_process(&uid) {
                let proc = self.options.node.proc();
                if let Some(pod) = self.pods.get_mut(&uid) {
                    pod.adopt_network(pid, &proc);
                }
            }
        }
    }

    /// A process of the pod's eldest container, which is the sandbox: it is there before all
    /// others and outlives them. Nothing while it has no process.
    fn sandbox_process(&self, uid: &PodUid) -> Option<u32> {
        let keys = self.pods.get(uid)?.containers.iter().filter_map(|id| self.keys.get(id));
        let eldest = keys.filter_map(|key| Some((self.living.get(key)?, *key)));
        let (eldest, _) = eldest.min_by_key(|(container, key)| (container.born, *key))?;
        eldest.alarm.as_ref().map(|alarm| alarm.pid)
    }
}
