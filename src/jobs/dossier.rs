//! All evidence about one pod, merged as it comes, within bounds. Pure.
//!
//! Every piece has a place of its own (a container's id, a record's file and offset), and two words
//! about one thing are weighed by an order that does not know who came first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::evidence::{Evidence, Heard, Sighted};
use super::job::LogCount;
use super::runner::Said;
use crate::contract::{Phase, Record};
use crate::discovery::inventory::SpecEntry;
use crate::journal::HOOK;
use crate::model::{ContainerId, PodRef};

/// Most records of journals held of one pod: some 1300 steps. What comes later is counted only.
pub const MAX_RECORDS: usize = 4096;
/// Most containers held of one pod, and most entries of its spec.
pub const MAX_CONTAINERS: usize = 1024;

/// The evidence about one pod.
#[derive(Debug, Clone)]
pub struct Dossier {
    pub(super) pod: Arc<PodRef>,
    pub(super) spec: BTreeMap<Arc<str>, SpecEntry>,
    pub(super) containers: HashMap<ContainerId, Sighted>,
    /// By file and place: the order in which they were written.
    pub(super) journal: BTreeMap<(Arc<str>, u64), (u64, Record)>,
    pub(super) logs: BTreeMap<Arc<str>, LogCount>,
    /// The first that began, and the last that was over.
    pub(super) running: Option<(u64, Arc<str>)>,
    pub(super) completed: Option<(u64, Said)>,
    pub(super) gone_ns: Option<u64>,
    /// The hook has said that its last call is over.
    pub(super) cleaned: bool,
    pub(super) left_out: u64,
}

// === impl Dossier ===

impl Dossier {
    /// Of a pod of which nothing else is known.
    pub fn new(pod: Arc<PodRef>) -> Self {
        Self {
            pod,
            spec: BTreeMap::new(),
            containers: HashMap::new(),
            journal: BTreeMap::new(),
            logs: BTreeMap::new(),
            running: None,
            completed: None,
            gone_ns: None,
            cleaned: false,
            left_out: 0,
        }
    }

    /// Takes in a piece of evidence; whether it told anything new.
    pub fn take(&mut self, evidence: Evidence) -> bool {
        match evidence {
            Evidence::Spec(entry) => self.spec(entry),
            Evidence::Container(sighted) => self.sighted(*sighted),
            Evidence::Journal(heard) => self.heard(heard),
            Evidence::Runner { at_ns, said } => self.runner(at_ns, said),
            Evidence::Log { container, count } => {
                if self.logs.len() >= MAX_CONTAINERS && !self.logs.contains_key(&container) {
                    return false;
                }
                let known = self.logs.entry(container).or_insert(LogCount { lines: 0, bytes: 0 });
                let changed = count > *known;
                *known = count.max(*known);
                changed
            }
            Evidence::Gone { at_ns } => {
                let first = self.gone_ns.map_or(at_ns, |known| known.min(at_ns));
                self.gone_ns.replace(first) != Some(first)
            }
        }
    }

    /// Whose it is.
    pub fn pod(&self) -> &Arc<PodRef> {
        &self.pod
    }

    /// Records of journals held.
    pub fn records(&self) -> usize {
        self.journal.len()
    }

    /// When the pod's first container began, by kernel or runtime.
    pub(super) fn first_ns(&self) -> Option<u64> {
        self.containers.values().filter_map(|one| one.born_ns.or(one.started_ns)).min()
    }

    /// Counts a piece that found no room.
    pub fn leave_out(&mut self) {
        self.left_out += 1;
    }

    fn spec(&mut self, entry: SpecEntry) -> bool {
        let room = self.spec.len() < MAX_CONTAINERS;
        match self.spec.get_mut(&entry.name) {
            Some(known) => {
                // An entry never changes in the API; this decides for the fuller one.
                let fuller =
                    entry.job > known.job || (entry.job == known.job && entry.image > known.image);
                if fuller {
                    *known = entry;
                }
                fuller
            }
            None if room => {
                self.spec.insert(entry.name.clone(), entry);
                true
            }
            None => {
                self.left_out += 1;
                false
            }
        }
    }

    fn sighted(&mut self, sighted: Sighted) -> bool {
        let room = self.containers.len() < MAX_CONTAINERS;
        match self.containers.get_mut(&sighted.id) {
            Some(known) => {
                let before = known.clone();
                known.merge(sighted);
                before != *known
            }
            None if room => {
                self.containers.insert(sighted.id.clone(), sighted);
                true
            }
            None => {
                self.left_out += 1;
                false
            }
        }
    }

    fn heard(&mut self, heard: Heard) -> bool {
        let Heard { file, at, heard_ns, record } = heard;
        let key = (file, at);
        if let Some((known_ns, _)) = self.journal.get_mut(&key) {
            *known_ns = heard_ns.min(*known_ns);
            return false;
        }
        if self.journal.len() >= MAX_RECORDS {
            self.left_out += 1;
            return false;
        }
        self.cleaned |=
            &*key.0 == HOOK && matches!(record, Record::HookPhase { phase: Phase::CleanupJob, .. });
        self.journal.insert(key, (heard_ns, record));
        true
    }

    fn runner(&mut self, at_ns: u64, said: Said) -> bool {
        match said {
            Said::Running { name } => {
                let first = self.running.take();
                let told = (at_ns, name);
                let known = first.clone().map_or(told.clone(), |known| known.min(told));
                self.running = Some(known);
                self.running != first
            }
            completed @ Said::Completed { .. } => {
                let last = self.completed.take();
                self.completed = last.clone().max(Some((at_ns, completed)));
                self.completed != last
            }
        }
    }
}
