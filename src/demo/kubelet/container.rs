//! One container as known to the embedded kubelet's runtime: its shim and its state.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::SystemTime;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;

use super::runtime::Known;
use super::{Kind, Truth};
use crate::api::store::Key;
use crate::cgroups::Place;
use crate::helper;
use crate::shim::{Account, Order, Word};

/// How containerd and runc begin the message for a command that cannot be run, as recorded.
const RUNTIME: &str = "failed to create containerd task: failed to create shim task: OCI runtime \
    create failed: runc create failed: unable to start container process";

/// An event of a shim, with the name of its container.
pub(super) type Told = (String, Word);

/// A running or ended container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) state: State,
    /// Whether its cgroup was removed.
    pub(super) removed: bool,
    pub(super) log: Option<PathBuf>,
    /// The file with its view, if it has its own.
    pub(super) view: Option<PathBuf>,
    /// Its first process, once its command runs.
    pub(super) pid: Option<i32>,
    pub(super) place: Place,
    shim: ChildStdin,
}

/// The state of a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// Its shim was started.
    Created,
    /// Its command runs.
    Running { since: SystemTime },
    /// It has ended.
    Ended(Ended),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) since: Option<SystemTime>,
    pub(super) at: SystemTime,
    pub(super) code: i32,
    pub(super) reason: &'static str,
    pub(super) message: Option<String>,
}

// === impl Container ===

impl Container {
    /// Starts a shim for the order. Its events go to `words` with the container's name; the last
    /// one is always `Removed`.
    pub(super) async fn launch(
        binary: &PathBuf,
        name: &str,
        kind: Kind,
        id: String,
        order: &Order,
        words: mpsc::Sender<Told>,
    ) -> io::Result<Self> {
        let mut child = Command::new(binary)
            .args([helper::NAME, "shim"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal is for the demo, which then ends its containers in order.
            .process_group(0)
            .spawn()?;
        let (Some(mut shim), Some(told)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the shim has no pipes"));
        };
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        shim.write_all(&line).await?;
        let name = name.to_owned();
        tokio::spawn(async move {
            let mut lines = BufReader::new(told).lines();
            let mut over = false;
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(word) = serde_json::from_str(&line) {
                    over |= matches!(word, Word::Removed(_));
                    drop(words.send((name.clone(), word)).await);
                }
            }
            drop(child.wait().await);
            if !over {
                let why = "the shim was killed".to_owned();
                drop(words.send((name.clone(), Word::StartError { why })).await);
                drop(words.send((name, Word::Removed(Account::default()))).await);
            }
        });
        Ok(Self {
            kind,
            id,
            state: State::Created,
            removed: false,
            log: order.log.clone(),
            view: order.view.clone(),
            pid: None,
            place: order.place.clone(),
            shim,
        })
    }

    /// Handles an event of the shim.
    pub(super) fn hear(&mut self, word: &Word) {
        let since = match &self.state {
            State::Running { since } => Some(*since),
            _ => None,
        };
        match (word, &self.state) {
            (Word::Started { pid, at }, State::Created) => {
                self.pid = Some(*pid);
                self.state = State::Running { since: *at };
            }
            (Word::StartError { why }, State::Created) => {
                self.state = State::Ended(Ended {
                    since: None,
                    at: SystemTime::now(),
                    code: 128,
                    reason: "StartError",
                    message: Some(format!("{RUNTIME}: {why}")),
                });
            }
            (Word::Exited { code, at, oom_killed }, State::Running { .. }) => {
                let reason = match (code, oom_killed) {
                    (_, true) => "OOMKilled",
                    (0, false) => "Completed",
                    _ => "Error",
                };
                self.state =
                    State::Ended(Ended { since, at: *at, code: *code, reason, message: None });
            }
            (Word::Removed(_), _) => {
                if since.is_some() {
                    // The shim was killed while the command ran.
                    self.state = State::Ended(Ended {
                        since,
                        at: SystemTime::now(),
                        code: 255,
                        reason: "Error",
                        message: None,
                    });
                }
                self.removed = true;
            }
            _ => {}
        }
    }

    /// What requests of the API server need to know of it.
    pub(super) fn known(&self) -> Known {
        Known {
            log: self.log.clone(),
            view: self.view.clone(),
            pid: self.pid,
            entrances: self.place.entrances(),
            over: matches!(self.state, State::Ended(_)),
        }
    }

    /// The record of it, once it has ended and was removed.
    pub(super) fn truth(
        &self,
        (pod, uid): (&Key, &str),
        name: &str,
        ended: &Ended,
        account: Account,
    ) -> Truth {
        Truth {
            namespace: pod.0.clone(),
            pod: pod.1.clone(),
            pod_uid: uid.to_owned(),
            container: name.to_owned(),
            kind: self.kind,
            id: self.id.clone(),
            started_at: ended.since,
            ended_at: ended.at,
            exit_code: ended.code,
            reason: ended.reason,
            account,
        }
    }

    /// `SIGTERM` to its first process.
    pub(super) async fn terminate(&mut self) {
        self.tell("term\n").await;
    }

    /// `SIGKILL` to all its processes.
    pub(super) async fn kill(&mut self) {
        self.tell("kill\n").await;
    }

    async fn tell(&mut self, word: &str) {
        // If the shim has ended, there is no container left.
        drop(self.shim.write_all(word.as_bytes()).await);
    }
}

/// A random id, as containerd creates it.
pub(super) fn new_id() -> String {
    (0..64).map(|_| fastrand::digit(16).to_ascii_lowercase()).collect()
}
