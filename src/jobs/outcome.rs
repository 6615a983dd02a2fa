//! How something ended, in the words of the semantic conventions. Plain values.

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
    /// It is over, and nothing that the agent can see says how it ended.
    Unknown,
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
    /// The runner ended before its job did.
    Runner,
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
    /// Nothing says how it ended.
    pub const UNKNOWN: Self = Self { result: JobResult::Unknown, fault: None, exit_code: None };

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

// === impl JobResult, Fault, ResultSource ===

impl JobResult {
    /// Every result of the conventions.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::Failure, Self::Error, Self::Timeout, Self::Cancellation, Self::Skip];

    /// The conventions' word; `unknown` is none of theirs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Cancellation => "cancellation",
            Self::Skip => "skip",
            Self::Unknown => "unknown",
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
            Self::Runner => "runner",
            Self::Lost => "lost",
            Self::Other => "_OTHER",
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
