//! Answers the clients of the control socket.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_metrics::{Format, Metrics};
use hyper::body::Bytes;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Answer, CONVERSATION_TIMEOUT, LOG_CHANGE_MAX, Request, socket};
use crate::log_level::LogLevel;
use crate::state::StateReader;

/// Longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 4096;
/// Clients that are served at once; the next wait. One: a text of all metrics is large.
pub(super) const CLIENTS_MAX: usize = 1;
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The listening socket, and what its clients are answered.
#[derive(Debug)]
pub(crate) struct Control {
    listener: UnixListener,
    answers: Arc<Answers>,
    pub(super) patience: Duration,
}

/// Where answers come from.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) state: StateReader,
    pub(crate) metrics: Metrics,
    pub(crate) log_level: LogLevel,
}

// === impl Control ===

impl Control {
    /// Listens in `state_dir`. The caller holds the node's lock: a socket that is there is of an agent
    /// that has ended.
    pub(crate) fn bind(state_dir: &Path, answers: Answers) -> io::Result<Self> {
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
    pub(crate) async fn serve(self) -> Infallible {
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
