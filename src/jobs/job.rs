//! A job's record: what it was, when each part of it ran, how it ended, what it used. Plain values.

use std::sync::Arc;

use ephemon_contract::trace::{SpanId, Traceparent};
use ephemon_contract::{Phase as Call, StepKind};
use ephemon_model::{ContainerId, ContainerType, PodRef, Quality};
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::time::Window;

/// One job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Which job.
    pub identity: Identity,
    /// The pod it ran in.
    pub pod: Arc<PodRef>,
    /// Its trace and its own span.
    pub span: Traceparent,
    /// From the first sign of it to the last.
    pub window: Window,
    /// How it ended.
    pub outcome: Outcome,
    /// Who said so.
    pub judged_by: ResultSource,
    /// `prepare_job` and `cleanup_job`.
    pub phases: Vec<Phase>,
    /// Its steps, by their beginnings.
    pub steps: Vec<Step>,
    /// Its containers, by their beginnings.
    pub containers: Vec<Container>,
    /// All its containers together.
    pub figures: Figures,
    /// Parts that found no room in the record.
    pub left_out: u64,
}

/// A call of the hook that is no step.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// Which.
    pub call: Call,
    /// Its span.
    pub span_id: SpanId,
    /// When.
    pub window: Window,
    /// How it ended.
    pub outcome: Outcome,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// `GITHUB_ACTION`, or what init was told.
    pub name: Arc<str>,
    /// What it is.
    pub kind: StepKind,
    /// Its span.
    pub span_id: SpanId,
    /// The container it ran in, where known.
    pub container: Option<Arc<str>>,
    /// From the hook's call to its end; of the process alone where the hook said nothing.
    pub window: Window,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub figures: Figures,
    /// How far the figures are proven.
    pub proof: Proof,
    /// Highest resident set of one of its processes, bytes, by its own journal.
    pub max_rss_bytes: Option<u64>,
    /// Whether what is known of it is not going to change.
    pub settled: bool,
}

/// A container.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// Its name in the pod.
    pub name: Arc<str>,
    /// The runtime's id, where known.
    pub id: Option<ContainerId>,
    /// Its place in the spec.
    pub container_type: ContainerType,
    /// What it is for.
    pub role: Role,
    /// Its image as the spec names it.
    pub image: Option<Arc<str>>,
    /// Its span.
    pub span_id: SpanId,
    /// From the request for it, where known, to its end.
    pub window: Window,
    /// When its cgroup was made, nanoseconds since 1970.
    pub born_ns: Option<u64>,
    /// When its own program ran.
    pub started_ns: Option<u64>,
    /// The pull of its image, where the hook was told of one.
    pub pull: Option<Pull>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub figures: Figures,
    /// How far the figures are proven.
    pub proof: Proof,
    /// Lines and bytes of its log, where they were counted.
    pub log: Option<LogCount>,
    /// Whether what is known of it is not going to change.
    pub settled: bool,
}

/// The pull of a container's image: between the request for the container and its cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pull {
    /// When it began, nanoseconds since 1970.
    pub start_ns: u64,
    /// When it was done.
    pub end_ns: u64,
    /// The image's size, where it was told.
    pub bytes: Option<u64>,
}

/// What a log came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogCount {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The job's own: script steps run in it.
    Job,
    /// A service.
    Service,
    /// A container action.
    Step,
    /// The runner's pod's own containers.
    Runner,
    /// An ephemeral container of somebody else, as `kubectl debug` makes.
    Other,
}

/// What something used. An absent figure is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// CPU time, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Time throttled by a CPU quota, nanoseconds.
    pub throttled_ns: Option<u64>,
    /// Highest memory use, bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Memory in use over time, byte milliseconds.
    pub memory_byte_ms: Option<u64>,
    /// Processes that the OOM killer ended.
    pub oom_kills: Option<u64>,
    /// Bytes read from block devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub written_bytes: Option<u64>,
}

/// How far figures are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proof {
    /// The kernel's own, of this quality.
    Kernel(Quality),
    /// The kernel's own, of something that still runs.
    Living,
    /// The journal's, and the kernel's figures of the container agree.
    Confirmed,
    /// The journal claimed more than the kernel counted: cut down to that.
    Clamped,
    /// The journal's alone: the kernel's have not been seen.
    Unconfirmed,
    /// There are none.
    None,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// In the conventions' words.
    pub result: JobResult,
    /// What kind of failure or error; never of a success.
    pub fault: Option<Fault>,
    /// Exit code, where there was one.
    pub exit_code: Option<i32>,
}

