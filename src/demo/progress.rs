//! The events on the node, one line each on standard error.

use std::io::{self, Write};
use std::time::Instant;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use super::Node;
use super::kubelet::{Kind, NodeEvent};

/// Prints until it is dropped.
#[derive(Debug)]
pub(super) struct Progress(JoinHandle<()>);

// === impl Progress ===

impl Progress {
    /// Prints the node's properties, then its events.
    pub(super) fn start(node: &Node) -> Self {
        let mut events = node.node_events();
        let begin = Instant::now();
        say(&node.describe());
        Self(tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(node_event) => {
                        if let Some(line) = line(&node_event) {
                            say(&format!("{:>5.1} s  {line}", begin.elapsed().as_secs_f64()));
                        }
                    }
                    Err(RecvError::Lagged(lost)) => say(&format!("         ({lost} more lines)")),
                    Err(RecvError::Closed) => return,
                }
            }
        }))
    }

    /// Prints a line of the demo itself.
    #[expect(clippy::unused_self, reason = "the holder of the guard prints")]
    pub(super) fn say(&self, text: &str) {
        say(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn say(text: &str) {
    // A closed terminal shows nothing.
    drop(writeln!(io::stderr(), "{text}"));
}

fn line(node_event: &NodeEvent) -> Option<String> {
    let place = |pod: &str, container: &str| format!("{:<12}  {container:<20}", short(pod));
    Some(match node_event {
        NodeEvent::Started { pod, container, .. } => format!("{}  started", place(pod, container)),
        NodeEvent::Waiting { pod, container, reason } => {
            format!("{}  waits: {reason}", place(pod, container))
        }
        NodeEvent::Ended(truth) if truth.kind == Kind::Sandbox => return None,
        NodeEvent::Ended(truth) => {
            let cpu = truth.account.figures.cpu_ns.unwrap_or(0) as f64 / 1e9;
            let place = place(&truth.pod, &truth.container);
            let (code, reason) = (truth.exit_code, truth.reason);
            format!("{place}  exit {code} ({reason}), {cpu:.3} s of CPU time")
        }
        NodeEvent::Gone { pod } => format!("{}  deleted", short(pod)),
    })
}

/// The distinguishing part of a runner's name.
fn short(pod: &str) -> String {
    match pod.rsplit_once("-runner-") {
        Some((_, own)) => format!("runner-{own}"),
        None => pod.to_owned(),
    }
}
