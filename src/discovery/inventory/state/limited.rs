//! Which running containers have limits: joins the spec with the kernel's cgroup by the container's
//! name.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ephemon_model::{ContainerId, PodUid};

use super::{Found, State};
use crate::inventory::{Asked, Expected, Limited, Verdict};

impl State {
    /// Sets the path of a container's cgroup below the hierarchy's root.
    pub(in crate::inventory) fn stands_at(&mut self, id: &ContainerId, cgroup: &Path) {
        if let Some(container) = self.containers.get_mut(id).filter(|container| !container.ended) {
            container.cgroup = Some(cgroup.into());
        }
    }

    /// Running containers of selected pods whose spec sets limits.
    pub(in crate::inventory) fn limited(&mut self, now: Instant) -> Vec<Limited> {
        let pods = self.pods.iter();
        let uids: Vec<PodUid> = pods
            .filter(|(_, pod)| pod.spec.values().any(|entry| entry.limits.is_some()))
            .map(|(uid, _)| uid.clone())
            .collect();
        let mut limited = Vec::new();
        for uid in uids {
            if self.verdict(&uid, now) != Verdict::Wanted {
                continue;
            }
            let ids: Vec<ContainerId> =
                self.pods.get(&uid).into_iter().flat_map(|pod| pod.ids.iter().cloned()).collect();
            limited.extend(ids.iter().filter_map(|id| self.limited_container(&uid, id)));
        }
        limited
    }

    /// What is known of a container that the runtime is about to create.
    pub(in crate::inventory) fn expected(
        &mut self,
        uid: &PodUid,
        name: &str,
        now: Instant,
    ) -> Expected {
        match self.verdict(uid, now) {
            Verdict::Wanted => {}
            Verdict::Unwanted => return Expected::Nothing,
            Verdict::Open | Verdict::Nameless => return Expected::Unknown,
        }
        let Some(pod) = self.pods.get(uid) else {
            return Expected::Unknown;
        };
        let Some(entry) = pod.spec.get(name) else {
            return Expected::Unknown;
        };
        let init = entry.wants_init;
        let Some(limits) = entry.limits.clone() else {
            let asked = Expected::Asks(Asked { limits: None, init });
            return if init { asked } else { Expected::Nothing };
        };
        let running = pod.ids.iter().filter_map(|id| self.containers.get(id));
        let mut running = running.filter(|container| !container.ended);
        match running.find_map(|container| container.cgroup.clone()) {
            Some(beside) => Expected::Asks(Asked { limits: Some((limits, beside)), init }),
            None if init => Expected::AsksForInit,
            None => Expected::Unknown,
        }
    }

    fn limited_container(&mut self, uid: &PodUid, id: &ContainerId) -> Option<Limited> {
        let container = self.containers.get(id)?;
        let (cgroup, created) = (container.cgroup.clone()?, container.created?);
        if container.pod.as_ref() != Some(uid) {
            return None;
        }
        let started = container.is_known_to_run(uid);
        let name = match container.name(uid) {
            Some(name) => name,
            // A name that follows from order alone is used only if it is unambiguous, because a
            // limit, unlike a label, cannot be corrected later.
            None => self.sole_name(uid, id)?,
        };
        let pod = self.pods.get(uid)?;
        let limits = pod.spec.get(&name)?.limits.clone()?;
        let pod = pod.refs.values().next()?.clone();
        Some(Limited { id: id.clone(), pod, name, cgroup, created, started, limits })
    }

    fn sole_name(&mut self, uid: &PodUid, id: &ContainerId) -> Option<Arc<str>> {
        if self.containers.get(id)?.sandbox {
            return None;
        }
        let Found { name, ambiguous } = self.name_by_order(uid, id)?;
        (!ambiguous).then_some(name)
    }
}
