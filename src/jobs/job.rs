//! A job's record: what it was, when each part of it ran, how it ended, what it used. Plain values.

use std::borrow::Cow;
use std::sync::Arc;

use ephemon_contract::trace::{SpanId, Traceparent};
use ephemon_contract::{Phase as Call, StepKind};
use ephemon_model::{ContainerId, ContainerType, PodRef, Quality};

use super::figures::Figures;
use super::identity::Identity;
use super::outcome::{Outcome, ResultSource};
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
    /// Its containers, by their beginnings, and the pod's others that were there in its time.
    pub containers: Vec<Container>,
    /// When the pod and its runner began, of a runner's pod.
    pub runner_start: Option<RunnerStart>,
    /// What its containers used together, and what the pod used beside them.
    pub totals: Totals,
    /// Whether it is only a pod of a job whose runner is on another node: the agent there counts the
    /// job, this one what the pod uses.
    pub is_part: bool,
    /// Parts that found no room in the record.
    pub left_out: u64,
}

/// How a runner came to its job; nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerStart {
    /// From the first of the pod's containers, its sandbox where that was seen, to the runner's own:
    /// images, init containers and sidecars.
    pub startup_ns: u64,
    /// From the runner's start to its job's.
    pub idle_ns: u64,
}

/// A job's figures with what they include.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// All containers of `included` together: sums, and the highest of their peaks.
    pub figures: Figures,
    /// The roles of the containers in `figures`: those of the job, or the runner's where the job had
    /// none of its own.
    pub included: Vec<Role>,
    /// The runner's own containers and sidecars, from their start on: their wait for the job is in it.
    /// Nothing where they are in `figures`.
    pub runner: Figures,
    /// Init containers of the pod, those among them that were over before the job began.
    pub init: Figures,
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
    /// `GITHUB_ACTION`, or what init was told; by the runner's log, the name that it shows.
    pub name: Arc<str>,
    /// Its name as GitHub shows it, where the hook was told.
    pub display_name: Option<Arc<str>>,
    /// Who tells of it.
    pub source: StepSource,
    /// What it is; `None` where nobody says.
    pub kind: Option<StepKind>,
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
    /// Its pod, where that is not the job's: one that the runner has created.
    pub pod: Option<Arc<PodRef>>,
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
    /// When a step took it, of one that was made ahead.
    pub taken_ns: Option<u64>,
    /// The pull of its image, where the hook was told of one or the agent had it pulled.
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

/// The pull of a container's image: before its cgroup, and after the request for the container unless
/// the agent pulled it ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pull {
    /// When it began, nanoseconds since 1970.
    pub start_ns: u64,
    /// When it was done.
    pub end_ns: u64,
    /// The image's size, where it was told.
    pub bytes: Option<u64>,
    /// Whether the agent had the runtime pull it, before the kubelet asked.
    pub is_ahead: bool,
}

/// Who tells of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StepSource {
    /// The journals of hook and init.
    Journal,
    /// Nobody: an ephemeral container of a pod without a runner is one.
    Container,
    /// The runner's own log: the step ran in the runner's container, and its values are derived.
    RunnerLog,
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
    /// A container action; in another CI system's pod a container that is a step.
    Step,
    /// Made ahead for a container action, and taken by none: one that was taken is a step's.
    Standby,
    /// The runner's pod's own containers, and init containers of the pods that it creates; in another CI
    /// system's pod those of the system.
    Runner,
    /// An ephemeral container of a pod without a runner; without an API, one that an init of ours
    /// runs in.
    Other,
    /// An ephemeral container in a runner's pod that is not the hook's, as `kubectl debug` makes: no
    /// part of the job.
    Debug,
    /// Made by a container engine in one of the pod's containers.
    Nested,
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
    /// The kernel's counters of the container in the step's time, whatever else ran in it.
    Window,
    /// There are none.
    None,
}

// === impl StepSource, Role, Proof ===

impl StepSource {
    /// For an attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Container => "container",
            Self::RunnerLog => "runner_log",
        }
    }
}

impl Role {
    /// Whether such a container is a part of the job: its end can be the job's, and what it used the
    /// job used.
    pub fn is_of_job(self) -> bool {
        match self {
            Self::Job | Self::Service | Self::Step | Self::Other => true,
            Self::Standby | Self::Runner | Self::Debug | Self::Nested => false,
        }
    }

    /// For an attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Service => "service",
            Self::Step => "step",
            Self::Standby => "standby",
            Self::Runner => "runner",
            Self::Other => "other",
            Self::Debug => "debug",
            Self::Nested => "nested",
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
            Self::Window => Some("window"),
            Self::None => None,
        }
    }
}

// === impl Container ===

impl Container {
    /// What its span's id is derived from: its name, with the pod's where that is not the job's.
    pub fn key(&self) -> Cow<'_, str> {
        match &self.pod {
            Some(pod) => Cow::Owned(format!("{}/{}", pod.name, self.name)),
            None => Cow::Borrowed(&self.name),
        }
    }

    /// Whether a step of the job's own pod ran in it.
    pub fn is_of_step(&self, step: &Step) -> bool {
        self.pod.is_none() && step.container.as_deref() == Some(&*self.name)
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
            totals: self.totals.clone(),
            ..*self
        }
    }

    /// How many parts it has.
    pub fn parts(&self) -> usize {
        self.phases.len().saturating_add(self.steps.len()).saturating_add(self.containers.len())
    }
}
