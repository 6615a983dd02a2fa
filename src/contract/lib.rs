//! What the hook, the init and the agent must agree on, in one place: environment names, the shared
//! volume's layout, the socket protocol, the journal's records, the grammar of limits, the ids of
//! traces and spans.
//!
//! Types and their encodings; nothing here opens a file or a socket but [`plain_file`], the rule by
//! which all three open files in directories that jobs can write to. `ephemon-init` links this crate,
//! so it depends on little: `bytes`, `ring`, `rustix`, `serde`, `serde_json`, `sha2`, `thiserror`.
//!
//! A conversation over the socket: the hook connects and says [`Request::Hello`]; the init answers
//! [`Reply::Key`], and all that follows is sealed (`session`): [`Reply::Welcome`], by which the hook
//! knows the init, and [`Request::Proof`], by which the init knows the hook. Where something is
//! wrong the init answers [`Reply::Error`] and closes. Then requests follow, one at a time. Each has
//! exactly one final reply; a [`Request::Run`] has `Started`, any number of
//! `Stdout` and `Stderr`, and `Exit` or `Error`. While it runs, the hook may send
//! [`Request::Signal`], which has no reply, and closing the connection ends the step.

pub mod env;
mod journal;
mod layout;
mod limits;
pub mod plain_file;
mod quantity;
mod reply;
mod request;
pub mod session;
mod setup;
#[cfg(test)]
mod tests;
mod token;
pub mod trace;
mod usage;
mod wire;

pub use journal::{
    End, JOURNAL_MAX_BYTES, JOURNAL_RECORD_MAX_BYTES, JOURNAL_TEXT_MAX_CHARS, Phase, Record,
    StepKind,
};
pub use layout::{Volume, mount};
pub use limits::{Limits, LimitsError, Senseless};
pub use reply::{
    ErrorCode, Exit, Failure, HealthReport, Reply, Started, Status, StepStatus, Welcome,
};
pub use request::{
    Command, Forward, Health, Hello, HostEntry, Link, Present, Probe, Proof, Request, Run, Signal,
    SignalStep, Stop, WriteFile,
};
pub use session::{SessionKey, Signature, Transcript};
pub use setup::{Setup, SetupError, Tmpfs, Ulimit};
pub use token::{ContainerKey, HookKey, Token, TokenError};
pub use usage::{CgroupDelta, ProcessUsage};
pub use wire::{Chunk, Frames, MAX_HELLO_BYTES, MAX_REPLY_BYTES, MAX_REQUEST_BYTES, Malformed};

/// The protocol's version. An init that speaks another one says so and closes.
pub const PROTOCOL_VERSION: u16 = 4;

/// Most bytes of a step's output in one `Stdout` or `Stderr` frame.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// From the first signal to SIGKILL, where the hook names no other time: the runner waits 7.5 s
/// after SIGINT before it sends the hook SIGTERM (actions/runner, `ProcessInvoker.cs`).
pub const DEFAULT_ESCALATION_MS: u32 = 7_500;
