//! The agent as a user starts it: a process with flags, an HTTP address and a log.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ephemon_base::lock;

use super::exposition::Ledger;
use super::http::{self, Response};
use super::node::Node;
use super::process::{Running, until};
use super::programs;

/// The text format's media type, as a plain scraper asks for it.
pub(crate) const TEXT: &str = "text/plain;version=0.0.4";
/// The OpenMetrics media type.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// Longest wait for its start: a machine that starts a node and other tests at the same time is busy.
const PATIENCE: Duration = Duration::from_mins(3);

/// The running agent; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    process: Running,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Agent {
    /// Starts `ephemon agent` on a node, without an API server, and waits until it is ready.
    pub(crate) fn start(node: &Node, flags: &[&str]) -> Self {
        let mut command = Command::new(programs::ephemon());
        command.args(["agent", "--no-api", "--node-name", "it"]).args(flags);
        Self::launch(&mut command, &node.root(), &node.kubepods())
    }

    /// Starts an agent by a command that ends in its own flags, on the node with this root and this
    /// kubelet's tree, and waits until it is ready.
    pub(crate) fn launch(command: &mut Command, root: &Path, kubepods: &str) -> Self {
        command
            .args(["--listen", "127.0.0.1:0", "--node-root"])
            .arg(root)
            .args(["--kubepods", kubepods])
            // As in the image.
            .env("MALLOC_ARENA_MAX", "1")
            .stderr(Stdio::piped());
        Self::ready(Running::start(command))
    }

    /// The same by a command that enters a real node's namespaces, on the node's address.
    pub(crate) fn launch_inside(command: &mut Command, address: &str) -> Self {
        command
            .args(["--listen", &format!("{address}:0")])
            // As in the image.
            .env("MALLOC_ARENA_MAX", "1")
            .stderr(Stdio::piped());
        Self::ready(Running::start_inside(command))
    }

    /// Waits until it is.
    fn ready(mut process: Running) -> Self {
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(process.take_stderr()).lines();
        let written = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = lock(&written);
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address = until(PATIENCE, || {
            assert!(process.ended().is_none(), "the agent ended:\n{}", text(&log));
            bound(&text(&log))
        })
        .unwrap_or_else(|| panic!("the agent does not listen:\n{}", text(&log)));
        let agent = Self { process, address, log };
        until(PATIENCE, || {
            let answer = agent.get("/readyz", "*/*");
            (answer.status == 200).then_some(())
        })
        .unwrap_or_else(|| panic!("the agent is not ready:\n{}", agent.log()));
        agent
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// One request.
    pub(crate) fn get(&self, path: &str, accept: &str) -> Response {
        http::get(self.address, path, accept)
            .unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.log()))
    }

    /// Scrapes once into the ledger.
    pub(crate) fn scrape_into(&self, ledger: &mut Ledger) {
        let answer = self.get("/metrics", TEXT);
        assert_eq!(answer.status, 200, "{}", answer.body);
        ledger.enter(&answer.body);
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        text(&self.log)
    }

    /// Waits until it has logged these words: a thread of the test's reads them, later than they are written.
    /// Returns all that it has logged.
    pub(crate) fn until_logged(&self, words: &str) -> String {
        until(PATIENCE, || Some(self.log()).filter(|log| log.contains(words)))
            .unwrap_or_else(|| panic!("no {words:?} in:\n{}", self.log()))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Ends it as a node does.
    ///
    /// # Panics
    /// If it does not end well within its grace.
    pub(crate) fn stop(mut self) {
        let status = self.process.terminate(Duration::from_secs(30));
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

fn text(log: &Mutex<String>) -> String {
    lock(log).clone()
}

fn bound(log: &str) -> Option<SocketAddr> {
    let (_, after) = log.split_once("listening on http://")?;
    let end = after.find(|next: char| !next.is_ascii_digit() && next != '.' && next != ':')?;
    after.get(..end)?.parse().ok()
}
