//! The real agent as a child process of the demo: starts, scrapes, measures and stops it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ephemon_base::lock;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Node;

/// Number of the agent's last log lines that are quoted if it ends.
const LAST_LINES_LIMIT: usize = 20;
/// Largest response, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Time limit for the agent to listen, to be ready, to answer, and to end.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Interval of checks for something that is awaited.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The running agent.
#[derive(Debug)]
pub(super) struct AgentProcess {
    child: Child,
    address: SocketAddr,
    log: Log,
}

/// What the agent used, read from its process by the demo.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    pub(super) rss_bytes: u64,
    pub(super) cpu_seconds: f64,
}

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The process cannot be started.
    #[error("cannot start the agent: {0}")]
    Start(io::Error),
    /// It ended, or did not listen or become ready in time.
    #[error("the agent {what}; the end of its log:\n{log}")]
    Silent {
        /// `ended`, `does not listen`, `is not ready`.
        what: &'static str,
        /// The end of its log.
        log: String,
    },
    /// It does not answer.
    #[error("the agent does not answer {path}: {why}")]
    NoAnswer {
        /// The path of the request.
        path: &'static str,
        /// The cause.
        why: String,
    },
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

// === impl AgentProcess ===

impl AgentProcess {
    /// Starts the agent on a node and waits until it is ready. `endpoint`: destination of logs and
    /// traces, over HTTP; without it the agent uses its environment.
    pub(super) async fn start(
        binary: &Path,
        node: &Node,
        listen: SocketAddr,
        endpoint: Option<&str>,
    ) -> Result<Self, AgentError> {
        let mut agent = Command::new(binary);
        agent
            .arg("agent")
            .arg("--node-root")
            .arg(node.root())
            .arg("--kubeconfig")
            .arg(node.kubeconfig())
            .args(["--node-name", node.name()])
            .args(["--kubepods", &node.kubepods()])
            .args(["--listen", &listen.to_string()])
            .args(["--page", "logs"])
            .args(["--log-format", "human"]);
        if node.cgroups().is_real() {
            // Without a kernel that enforces them, limits need not be set.
            agent.arg("--enforce-limits");
        }
        if let Some(endpoint) = endpoint {
            let theirs = std::env::vars_os().map(|(name, _)| name);
            for name in theirs.filter(|name| name.as_encoded_bytes().starts_with(b"OTEL_")) {
                agent.env_remove(name);
            }
            agent.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
            // What is sent again because a busy machine was late to answer would be counted twice.
            agent.env("OTEL_EXPORTER_OTLP_TIMEOUT", "60000");
        }
        let mut child = agent
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(AgentError::Start)?;
        let log = Log::default();
        let (address_tx, address_rx) = watch::channel(None);
        if let Some(stderr) = child.stderr.take() {
            let log = log.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    if let Some(address) = bound(&line) {
                        address_tx.send_replace(Some(address));
                    }
                    log.push(line);
                }
            });
        }
        let address = listening(address_rx, &mut child, &log).await?;
        let mut watcher = Self { child, address, log };
        let ready = async {
            while !matches!(watcher.get("/readyz").await, Ok((200, _))) {
                sleep(POLL_INTERVAL).await;
            }
        };
        let is_ready = timeout(TIMEOUT, ready).await.is_ok();
        if is_ready {
            Ok(watcher)
        } else {
            let ended = watcher.child.try_wait().is_ok_and(|status| status.is_some());
            Err(watcher.silent(if ended { "ended" } else { "is not ready" }))
        }
    }

    /// Its address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `/metrics` in the text format.
    pub(super) async fn scrape(&self) -> Result<String, AgentError> {
        let no_answer = |why: String| AgentError::NoAnswer { path: "/metrics", why };
        match self.get("/metrics").await {
            Ok((200, body)) => Ok(body),
            Ok((code, _)) => Err(no_answer(format!("HTTP status {code}"))),
            Err(e) => Err(no_answer(e.to_string())),
        }
    }

    /// What it has used so far; `None` if the process has ended.
    pub(super) fn cost(&self) -> Option<Cost> {
        let pid = i32::try_from(self.child.id()?).ok()?;
        let stat = procfs::process::Process::new(pid).ok()?.stat().ok()?;
        let ticks = stat.utime.saturating_add(stat.stime);
        Some(Cost {
            rss_bytes: stat.rss.saturating_mul(procfs::page_size()),
            cpu_seconds: ticks as f64 / procfs::ticks_per_second() as f64,
        })
    }

    /// Waits until the process ends by itself.
    pub(super) async fn ended(&mut self) {
        if self.child.wait().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The error for an agent that ended or does not respond.
    pub(super) fn silent(&self, what: &'static str) -> AgentError {
        AgentError::Silent { what, log: self.log.text() }
    }

    /// Stops it as a node does: `SIGTERM`, then a grace period, then `SIGKILL`.
    pub(super) async fn stop(mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        if timeout(TIMEOUT, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }

    async fn get(
        &self,
        path: &'static str,
    ) -> Result<(u16, String), Box<dyn std::error::Error + Send + Sync>> {
        let fetch = async {
            let stream = TcpStream::connect(self.address).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            let request = Request::get(path)
                .header(HOST, self.address.to_string())
                .header(ACCEPT, "text/plain;version=0.0.4")
                .body(Empty::<Bytes>::new())?;
            let response = sender.send_request(request).await?;
            let code = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?;
            connection.abort();
            Ok((code, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        timeout(TIMEOUT, fetch).await?
    }
}

// === impl Log ===

impl Log {
    fn push(&self, line: String) {
        let mut lines = lock(&self.0);
        if lines.len() >= LAST_LINES_LIMIT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        let lines = lock(&self.0);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

async fn listening(
    mut address: watch::Receiver<Option<SocketAddr>>,
    child: &mut Child,
    log: &Log,
) -> Result<SocketAddr, AgentError> {
    let silent = |what| AgentError::Silent { what, log: log.text() };
    let told = async {
        match address.wait_for(Option::is_some).await {
            Ok(address) => *address,
            // Its log ended; the other branch reports why.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        address = told => address.ok_or_else(|| silent("does not listen")),
        _ = child.wait() => {
            // The end of its log may still arrive.
            sleep(POLL_INTERVAL).await;
            Err(silent("ended"))
        }
        () = sleep(TIMEOUT) => Err(silent("does not listen")),
    }
}

/// The address in the agent's line `listening on http://ADDRESS`.
fn bound(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.split_once("listening on http://")?;
    let end = after.find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c)));
    let address = end.map_or(Some(after), |end| after.get(..end));
    address?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_agents_own_line() {
        let line = "2026-11-23T12:00:00Z  INFO listening on http://127.0.0.1:40123 version=0.1.0";
        assert_eq!(bound(line), Some(([127, 0, 0, 1], 40123).into()));
        assert_eq!(bound("listening on http://127.0.0.1:1"), Some(([127, 0, 0, 1], 1).into()));
        assert_eq!(bound("listening on http://"), None);
        assert_eq!(bound("nothing"), None);
    }
}
