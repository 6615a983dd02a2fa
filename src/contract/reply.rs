//! Replies of an init.

use super::{
    CgroupDelta, End, ProcessUsage, SessionKey,
    wire::{self, Chunk, MAX_REPLY_BYTES, Malformed, wire_enum, wire_struct},
};

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Init's key for this connection. All frames after this are encrypted.
    Key(SessionKey),
    /// What the hook needs to know about the container. That it can be decrypted proves init's
    /// identity.
    Welcome(Welcome),
    /// The step's process has started.
    Started(Started),
    /// Bytes of its standard output, unchanged.
    Stdout(Chunk),
    /// Bytes of its standard error, unchanged.
    Stderr(Chunk),
    /// It has ended. All of its output was sent before this.
    Exit(Exit),
    /// The request is done.
    Done,
    /// The status of init.
    Status(Status),
    /// The result of a health check.
    Health(HealthReport),
    /// The request was rejected or failed.
    Error(Failure),
}

/// The container as seen by its init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// [`super::PROTOCOL_VERSION`] of the init.
    pub version: u16,
    /// Init's process id in its own namespace; 1 unless it shares one.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Whether the image is Alpine: `/etc/alpine-release`, or `ID=alpine` in `/etc/os-release`.
    pub alpine: bool,
    /// Whether there is an executable `/bin/sh`.
    pub shell: bool,
    /// When init started, nanoseconds since 1970.
    pub started_at_ns: u64,
    /// Inode number of the socket that init created; a socket with another number was created by
    /// another process.
    pub socket_inode: u64,
    /// Parts of its [`super::Setup`] that it could not apply, and what it did instead: one sentence
    /// each.
    pub notes: Vec<String>,
}

/// A step's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The step's process id in init's namespace.
    pub pid: u32,
    /// The step's number in the container's journal, from 1.
    pub step: u64,
    /// Nanoseconds since 1970.
    pub at_ns: u64,
}

/// A step's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub end: End,
    /// Whether init ended it: on a signal request, on a stop, or because the hook disconnected.
    pub cancelled: bool,
    /// Whether a process that it left behind still holds its output open. Later output of that
    /// process goes to the container's log only.
    pub left_open: bool,
    /// Nanoseconds since 1970.
    pub started_at_ns: u64,
    /// Nanoseconds since 1970.
    pub ended_at_ns: u64,
    /// By the monotonic clock, nanoseconds.
    pub duration_ns: u64,
    /// What its processes used.
    pub process: ProcessUsage,
    /// What the container's cgroup counted meanwhile.
    pub cgroup: CgroupDelta,
}

/// The status of init.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Time since its start, nanoseconds.
    pub uptime_ns: u64,
    /// Running steps.
    pub steps: Vec<StepStatus>,
    /// Number of steps that have ended.
    pub steps_ended: u64,
    /// Number of masked values, without encodings.
    pub masks: u32,
    /// Bytes that could not be written to the container's log because its reader did not keep up.
    pub log_dropped_bytes: u64,
    /// Journal records that could not be written.
    pub journal_dropped: u64,
}

/// A running step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepStatus {
    /// Its number in the journal.
    pub step: u64,
    /// Its process id.
    pub pid: u32,
    /// Its name in the journal.
    pub name: String,
    /// Nanoseconds since 1970.
    pub started_at_ns: u64,
}

/// The result of a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// Whether the last probe succeeded.
    pub healthy: bool,
    /// Number of probes.
    pub probes: u32,
    /// The last failure in one line; empty if there was none.
    pub text: String,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub code: ErrorCode,
    /// A message in one line, without secrets.
    pub text: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The peer's proof or its uid is not accepted.
    Unauthorized,
    /// The init uses another version of the protocol.
    Version,
    /// The frame is not valid, or not allowed at this point.
    Protocol,
    /// There is no such program.
    CommandNotFound,
    /// The program cannot be executed.
    CommandNotExecutable,
    /// The working directory cannot be entered.
    WorkingDirectory,
    /// The user does not exist here, or init may not change to it.
    User,
    /// A limit of init is reached: steps, connections, masks, forwards.
    Busy,
    /// The container is ending.
    Stopping,
    /// The address to listen on is in use.
    AddressInUse,
    /// Another error of the operating system.
    System,
}

// === impl Reply ===

impl Reply {
    /// The whole frame; an error if it is longer than [`MAX_REPLY_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        wire::frame(self, MAX_REPLY_BYTES)
    }

    /// From a frame's contents, as [`super::Frames`] returns them.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        wire::value(body)
    }
}

// === impl Failure ===

impl Failure {
    /// A failure of this kind with this message.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

// === impl ErrorCode ===

impl ErrorCode {
    /// The exit code that a shell would return for a step that could not start.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::CommandNotFound => 127,
            Self::CommandNotExecutable | Self::WorkingDirectory | Self::User => 126,
            _ => 125,
        }
    }
}

// === impl Wire ===

wire_enum!(Reply {
    Welcome = 1,
    Started = 2,
    Stdout = 3,
    Stderr = 4,
    Exit = 5,
    Status = 6,
    Health = 7,
    Error = 8,
    Key = 10,
} units { Done = 9 });
wire_enum!(ErrorCode {} units {
    Unauthorized = 1,
    Version = 2,
    Protocol = 3,
    CommandNotFound = 4,
    CommandNotExecutable = 5,
    WorkingDirectory = 6,
    User = 7,
    Busy = 8,
    Stopping = 9,
    AddressInUse = 10,
    System = 11,
});
wire_struct!(Welcome { version, pid, uid, gid, alpine, shell, started_at_ns, socket_inode, notes });
wire_struct!(Started { pid, step, at_ns });
wire_struct!(Exit {
    end,
    cancelled,
    left_open,
    started_at_ns,
    ended_at_ns,
    duration_ns,
    process,
    cgroup,
});
wire_struct!(Status { uptime_ns, steps, steps_ended, masks, log_dropped_bytes, journal_dropped });
wire_struct!(StepStatus { step, pid, name, started_at_ns });
wire_struct!(HealthReport { healthy, probes, text });
wire_struct!(Failure { code, text });
