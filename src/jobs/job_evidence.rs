//! All evidence about one pod, merged as it comes, within bounds. Pure.
//!
//! Every piece has a place of its own (a container's id, a record's file and offset), and two words
//! about one thing are weighed by an order that does not know who came first.
//!
//! What is held has a bound in bytes. Records of journals are the job's own word: at the bound the
//! journal that has most loses its last ones, so that a flood in one leaves the others as they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ephemon_contract::{Phase, Record};
use ephemon_discovery::inventory::SpecEntry;
use ephemon_discovery::pod_view::Purpose;
use ephemon_journal::HOOK;
use ephemon_model::{ContainerId, JobEnv, PodRef, PodUid, PrePull};

use super::evidence::{Evidence, Heard, Place, Sighted, weight};
use super::job::LogCount;
use super::runner::Said;
use super::step_log::{StepLog, Taken};

/// Most records of journals held of one pod, however small they are.
pub const MAX_RECORDS: usize = 4096;
/// Most containers held of one pod, and most entries of its spec.
pub const MAX_CONTAINERS: usize = 1024;
/// Most of them that are nested, of which a job makes as many as it likes.
const MAX_NESTED: usize = 256;
/// Most memory of one pod's records, and of what the runner's log says of steps, bytes: some 900 steps.
pub const MAX_RECORD_BYTES: usize = 3 * 512 * 1024;
/// Most memory of one pod's containers and spec, bytes.
pub const MAX_FACT_BYTES: usize = 768 * 1024;

/// The evidence about one pod.
#[derive(Debug, Clone)]
pub struct JobEvidence {
    pub(super) pod: Arc<PodRef>,
    pub(super) spec: BTreeMap<Arc<str>, SpecEntry>,
    pub(super) containers: HashMap<ContainerId, Sighted>,
    /// By file and place: the order in which they were written.
    pub(super) journal: BTreeMap<(Arc<str>, u64), (u64, Record)>,
    pub(super) logs: BTreeMap<Arc<str>, LogCount>,
    /// Images that the agent had pulled, by containers.
    pub(super) pre_pulled: BTreeMap<Arc<str>, PrePull>,
    /// What the runner's log says of steps.
    pub(super) step_log: StepLog,
    /// The first that began, and the last that was over.
    pub(super) running: Option<(u64, Arc<str>)>,
    pub(super) completed: Option<(u64, Said)>,
    pub(super) gone_ns: Option<u64>,
    /// The job, by the runner's controller or the pod's labels.
    pub(super) told: Option<Arc<JobEnv>>,
    /// What the pod was created for, where a runner has created it for its job.
    pub(super) purpose: Option<Purpose>,
    /// Pods that the runner has created for this job.
    pub(super) members: BTreeMap<PodUid, Self>,
    /// The hook has said that its last call is over.
    pub(super) cleaned: bool,
    pub(super) left_out: u64,
    /// Memory of each journal's records.
    files: BTreeMap<Arc<str>, usize>,
    record_bytes: usize,
    fact_bytes: usize,
    /// No container and no entry of the spec is taken that is not there already.
    closed: bool,
    /// The same for nested containers.
    closed_to_nested: bool,
}

// === impl JobEvidence ===

impl JobEvidence {
    /// Of a pod of which nothing else is known.
    pub fn new(pod: Arc<PodRef>) -> Self {
        Self {
            pod,
            spec: BTreeMap::new(),
            containers: HashMap::new(),
            journal: BTreeMap::new(),
            logs: BTreeMap::new(),
            pre_pulled: BTreeMap::new(),
            step_log: StepLog::default(),
            running: None,
            completed: None,
            gone_ns: None,
            told: None,
            purpose: None,
            members: BTreeMap::new(),
            cleaned: false,
            left_out: 0,
            files: BTreeMap::new(),
            record_bytes: 0,
            fact_bytes: 0,
            closed: false,
            closed_to_nested: false,
        }
    }

