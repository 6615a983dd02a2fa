//! What can be known of a job's pod, one piece at a time. Plain data; told in any order and any
//! number of times, the same pieces make the same record.

pub(super) mod weight;

use std::sync::Arc;

use ephemon_contract::Record;
use ephemon_discovery::inventory::SpecEntry;
use ephemon_discovery::pod_view::Purpose;
use ephemon_model::{ContainerId, ContainerType, Exit, JobEnv, PodRef, PodUid, PrePull, Quality};

use super::figures::Figures;
use super::job::LogCount;
use super::runner::Said;
use super::runner_step::StepEvent;

/// One piece.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// A container as the pod's spec lists it.
    Spec(SpecEntry),
    /// A container as node, runtime and API know it by now.
    Container(Box<Sighted>),
    /// A record of a journal.
    Journal(Heard),
    /// A line of the runner's log that says something of the job.
    Runner {
        /// When the line was written, nanoseconds since 1970.
        at_ns: u64,
        /// What it says.
        said: Said,
    },
    /// The job, by the controller of the runner or the pod's labels.
    Job(Arc<JobEnv>),
    /// A piece about a pod that the runner has created for its job.
    Member {
        /// That pod.
        pod: Arc<PodRef>,
        /// What it was created for.
        purpose: Purpose,
        /// The piece.
        piece: Box<Evidence>,
    },
    /// A line of the runner's log that says something of a step.
    Step(StepLine),
    /// Lines and bytes of a container's log so far.
    Log {
        /// The container's name.
        container: Arc<str>,
        /// How much.
        count: LogCount,
    },
    /// An image that the agent had pulled before the kubelet asked for it.
    PrePulled(PrePull),
    /// The pod is gone from the node.
    Gone {
        /// When that was seen.
        at_ns: u64,
    },
}

/// A record of a journal and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The file: a container's name, or the hook's.
    pub file: Arc<str>,
    /// Where in the file.
    pub at: u64,
    /// When it was read, nanoseconds since 1970: nothing in it can have happened later.
    pub heard_ns: u64,
    /// The record.
    pub record: Record,
}

/// A line of the runner's log about a step, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepLine {
    /// When it was written, by the runtime's stamp, nanoseconds since 1970.
    pub at_ns: u64,
    /// Its number in the log, the same after a restart: it orders lines of one time.
    pub number: u64,
    /// What it says.
    pub event: StepEvent,
    /// What the runner's container had used by then; `None` where the line was not read in time.
    pub reading: Option<StepReading>,
}

/// Counters of a container at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepReading {
    /// When they were read, nanoseconds since 1970.
    pub at_ns: u64,
    /// The counters.
    pub figures: Figures,
}

/// A container. Figures of a later reading replace those of an earlier one.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighted {
    /// The runtime's id.
    pub id: ContainerId,
    /// Its name in the pod.
    pub name: Arc<str>,
    /// Its place in the spec.
    pub container_type: ContainerType,
    /// Its image.
    pub image: Option<Arc<str>>,
    /// When its cgroup was made, nanoseconds since 1970.
    pub born_ns: Option<u64>,
    /// When its last process was gone, by the kernel.
    pub ended_ns: Option<u64>,
    /// When it started, by runtime or API.
    pub started_ns: Option<u64>,
    /// When it ended, by runtime or API.
    pub finished_ns: Option<u64>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// What it used, and when that was read; absent where the kernel was not seen.
    pub reading: Option<Reading>,
}

/// Figures of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When they were read.
    pub at_ns: u64,
    /// The figures.
    pub figures: Figures,
    /// How sure they are, once they are final.
    pub quality: Option<Quality>,
}

/// A piece's place in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Spec(Arc<str>),
    Container(ContainerId),
    Journal(Arc<str>, u64),
    PrePulled(Arc<str>),
    Step(u64, u64),
    Running,
    Completed,
    Job,
    Member(PodUid, Box<Place>),
    Gone,
}

// === impl Evidence ===

impl Evidence {
    /// Its place in the evidence, if it is to outlive the agent: a living container is looked at again,
    /// and its log is counted on.
    pub(super) fn lasting_place(&self) -> Option<Place> {
        Some(match self {
            Self::Spec(entry) => Place::Spec(Arc::clone(&entry.name)),
            Self::Container(sighted) => {
                Place::Container(sighted.is_over().then(|| sighted.id.clone())?)
            }
            Self::Journal(heard) => Place::Journal(Arc::clone(&heard.file), heard.at),
            Self::PrePulled(pull) => Place::PrePulled(Arc::clone(&pull.container)),
            Self::Step(line) => Place::Step(line.at_ns, line.number),
            Self::Runner { said: Said::Running { .. }, .. } => Place::Running,
            Self::Runner { said: Said::Completed { .. }, .. } => Place::Completed,
            Self::Gone { .. } => Place::Gone,
            Self::Job(_) => Place::Job,
            Self::Member { pod, piece, .. } => {
                Place::Member(pod.uid.clone(), Box::new(piece.lasting_place()?))
            }
            Self::Log { .. } => return None,
        })
    }
}

// === impl Sighted ===

impl Sighted {
    /// Whether anybody says that it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.ended_ns.is_some() || self.finished_ns.is_some() || self.exit.is_some()
    }

    /// Takes in what else is known of the same container.
    pub(super) fn merge(&mut self, other: Self) {
        self.name = std::cmp::min(&self.name, &other.name).clone();
        // Of several answers the more telling one: not knowing is the last of the types.
        self.container_type = self.container_type.min(other.container_type);
        self.image = better(self.image.take(), other.image);
        self.born_ns = earlier(self.born_ns, other.born_ns);
        self.ended_ns = earlier(self.ended_ns, other.ended_ns);
        self.started_ns = precise(self.started_ns, other.started_ns);
        self.finished_ns = precise(self.finished_ns, other.finished_ns);
        let rank = |exit: &Exit| (!exit.reason.is_empty(), exit.reason.clone(), exit.code);
        self.exit = match (self.exit.take(), other.exit) {
            (Some(a), Some(b)) => Some(if rank(&b) > rank(&a) { b } else { a }),
            (a, b) => a.or(b),
        };
        self.reading = match (self.reading, other.reading) {
            (Some(a), Some(b)) => Some(if b.rank() > a.rank() { b } else { a }),
            (a, b) => a.or(b),
        };
    }
}

impl Reading {
    /// Finals before all else, then the later; the rest only decides ties.
    fn rank(&self) -> (bool, u64, [Option<u64>; 7]) {
        let Figures {
            cpu_ns,
            throttled_ns,
            memory_peak_bytes,
            memory_byte_ms,
            oom_kills,
            read_bytes,
            written_bytes,
        } = self.figures;
        let figures = [
            cpu_ns,
            memory_byte_ms,
            throttled_ns,
            memory_peak_bytes,
            oom_kills,
            read_bytes,
            written_bytes,
        ];
        (self.quality.is_some(), self.at_ns, figures)
    }
}

fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The API's times are whole seconds, cut off: within one second the later is the more precise.
fn precise(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) if a / 1_000_000_000 == b / 1_000_000_000 => Some(a.max(b)),
        (a, b) => earlier(a, b),
    }
}

fn better<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    a.max(b)
}
