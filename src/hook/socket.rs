//! The hook's end of an init's socket.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::contract::{
    Failure, Frames, Hello, MAX_REPLY_BYTES, Malformed, PROTOCOL_VERSION, Reply, Request, Token,
    Welcome,
};

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// A connection to an init that knows us.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    frames: Frames,
    buffer: Vec<u8>,
}

/// Why a conversation failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nobody listens there: not yet, or no more.
    #[error("nobody listens at {path}: {source}")]
    Absent { path: PathBuf, source: io::Error },
    #[error("the connection to the container broke: {0}")]
    Broken(#[from] io::Error),
    /// Before the end of what was asked for.
    #[error("the container ended, or its ephemon-init did")]
    Closed,
    #[error("the container's ephemon-init is not understood: {0}")]
    Malformed(#[from] Malformed),
    #[error("the container's ephemon-init refused: {}", super::console::quote(&.0.text))]
    Refused(Failure),
    #[error("the container's ephemon-init answered with something else than was asked for")]
    Unexpected,
    #[error(
        "the container's ephemon-init speaks version {theirs} of the protocol and this hook {PROTOCOL_VERSION}; install both from one release"
    )]
    Version { theirs: u16 },
}

// === impl Line ===

impl Line {
    /// Connects and shows the token.
    pub(super) async fn open(path: &Path, token: &Token) -> Result<(Self, Welcome), Error> {
        let absent = |source| Error::Absent { path: path.to_owned(), source };
        let stream = UnixStream::connect(path).await.map_err(absent)?;
        let frames = Frames::new(MAX_REPLY_BYTES);
        let mut line = Self { stream, frames, buffer: vec![0; READ] };
        let hello = Hello { version: PROTOCOL_VERSION, token: token.expose().to_owned() };
        match line.ask(&Request::Hello(hello)).await? {
            Reply::Welcome(welcome) if welcome.version == PROTOCOL_VERSION => Ok((line, welcome)),
            Reply::Welcome(welcome) => Err(Error::Version { theirs: welcome.version }),
            _ => Err(Error::Unexpected),
        }
    }

    /// Sends a request.
    pub(super) async fn send(&mut self, request: &Request) -> Result<(), Error> {
        let frame = request.encode()?;
        Ok(self.stream.write_all(&frame).await?)
    }

    /// The next reply. Nothing is lost when it is given up waiting for.
    pub(super) async fn next(&mut self) -> Result<Reply, Error> {
        loop {
            if let Some(body) = self.frames.next_frame()? {
                return Ok(Reply::decode(&body)?);
            }
            let count = self.stream.read(&mut self.buffer).await?;
            match self.buffer.get(..count) {
                Some(bytes) if !bytes.is_empty() => self.frames.feed(bytes),
                _ => return Err(Error::Closed),
            }
        }
    }

    /// One request, one reply; a refusal is an error.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Reply, Error> {
        self.send(request).await?;
        match self.next().await? {
            Reply::Error(failure) => Err(Error::Refused(failure)),
            reply => Ok(reply),
        }
    }
}

// === impl Error ===

impl Error {
    /// Whether it may come right by itself while a container starts.
    pub(super) fn is_early(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Closed | Self::Broken(_))
    }
}
