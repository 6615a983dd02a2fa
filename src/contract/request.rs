//! Requests of the hook to an init.

use super::{
    SessionKey, Signature, StepKind,
    wire::{self, Chunk, MAX_REQUEST_BYTES, Malformed, wire_enum, wire_struct},
};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The first of every connection. Answered by `Key`; all frames after that are encrypted, and
    /// the first of them is `Welcome`.
    Hello(Hello),
    /// The first encrypted request: the proof of the hook's identity. Not answered, unless it is
    /// invalid.
    Proof(Proof),
    /// Runs a step. Answered by `Started`, output, `Exit`.
    Run(Run),
    /// Adds values to mask in the container's log, each as a whole and line by line, with the
    /// runner's encodings. Answered by `Done`.
    Mask(Vec<String>),
    /// Sends a signal to the step that runs on this connection. Not answered; ignored without a
    /// step.
    Signal(SignalStep),
    /// Ends every step and the container. Answered by `Done`, then the connection closes.
    Stop(Stop),
    /// Probes until a probe succeeds or too many have failed. Answered by `Health`.
    Health(Health),
    /// Replaces the names that init keeps in `/etc/hosts`, now and whenever the kubelet rewrites
    /// the file. Answered by `Done`.
    Hosts(Vec<HostEntry>),
    /// Creates symbolic links, and the directories that they need; a link with another target is
    /// replaced. Answered by `Done`.
    Links(Vec<Link>),
    /// Writes a small file in the container's file system. Answered by `Done`.
    WriteFile(WriteFile),
    /// Forwards TCP connections and UDP datagrams until the container ends. Answered by `Done`;
    /// all or none.
    Forward(Vec<Forward>),
    /// Creates missing directories, with their parents. Directories that cannot be created are
    /// skipped, for example if the user lacks the permission. Answered by `Done`.
    Directories(Vec<String>),
    /// Asks for init's status. Answered by `Status`.
    Status,
}

/// The client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// [`super::PROTOCOL_VERSION`] of the client.
    pub version: u16,
    /// The client's key for this connection.
    pub key: SessionKey,
}

/// The proof of the client's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Made with the key of [`super::env::HOOK_KEY`] for the [`super::Transcript`].
    pub signature: Signature,
}

/// A step to run, with empty standard input and its own process group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run.
    pub command: Command,
    /// Overrides the container's environment (without [`super::env::NOT_FOR_STEPS`]).
    pub env: Vec<(String, String)>,
    /// Prepended to `PATH`, the first entry first.
    pub prepend_path: Vec<String>,
    /// Working directory; the container's own when absent.
    pub cwd: Option<String>,
    /// `USER[:GROUP]` by name or number, as for `docker exec --user`; init's own when absent.
    pub user: Option<String>,
    /// The step's name in the journal.
    pub name: String,
    /// The step's kind in the journal.
    pub kind: StepKind,
    /// The step's id in the journal, `GITHUB_ACTION`.
    pub id: Option<String>,
    /// When the hook's call for it began, for the journal, nanoseconds since 1970.
    pub called_ns: Option<u64>,
    /// Whether the container ends with this step, with its exit code.
    pub ends_container: bool,
}

/// A command. Programs without a slash are looked up in the step's `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// These arguments unchanged, the program first.
    Argv(Vec<String>),
    /// A line for a POSIX shell: the container's `sh` runs it, a single command with `exec` in
    /// front, so that the program replaces the shell. Without a shell it is split by a shell's
    /// quoting rules, and nothing is expanded.
    Line(String),
    /// The command that the container was created with, which only an init that was put in front of
    /// it knows ([`super::env::INIT`]).
    Own,
}

/// A signal to a step's process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalStep {
    /// The signal to send.
    pub signal: Signal,
    /// Time until SIGKILL to the group, in milliseconds ([`super::DEFAULT_ESCALATION_MS`] when
    /// absent), unless an earlier request set an earlier time.
    pub kill_after_ms: Option<u32>,
}

/// Signals that can be requested.
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
    /// Time between SIGTERM and SIGKILL for running processes, in milliseconds.
    pub grace_ms: u32,
}

/// A health check, like Docker's `--health-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The probe.
    pub probe: Probe,
    /// Time between the end of one probe and the start of the next.
    pub interval_ms: u32,
    /// A probe that takes longer has failed.
    pub timeout_ms: u32,
    /// Number of consecutive failures after which it is unhealthy.
    pub retries: u32,
    /// For how long after the first probe failures do not count.
    pub start_period_ms: u32,
}

/// How health is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Exit code 0 means healthy.
    Command(Command),
    /// An accepted TCP connection to `HOST:PORT` means healthy. Numbers only.
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
    /// Its absolute path.
    pub path: String,
    /// Its target.
    pub target: String,
    /// What to do about an existing file or directory.
    pub present: Present,
}

/// What to do about a file or directory at the path of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// The link is an error.
    Refuse,
    /// It is removed with its content: a volume would hide what the image has there, too, and no
    /// other container sees this container's own file system.
    Replace,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteFile {
    /// Its absolute path. The directory must exist.
    pub path: String,
    /// The complete content.
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
    /// The whole frame; an error if it is longer than [`MAX_REQUEST_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        wire::frame(self, MAX_REQUEST_BYTES)
    }

    /// From a frame's contents, as [`super::Frames`] returns them.
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
wire_enum!(Command { Argv = 1, Line = 2 } units { Own = 3 });
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
