//! Records of the journal: one JSON object per line, appended by init and hook, read by the agent
//! on the node. Processes of the job can write to it, too, so the reader validates everything.

use serde::{Deserialize, Serialize};

use super::{CgroupDelta, ProcessUsage, wire::wire_enum};

/// Most bytes of a journal file; records beyond it are dropped and counted.
pub const JOURNAL_MAX_BYTES: u64 = 1024 * 1024;
/// Most bytes of one record, newline included; a longer line is not a record.
pub const JOURNAL_RECORD_MAX_BYTES: usize = 8 * 1024;
/// Most characters of a text in a record; longer ones are truncated.
pub const JOURNAL_TEXT_MAX_CHARS: usize = 256;

/// One record. Times are in nanoseconds since 1970, durations are measured with the monotonic
/// clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// Init: the first record of the container.
    ContainerStarted {
        /// When.
        at_ns: u64,
        /// The container's name.
        container: String,
        /// Init's process id in its namespace.
        pid: u32,
        /// Init's user.
        uid: u32,
    },
    /// Init: a step's process runs.
    StepStarted {
        /// When.
        at_ns: u64,
        /// The step's number in this container, from 1.
        step: u64,
        /// Its name.
        name: String,
        /// Its kind.
        kind: StepKind,
        /// `GITHUB_ACTION`.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<String>,
        /// When the hook's call for it began; the id of its span follows from that, see
        /// [`super::trace::JobKey::step_span`].
        #[serde(skip_serializing_if = "Option::is_none", default)]
        called_ns: Option<u64>,
        /// Its process id in init's namespace.
        pid: u32,
    },
    /// Init: a step ended.
    StepEnded {
        /// When.
        at_ns: u64,
        /// The step's number.
        step: u64,
        /// How long it took.
        duration_ns: u64,
        /// How it ended.
        end: End,
        /// Whether init ended it.
        cancelled: bool,
        /// What its processes used.
        process: ProcessUsage,
        /// What the container's cgroup counted meanwhile.
        cgroup: CgroupDelta,
    },
    /// Init: the last record of the container.
    ContainerEnded {
        /// When.
        at_ns: u64,
        /// Init's exit code.
        exit_code: u8,
        /// Records that could not be written.
        dropped: u64,
    },
    /// Hook: one of its calls ended.
    HookPhase {
        /// When it began.
        at_ns: u64,
        /// The command.
        phase: Phase,
        /// How long it took.
        duration_ns: u64,
        /// Whether it succeeded.
        success: bool,
        /// The container that it used, if any.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        container: Option<String>,
        /// The step's id (`GITHUB_ACTION`), if it ran a step.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        name: Option<String>,
        /// The step's name as GitHub shows it, if the runner's log contains it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        display_name: Option<String>,
        /// Its W3C trace context, for people; the agent derives it itself.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        traceparent: Option<String>,
        /// Exit code of the step or container, if there was one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        exit_code: Option<u8>,
    },
    /// Hook: a container that it requested has started.
    HookLaunched {
        /// When the patch was sent.
        at_ns: u64,
        /// The container's name.
        container: String,
        /// Its image as requested.
        image: String,
        /// When it was first seen running, if it was.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        running_at_ns: Option<u64>,
    },
    /// Hook: the kubelet pulled the image of one of its containers.
    ImagePulled {
        /// When the kubelet reported it, rounded down to a full second.
        at_ns: u64,
        /// The container's name.
        container: String,
        /// How long the pull took, without waiting for other pulls.
        duration_ns: u64,
        /// The image's size, if reported.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        bytes: Option<u64>,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// By itself, with this code.
    Code(u8),
    /// By the signal with this number.
    Signal(u8),
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// `run:` or a JavaScript action in the job container.
    Script,
    /// A container action: the main process of its own container.
    Container,
    /// A service's main process.
    Service,
    /// A command that the hook needed.
    Internal,
}

/// The hook's commands, with the runner's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// `prepare_job`.
    PrepareJob,
    /// `run_script_step`.
    RunScriptStep,
    /// `run_container_step`.
    RunContainerStep,
    /// `cleanup_job`.
    CleanupJob,
}

