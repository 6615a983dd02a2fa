//! What is held of one pod and of one container: each witness's word beside the others'.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ephemon_model::{ContainerId, Exit, PodRef, PodUid};

use super::order::{Log, Order};
use super::watched::Standing;
use super::{ContainerFacts, EvidenceSource, Observation, SpecEntry};

/// Most logs held of one pod for matching by order. The oldest goes first.
pub const MAX_LOGS_PER_POD: usize = 256;

/// Most memory of one pod's spec, bytes.
const MAX_SPEC_BYTES: usize = 512 * 1024;
/// Most memory of all specs, but for what each pod may have for sure.
pub const MAX_SPEC_BYTES_IN_ALL: usize = 4 * 1024 * 1024;
/// So much of its spec is held of every pod, however many the others' take.
pub const SPEC_BYTES_FOR_SURE: usize = 8 * 1024;

/// A pod, by every witness's word.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) seq: u64,
    pub(super) standing: Standing,
    pub(super) refs: BTreeMap<EvidenceSource, Arc<PodRef>>,
    pub(super) spec: HashMap<Arc<str>, SpecEntry>,
    pub(super) logs: Vec<Log>,
    pub(super) ids: HashSet<ContainerId>,
    /// Counted up at every change that may change an answer about a container of this pod.
    pub(super) version: u64,
    pub(super) by_order: Option<Order>,
    /// Memory of `spec`.
    pub(super) spec_bytes: usize,
    /// An entry of its spec found no room.
    crowded: bool,
}

/// A container, by every witness's word.
#[derive(Debug, Default)]
pub(super) struct Container {
    pub(super) seq: u64,
    /// The pod by the kernel's word.
    pub(super) pod: Option<PodUid>,
    pub(super) created: Option<SystemTime>,
    /// Where its cgroup is, below the hierarchy's root, while it lives.
    pub(super) cgroup: Option<Arc<Path>>,
    pub(super) ended: bool,
    pub(super) sandbox: bool,
    pub(super) words: Words,
    /// The last answer and the version of the pod it was given for.
    pub(super) facts: Option<(u64, Arc<ContainerFacts>)>,
}

/// What each witness says, the best first. Three at most speak of most containers: a tree would be
/// made for eleven, and there are thousands of containers.
#[derive(Debug, Default)]
pub(super) struct Words(Vec<(EvidenceSource, Observation)>);

// === impl Words ===

impl Words {
    pub(super) fn get(&self, by: EvidenceSource) -> Option<&Observation> {
        self.0.iter().find(|(witness, _)| *witness == by).map(|(_, word)| word)
    }

    pub(super) fn get_mut(&mut self, by: EvidenceSource) -> Option<&mut Observation> {
        self.0.iter_mut().find(|(witness, _)| *witness == by).map(|(_, word)| word)
    }

    /// Enters the first word of a witness.
    pub(super) fn insert(&mut self, by: EvidenceSource, word: Observation) {
        let at = self.0.partition_point(|(witness, _)| *witness < by);
        self.0.reserve_exact(1);
        self.0.insert(at, (by, word));
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Observation> {
        self.0.iter().map(|(_, word)| word)
    }
}

// === impl Pod ===

impl Pod {
    pub(super) fn new(seq: u64, now: Instant) -> Self {
        Self {
            seq,
            standing: Standing::Unlisted { since: now },
            refs: BTreeMap::new(),
            spec: HashMap::new(),
            logs: Vec::new(),
            ids: HashSet::new(),
            version: 0,
            by_order: None,
            spec_bytes: 0,
            crowded: false,
        }
    }

    /// Takes an entry of its spec, where there is room for it: whether there was, or nobody need be
    /// told again that there is none.
    pub(super) fn enter(&mut self, entry: SpecEntry, of_all: usize) -> bool {
        let bytes = entry.bytes();
        let known = self.spec.get(&entry.name).map_or(0, SpecEntry::bytes);
        let held = self.spec_bytes.saturating_sub(known).saturating_add(bytes);
        let full =
            of_all.saturating_add(bytes) > MAX_SPEC_BYTES_IN_ALL && held > SPEC_BYTES_FOR_SURE;
        if known == 0 && (full || held > MAX_SPEC_BYTES) {
            return std::mem::replace(&mut self.crowded, true);
        }
        self.spec_bytes = held;
        self.spec.insert(entry.name.clone(), entry);
        true
    }

    pub(super) fn touch(&mut self) {
        self.version += 1;
        self.by_order = None;
    }

    /// Takes in a log's name: whether it tells anything new.
    pub(super) fn log(&mut self, container: Arc<str>, attempt: u32, made: SystemTime) -> bool {
        let same = |log: &&mut Log| log.container == container && log.attempt == attempt;
        match self.logs.iter_mut().find(same) {
            Some(log) if log.made <= made => return false,
            // A directory is made before its file; the earlier of the two counts. A file made
            // anew under the same name is a rotation, no start.
            Some(log) => log.made = made,
            None => {
                self.logs.push(Log { made, container, attempt });
                if self.logs.len() > MAX_LOGS_PER_POD {
                    self.logs.sort_unstable();
                    self.logs.remove(0);
                }
            }
        }
        self.touch();
        true
    }
}

// === impl Container ===

impl Container {
    /// What is said of this container by those who do not place it in another pod, best first.
    pub(super) fn words<'a>(&'a self, uid: &'a PodUid) -> impl Iterator<Item = &'a Observation> {
        self.words.values().filter(move |word| word.pod.as_ref().is_none_or(|pod| pod == uid))
    }

    pub(super) fn name(&self, uid: &PodUid) -> Option<Arc<str>> {
        self.words(uid).next().map(|word| word.name.clone())
    }

    /// When it started by the best witness who says so: the runtime's word is to the nanosecond,
    /// the API's to the second.
    pub(super) fn started(&self, uid: &PodUid) -> Option<SystemTime> {
        let by_runtime = self.words.get(EvidenceSource::Cri).and_then(|word| word.started);
        by_runtime.or_else(|| self.words(uid).find_map(|word| word.started))
    }

    /// When it ended, likewise.
    pub(super) fn finished(&self, uid: &PodUid) -> Option<SystemTime> {
        let by_runtime = self.words.get(EvidenceSource::Cri).and_then(|word| word.finished);
        by_runtime.or_else(|| self.words(uid).find_map(|word| word.finished))
    }

    pub(super) fn exit(&self, uid: &PodUid) -> Option<Exit> {
        self.words(uid).find_map(|word| word.exit.clone())
    }
}

// === impl Observation ===

impl Observation {
    /// Takes in a later word of the same witness; what it leaves out still holds.
    pub(super) fn update(&mut self, later: Self) -> bool {
        let merged = Self {
            pod: later.pod.or_else(|| self.pod.clone()),
            name: later.name,
            image: later.image.or_else(|| self.image.clone()),
            exit: later.exit.or_else(|| self.exit.clone()),
            started: later.started.or(self.started),
            finished: later.finished.or(self.finished),
        };
        let changed = merged != *self;
        *self = merged;
        changed
    }
}
