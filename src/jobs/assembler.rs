//! Follows the jobs of a node over time: takes news, says when a job begins, when it is over and
//! complete enough to be sent, and which of its spans. No I/O; time is handed in.

mod ahead;
mod followed;
mod members;
mod snapshots;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ephemon_contract::trace::SpanId;
use ephemon_discovery::inventory::{RunnerFacts, SpecEntry};
use ephemon_journal::Entry;
use ephemon_model::{PodRef, PodUid, PrePull};

use super::evidence::{Evidence, Heard, Sighted, StepLine};
use super::job::{Job, LogCount};
use super::memory::Memory;
use super::runner::{self, Said};
use ahead::ahead;
use followed::Followed;
use members::MemberOf;

/// Most pods followed at once: a kubelet runs 110 unless told otherwise. One more is counted as
/// dropped, and has no trace.
pub const MAX_JOBS: usize = 1024;
/// Most memory of the evidence about all pods together, bytes. Beyond it the pod that has most gives
/// up of its own: one that has less than an equal share keeps all.
pub const MAX_EVIDENCE_BYTES: usize = 8 * 1024 * 1024;
/// Given up at a time, so that the search for who has most is paid rarely.
const SHED_BYTES: usize = 64 * 1024;
/// Most parts of jobs in what one turn gives out; further jobs have their turn with the next.
pub const MAX_PARTS_A_TURN: usize = 4096;
/// From the end of a job until it is sent: the hook's last record and the runtime's word on exits
/// come after the end.
const SETTLING_NS: u64 = 1_000_000_000;
/// No word is waited for longer than this.
const PATIENCE_NS: u64 = 10_000_000_000;
/// A job under way is put together anew at most this often.
const REVIEW_NS: u64 = 1_000_000_000;

/// When spans go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TraceMode {
    /// All of a job's at its end.
    #[default]
    Whole,
    /// Each when it ends, the job's own at last.
    Eager,
}

/// How jobs are followed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// When spans go out.
    pub mode: TraceMode,
    /// Whether specs come, by an API server: then the hook's containers say which job theirs is.
    pub has_specs: bool,
}

/// A pod as node and API know it now.
#[derive(Debug, Clone, PartialEq)]
pub struct PodSnapshot {
    /// The pod.
    pub pod: Arc<PodRef>,
    /// Whether it is there: neither deleted nor its cgroup gone.
    pub there: bool,
    /// Its containers by the spec.
    pub spec: Vec<SpecEntry>,
    /// Its containers by the node.
    pub containers: Vec<Sighted>,
    /// The runner that it belongs to.
    pub runner: RunnerFacts,
}

/// What a turn came to.
#[derive(Debug, Default)]
pub struct Turn {
    /// Jobs seen for the first time.
    pub started: Vec<Arc<Job>>,
    /// What is to be sent.
    pub dispatches: Vec<Dispatch>,
    /// Pods for which there was no room.
    pub refused: u64,
    /// Pods of whose evidence some found no room since the last turn, and how many pieces.
    pub left_out: Vec<(Arc<PodRef>, u64)>,
    /// Jobs as they were found at this turn, with their parts.
    pub reviewed: Vec<Arc<Job>>,
    /// Pods that are done with.
    pub over: Vec<PodUid>,
}

/// Spans to be sent.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// The job they are of.
    pub job: Arc<Job>,
    /// Which of them.
    pub which: Which,
    /// Whether the job is over and these are the last.
    pub last: bool,
}

/// Some of a job's spans. A container's stages go with the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// These.
    Only(HashSet<SpanId>),
    /// All but these.
    Except(HashSet<SpanId>),
}

/// Follows the jobs of a node.
#[derive(Debug)]
pub struct Assembler {
    options: Options,
    memory: Memory,
    pods: HashMap<PodUid, Followed>,
    /// Pods whose evidence is part of another's job.
    members: HashMap<PodUid, MemberOf>,
    /// Pods that were followed for themselves before they joined another.
    given_up: Vec<PodUid>,
    refused: HashSet<PodUid>,
    newly_refused: u64,
    /// Memory of all evidence.
    bytes: usize,
}

// === impl Which ===

impl Which {
    /// Whether a span is among them.
    pub fn has(&self, span: SpanId) -> bool {
        match self {
            Self::All => true,
            Self::Only(spans) => spans.contains(&span),
            Self::Except(spans) => !spans.contains(&span),
        }
    }
}