// === impl StepKind ===

impl StepKind {
    /// Whether the workflow names such steps.
    pub fn is_of_workflow(self) -> bool {
        matches!(self, Self::Script | Self::Container)
    }
}

// === impl Phase ===

impl Phase {
    /// The runner's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrepareJob => "prepare_job",
            Self::RunScriptStep => "run_script_step",
            Self::RunContainerStep => "run_container_step",
            Self::CleanupJob => "cleanup_job",
        }
    }

    /// The kind of the steps that it runs.
    pub fn step_kind(self) -> Option<StepKind> {
        match self {
            Self::RunScriptStep => Some(StepKind::Script),
            Self::RunContainerStep => Some(StepKind::Container),
            Self::PrepareJob | Self::CleanupJob => None,
        }
    }
}

// === impl Record ===

impl Record {
    /// One line with its newline, or `None` if it is longer than [`JOURNAL_RECORD_MAX_BYTES`].
    pub fn to_line(&self) -> Option<Vec<u8>> {
        let mut line = serde_json::to_vec(self).ok()?;
        line.push(b'\n');
        (line.len() <= JOURNAL_RECORD_MAX_BYTES).then_some(line)
    }

    /// Parses one line; `None` if it is not a record. Texts longer than [`JOURNAL_TEXT_MAX_CHARS`]
    /// are truncated, because a job can write to its journal, and the agent keeps what it reads.
    pub fn from_line(line: &[u8]) -> Option<Self> {
        if line.len() > JOURNAL_RECORD_MAX_BYTES {
            return None;
        }
        let mut record: Self = serde_json::from_slice(line).ok()?;
        record.texts_mut().into_iter().flatten().for_each(cut);
        Some(record)
    }

    /// Total length of its texts in bytes.
    pub fn text_bytes(&self) -> usize {
        self.texts().into_iter().flatten().map(String::len).sum()
    }

    /// Number of its texts; each is a separate allocation.
    pub fn text_count(&self) -> usize {
        self.texts().into_iter().flatten().count()
    }

    fn texts(&self) -> [Option<&String>; 4] {
        match self {
            Self::ContainerStarted { container, .. } | Self::ImagePulled { container, .. } => {
                [Some(container), None, None, None]
            }
            Self::StepStarted { name, id, .. } => [Some(name), id.as_ref(), None, None],
            Self::HookPhase { container, name, display_name, traceparent, .. } => {
                [container.as_ref(), name.as_ref(), display_name.as_ref(), traceparent.as_ref()]
            }
            Self::HookLaunched { container, image, .. } => {
                [Some(container), Some(image), None, None]
            }
            Self::StepEnded { .. } | Self::ContainerEnded { .. } => [None; 4],
        }
    }

    fn texts_mut(&mut self) -> [Option<&mut String>; 4] {
        match self {
            Self::ContainerStarted { container, .. } | Self::ImagePulled { container, .. } => {
                [Some(container), None, None, None]
            }
            Self::StepStarted { name, id, .. } => [Some(name), id.as_mut(), None, None],
            Self::HookPhase { container, name, display_name, traceparent, .. } => {
                [container.as_mut(), name.as_mut(), display_name.as_mut(), traceparent.as_mut()]
            }
            Self::HookLaunched { container, image, .. } => {
                [Some(container), Some(image), None, None]
            }
            Self::StepEnded { .. } | Self::ContainerEnded { .. } => [None, None, None, None],
        }
    }

    /// Truncates a text for a record.
    pub fn text(text: &str) -> String {
        text.chars().take(JOURNAL_TEXT_MAX_CHARS).collect()
    }
}

/// Truncates a text that was read, and releases unused memory.
fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(JOURNAL_TEXT_MAX_CHARS) {
        text.truncate(end);
    }
    text.shrink_to_fit();
}

// === impl End ===

impl End {
    /// The exit code that shells and container runtimes return: for a signal, 128 plus its number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => number.saturating_add(128),
        }
    }
}

wire_enum!(End { Code = 1, Signal = 2 });
wire_enum!(StepKind {} units { Script = 1, Container = 2, Service = 3, Internal = 4 });
