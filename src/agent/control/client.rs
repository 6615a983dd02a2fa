//! Asks the agent by its control socket.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Answer, CONVERSATION_TIMEOUT, Request, socket};

/// Longest answer that a client takes, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The agent does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
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

/// Asks the agent whose state is in `state_dir`: its answer, and the text after it.
pub(crate) async fn ask(state_dir: &Path, request: &Request) -> Result<(Value, String), Error> {
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
