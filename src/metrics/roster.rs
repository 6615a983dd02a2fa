//! Who is shown, and under which labels. Pure: what the sources know comes in by a function.
//!
//! A container no source has named yet is held back for [`GRACE`] and then goes by the first digits
//! of its id; one name is shown for one container only, the newest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ephemon_capture::books::{PodRecord, Record, Snapshot};
use ephemon_discovery::inventory::{ContainerFacts, Verdict};
use ephemon_model::{ContainerId, ContainerType, PodRef, PodUid};

use super::view::Identity;

/// How long a name is waited for: from the birth of a container that lives on, from the end of one
/// that does not. The API's word takes up to a second, the log directory's milliseconds.
const GRACE: Duration = Duration::from_secs(5);

/// What the sources know about one container.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) verdict: Verdict,
    pub(super) pod: Option<Arc<PodRef>>,
    pub(super) facts: Option<Arc<ContainerFacts>>,
}

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
    pub(super) facts: Option<Arc<ContainerFacts>>,
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
            let kind = known.facts.as_ref().map(|facts| facts.container_type);
            if known.verdict != Verdict::Wanted || kind == Some(ContainerType::Sandbox) {
                continue;
            }
            if known.pod.is_none() || known.facts.is_none() {
                let wait = self.wait(record, now);
                waits.insert(record.id.clone(), wait);
                if matches!(wait, Wait::Since(..)) {
                    continue;
                }
            }
            inhabited.insert(record.pod.clone());
            let shown = Shown::new(record, known);
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

    /// How the wait for this container's name stands.
    fn wait(&self, record: &Record, now: Moment) -> Wait {
        let ended = record.ended.is_some();
        let met = match self.nameless.get(&record.id) {
            Some(Wait::Over) => return Wait::Over,
            Some(Wait::Since(met, before)) if *before == ended => *met,
            _ => now.steady,
        };
        let from = record.ended.as_ref().map_or(record.born, |ended| ended.at);
        // The wall clock may have been set back since: then the steady one has the word.
        let by_wall = now.wall.duration_since(from).unwrap_or_default();
        let by_steady = now.steady.saturating_duration_since(met);
        if by_wall.max(by_steady) >= GRACE { Wait::Over } else { Wait::Since(met, ended) }
    }
}

/// A pod is shown if it is wanted and has a name, or a container that is shown.
fn pods(
    snapshot: &Snapshot,
    inhabited: &HashSet<PodUid>,
    known: impl Fn(&PodUid, Option<&ContainerId>) -> Known,
) -> Vec<ShownPod> {
    let mut newest: HashMap<(Arc<str>, Arc<str>), ShownPod> = HashMap::new();
    for record in &snapshot.pods {
        let known = known(&record.pod, None);
        let named = known.pod.is_some() || inhabited.contains(&record.pod);
        if known.verdict != Verdict::Wanted || !named {
            continue;
        }
        let (namespace, name) = spell(&record.pod, known.pod.as_deref());
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

fn spell(uid: &PodUid, pod: Option<&PodRef>) -> (Arc<str>, Arc<str>) {
    match pod {
        Some(pod) => (pod.namespace.clone(), pod.name.clone()),
        None => ("".into(), uid.as_str().into()),
    }
}

// === impl Shown ===

impl Shown {
    fn new(record: &Arc<Record>, known: Known) -> Self {
        let (namespace, pod) = spell(&record.pod, known.pod.as_deref());
        let (container, container_type) = match &known.facts {
            Some(facts) => (facts.name.clone(), facts.container_type),
            None => (record.id.short().into(), ContainerType::Unknown),
        };
        Self {
            identity: Identity { namespace, pod, container, container_type },
            record: Arc::clone(record),
            facts: known.facts,
        }
    }

    fn is_newer_than(&self, other: &Self) -> bool {
        (self.record.born, &self.record.id) > (other.record.born, &other.record.id)
    }
}

#[cfg(test)]
mod tests;
