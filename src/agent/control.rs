//! The control socket: what root on the node, or `kubectl exec` into the agent's container, may ask and
//! change without TLS or passwords. `ephemon debug` is its client.
//!
//! A Unix socket in the state directory, which only root may open. A request is one line of JSON, and
//! so is the answer, which a text may follow.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_metrics::{Format, Metrics};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::log_level::LogLevel;
use super::state::StateReader;

/// The socket's name in the state directory.
const SOCKET: &str = "agent.sock";
/// Longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 4096;
/// Longest answer that a client takes, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// For a request to come, and for its answer to be taken.
const CONVERSATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Clients that are served at once; the next wait. One: a text of all metrics is large.
const CLIENTS_MAX: usize = 1;
/// Longest time for which a filter of the log can be changed.
pub(super) const LOG_CHANGE_MAX: Duration = Duration::from_hours(24);
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Request {
    /// `/debug/state`.
    State,
    /// The text of `/metrics`.
    Metrics,
    /// Another filter of the log, for so many seconds.
    #[serde(rename_all = "camelCase")]
    Log {
        /// As `--log` takes it.
        filter: String,
        /// After this the configured filter is in force again.
        seconds: u64,
    },
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Answer {
    /// What was asked for.
    Done(Value),
    /// Why not, as a sentence.
    Refused(String),
}

/// The agent does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nobody listens.
    #[error(
        "no agent answers at {path}: {source}; run this as root on the agent's node or in its \
         container, with the --node-root and --state-dir of the agent"
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It listens and says nothing that makes sense.
    #[error("the agent at {path} gave no answer: {why}")]
    Silent {
        /// The socket.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It refuses.
    #[error("the agent refuses: {0}")]
    Refused(String),
}

/// The listening socket, and what its clients are answered.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    answers: Arc<Answers>,
    patience: Duration,
}

/// Where answers come from.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) state: StateReader,
    pub(super) metrics: Metrics,
    pub(super) log_level: LogLevel,
}

/// The socket in a state directory.
pub(super) fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

// === impl Control ===

impl Control {
    /// Listens in `state_dir`. The caller holds the node's lock: a socket that is there is of an agent
    /// that has ended.
    pub(super) fn bind(state_dir: &Path, answers: Answers) -> io::Result<Self> {
        let path = socket(state_dir);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The process's umask leaves it to root alone.
        let listener = UnixListener::bind(&path)?;
        Ok(Self { listener, answers: Arc::new(answers), patience: CONVERSATION_TIMEOUT })
    }

    /// Serves for ever.
    pub(super) async fn serve(self) -> Infallible {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let answers = Arc::clone(&self.answers);
                    let patience = self.patience;
                    tokio::spawn(async move {
                        let conversation = converse(stream, &answers);
                        match timeout(patience, conversation).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => tracing::debug!(%error, "control client left early"),
                            Err(_) => tracing::debug!("control client was too slow"),
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client of the control socket");
                    tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
                }
            }
        }
    }
}

// === impl Answers ===

impl Answers {
    /// The answer, the text after it, and what lends memory for it until it is written.
    fn answer(&self, request: Request) -> (Answer, Bytes, Option<OwnedSemaphorePermit>) {
        let answer = match request {
            Request::State => match self.state.read() {
                Some((state, turn)) => return (Answer::Done(state), Bytes::new(), Some(turn)),
                None => {
                    Answer::Refused("another state is being read; try again in a moment".into())
                }
            },
            Request::Metrics if self.metrics.is_busy() => {
                Answer::Refused("too many scrapes are being read; try again in a moment".to_owned())
            }
            Request::Metrics => {
                let scrape = self.metrics.scrape(Format::Text, None);
                return (Answer::Done(Value::Null), scrape.body, None);
            }
            Request::Log { filter, seconds } => {
                let time = Duration::from_secs(seconds).min(LOG_CHANGE_MAX);
                match self.log_level.change(&filter, time, Instant::now()) {
                    Ok(()) => Answer::Done(Value::Null),
                    Err(error) => Answer::Refused(format!("{filter:?} is no log filter: {error}")),
                }
            }
        };
        (answer, Bytes::new(), None)
    }
}

