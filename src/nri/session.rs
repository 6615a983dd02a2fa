//! A session with the runtime: registers the plugin, answers what it is asked, one after the other, as the
//! runtime asks, and passes on what it is told.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::call::{Incoming, Message, REQUEST, RESPONSE};
use super::creation::{Adjustment, Creation};
use super::error::Error;
use super::frame::{self, Header, framed};
use super::life::{EVENTS, Event, Life};
use super::listing::{List, Listing};
use super::wire::{
    ConfigureRequest, ConfigureResponse, RUNTIME_SERVICE, RegisterPluginRequest, Request, Response,
    SynchronizeResponse,
};

/// Bytes read at a time.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
/// Longest answer of the runtime to the plugin's one call.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Longest call of the runtime that is read whole. What is longer is a part of the list of all pods and
/// containers of a large node, which is then not complete.
pub(super) const MAX_CALL_BYTES: usize = 2 << 20;

/// The call's number: a client's are odd.
const REGISTRATION: u32 = 1;
/// The plugin's place among others, two digits. The last: so the request shows what all others have
/// set. Two that set one limit are a conflict, and then the runtime does not create the container
/// (`pkg/adaptation/result.go`).
const INDEX: &str = "99";

/// Longest wait for the end of the registration. The runtime takes one plugin after the other, each
/// within its own time limit.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for room in the socket. Answers are hardly longer than its buffer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time for a decision. The runtime waits for two seconds by default
/// (`DefaultPluginRequestTimeout`) and says how long in `Configure`; meanwhile no other container of
/// the node is created.
const DECISION_TIMEOUT: Duration = Duration::from_millis(300);
/// The part of the runtime's own time limit that a decision may take at most.
const PART_OF_TIMEOUT: u32 = 4;

/// Decides what is changed of a container, and learns what becomes of all.
pub trait Handler: Sync {
    /// What is changed, within this time; later, nothing is.
    fn decide(
        &self,
        creation: Creation,
        within: Duration,
    ) -> impl Future<Output = Adjustment> + Send;

    /// A request could not be read: nothing is changed.
    fn unreadable(&self);

    /// The decision about this container took too long: nothing is changed.
    fn late(&self, creation: &Creation);

    /// The runtime has taken the plugin.
    fn ready(&self);

    /// What has become of a container. The runtime has its answer, and does not wait.
    fn told(&self, event: Event, life: Life);

    /// All that there is, once the runtime has taken the plugin.
    fn listed(&self, list: List);
}

/// A connection to the runtime.
#[derive(Debug)]
pub struct Session<S> {
    stream: S,
    calls: Incoming,
    answers: Incoming,
    /// All pods and containers, of which the last part has not come.
    listing: Listing,
    decision_timeout: Duration,
    /// The runtime knows limits of tasks (`LinuxPids`), which came in the version in which it began to say
    /// its time limit (NRI v0.7.0, `pkg/api/api.proto`).
    knows_pids: bool,
    /// Until the runtime has taken the plugin.
    ready_by: Option<Instant>,
}

/// Checks that something listens at `socket`, without registering.
///
/// # Errors
/// If it cannot be connected to.
pub async fn check(socket: &Path) -> Result<(), Error> {
    Session::connect(socket).await.map(drop)
}

// === impl Session ===

