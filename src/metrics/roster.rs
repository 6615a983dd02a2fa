//! Who is shown, and under which labels. Pure: what the sources know comes in by a function.
//!
//! Who a container is says `ephemon_discovery::identity`; one name is shown for one container only,
//! the newest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ephemon_capture::readings::{PodRecord, Record, Snapshot};
use ephemon_discovery::identity::{Answer, ContainerIdentity, Known, NAME_GRACE, Terms};
use ephemon_discovery::inventory::ContainerFacts;
use ephemon_model::{ContainerId, PodUid};

use super::view::Identity;

/// A container is shown as soon as it has a name: what else is told of it later are other labels.
const TERMS: Terms = Terms { typed: false, nameless: true };

/// This moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) steady: Instant,
    pub(super) wall: SystemTime,
}

/// One container to show.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) identity: Identity,
    pub(super) record: Arc<Record>,
    pub(super) facts: Arc<ContainerFacts>,
}

/// One pod to show.
#[derive(Debug)]
pub(super) struct ShownPod {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) record: Arc<PodRecord>,
}

/// The outcome of one casting.
#[derive(Debug, Default)]
pub(super) struct Cast {
    /// In the order of their labels.
    pub(super) containers: Vec<Shown>,
    /// In the order of their labels.
    pub(super) pods: Vec<ShownPod>,
    /// Ended containers whose labels a newer one has.
    pub(super) superseded: HashSet<ContainerId>,
}

/// Remembers for whose name it waits.
#[derive(Debug, Default)]
pub(super) struct Roster {
    nameless: HashMap<ContainerId, Wait>,
}

/// Namespace, pod, container.
type Name = (Arc<str>, Arc<str>, Arc<str>);

#[derive(Debug, Clone, Copy)]
enum Wait {
    /// Met at that instant, and whether it had ended by then.
    Since(Instant, bool),
    /// Shown by its id from now on.
    Over,
}

// === impl Roster ===

impl Roster {
    /// Casts what capture has read.
    pub(super) fn cast(
        &mut self,
        snapshot: &Snapshot,
        known: impl Fn(&PodUid, Option<&ContainerId>) -> Known,
        now: Moment,
    ) -> Cast {
        let mut cast = Cast::default();
        let mut newest: HashMap<Name, Shown> = HashMap::new();
        let mut waits = HashMap::new();
        let mut inhabited = HashSet::new();
        for record in &snapshot.containers {
            let known = known(&record.pod, Some(&record.id));
            // Its key is the agent's own: without a name there is nothing to show.
            if record.nested && !known.names_nested() {
                continue;
            }
            let mut since = None;
            let answer = known.container(&record.pod, &record.id, TERMS, || {
                let met = self.met(record, now);
                since = Some(met);
                waited(record, met, now)
            });
            if let Some(met) = since {
                let wait = match (&answer, met) {
                    (Answer::NotYet, Some(met)) => Wait::Since(met, record.ended.is_some()),
                    _ => Wait::Over,
                };
                waits.insert(record.id.clone(), wait);
            }
            let Answer::Known(who) = answer else { continue };
            inhabited.insert(record.pod.clone());
            let shown = Shown::new(record, who);
            let Identity { namespace, pod, container, .. } = &shown.identity;
            let key = (namespace.clone(), pod.clone(), container.clone());
            let older = match newest.remove(&key) {
                Some(rival) if rival.is_newer_than(&shown) => {
                    newest.insert(key, rival);
                    Some(shown)
                }
                rival => {
                    newest.insert(key, shown);
                    rival
                }
            };
            if let Some(older) = older.filter(|older| older.record.ended.is_some()) {
                cast.superseded.insert(older.record.id.clone());
            }
        }
        self.nameless = waits;
        cast.containers = newest.into_values().collect();
        cast.containers.sort_by(|a, b| a.identity.cmp(&b.identity));
        cast.pods = pods(snapshot, &inhabited, known);
        cast
    }

    /// When the wait for this container's name began by the steady clock; none once it is over.
    fn met(&self, record: &Record, now: Moment) -> Option<Instant> {
        match self.nameless.get(&record.id) {
            Some(Wait::Over) => None,
            Some(Wait::Since(met, ended)) if *ended == record.ended.is_some() => Some(*met),
            _ => Some(now.steady),
        }
    }
}

/// For how long this container's name was waited for: since its end, or its birth while it lives.
fn waited(record: &Record, met: Option<Instant>, now: Moment) -> Duration {
    let Some(met) = met else { return Duration::MAX };
    let from = record.ended.as_ref().map_or(record.created, |ended| ended.at);
    // The wall clock may have been set back since: then the steady one has the word.
    let by_wall = now.wall.duration_since(from).unwrap_or_default();
    by_wall.max(now.steady.saturating_duration_since(met))
}

/// A pod is shown if it is wanted and has a name, or a container that is shown.
fn pods(
    snapshot: &Snapshot,
    inhabited: &HashSet<PodUid>,
    known: impl Fn(&PodUid, Option<&ContainerId>) -> Known,
) -> Vec<ShownPod> {
    let mut newest: HashMap<(Arc<str>, Arc<str>), ShownPod> = HashMap::new();
    for record in &snapshot.pods {
        let is_inhabited = inhabited.contains(&record.pod);
        let waited = || if is_inhabited { NAME_GRACE } else { Duration::ZERO };
        let answer = known(&record.pod, None).pod(&record.pod, TERMS, waited);
        let Answer::Known(pod) = answer else { continue };
        let (namespace, name) = (pod.namespace.clone(), pod.name.clone());
        let key = (namespace.clone(), name.clone());
        // A pod made anew under its name: the one that still runs, and the same one every time.
        let rank = |record: &PodRecord| (!record.gone, record.pod.clone());
        if newest.get(&key).is_none_or(|rival| rank(record) > rank(&rival.record)) {
            let record = Arc::clone(record);
            newest.insert(key, ShownPod { namespace, name, record });
        }
    }
    let mut pods: Vec<_> = newest.into_values().collect();
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    pods
}

// === impl Shown ===

impl Shown {
    fn new(record: &Arc<Record>, ContainerIdentity { pod, facts }: ContainerIdentity) -> Self {
        let identity = Identity {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container: facts.name.clone(),
            container_type: facts.container_type,
        };
        Self { identity, record: Arc::clone(record), facts }
    }

    fn is_newer_than(&self, other: &Self) -> bool {
        (self.record.created, &self.record.id) > (other.record.created, &other.record.id)
    }
}

#[cfg(test)]
mod tests;
