//! What the hook asks of an init.

use super::{
    SessionKey, Signature, StepKind,
    wire::{self, Chunk, MAX_REQUEST_BYTES, Malformed, wire_enum, wire_struct},
};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// First of every connection. Answered by `Key`; all frames after that are sealed, and the first
    /// of them is `Welcome`.
    Hello(Hello),
    /// First of the sealed ones: the hook's proof of itself. Not answered, unless it is none.
    Proof(Proof),
    /// Runs a step. Answered by `Started`, output, `Exit`.
    Run(Run),
    /// More values to mask in what init writes to the container's log, each as a whole and line by
    /// line, with the runner's encodings. Answered by `Done`.
    Mask(Vec<String>),
    /// Signals the step that runs on this connection. Not answered; without a step, nothing.
    Signal(SignalStep),
    /// Ends every step and the container. Answered by `Done`, then the connection closes.
    Stop(Stop),
    /// Probes until it succeeds or has failed often enough. Answered by `Health`.
    Health(Health),
    /// Replaces the names that init keeps in `/etc/hosts`, now and whenever the kubelet has
    /// rewritten the file. Answered by `Done`.
    Hosts(Vec<HostEntry>),
    /// Makes symbolic links, with the directories that they need; a wrong link is replaced. Answered
    /// by `Done`.
    Links(Vec<Link>),
    /// Writes a small file of the container's file system. Answered by `Done`.
    WriteFile(WriteFile),
    /// Forwards TCP connections and UDP datagrams until the container ends. Answered by `Done`;
    /// all or none.
    Forward(Vec<Forward>),
    /// Makes directories where there are none, parents included. What cannot be made is left out: an
    /// image without that directory, or a user who may not. Answered by `Done`.
    Directories(Vec<String>),
    /// Asks how init is. Answered by `Status`.
    Status,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// [`super::PROTOCOL_VERSION`] of the caller.
    pub version: u16,
    /// The caller's key for this connection.
    pub key: SessionKey,
}

/// Who calls, proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// By the key of [`super::env::HOOK_KEY`], of [`super::Transcript`].
    pub signature: Signature,
}

/// A step to run. Its standard input is empty, its process group its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run.
    pub command: Command,
    /// Laid over the container's environment (without [`super::env::NOT_FOR_STEPS`]).
    pub env: Vec<(String, String)>,
    /// Put in front of `PATH`, first entry first.
    pub prepend_path: Vec<String>,
    /// Working directory; the container's own when absent.
    pub cwd: Option<String>,
    /// `USER[:GROUP]` by name or number, as `docker exec --user`; init's own when absent.
    pub user: Option<String>,
    /// For the journal: what the step is called there.
    pub name: String,
    /// For the journal: what kind of step it is.
    pub kind: StepKind,
    /// For the journal: the step's id, `GITHUB_ACTION`.
    pub id: Option<String>,
    /// For the journal: when the hook's call for it began, nanoseconds since 1970.
    pub called_ns: Option<u64>,
    /// Whether the container ends with this step, with its exit code.
    pub ends_container: bool,
}

/// What to run: programs without a slash are searched in the step's `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// These arguments as they are, the program first.
    Argv(Vec<String>),
    /// A line for a POSIX shell: `sh` of the container runs it, a single command with `exec` in
    /// front, so that the program takes the shell's place. Without a shell it is split by a shell's quoting rules,
    /// and nothing is expanded.
    Line(String),
}

/// A signal to a step's process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalStep {
    /// Which.
    pub signal: Signal,
    /// SIGKILL to the group after so long ([`super::DEFAULT_ESCALATION_MS`] when absent), unless an
    /// earlier request set an earlier time.
    pub kill_after_ms: Option<u32>,
}

/// Signals that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hangup,
}

/// The end of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// From SIGTERM to SIGKILL for what still runs.
    pub grace_ms: u32,
}

/// A health check, as Docker's `--health-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How to ask.
    pub probe: Probe,
    /// Between the end of one probe and the start of the next.
    pub interval_ms: u32,
    /// A probe that takes longer has failed.
    pub timeout_ms: u32,
    /// So many failures in a row, and it is unhealthy.
    pub retries: u32,
    /// Failures do not count so long after the first probe.
    pub start_period_ms: u32,
}

/// How to ask for health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Exit code 0 is healthy.
    Command(Command),
    /// A TCP connection to `HOST:PORT` that is accepted is healthy. Numbers only.
    Tcp(String),
}

/// One line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// An IP address.
    pub address: String,
    /// Host names.
    pub names: Vec<String>,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it is to be, absolute.
    pub path: String,
    /// Where it leads.
    pub target: String,
    /// What to do about a file or directory that is there.
    pub present: Present,
}

/// What to do about a file or directory at the place of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// The link is refused.
    Refuse,
    /// It is removed, with all that is in it: a volume hides what the image has at its target, and
    /// nobody else sees the container's own file system.
    Replace,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteFile {
    /// Where, absolute. Its directory must exist.
    pub path: String,
    /// All it will hold.
    pub content: Chunk,
    /// Permission bits of a new file.
    pub mode: u32,
}

/// A port to forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// `ADDRESS:PORT` to listen on.
    pub listen: String,
    /// `ADDRESS:PORT` to connect to.
    pub to: String,
    /// Datagrams instead of connections.
    pub udp: bool,
}

// === impl Request ===

impl Request {
    /// The whole frame; refused when over [`MAX_REQUEST_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        wire::frame(self, MAX_REQUEST_BYTES)
    }

    /// From a frame's contents, as [`super::Frames`] yields them.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        wire::value(body)
    }
}

// === impl Wire ===

wire_enum!(Request {
    Hello = 1,
    Run = 2,
    Mask = 3,
    Signal = 4,
    Stop = 5,
    Health = 6,
    Hosts = 7,
    Links = 8,
    WriteFile = 9,
    Forward = 10,
    Directories = 12,
    Proof = 13,
} units { Status = 11 });
wire_enum!(Command { Argv = 1, Line = 2 });
wire_enum!(Probe { Command = 1, Tcp = 2 });
wire_enum!(Signal {} units { Interrupt = 1, Terminate = 2, Kill = 3, Quit = 4, Hangup = 5 });
wire_struct!(Hello { version, key });
wire_struct!(Proof { signature });
wire_struct!(Run {
    command,
    env,
    prepend_path,
    cwd,
    user,
    name,
    kind,
    id,
    called_ns,
    ends_container,
});
wire_struct!(SignalStep { signal, kill_after_ms });
wire_struct!(Stop { grace_ms });
wire_struct!(Health { probe, interval_ms, timeout_ms, retries, start_period_ms });
wire_struct!(HostEntry { address, names });
wire_struct!(Link { path, target, present });
wire_enum!(Present {} units { Refuse = 1, Replace = 2 });
wire_struct!(WriteFile { path, content, mode });
wire_struct!(Forward { listen, to, udp });