/// One request and its answer.
async fn converse(stream: UnixStream, answers: &Answers) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(REQUEST_BYTES_MAX).read_line(&mut line).await?;
    let (answer, text, _turn) = match serde_json::from_str(&line) {
        Ok(request) => answers.answer(request),
        Err(error) => (Answer::Refused(format!("not a request: {error}")), Bytes::new(), None),
    };
    let mut head = serde_json::to_vec(&answer)?;
    head.push(b'\n');
    stream.get_mut().write_all(&head).await?;
    stream.get_mut().write_all(&text).await
}

/// Asks the agent whose state is in `state_dir`: its answer, and the text after it.
pub(super) async fn ask(state_dir: &Path, request: &Request) -> Result<(Value, String), Error> {
    let path = socket(state_dir);
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(source) => return Err(Error::Connect { path, source }),
    };
    let silent = |why: String| Error::Silent { path: path.clone(), why };
    let asked = async {
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        stream.write_all(&text).await?;
        let (mut head, mut text) = (String::new(), String::new());
        let mut stream = BufReader::new(stream.take(ANSWER_BYTES_MAX));
        stream.read_line(&mut head).await?;
        stream.read_to_string(&mut text).await?;
        Ok::<_, io::Error>((serde_json::from_str::<Answer>(&head)?, text))
    };
    match timeout(CONVERSATION_TIMEOUT, asked).await {
        Ok(Ok((Answer::Done(value), text))) => Ok((value, text)),
        Ok(Ok((Answer::Refused(why), _))) => Err(Error::Refused(why)),
        Ok(Err(error)) => Err(silent(error.to_string())),
        Err(_) => Err(silent(format!("none in {} s", CONVERSATION_TIMEOUT.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use ephemon_capture::readings::Readings;
    use ephemon_self_metrics::SelfMetrics;

    use super::*;

    fn answers() -> Answers {
        let state = StateReader::of_nothing();
        let (readings, inventory) = (Readings::default(), state.inventory.clone());
        let (log_level, options) = (state.log_level.clone(), ephemon_metrics::Options::default());
        let metrics = Metrics::new(readings, inventory, SelfMetrics::new().unwrap(), options);
        Answers { state, metrics, log_level }
    }

    #[tokio::test]
    async fn a_client_is_answered_and_a_wrong_request_refused() {
        let directory = tempfile::tempdir().unwrap();
        let missing = ask(directory.path(), &Request::State).await.unwrap_err().to_string();
        assert!(missing.contains("agent.sock") && missing.contains("--state-dir"), "{missing}");
        // The socket of an agent that has ended is in the way of none.
        drop(UnixListener::bind(socket(directory.path())).unwrap());
        let control = Control::bind(directory.path(), answers()).unwrap();
        tokio::spawn(control.serve());
        let (state, _) = ask(directory.path(), &Request::State).await.unwrap();
        assert_eq!(state["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(state["log"]["filter"], "info");
        let (_, metrics) = ask(directory.path(), &Request::Metrics).await.unwrap();
        assert!(metrics.contains("ephemon_agent_"));
        let request = Request::Log { filter: "debug".into(), seconds: 60 };
        ask(directory.path(), &request).await.unwrap();
        let (state, _) = ask(directory.path(), &Request::State).await.unwrap();
        assert_eq!(state["log"]["filter"], "debug");
        let request = Request::Log { filter: "a=b=c".into(), seconds: 60 };
        let refused = ask(directory.path(), &request).await.unwrap_err().to_string();
        assert!(refused.contains("a=b=c"), "{refused}");
        let mut stream = UnixStream::connect(socket(directory.path())).await.unwrap();
        stream.write_all(&[b'x'; 8192]).await.ok();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok();
        assert!(answer.is_empty() || answer.contains("not a request"), "{answer}");
    }

    #[tokio::test]
    async fn clients_that_say_nothing_do_not_keep_others_out_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let control = Control::bind(directory.path(), answers()).unwrap();
        tokio::spawn(Control { patience: Duration::from_millis(10), ..control }.serve());
        let mut silent = Vec::new();
        for _ in 0..2 * CLIENTS_MAX {
            silent.push(UnixStream::connect(socket(directory.path())).await.unwrap());
        }
        let (state, _) = ask(directory.path(), &Request::State).await.unwrap();
        assert!(state.is_object());
    }
}
