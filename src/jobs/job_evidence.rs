//! All evidence about one pod, merged as it comes, within bounds. Pure.
//!
//! Every piece has a place of its own (a container's id, a record's file and offset), and two words
//! about one thing are weighed by an order that does not know who came first.
//!
//! What is held has a bound in bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ephemon_contract::{Phase, Record};
use ephemon_discovery::inventory::SpecEntry;
use ephemon_discovery::pod_view::Purpose;
use ephemon_journal::HOOK;
use ephemon_model::{ContainerId, JobEnv, PodRef, PodUid, PrePull};

use super::evidence::{Evidence, Heard, Place, Sighted, weight};
use super::job::LogCount;
use super::records::{MAX_RECORD_BYTES, Records};
use super::runner::Said;
use super::step_log::{StepLog, Taken};

/// Most containers held of one pod, and most entries of its spec.
pub const MAX_CONTAINERS: usize = 1024;
/// Most of them that are nested, of which a job makes as many as it likes.
const MAX_NESTED: usize = 256;
/// Most memory of one pod's containers and spec, bytes.
pub const MAX_FACT_BYTES: usize = 768 * 1024;

/// The evidence about one pod.
#[derive(Debug, Clone)]
pub struct JobEvidence {
    pub(super) pod: Arc<PodRef>,
    pub(super) spec: BTreeMap<Arc<str>, SpecEntry>,
    pub(super) containers: HashMap<ContainerId, Sighted>,
    /// What hook and init have written.
    pub(super) records: Records,
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
    /// Other pieces than records that found no room.
    left_out: u64,
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
            records: Records::default(),
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
                let room = MAX_RECORD_BYTES.saturating_sub(self.records.bytes());
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
        self.records.bytes().saturating_add(self.step_log.bytes())
    }

    /// Pieces that found no room so far.
    pub fn left_out(&self) -> u64 {
        self.left_out.saturating_add(self.records.left_out())
    }

    /// Gives up about so many bytes: records first, then what the spec lists last. Nothing new of the
    /// latter is taken from then on.
    pub fn shed(&mut self, bytes: usize) {
        let until = self.bytes().saturating_sub(bytes);
        while self.bytes() > until && self.records.shed() {}
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

    /// Places of all that is to outlive the agent.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let spec = self.spec.keys().cloned().map(Place::Spec);
        let over = self.containers.values().filter(|one| one.is_over());
        let records = self.records.places();
        let journal = records.map(|(file, at)| Place::Journal(Arc::clone(file), at));
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
            Place::Journal(file, at) => Evidence::Journal(self.records.get(file, *at)?),
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
        if self.records.knows(&heard) {
            return false;
        }
        // The runner's log has what room the journals leave.
        let bytes = weight::record(&heard.record);
        let told = self.records.bytes().saturating_add(bytes).min(MAX_RECORD_BYTES);
        while told.saturating_add(self.step_log.bytes()) > MAX_RECORD_BYTES && self.step_log.shed()
        {
            self.left_out += 1;
        }
        let cleans = &*heard.file == HOOK
            && matches!(heard.record, Record::HookPhase { phase: Phase::CleanupJob, .. });
        let is_taken = self.records.take(heard);
        self.cleaned |= is_taken && cleans;
        is_taken
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
