//! What the runtime tells over NRI, as evidence: containers that it creates, has started and has seen end,
//! and all that there are when the agent registers.
//!
//! It needs no socket that is asked, and knows names before the kernel makes a cgroup. The kernel stays the
//! truth for existence and use: of a container with a cgroup only the cgroup's removal is the end, and an
//! agent or a runtime that was away has missed events, which the other sources and the next list make good.

use std::time::SystemTime;

use ephemon_base::clock::at_unix_ns;
use ephemon_model::{ContainerId, Exit, PodUid};
use ephemon_nri::{Event, Life, List, Pod};

use super::inventory::{Inventory, Observation, RuntimeWord};
use super::logs::names::{is_label, pod_ref};

/// Enters what has become of a container. `now`: where the runtime does not say when, as before containerd
/// v2.3.
pub fn told(inventory: &Inventory, event: Event, life: &Life, now: SystemTime) {
    let Some(mut told) = word(life) else { return };
    told.is_new = event == Event::Created;
    told.is_over = event == Event::Ended;
    let Observation { started, finished, exit, .. } = &mut told.word;
    match event {
        Event::Created => (*started, *finished, *exit) = (None, None, None),
        Event::Started => *started = started.or(Some(now)),
        // Of one that never ran the inventory makes no end.
        Event::Ended => *finished = finished.or(Some(now)),
    }
    inventory.told_by_runtime(told);
}

/// Enters all pods and containers of the runtime.
pub fn listed(inventory: &Inventory, list: &List) {
    let pod = |pod: &Pod| {
        let sandbox = ContainerId::parse(&pod.sandbox).ok()?;
        Some((pod_ref(&pod.namespace, &pod.name, &pod.uid)?, sandbox))
    };
    let pods = list.pods.iter().filter_map(|it| pod(it)).collect();
    let containers = list.containers.iter().filter_map(word).collect();
    inventory.listed_by_runtime(pods, containers, list.is_complete);
}

/// `None`: its id or its name is not valid.
fn word(life: &Life) -> Option<RuntimeWord> {
    let Pod { sandbox, namespace, name, uid } = &*life.pod;
    let id = ContainerId::parse(&life.id).ok()?;
    let exit =
        life.end.as_ref().map(|end| Exit { code: end.code, reason: end.reason.as_str().into() });
    let word = Observation {
        pod: PodUid::parse(uid).ok(),
        name: Some(&*life.container).filter(|name| is_label(name))?.into(),
        image: None,
        exit,
        started: life.started_ns.and_then(at_unix_ns),
        finished: life.end.as_ref().and_then(|end| at_unix_ns(end.at_ns)),
    };
    Some(RuntimeWord {
        id,
        word,
        pod: pod_ref(namespace, name, uid),
        sandbox: ContainerId::parse(sandbox).ok(),
        is_new: false,
        is_over: false,
    })
}

#[cfg(test)]
mod tests;
