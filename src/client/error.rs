//! Why an agent does not answer as it should, and what to do.

use std::io;

use ephemon_base::visible;
use thiserror::Error as ThisError;

/// Most characters of somebody else's message that are shown.
const MESSAGE_LIMIT: usize = 300;

/// Why there is no answer. Each is a clause that follows the agent's name; texts of others are shown
/// with hidden characters as signs.
#[derive(Debug, ThisError)]
pub enum Error {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The API server forwards no port of the agent's pod.
    #[error(
        "the API server does not forward its port: {0}; you need `get` and `create` on `pods/portforward`"
    )]
    Forward(String),
    /// The kubelet cannot connect to the agent's port.
    #[error("its port cannot be reached in its pod: {0}")]
    Forwarded(String),
    /// The connection to the agent has failed, or what answers speaks no HTTP.
    #[error(
        "it does not answer in HTTP: {0}; an agent with TLS (--web-config-file) is not supported"
    )]
    Http(String),
    /// No answer in time.
    #[error("it has not answered within {0} s")]
    Timeout(u64),
    /// The answer is larger than an agent's may be.
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The agent runs without its page.
    #[error(
        "its job page is off: start it with --page jobs or --page logs (chart: page.show), see \
         https://github.com/ephemon/ephemon/blob/main/deploy/docs/page.md"
    )]
    PageOff,
    /// The agent demands a password.
    #[error(
        "it demands a password or a client certificate (--web-config-file), which is not supported"
    )]
    Password,
    /// The job is not shown any more.
    #[error("it shows no such job: a job is shown while it runs and for an hour")]
    NoJob,
    /// It refuses.
    #[error("it answers with status {status}: {text}")]
    Refused {
        /// The status code.
        status: u16,
        /// Its words.
        text: String,
    },
    /// What answers is something else.
    #[error("it is no agent: its /readyz has status 200 and does not say `ready`")]
    NoAgent,
    /// Its metrics lack one.
    #[error("its /metrics has no sample of {0}")]
    NoSample(String),
    /// The answer is not what the API describes.
    #[error("its answer is not as the API describes it: {0}")]
    Malformed(String),
}

// === impl Error ===

impl Error {
    pub(crate) fn forward(error: &kube::Error) -> Self {
        Self::Forward(chain(error))
    }

    pub(crate) fn http(error: &hyper::Error) -> Self {
        Self::Http(chain(error))
    }

    pub(crate) fn malformed(error: &serde_json::Error) -> Self {
        Self::Malformed(shortened(&error.to_string()))
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    shortened(&text)
}

/// Somebody else's message, of bounded length and on one line.
pub(crate) fn shortened(text: &str) -> String {
    let first: String = text.trim().chars().take(MESSAGE_LIMIT).collect();
    visible(&first)
}