    /// Takes in a piece of evidence; whether it told anything new.
    pub fn take(&mut self, evidence: Evidence) -> bool {
        match evidence {
            Evidence::Spec(entry) => self.spec(entry),
            Evidence::Container(sighted) => self.sighted(*sighted),
            Evidence::Journal(heard) => self.heard(heard),
            Evidence::Runner { at_ns, said } => self.runner(at_ns, said),
            Evidence::Job(job) => self.told(job),
            Evidence::PrePulled(pull) => self.pre_pulled(pull),
            Evidence::Member { pod, purpose, piece } => self.member(pod, purpose, *piece),
            Evidence::Step(line) => {
                let room = MAX_RECORD_BYTES.saturating_sub(self.record_bytes);
                let taken = self.step_log.take(line, room);
                self.left_out += u64::from(taken == Taken::LeftOut);
                taken == Taken::News
            }
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

    /// Memory of what is held, bytes.
    pub fn bytes(&self) -> usize {
        self.record_bytes().saturating_add(self.fact_bytes).saturating_add(self.member_bytes())
    }

    /// Memory of the records of journals among it, and of what the runner's log says of steps.
    pub(super) fn record_bytes(&self) -> usize {
        self.record_bytes.saturating_add(self.step_log.bytes())
    }

    /// Pieces that found no room so far.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Gives up about so many bytes: records first, then what the spec lists last. Nothing new of the
    /// latter is taken from then on.
    pub fn shed(&mut self, bytes: usize) {
        let until = self.bytes().saturating_sub(bytes);
        while self.bytes() > until && self.shed_record() {}
        while self.bytes() > until && self.shed_member() {}
        while self.bytes() > until && self.step_log.shed() {
            self.left_out += 1;
        }
        while self.bytes() > until {
            let Some((_, entry)) = self.spec.pop_last() else { break };
            self.fact_bytes = self.fact_bytes.saturating_sub(weight::spec(&entry));
            self.left_out += 1;
            self.closed = true;
        }
        while self.bytes() > until {
            let Some(id) = self.containers.keys().next().cloned() else { break };
            if let Some(one) = self.containers.remove(&id) {
                self.fact_bytes = self.fact_bytes.saturating_sub(weight::container(&one));
            }
            self.left_out += 1;
            self.closed = true;
        }
    }

    /// The last record of the journal that has most of them, by bytes.
    fn shed_record(&mut self) -> bool {
        let largest = self.files.iter().max_by_key(|(_, bytes)| **bytes);
        let Some(file) = largest.map(|(file, _)| Arc::clone(file)) else { return false };
        let range = (Arc::clone(&file), 0)..=(Arc::clone(&file), u64::MAX);
        let last = self.journal.range(range).next_back().map(|(key, _)| key.clone());
        let record = last.and_then(|key| self.journal.remove(&key));
        let freed = record.map_or(0, |(_, record)| weight::record(&record));
        self.record_bytes = self.record_bytes.saturating_sub(freed);
        let left = self.files.get_mut(&file).map_or(0, |bytes| {
            *bytes = bytes.saturating_sub(freed);
            *bytes
        });
        if left == 0 {
            self.files.remove(&file);
        }
        self.left_out += 1;
        true
    }

    /// Places of all that is to outlive the agent.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let spec = self.spec.keys().cloned().map(Place::Spec);
        let over = self.containers.values().filter(|one| one.is_over());
        let journal = self.journal.keys().map(|(file, at)| Place::Journal(Arc::clone(file), *at));
        let others = [
            self.running.as_ref().map(|_| Place::Running),
            self.completed.as_ref().map(|_| Place::Completed),
            self.told.as_ref().map(|_| Place::Job),
            self.gone_ns.map(|_| Place::Gone),
        ];
        spec.chain(over.map(|one| Place::Container(one.id.clone())))
            .chain(journal)
            .chain(self.pre_pulled.keys().cloned().map(Place::PrePulled))
            .chain(self.step_log.places().map(|(at_ns, number)| Place::Step(at_ns, number)))
            .chain(others.into_iter().flatten())
            .chain(Box::new(self.member_places()) as Box<dyn Iterator<Item = Place> + '_>)
    }

    /// What is held at a place; nothing where it was given up meanwhile.
    pub(super) fn piece(&self, place: &Place) -> Option<Evidence> {
        Some(match place {
            Place::Spec(name) => Evidence::Spec(self.spec.get(name)?.clone()),
            Place::Container(id) => Evidence::Container(Box::new(self.containers.get(id)?.clone())),
            Place::Journal(file, at) => {
                let (heard_ns, record) = self.journal.get(&(Arc::clone(file), *at))?.clone();
                Evidence::Journal(Heard { file: Arc::clone(file), at: *at, heard_ns, record })
            }
            Place::PrePulled(name) => Evidence::PrePulled(self.pre_pulled.get(name)?.clone()),
            Place::Step(at_ns, number) => Evidence::Step(self.step_log.line((*at_ns, *number))?),
            Place::Running => {
                let (at_ns, name) = self.running.clone()?;
                Evidence::Runner { at_ns, said: Said::Running { name } }
            }
            Place::Completed => {
                let (at_ns, said) = self.completed.clone()?;
                Evidence::Runner { at_ns, said }
            }
            Place::Gone => Evidence::Gone { at_ns: self.gone_ns? },
            Place::Job => Evidence::Job(Arc::clone(self.told.as_ref()?)),
            Place::Member(uid, place) => self.member_piece(uid, place)?,
        })
    }

    /// When the pod's first container began, by kernel or runtime.
    pub(super) fn first_ns(&self) -> Option<u64> {
        self.containers.values().filter_map(|one| one.born_ns.or(one.started_ns)).min()
    }

    /// Who says something of the job first has said it.
    fn told(&mut self, job: Arc<JobEnv>) -> bool {
        let job = match &self.told {
            Some(known) => Arc::new(JobEnv::clone(known).or(&job)),
            None => job,
        };
        if self.told.as_ref() == Some(&job) {
            return false;
        }
        let before = self.told.as_ref().map_or(0, |known| weight::job(known));
        self.fact_bytes = self.fact_bytes.saturating_sub(before);
        self.fact_bytes = self.fact_bytes.saturating_add(weight::job(&job));
        self.told = Some(job);
        true
    }

    /// The first pull of a container's image counts: the agent asks once.
    fn pre_pulled(&mut self, pull: PrePull) -> bool {
        let bytes = weight::pre_pull(&pull);
        if self.pre_pulled.contains_key(&pull.container) {
            return false;
        }
        if self.pre_pulled.len() >= MAX_CONTAINERS || !self.has_room(bytes) {
            return self.close();
        }
        self.fact_bytes = self.fact_bytes.saturating_add(bytes);
        self.pre_pulled.insert(Arc::clone(&pull.container), pull);
        true
    }

    fn spec(&mut self, entry: SpecEntry) -> bool {
        let bytes = weight::spec(&entry);
        let room = self.spec.len() < MAX_CONTAINERS && self.has_room(bytes);
        match self.spec.get_mut(&entry.name) {
            Some(known) => {
                // An entry never changes in the API; this decides for the fuller one.
                let fuller =
                    entry.job > known.job || (entry.job == known.job && entry.image > known.image);
                if fuller {
                    self.fact_bytes = self.fact_bytes.saturating_sub(weight::spec(known));
                    self.fact_bytes = self.fact_bytes.saturating_add(bytes);
                    *known = entry;
                }
                fuller
            }
            None if room => {
                self.fact_bytes = self.fact_bytes.saturating_add(bytes);
                self.spec.insert(entry.name.clone(), entry);
                true
            }
            None => self.close(),
        }
    }

    fn sighted(&mut self, sighted: Sighted) -> bool {
        let bytes = weight::container(&sighted);
        let is_nested = sighted.container_type.is_nested();
        let room = self.containers.len() < MAX_CONTAINERS
            && self.has_room(bytes)
            && !(is_nested && self.is_full_of_nested(bytes));
        match self.containers.get_mut(&sighted.id) {
            Some(known) => {
                let before = known.clone();
                known.merge(sighted);
                self.fact_bytes = self.fact_bytes.saturating_sub(weight::container(&before));
                self.fact_bytes = self.fact_bytes.saturating_add(weight::container(known));
                before != *known
            }
            None if room => {
                self.fact_bytes = self.fact_bytes.saturating_add(bytes);
                self.containers.insert(sighted.id.clone(), sighted);
                true
            }
            None if is_nested => {
                self.left_out += u64::from(!std::mem::replace(&mut self.closed_to_nested, true));
                false
            }
            None => self.close(),
        }
    }

    /// Whether nested containers have their share. They leave half of the memory to others.
    fn is_full_of_nested(&self, bytes: usize) -> bool {
        let nested = self.containers.values().filter(|one| one.container_type.is_nested());
        self.closed_to_nested
            || nested.count() >= MAX_NESTED
            || self.fact_bytes.saturating_add(bytes) > MAX_FACT_BYTES / 2
    }

    /// Whether so much of containers and spec may come.
    fn has_room(&self, bytes: usize) -> bool {
        !self.closed && self.fact_bytes.saturating_add(bytes) <= MAX_FACT_BYTES
    }

    /// A container or an entry found no room. It is shown again at every look, and counted once.
    pub(super) fn close(&mut self) -> bool {
        self.left_out += u64::from(!std::mem::replace(&mut self.closed, true));
        false
    }

    fn heard(&mut self, heard: Heard) -> bool {
        let Heard { file, at, heard_ns, record } = heard;
        let key = (file, at);
        if let Some((known_ns, _)) = self.journal.get_mut(&key) {
            *known_ns = heard_ns.min(*known_ns);
            return false;
        }
        let bytes = weight::record(&record);
        // The runner's log has what room the journals leave.
        let told = self.record_bytes.saturating_add(bytes).min(MAX_RECORD_BYTES);
        while told.saturating_add(self.step_log.bytes()) > MAX_RECORD_BYTES && self.step_log.shed()
        {
            self.left_out += 1;
        }
        while self.journal.len() >= MAX_RECORDS
            || self.record_bytes.saturating_add(bytes) > MAX_RECORD_BYTES
        {
            let own = self.files.get(&key.0).copied().unwrap_or_default();
            let largest = self.files.values().copied().max().unwrap_or_default();
            if largest <= own.saturating_add(bytes) {
                self.left_out += 1;
                return false;
            }
            self.shed_record();
        }
        self.cleaned |=
            &*key.0 == HOOK && matches!(record, Record::HookPhase { phase: Phase::CleanupJob, .. });
        self.record_bytes = self.record_bytes.saturating_add(bytes);
        let of_file = self.files.entry(Arc::clone(&key.0)).or_default();
        *of_file = of_file.saturating_add(bytes);
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
