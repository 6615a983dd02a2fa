//! What is stored of one pod and of one container: the reports of all sources side by side.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ephemon_model::{ContainerId, Exit, JobEnv, PodRef, PodUid};

use super::order::{Log, Order};
use super::watched::Standing;
use super::{ContainerFacts, EvidenceSource, Observation, SpecEntry};
use crate::pod_view::Origin;

/// Most logs stored of one pod for matching by order. The oldest is dropped first.
pub const MAX_LOGS_PER_POD: usize = 256;

/// Most sources whose reports of one container are kept.
const MAX_REPORTS: usize = 3;

/// The runtime asked, and its events: both know nanoseconds.
const RUNTIME: [EvidenceSource; 2] = [EvidenceSource::Cri, EvidenceSource::Nri];

/// Most memory of one pod's spec, in bytes.
const MAX_SPEC_BYTES: usize = 512 * 1024;
/// Most memory of all specs, in bytes, except for the guaranteed part of each pod.
pub const MAX_TOTAL_SPEC_BYTES: usize = 4 * 1024 * 1024;
/// Guaranteed part of each pod's spec, in bytes, whatever the others use.
pub const GUARANTEED_SPEC_BYTES: usize = 8 * 1024;

/// A pod as reported by all sources.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) seq: u64,
    pub(super) standing: Standing,
    pub(super) refs: BTreeMap<EvidenceSource, Arc<PodRef>>,
    pub(super) spec: HashMap<Arc<str>, SpecEntry>,
    /// The runner that it belongs to, by its labels and owners.
    pub(super) origin: Option<Arc<Origin>>,
    /// Its job, by the runner's controller.
    pub(super) job: Option<Arc<JobEnv>>,
    /// Its job, by the message in the runner's log.
    pub(super) message: Option<Arc<JobEnv>>,
    /// The runner has said that it has a job.
    pub(super) has_begun: bool,
    pub(super) logs: Vec<Log>,
    pub(super) ids: HashSet<ContainerId>,
    /// Incremented at every change that may affect an answer about a container of this pod.
    pub(super) version: u64,
    pub(super) by_order: Option<Order>,
    /// Memory of `spec`.
    pub(super) spec_bytes: usize,
    /// An entry of its spec was dropped because there was no room.
    spec_was_truncated: bool,
}

/// A container as reported by all sources.
#[derive(Debug, Default)]
pub(super) struct Container {
    pub(super) seq: u64,
    /// The pod according to the kernel.
    pub(super) pod: Option<PodUid>,
    pub(super) created: Option<SystemTime>,
    /// Path of its cgroup below the hierarchy's root, while it runs.
    pub(super) cgroup: Option<Arc<Path>>,
    pub(super) ended: bool,
    pub(super) sandbox: bool,
    pub(super) observations: Observations,
    /// The last answer, and the version of the pod for which it was given.
    pub(super) facts: Option<(u64, Arc<ContainerFacts>)>,
}

/// The reports of the sources, the most trusted first. A container has three at most, for which a
/// vector needs much less memory than a map; and there are thousands of containers.
#[derive(Debug, Default)]
pub(super) struct Observations(Vec<(EvidenceSource, Observation)>);

// === impl Observations ===

impl Observations {
    pub(super) fn get(&self, by: EvidenceSource) -> Option<&Observation> {
        self.0.iter().find(|(witness, _)| *witness == by).map(|(_, word)| word)
    }

    pub(super) fn get_mut(&mut self, by: EvidenceSource) -> Option<&mut Observation> {
        self.0.iter_mut().find(|(witness, _)| *witness == by).map(|(_, word)| word)
    }

    /// Adds the first report of a source. Of more than three the least trusted, a link in the log
    /// directory, adds nothing.
    pub(super) fn insert(&mut self, by: EvidenceSource, word: Observation) {
        if self.0.len() >= MAX_REPORTS {
            if self.0.last().is_none_or(|(last, _)| *last < by) {
                return;
            }
            self.0.pop();
        }
        let at = self.0.partition_point(|(witness, _)| *witness < by);
        self.0.reserve_exact(1);
        self.0.insert(at, (by, word));
    }