impl Session<UnixStream> {
    /// Connects to the runtime's socket.
    ///
    /// # Errors
    /// If that cannot be done.
    pub async fn connect(socket: &Path) -> Result<Self, Error> {
        let connected = UnixStream::connect(socket).await;
        connected
            .map(Self::new)
            .map_err(|source| Error::Connect { path: socket.to_owned(), source })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session on this connection.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            calls: Incoming::new(MAX_CALL_BYTES),
            answers: Incoming::new(MAX_ANSWER_BYTES),
            listing: Listing::default(),
            decision_timeout: DECISION_TIMEOUT,
            knows_pids: false,
            ready_by: None,
        }
    }

    /// Registers under this name, and answers until the session ends.
    pub async fn serve(mut self, name: &str, handler: &impl Handler) -> Error {
        let ends = self.run(name, handler).await;
        let Err(error) = ends;
        error
    }

    async fn run(
        &mut self,
        name: &str,
        handler: &impl Handler,
    ) -> Result<std::convert::Infallible, Error> {
        self.ready_by = Some(Instant::now() + REGISTRATION_TIMEOUT);
        self.register(name).await?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let header = self.header().await?;
            let mut left = header.bytes;
            while left > 0 {
                let part = left.min(CHUNK_BYTES);
                let part = chunk.get_mut(..part).unwrap_or_default();
                self.stream.read_exact(part).await.map_err(ended)?;
                left -= part.len();
                self.take(header.connection, part, handler).await?;
            }
        }
    }

    async fn header(&mut self) -> Result<Header, Error> {
        let mut header = [0; frame::HEADER_BYTES];
        let read = self.stream.read_exact(&mut header);
        match self.ready_by {
            None => read.await,
            // What is there is read even when the time is over.
            Some(by) if by <= Instant::now() => return Err(Error::Silent(REGISTRATION_TIMEOUT)),
            Some(by) => {
                timeout_at(by, read).await.map_err(|_| Error::Silent(REGISTRATION_TIMEOUT))?
            }
        }
        .map_err(ended)?;
        Header::read(header)
    }

    /// Handles what has come on a connection.
    async fn take(
        &mut self,
        connection: u32,
        part: &[u8],
        handler: &impl Handler,
    ) -> Result<(), Error> {
        match connection {
            frame::PLUGIN => {
                self.calls.push(part);
                while let Some(message) = self.calls.next()? {
                    if message.kind == REQUEST {
                        self.answer(message, handler).await?;
                    }
                }
            }
            frame::RUNTIME => {
                self.answers.push(part);
                while let Some(message) = self.answers.next()? {
                    registered(message)?;
                }
            }
            // Later versions may have more.
            _ => {}
        }
        Ok(())
    }

    async fn register(&mut self, name: &str) -> Result<(), Error> {
        let plugin =
            RegisterPluginRequest { plugin_name: name.to_owned(), plugin_idx: INDEX.to_owned() };
        let request = Request {
            service: RUNTIME_SERVICE.to_owned(),
            method: "RegisterPlugin".to_owned(),
            payload: plugin.encode_to_vec().into(),
        };
        let data = request.encode_to_vec().into();
        let call = Message { stream: REGISTRATION, kind: REQUEST, data, cut: false };
        self.send(frame::RUNTIME, call).await
    }

    async fn answer(&mut self, call: Message, handler: &impl Handler) -> Result<(), Error> {
        let Message { stream, data, cut, .. } = call;
        let request = if cut { method_of(data) } else { Request::decode(data).ok() };
        let request = request.ok_or(Error::Nonsense("a call does not name its method"))?;
        let Request { method, payload, .. } = request;
        let mut is_listed = false;
        let answer = match method.as_str() {
            "Configure" => self.configure(payload.clone()),
            "Synchronize" => {
                let more = self.listing.take(payload.clone());
                // A part that was cut does not say whether it is the last. The answer is looked at only
                // if it is not.
                is_listed = cut || !more;
                SynchronizeResponse { more: more || cut }.encode_to_vec()
            }
            "CreateContainer" => {
                let adjustment = self.decide(payload.clone(), handler).await;
                adjustment.answer().encode_to_vec()
            }
            // Only told, or not subscribed to. An error as the answer might fail what the runtime is doing.
            _ => Vec::new(),
        };
        let answer = Response { status: None, payload: answer.into() };
        let data = answer.encode_to_vec().into();
        self.send(frame::PLUGIN, Message { stream, kind: RESPONSE, data, cut: false }).await?;
        if let Some((event, life)) = Event::told(&method, payload) {
            handler.told(event, life);
        }
        if is_listed {
            if self.ready_by.take().is_some() {
                handler.ready();
            }
            let list = std::mem::replace(&mut self.listing, Listing::after(cut));
            handler.listed(if cut { list.cut() } else { list.finish() });
        }
        if method == "Shutdown" { Err(Error::Shutdown) } else { Ok(()) }
    }

    fn configure(&mut self, payload: Bytes) -> Vec<u8> {
        let asked = ConfigureRequest::decode(payload).unwrap_or_default();
        let runtimes = u64::try_from(asked.request_timeout).ok().filter(|millis| *millis > 0);
        self.knows_pids = runtimes.is_some();
        if let Some(millis) = runtimes {
            let part = Duration::from_millis(millis) / PART_OF_TIMEOUT;
            self.decision_timeout = DECISION_TIMEOUT.min(part);
        }
        ConfigureResponse { events: EVENTS }.encode_to_vec()
    }

    async fn decide(&self, payload: Bytes, handler: &impl Handler) -> Adjustment {
        let Some(mut creation) = Creation::read(payload) else {
            handler.unreadable();
            return Adjustment::default();
        };
        creation.there.pids_are_fixed |= !self.knows_pids;
        let within = self.decision_timeout;
        // Twice: the decision keeps its time by itself, unless the processors are all busy.
        let decided = timeout(2 * within, handler.decide(creation.clone(), within)).await;
        decided.unwrap_or_else(|_| {
            handler.late(&creation);
            Adjustment::default()
        })
    }

    async fn send(&mut self, connection: u32, message: Message) -> Result<(), Error> {
        let frames = framed(connection, &message.write());
        let written = timeout(WRITE_TIMEOUT, self.stream.write_all(&frames)).await;
        written.map_err(|_| Error::Closed)?.map_err(ended)
    }
}

/// The method of a call of which only the beginning is there, without its payload.
fn method_of(mut head: Bytes) -> Option<Request> {
    use prost::encoding::{WireType, decode_key, decode_varint};
    let mut request = Request::default();
    while request.method.is_empty() {
        let (tag, WireType::LengthDelimited) = decode_key(&mut head).ok()? else { return None };
        let length = usize::try_from(decode_varint(&mut head).ok()?).ok()?;
        if length > head.len() {
            return None;
        }
        let text = String::from_utf8(head.split_to(length).to_vec()).ok()?;
        match tag {
            1 => request.service = text,
            2 => request.method = text,
            _ => return None,
        }
    }
    Some(request)
}

/// The answer to the plugin's one call.
fn registered(message: Message) -> Result<(), Error> {
    let (REGISTRATION, RESPONSE) = (message.stream, message.kind) else {
        return Ok(());
    };
    let answer = Response::decode(message.data)
        .map_err(|_| Error::Nonsense("its answer to the registration cannot be read"))?;
    match answer.status.filter(|status| status.code != 0) {
        Some(status) => Err(Error::refused(&status.message)),
        None => Ok(()),
    }
}

fn ended(error: std::io::Error) -> Error {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.kind() {
        UnexpectedEof | BrokenPipe | ConnectionReset => Error::Closed,
        _ => Error::Broken(error),
    }
}

#[cfg(test)]
mod tests;
