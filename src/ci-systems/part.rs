//! What a container of a CI system's pod is for. Plain values.

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// It is a step: it ends with it, and its exit code is the step's.
    Step,
    /// The system runs its steps in it from outside, and stops it when the job is over: its exit code
    /// says nothing of the job.
    Job,
    /// Something that the job uses: a database, a Docker daemon. It is stopped with the job.
    Service,
    /// The system's own: its agent, helpers, init containers.
    System,
}

// === impl Part ===

impl Part {
    /// As [`ephemon_model::JobEnv::role`] has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Job => "job",
            Self::Service => "service",
            Self::System => "system",
        }
    }
}