    /// Forgets what a source has reported; returns whether it had.
    pub(super) fn remove(&mut self, by: EvidenceSource) -> bool {
        let before = self.0.len();
        self.0.retain(|(witness, _)| *witness != by);
        self.0.len() < before
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (EvidenceSource, &Observation)> {
        self.0.iter().map(|(witness, word)| (*witness, word))
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
            origin: None,
            job: None,
            message: None,
            has_begun: false,
            logs: Vec::new(),
            ids: HashSet::new(),
            version: 0,
            by_order: None,
            spec_bytes: 0,
            spec_was_truncated: false,
        }
    }

    /// Adds an entry of its spec if there is room. Returns whether there was, or the lack of room
    /// was reported before.
    pub(super) fn enter(&mut self, entry: SpecEntry, of_all: usize) -> bool {
        let bytes = entry.bytes();
        let known = self.spec.get(&entry.name).map_or(0, SpecEntry::bytes);
        let held = self.spec_bytes.saturating_sub(known).saturating_add(bytes);
        let full =
            of_all.saturating_add(bytes) > MAX_TOTAL_SPEC_BYTES && held > GUARANTEED_SPEC_BYTES;
        if known == 0 && (full || held > MAX_SPEC_BYTES) {
            return std::mem::replace(&mut self.spec_was_truncated, true);
        }
        self.spec_bytes = held;
        self.spec.insert(entry.name.clone(), entry);
        true
    }

    pub(super) fn touch(&mut self) {
        self.version += 1;
        self.by_order = None;
    }

    /// Adds a log's name; returns whether it is news.
    pub(super) fn log(&mut self, container: Arc<str>, attempt: u32, made: SystemTime) -> bool {
        let same = |log: &&mut Log| log.container == container && log.attempt == attempt;
        match self.logs.iter_mut().find(same) {
            Some(log) if log.made <= made => return false,
            // A directory is created before its file; the earlier time counts. A file that is
            // created again with the same name is a rotation, not a start.
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
    /// The reports of sources that do not assign this container to another pod, the most trusted
    /// first.
    pub(super) fn observations<'a>(
        &'a self,
        uid: &'a PodUid,
    ) -> impl Iterator<Item = &'a Observation> {
        self.reports(uid).map(|(_, word)| word)
    }

    fn reports<'a>(
        &'a self,
        uid: &'a PodUid,
    ) -> impl Iterator<Item = (EvidenceSource, &'a Observation)> {
        let is_its = move |word: &Observation| word.pod.as_ref().is_none_or(|pod| pod == uid);
        self.observations.iter().filter(move |(_, word)| is_its(word))
    }

    pub(super) fn name(&self, uid: &PodUid) -> Option<Arc<str>> {
        self.observations(uid).next().map(|word| word.name.clone())
    }

    /// When it started, by the most precise source: the runtime reports nanoseconds, the API
    /// seconds.
    pub(super) fn started(&self, uid: &PodUid) -> Option<SystemTime> {
        let mut reports = self.reports(uid).filter(|(by, _)| RUNTIME.contains(by));
        let by_runtime = reports.find_map(|(_, word)| word.started);
        by_runtime.or_else(|| self.observations(uid).find_map(|word| word.started))
    }

    /// Whether the API server, or the runtime when it was asked, reports that it was started. The
    /// runtime's event comes while its last stage may still become the container's program.
    pub(super) fn is_known_to_run(&self, uid: &PodUid) -> bool {
        let mut reports = self.reports(uid).filter(|(by, _)| *by != EvidenceSource::Nri);
        reports.any(|(_, word)| word.started.is_some())
    }

    /// When it ended, likewise.
    pub(super) fn finished(&self, uid: &PodUid) -> Option<SystemTime> {
        let mut reports = self.ends(uid).filter(|(by, _)| RUNTIME.contains(by));
        let by_runtime = reports.find_map(|(_, word)| word.finished);
        by_runtime.or_else(|| self.ends(uid).find_map(|(_, word)| word.finished))
    }

    pub(super) fn exit(&self, uid: &PodUid) -> Option<Exit> {
        self.ends(uid).find_map(|(_, word)| word.exit.clone())
    }

    /// The reports of those who may say that it has ended: the runtime's events say nothing of a
    /// container that the kernel sees live.
    fn ends<'a>(
        &'a self,
        uid: &'a PodUid,
    ) -> impl Iterator<Item = (EvidenceSource, &'a Observation)> {
        let lives = self.created.is_some() && !self.ended;
        self.reports(uid).filter(move |(by, _)| *by != EvidenceSource::Nri || !lives)
    }
}

// === impl Observation ===

impl Observation {
    /// Merges a later report of the same source; what it omits is kept.
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
