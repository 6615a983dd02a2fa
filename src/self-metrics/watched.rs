//! What the agent watches for names, and whether it answers.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// A source that the agent watches over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// The API server's pods of this node.
    Pods,
    /// The container runtime, over its CRI socket.
    Runtime,
    /// The container runtime, over its NRI socket.
    Nri,
    /// ARC's objects of the runners of this node, in the API server.
    EphemeralRunners,
}

/// The state of what is watched.
#[derive(Debug, Clone)]
pub(super) struct Watches {
    up: IntGaugeVec,
    failures: IntCounterVec,
}

// === impl Watched ===

impl Watched {
    /// The value of the `watch` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Runtime => "runtime",
            Self::Nri => "nri",
            Self::EphemeralRunners => "ephemeral_runners",
        }
    }
}

// === impl Watches ===

impl Watches {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let up = Opts::new(
            "ephemon_agent_watch_up",
            "1 while the source of names that the agent watches answers, else 0.",
        );
        let failures = Opts::new(
            "ephemon_agent_watch_failures_total",
            "Times that a source of names that the agent watches did not answer, or ended early.",
        );
        Ok(Self {
            up: IntGaugeVec::new(up, &["watch"])?,
            failures: IntCounterVec::new(failures, &["watch"])?,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.up.clone()))?;
        registry.register(Box::new(self.failures.clone()))
    }

    /// Away until it answers, and counted from 0 on.
    pub(super) fn expected(&self, watched: Watched) {
        self.set(watched, 0);
        self.failures.with_label_values(&[watched.as_str()]).inc_by(0);
    }

    pub(super) fn answered(&self, watched: Watched) {
        self.set(watched, 1);
    }

    pub(super) fn failed(&self, watched: Watched) {
        self.set(watched, 0);
        self.failures.with_label_values(&[watched.as_str()]).inc();
    }

    fn set(&self, watched: Watched, up: i64) {
        self.up.with_label_values(&[watched.as_str()]).set(up);
    }
}
