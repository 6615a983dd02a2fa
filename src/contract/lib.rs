//! The contract between hook, init and agent: environment variables, layout of the shared volume,
//! socket protocol, records of the journal, grammar of limits and of images that are told ahead, ids of
//! traces and spans.
//!
//! Types and their encodings. Nothing here opens files or sockets, except [`plain_file`], with
//! which all three open files in directories that jobs can write to. `ephemon-init` links this
//! crate, so it has few dependencies: `bytes`, `ring`, `rustix`, `serde`, `serde_json`, `sha2`,
//! `thiserror`.
//!
//! A conversation over the socket: the hook connects and sends [`Request::Hello`]; init answers
//! [`Reply::Key`], and everything after that is encrypted (`session`): [`Reply::Welcome`], which
//! proves init's identity, and [`Request::Proof`], which proves the hook's. On an error init
//! answers [`Reply::Error`] and closes. Then requests follow, one at a time. Each has exactly one
//! final reply; a [`Request::Run`] has `Started`, any number of `Stdout` and `Stderr`, and `Exit`
//! or `Error`. While it runs, the hook may send [`Request::Signal`], which has no reply, and
//! closing the connection ends the step.

pub mod action_images;
pub mod env;
mod journal;
pub mod journals;
mod layout;
mod limits;
pub mod lines;
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
pub use layout::{IN_FRONT, Volume, is_container_name, mount};
pub use limits::{InvalidLimits, Limits, LimitsError};
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

/// The protocol's version. An init with another version reports that and closes.
pub const PROTOCOL_VERSION: u16 = 4;

/// Most bytes of a step's output in one `Stdout` or `Stderr` frame.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// Time between the first signal and SIGKILL, unless the hook sets another: the runner sends the
/// hook SIGTERM 7.5 s after SIGINT (actions/runner, `ProcessInvoker.cs`).
pub const DEFAULT_ESCALATION_MS: u32 = 7_500;
