//! Which pod of the API stands for which static pod of the node.
//!
//! The kubelet shows a static pod by a mirror, whose annotation names the UID of cgroups and logs.
//! Whoever may make a pod may write that annotation, with any UID: it is believed only where the
//! kubelet's own log directory, or the runtime, calls the pod of that UID by the mirror's name.

use std::collections::HashMap;

use ephemon_model::PodUid;

use crate::inventory::Inventory;
use crate::pod_view::PodView;

/// Most mirrors kept whose static pod nobody has named yet.
const MAX_UNDECIDED: usize = 64;

/// Mirrors of which it is not known yet whether they stand for a static pod.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    /// By the mirror's own UID.
    undecided: HashMap<PodUid, PodView>,
}

// === impl Mirrors ===

impl Mirrors {
    /// The pod, under the UID that its cgroups and logs carry.
    pub(super) fn resolve(&mut self, view: PodView, inventory: &Inventory) -> PodView {
        let Some(uid) = view.mirrors.clone() else { return view };
        let own = view.pod.uid.clone();
        self.undecided.remove(&own);
        let answer = inventory.is_called(&uid, &view.pod.namespace, &view.pod.name);
        if answer.is_none() && self.undecided.len() < MAX_UNDECIDED {
            self.undecided.insert(own, view.clone());
        }
        // The hash of a file is no UID of a pod of the API: until its directory is there, it harms
        // nobody to believe it.
        if answer.unwrap_or(is_hash(&uid)) { under(view, uid) } else { view }
    }

    /// The pod is gone from the API.
    pub(super) fn forget(&mut self, own: &PodUid) {
        self.undecided.remove(own);
    }

    /// Those of which the node has told meanwhile, and the UID that each was taken in under before, if
    /// that was another.
    pub(super) fn decided(&mut self, inventory: &Inventory) -> Vec<(PodView, Option<PodUid>)> {
        let mut decided = Vec::new();
        self.undecided.retain(|_, view| {
            let Some(uid) = view.mirrors.clone() else { return false };
            let Some(is_mirror) = inventory.is_called(&uid, &view.pod.namespace, &view.pod.name)
            else {
                return true;
            };
            let own = view.pod.uid.clone();
            let before = if is_hash(&uid) { uid.clone() } else { own };
            let view = if is_mirror { under(view.clone(), uid) } else { view.clone() };
            let is_other = view.pod.uid != before;
            decided.push((view, is_other.then_some(before)));
            false
        });
        decided
    }
}

fn under(mut view: PodView, uid: PodUid) -> PodView {
    view.pod.uid = uid;
    view
}

/// Whether the UID is the hash of a static pod's file: UIDs that the API gives have dashes.
fn is_hash(uid: &PodUid) -> bool {
    !uid.as_str().contains('-')
}

#[cfg(test)]
mod tests {
    use ephemon_model::PodRef;

    use super::*;
    use crate::inventory::{Evidence, EvidenceSource};

    const OWN: &str = "0e269fa4-f505-4963-9096-958063077203";
    const GIVEN: &str = "1e269fa4-f505-4963-9096-958063077203";
    const HASH: &str = "d4d3ee05e3a7ab4fd9be4e35a8e7c1f0";

    fn pod(name: &str, uid: &str) -> PodRef {
        let uid = PodUid::parse(uid).unwrap();
        PodRef { namespace: "kube-system".into(), name: name.into(), uid }
    }

    fn mirror(name: &str, of: &str) -> PodView {
        let mirrors = Some(PodUid::parse(of).unwrap());
        let pod = pod(name, OWN);
        PodView { pod, mirrors, origin: None, spec: Vec::new(), runs: Vec::new() }
    }

    fn directory(inventory: &Inventory, name: &str, uid: &str) {
        let by = EvidenceSource::LogDirectory;
        inventory.learn(Evidence::Pod { pod: pod(name, uid), by });
    }

    #[test]
    fn a_mirror_stands_for_the_static_pod_of_its_name() {
        for uid in [HASH, GIVEN] {
            let (inventory, mut mirrors) = (Inventory::default(), Mirrors::default());
            directory(&inventory, "etcd-node", uid);
            let view = mirrors.resolve(mirror("etcd-node", uid), &inventory);
            assert_eq!(view.pod.uid.as_str(), uid);
            assert_eq!(mirrors.decided(&inventory), []);
        }
    }

    #[test]
    fn a_pod_that_only_says_to_be_a_mirror_stands_for_itself() {
        for uid in [HASH, GIVEN] {
            let (inventory, mut mirrors) = (Inventory::default(), Mirrors::default());
            directory(&inventory, "etcd-node", uid);
            let view = mirrors.resolve(mirror("stranger", uid), &inventory);
            assert_eq!(view.pod.uid.as_str(), OWN);
        }
    }

    #[test]
    fn a_mirror_that_is_there_before_its_logs_is_judged_when_they_come() {
        for (name, uid, before, after) in [
            ("etcd-node", HASH, HASH, HASH),
            ("etcd-node", GIVEN, OWN, GIVEN),
            ("stranger", HASH, HASH, OWN),
            ("stranger", GIVEN, OWN, OWN),
        ] {
            let (inventory, mut mirrors) = (Inventory::default(), Mirrors::default());
            let view = mirrors.resolve(mirror(name, uid), &inventory);
            assert_eq!(view.pod.uid.as_str(), before, "{name} {uid}");
            assert_eq!(mirrors.decided(&inventory), []);
            directory(&inventory, "etcd-node", uid);
            let decided = mirrors.decided(&inventory);
            let [(view, other)] = decided.try_into().unwrap();
            assert_eq!(view.pod.uid.as_str(), after, "{name} {uid}");
            let expected = (before != after).then_some(before);
            assert_eq!(other.as_ref().map(PodUid::as_str), expected, "{name} {uid}");
            assert_eq!(mirrors.decided(&inventory), []);
        }
    }

    #[test]
    fn a_mirror_that_is_gone_is_not_judged() {
        let (inventory, mut mirrors) = (Inventory::default(), Mirrors::default());
        let view = mirrors.resolve(mirror("etcd-node", GIVEN), &inventory);
        mirrors.forget(&view.pod.uid);
        directory(&inventory, "etcd-node", GIVEN);
        assert_eq!(mirrors.decided(&inventory), []);
    }
}
