//! Why a command has nothing to show.

use std::io;

use ephemon_base::visible;
use ephemon_client::{ClusterError, Error, FindError};

/// Why a command has failed, as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No agents are found.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Agents are there, and none has answered.
    #[error("no agent has answered; the lines above say why")]
    Silence,
    /// No such job.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The agent that shows the job does not answer.
    #[error("node {}: {source}", visible(node))]
    Agent {
        /// Its node.
        node: String,
        /// Why not.
        source: Error,
    },
    /// Log lines are not served.
    #[error("node {}: no log lines: {why}", visible(node))]
    NoLog {
        /// The job's node.
        node: String,
        /// Its agent's words.
        why: String,
    },
    /// The page's port cannot be taken.
    #[error("cannot listen on 127.0.0.1:{port}: {source}; choose another with --port")]
    Bind {
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Write(#[from] io::Error),
}

impl Failure {
    /// Whether whoever reads standard output wants no more of it.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Of an agent, by its node.
    pub(crate) fn of(node: &str) -> impl FnOnce(Error) -> Self {
        let node = node.to_owned();
        move |source| Self::Agent { node, source }
    }
}