// === impl Assembler ===

impl Assembler {
    /// Goes on from what an earlier agent remembered.
    pub fn new(options: Options, memory: Memory) -> Self {
        Self {
            options,
            memory,
            pods: HashMap::new(),
            members: HashMap::new(),
            given_up: Vec::new(),
            refused: HashSet::new(),
            newly_refused: 0,
            bytes: 0,
        }
    }

    /// What is to be saved after each turn that dispatched something.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Pods whose journals are of interest.
    pub fn wanted(&self) -> Vec<PodUid> {
        self.pods.keys().cloned().collect()
    }

    /// Whether a job is about to be sent, or parts of one: by time alone.
    pub fn is_waiting(&self) -> bool {
        let is_eager = self.options.mode == TraceMode::Eager;
        let waits = |pod: &Followed| pod.closing() || (is_eager && pod.job.is_some());
        self.pods.values().any(waits)
    }

    /// An earlier agent has followed this pod, whose job is under way. Whether it is still there is
    /// for the snapshots to say.
    pub fn recall(&mut self, pod: &Arc<PodRef>) {
        let sent = self.memory.sent(&pod.uid);
        self.pods.insert(pod.uid.clone(), Followed::recalled(pod, sent));
    }

    /// Takes in a piece of what the earlier agent had learnt of it.
    pub fn recall_piece(&mut self, pod: &PodUid, piece: Evidence) {
        if let Evidence::Member { pod: member, .. } = &piece {
            self.recall_member(pod, &member.uid);
        }
        self.with(pod, |followed| followed.recall(piece));
    }

    /// Tells what was learnt of jobs since the last call, so far as the node may not show it again.
    pub fn learnt(&mut self, mut tell: impl FnMut(&Arc<PodRef>, &Evidence)) {
        for followed in self.pods.values_mut() {
            for place in std::mem::take(&mut followed.news) {
                if let Some(piece) = followed.job_evidence.piece(&place) {
                    tell(followed.job_evidence.pod(), &piece);
                }
            }
        }
    }

    /// Lets one pod take in evidence, and holds the bound for all.
    fn with(&mut self, uid: &PodUid, take: impl FnOnce(&mut Followed)) {
        let Some(followed) = self.pods.get_mut(uid) else { return };
        let before = followed.job_evidence.bytes();
        take(followed);
        let after = followed.job_evidence.bytes();
        self.bytes = self.bytes.saturating_sub(before).saturating_add(after);
        while self.bytes > MAX_EVIDENCE_BYTES {
            let largest = self.pods.values_mut().max_by_key(|one| one.job_evidence.bytes());
            let Some(largest) = largest else { return };
            let before = largest.job_evidence.bytes();
            largest.job_evidence.shed(SHED_BYTES);
            largest.changed = true;
            let freed = before.saturating_sub(largest.job_evidence.bytes());
            self.bytes = self.bytes.saturating_sub(freed);
            if freed == 0 {
                return;
            }
        }
    }

    /// Whether a pod's job, of which an earlier agent has left evidence, is not sent. One on a runner
    /// without the hook is counted at its end, and is none that was met before.
    pub fn is_under_way(&self, uid: &PodUid) -> bool {
        !self.memory.is_done(uid)
    }

    /// A record of a journal was read.
    pub fn journal(&mut self, entry: Entry, now_ns: u64) {
        let Entry { pod, file, at, record } = entry;
        let heard = Heard { file, at, heard_ns: now_ns, record };
        self.with(&pod, |followed| followed.take(Evidence::Journal(heard)));
    }

    /// A line of the runner's log; most say nothing of a job. Returns whether it says that one begins.
    pub fn runner_line(&mut self, pod: &PodUid, at_ns: u64, line: &str) -> bool {
        let Some(said) = runner::parse(line) else { return false };
        let begins = matches!(said, Said::Running { .. });
        if let Some(followed) = self.pods.get_mut(pod) {
            followed.take(Evidence::Runner { at_ns, said });
        }
        begins
    }

    /// A line of the runner's log about a step.
    pub fn step_line(&mut self, pod: &PodUid, line: StepLine) {
        self.with(pod, |followed| followed.take(Evidence::Step(line)));
    }

