//! The hook's end of an init's socket.

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

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// For the proof of who listens, which an init gives at once, however busy its container is.
const PROOF_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection to an init that we know and that knows us.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    frames: Frames,
    /// Once there are keys.
    channel: Option<Channel>,
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
        "the container's ephemon-init speaks another version of the protocol than {PROTOCOL_VERSION}, this hook's; install both from one release"
    )]
    Version,
    #[error(
        "too many connections are open to the container's ephemon-init; a process of the pod may be holding them"
    )]
    Busy,
    /// The socket's place is taken, or somebody stands between.
    #[error(
        "{path} is not the socket of the container's ephemon-init: {how}. Another container of the pod has taken its place; nothing of the job was sent there. Look for a hostile image among the job's services and actions"
    )]
    Impostor { path: PathBuf, how: &'static str },
    #[error(transparent)]
    Session(SessionError),
}

// === impl Line ===

impl Line {
    /// Connects to a container's init; each proves to the other who it is. Before that nothing of
    /// the job is sent.
    pub(super) async fn open(
        volume: &Volume,
        container: &str,
        token: &Token,
    ) -> Result<(Self, Welcome), Error> {
        let path = volume.socket(container);
        let impostor = |how| Error::Impostor { path: path.clone(), how };
        let absent = |source| Error::Absent { path: path.clone(), source };
        // Before connecting, which whoever listens would see, and could put things right.
        let inode = fs::symlink_metadata(&path).map_err(absent)?.ino();
        let stream = UnixStream::connect(&path).await.map_err(absent)?;
        let frames = Frames::new(MAX_REPLY_BYTES + SEAL_BYTES);
        let mut line = Self { stream, frames, channel: None, buffer: vec![0; READ_BYTES] };
        let proven = timeout(PROOF_TIMEOUT, Box::pin(line.prove(container, token))).await;
        let welcome = proven.map_err(|_| impostor("it does not prove who it is within 20 s"))?;
        let welcome = welcome.map_err(|unproven| match unproven {
            Unproven::Impostor(how) => impostor(how),
            Unproven::Other(error) => error,
        })?;
        if welcome.socket_inode != inode {
            return Err(impostor("somebody there passes on what is said"));
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
            finished.map_err(|_| Unproven::Impostor("its key is none that an init makes"))?;
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

    /// What is said without proof: a key, or a refusal, whose words may be anybody's.
    async fn key(&mut self) -> Result<SessionKey, Unproven> {
        match self.next().await {
            Ok(Reply::Key(key)) => Ok(key),
            Ok(Reply::Error(Failure { code: ErrorCode::Version, .. })) => {
                Err(Error::Version.into())
            }
            Ok(Reply::Error(Failure { code: ErrorCode::Busy, .. })) => Err(Error::Busy.into()),
            Ok(_) | Err(Error::Malformed(_)) => {
                Err(Unproven::Impostor("it does not speak as an init does"))
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

    /// The next reply. Nothing is lost when it is given up waiting for.
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

    /// One request, one reply; a refusal is an error.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Reply, Error> {
        self.send(request).await?;
        match self.next().await? {
            Reply::Error(failure) => Err(Error::Refused(failure)),
            reply => Ok(reply),
        }
    }
}

/// Why nobody is known to be at the other end.
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
    /// Whether it may come right by itself while a container starts.
    pub(super) fn is_early(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Closed | Self::Broken(_))
    }
}
