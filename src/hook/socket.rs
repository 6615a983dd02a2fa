//! The hook's end of the connection to an init.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use ephemon_contract::session::{Channel, Opening, SEAL_BYTES, SessionError};
use ephemon_contract::{
    ErrorCode, Failure, Frames, Hello, MAX_REPLY_BYTES, Malformed, PROTOCOL_VERSION, Proof, Reply,
    Request, SessionKey, Token, Volume, Welcome,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Most bytes of one read.
const READ_BYTES: usize = 64 * 1024;
/// Time limit for init's proof of identity, which it sends at once, even if its container is busy.
const PROOF_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection to an init with mutual authentication.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    frames: Frames,
    /// Set once the keys are agreed.
    channel: Option<Channel>,
    buffer: Vec<u8>,
}

/// Why a conversation with init failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No process listens there: not yet, or no longer.
    #[error("cannot connect to {path}: {source}")]
    Absent { path: PathBuf, source: io::Error },
    #[error("the connection to the container was lost: {0}")]
    Broken(#[from] io::Error),
    /// The connection closed before the reply was complete.
    #[error("the container or its ephemon-init exited")]
    Closed,
    #[error("cannot decode the reply of the container's ephemon-init: {0}")]
    Malformed(#[from] Malformed),
    #[error("the container's ephemon-init refused the request: {}", super::console::quote(&.0.text))]
    Refused(Failure),
    #[error("the container's ephemon-init sent an unexpected reply")]
    Unexpected,
    #[error(
        "the container's ephemon-init does not use version {PROTOCOL_VERSION} of the protocol, which this hook uses; install both from one release"
    )]
    Version,
    #[error(
        "too many connections are open to the container's ephemon-init; a process of the pod may be holding them"
    )]
    Busy,
    /// Another process owns the socket, or relays the connection.
    #[error(
        "{path} is not the socket of the container's ephemon-init: {how}. Another container of the pod has replaced it; no data of the job was sent there. Check the images of the job's services and actions for a hostile one"
    )]
    Impostor { path: PathBuf, how: &'static str },
    #[error(transparent)]
    Session(SessionError),
}

// === impl Line ===

impl Line {
    /// Connects to a container's init; both prove their identity. No data of the job is sent before
    /// that.
    pub(super) async fn open(
        volume: &Volume,
        container: &str,
        token: &Token,
    ) -> Result<(Self, Welcome), Error> {
        let path = volume.socket(container);
        let impostor = |how| Error::Impostor { path: path.clone(), how };
        let absent = |source| Error::Absent { path: path.clone(), source };
        // Before connecting: whoever listens would notice the connection, and could replace the
        // socket.
        let inode = fs::symlink_metadata(&path).map_err(absent)?.ino();
        let stream = UnixStream::connect(&path).await.map_err(absent)?;
        let frames = Frames::new(MAX_REPLY_BYTES + SEAL_BYTES);
        let mut line = Self { stream, frames, channel: None, buffer: vec![0; READ_BYTES] };
        let proven = timeout(PROOF_TIMEOUT, Box::pin(line.prove(container, token))).await;
        let welcome = proven.map_err(|_| impostor("it did not prove its identity within 20 s"))?;
        let welcome = welcome.map_err(|unproven| match unproven {
            Unproven::Impostor(how) => impostor(how),
            Unproven::Other(error) => error,
        })?;
        if welcome.socket_inode != inode {
            return Err(impostor("a process there relays the connection"));
        }
        Ok((line, welcome))
    }

    async fn prove(&mut self, container: &str, token: &Token) -> Result<Welcome, Unproven> {
        let opening = Opening::new().map_err(Error::Session)?;
        let hello = Hello { version: PROTOCOL_VERSION, key: opening.public() };
        self.send(&Request::Hello(hello)).await?;
        let theirs = self.key().await?;
        let finished = opening.finish(token, container, &theirs);
        let (channel, signature) =
            finished.map_err(|_| Unproven::Impostor("its public key is not valid"))?;
        self.channel = Some(channel);
        let welcome = match self.next().await {
            Ok(Reply::Welcome(welcome)) => welcome,
            Ok(Reply::Error(failure)) => return Err(Error::Refused(failure).into()),
            Ok(_) => return Err(Error::Unexpected.into()),
            Err(Error::Malformed(Malformed::Seal)) => {
                return Err(Unproven::Impostor("it does not have this container's key"));
            }
            Err(error) => return Err(error.into()),
        };
        self.send(&Request::Proof(Proof { signature })).await?;
        Ok(welcome)
    }

    /// The first, unauthenticated reply: a key, or a refusal, whose text may come from any process.
    async fn key(&mut self) -> Result<SessionKey, Unproven> {
        match self.next().await {
            Ok(Reply::Key(key)) => Ok(key),
            Ok(Reply::Error(Failure { code: ErrorCode::Version, .. })) => {
                Err(Error::Version.into())
            }
            Ok(Reply::Error(Failure { code: ErrorCode::Busy, .. })) => Err(Error::Busy.into()),
            Ok(_) | Err(Error::Malformed(_)) => {
                Err(Unproven::Impostor("it does not follow the protocol"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a request.
    pub(super) async fn send(&mut self, request: &Request) -> Result<(), Error> {
        let mut frame = request.encode()?;
        if let Some(channel) = &mut self.channel {
            frame = channel.seal(frame)?;
        }
        Ok(self.stream.write_all(&frame).await?)
    }

    /// Waits for the next reply. Cancelling the wait loses no data.
    pub(super) async fn next(&mut self) -> Result<Reply, Error> {
        loop {
            if let Some(body) = self.frames.next_frame()? {
                let body = match &mut self.channel {
                    Some(channel) => channel.open(body)?,
                    None => body,
                };
                return Ok(Reply::decode(&body)?);
            }
            let count = self.stream.read(&mut self.buffer).await?;
            match self.buffer.get(..count) {
                Some(bytes) if !bytes.is_empty() => self.frames.feed(bytes),
                _ => return Err(Error::Closed),
            }
        }
    }

    /// Sends one request and waits for its reply; a refusal is an error.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Reply, Error> {
        self.send(request).await?;
        match self.next().await? {
            Reply::Error(failure) => Err(Error::Refused(failure)),
            reply => Ok(reply),
        }
    }
}

/// Why the other end is not authenticated.
enum Unproven {
    Impostor(&'static str),
    Other(Error),
}

// === impl Unproven ===

impl From<Error> for Unproven {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

// === impl Error ===

impl Error {
    /// Whether the error can disappear while the container starts.
    pub(super) fn is_early(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Closed | Self::Broken(_))
    }
}