/// `cicd.pipeline.task.run.result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobResult {
    /// It did what it was to do.
    Success,
    /// Its own command failed.
    Failure,
    /// What it ran on failed.
    Error,
    /// It took too long.
    Timeout,
    /// Somebody ended it.
    Cancellation,
    /// It did not run.
    Skip,
}

/// `error.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// A command ended with another code than 0.
    ExitCode,
    /// The OOM killer ended it.
    OomKilled,
    /// The runtime could not start it.
    Start,
    /// The hook failed.
    Hook,
    /// It was gone, and nobody said how.
    Lost,
    /// Something else.
    Other,
}

/// Whose word a job's result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResultSource {
    /// The runner's own log.
    Runner,
    /// Its steps and containers: the runner may have let one of them fail.
    Parts,
}

// === impl Outcome ===

impl Outcome {
    /// Nothing went wrong.
    pub const SUCCESS: Self = Self { result: JobResult::Success, fault: None, exit_code: None };

    /// By an exit code.
    pub fn of_code(code: i32) -> Self {
        let exit_code = Some(code);
        match code {
            0 => Self { exit_code, ..Self::SUCCESS },
            _ => Self { result: JobResult::Failure, fault: Some(Fault::ExitCode), exit_code },
        }
    }

    /// What it ran on failed.
    pub fn error(fault: Fault, exit_code: Option<i32>) -> Self {
        Self { result: JobResult::Error, fault: Some(fault), exit_code }
    }

    /// Somebody ended it.
    pub fn cancelled(exit_code: Option<i32>) -> Self {
        Self { result: JobResult::Cancellation, fault: None, exit_code }
    }
}

// === impl JobResult, Fault, Role, ResultSource, Proof ===

impl JobResult {
    /// Every result.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::Failure, Self::Error, Self::Timeout, Self::Cancellation, Self::Skip];

    /// The conventions' word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Cancellation => "cancellation",
            Self::Skip => "skip",
        }
    }
}

impl Fault {
    /// The value of `error.type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExitCode => "exit_code",
            Self::OomKilled => "OOMKilled",
            Self::Start => "StartError",
            Self::Hook => "hook",
            Self::Lost => "lost",
            Self::Other => "_OTHER",
        }
    }
}

impl Role {
    /// For an attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Service => "service",
            Self::Step => "step",
            Self::Runner => "runner",
            Self::Other => "other",
        }
    }
}

impl ResultSource {
    /// For an attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runner => "runner",
            Self::Parts => "parts",
        }
    }
}

impl Proof {
    /// For an attribute; nothing where there are no figures.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Kernel(quality) => Some(quality.as_str()),
            Self::Living => Some("living"),
            Self::Confirmed => Some("confirmed"),
            Self::Clamped => Some("clamped"),
            Self::Unconfirmed => Some("unconfirmed"),
            Self::None => None,
        }
    }
}

// === impl Figures ===

impl Figures {
    /// Both together: sums, and the higher of two peaks.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        Self {
            cpu_ns: sum(self.cpu_ns, other.cpu_ns),
            throttled_ns: sum(self.throttled_ns, other.throttled_ns),
            memory_peak_bytes: self.memory_peak_bytes.max(other.memory_peak_bytes),
            memory_byte_ms: sum(self.memory_byte_ms, other.memory_byte_ms),
            oom_kills: sum(self.oom_kills, other.oom_kills),
            read_bytes: sum(self.read_bytes, other.read_bytes),
            written_bytes: sum(self.written_bytes, other.written_bytes),
        }
    }
}

// === impl Job ===

impl Job {
    /// The job itself, without its parts: what stays of one that is over, and is shown of one that
    /// lives.
    #[must_use]
    pub fn outline(&self) -> Self {
        Self {
            identity: self.identity.clone(),
            pod: Arc::clone(&self.pod),
            phases: Vec::new(),
            steps: Vec::new(),
            containers: Vec::new(),
            ..*self
        }
    }

    /// How many parts it has.
    pub fn parts(&self) -> usize {
        self.phases.len().saturating_add(self.steps.len()).saturating_add(self.containers.len())
    }
}