    /// An image was pulled ahead for a container of the pod.
    pub fn pre_pulled(&mut self, pod: &PodUid, pull: PrePull) {
        self.with(pod, |followed| followed.take(Evidence::PrePulled(pull)));
    }

    /// Lines and bytes of a container's log so far.
    pub fn logs(&mut self, pod: &PodUid, container: &str, count: LogCount) {
        let piece = Evidence::Log { container: container.into(), count };
        if let Some(followed) = self.pods.get_mut(pod) {
            followed.take(piece);
        } else if let Some(of) = self.members.get(pod)
            && let Some(followed) = self.pods.get_mut(&of.runner)
            && let Some(member) = followed.job_evidence.members.get_mut(pod)
        {
            followed.changed |= member.take(piece);
        }
    }

    /// Memory of the evidence about one pod, and of all.
    #[cfg(test)]
    pub(super) fn evidence_bytes(&self, pod: &PodUid) -> usize {
        self.pods.get(pod).map_or(0, |followed| followed.job_evidence.bytes())
    }

    #[cfg(test)]
    pub(super) fn all_bytes(&self) -> usize {
        self.bytes
    }

    /// Jobs under way, as of their last review, without their parts.
    pub fn living(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.pods.values().filter_map(|followed| followed.job.as_ref())
    }

    /// Looks at everything that has changed or is due.
    pub fn turn(&mut self, now_ns: u64) -> Turn {
        let mut turn = Turn { refused: std::mem::take(&mut self.newly_refused), ..Turn::default() };
        let mut done = Vec::new();
        let mut parts = 0_usize;
        for (uid, followed) in &mut self.pods {
            // An earlier agent may have been killed when it had counted the job and kept nothing yet.
            if !followed.kept && self.memory.is_met(uid) {
                followed.keep();
            }
            let left_out = followed.newly_left_out();
            if left_out > 0 {
                turn.left_out.push((Arc::clone(followed.job_evidence.pod()), left_out));
            }
            // A clock that was set back must not put everything off.
            let due = now_ns.saturating_sub(followed.reviewed_ns) >= REVIEW_NS
                || now_ns < followed.reviewed_ns;
            let begun = followed.job.is_some();
            let ripe = followed.closing() && followed.is_ripe(now_ns);
            let news = followed.changed && (due || !begun);
            // Parts settle by time alone.
            let settling = self.options.mode == TraceMode::Eager && begun && due;
            if parts >= MAX_PARTS_A_TURN || (!ripe && !news && !settling) {
                continue;
            }
            followed.reviewed_ns = now_ns;
            followed.changed = false;
            let closed = ripe.then(|| followed.over_ns.unwrap_or(now_ns));
            let Some(job) = followed.job_evidence.job(closed).map(Arc::new) else {
                if ripe {
                    done.push(uid.clone());
                }
                continue;
            };
            let outline = Arc::new(job.outline());
            followed.job = Some(Arc::clone(&outline));
            // What is known of it outlives this agent, also before it is known which job it is.
            if !followed.kept {
                followed.keep();
            }
            let is_named = followed.is_named(&job, self.options.has_specs);
            if !ripe && !is_named {
                continue;
            }
            if !self.memory.is_met(uid) {
                self.memory.meet(uid, now_ns);
                turn.started.push(outline);
            }
            turn.reviewed.push(Arc::clone(&job));
            if ripe {
                let sent = std::mem::take(&mut followed.sent);
                let which = if sent.is_empty() { Which::All } else { Which::Except(sent) };
                parts = parts.saturating_add(job.parts());
                turn.dispatches.push(Dispatch { job, which, last: true });
                self.memory.finish(uid);
                done.push(uid.clone());
            } else if self.options.mode == TraceMode::Eager {
                let spans = ahead(&job, &followed.sent, now_ns);
                if !spans.is_empty() {
                    followed.sent.extend(&spans);
                    parts = parts.saturating_add(job.parts());
                    self.memory.send(uid, spans.iter());
                    let which = Which::Only(spans);
                    turn.dispatches.push(Dispatch { job, which, last: false });
                }
            }
        }
        for uid in &done {
            let gone = self.pods.remove(uid).map_or(0, |followed| followed.job_evidence.bytes());
            self.bytes = self.bytes.saturating_sub(gone);
            self.part(uid, now_ns);
        }
        turn.over = done;
        turn.over.append(&mut self.given_up);
        turn
    }
}

#[cfg(test)]
mod tests;
