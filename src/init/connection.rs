//! The connection of one hook: frames in both directions, non-blocking, with bounded buffers.

use std::{
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use ephemon_contract::session::{Channel, SEAL_BYTES};
use ephemon_contract::{Frames, MAX_HELLO_BYTES, MAX_REQUEST_BYTES, Reply, Request};
use rustix::event::PollFlags;

use super::poll;

/// If more bytes than this wait to be sent, no more output of a step is read.
const HIGH_WATER_BYTES: usize = 32 * 1024;
/// Bytes of one read from the socket.
const READ_BYTES: usize = 16 * 1024;
/// Reads in a row before other work of the step is done.
const READS_PER_TURN: usize = 16;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    frames: Frames,
    /// Set once the keys are agreed.
    channel: Option<Channel>,
    outbound: Vec<u8>,
    sent: usize,
}

/// The peer has disconnected or sent invalid data. In both cases the connection is not used any
/// more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// What was received.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A request.
    Request(Box<Request>),
    /// A frame that is not a valid request.
    Invalid,
    /// Nothing within the time limit.
    Nothing,
}

// === impl Connection ===

impl Connection {
    /// Takes over a stream whose peer is not authenticated yet.
    pub(super) fn new(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        let frames = Frames::new(MAX_HELLO_BYTES);
        Ok(Self { stream, frames, channel: None, outbound: Vec::new(), sent: 0 })
    }

    /// Encrypts and authenticates every frame from now on.
    pub(super) fn seal(&mut self, channel: Channel) {
        self.channel = Some(channel);
    }

    /// Accepts longer frames from now on.
    pub(super) fn trust(&mut self) {
        self.frames.set_limit(MAX_REQUEST_BYTES + SEAL_BYTES);
    }

    /// What to poll for: requests, and room to send if data waits.
    pub(super) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let send = if self.outbound.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        (self.stream.as_fd(), PollFlags::IN | send)
    }

    /// Whether the peer is slow, so that no output should be queued.
    pub(super) fn is_full(&self) -> bool {
        self.outbound.len() - self.sent >= HIGH_WATER_BYTES
    }

    /// Queues a reply and sends what is possible without blocking.
    pub(super) fn queue(&mut self, reply: &Reply) -> Result<(), Gone> {
        let mut frame = reply.encode().map_err(|_| Gone)?;
        if let Some(channel) = &mut self.channel {
            frame = channel.seal(frame).map_err(|_| Gone)?;
        }
        self.outbound.extend_from_slice(&frame);
        self.send()
    }

    /// Sends what is possible without blocking.
    pub(super) fn send(&mut self) -> Result<(), Gone> {
        while let Some(rest) = self.outbound.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(Gone),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.sent >= HIGH_WATER_BYTES {
                        self.outbound.drain(..self.sent);
                        self.sent = 0;
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
        self.outbound.clear();
        self.sent = 0;
        Ok(())
    }

    /// Queues a reply and sends everything, even to a slow peer.
    pub(super) fn reply(&mut self, reply: &Reply) -> Result<(), Gone> {
        self.queue(reply)?;
        while !self.outbound.is_empty() {
            let ready = poll::wait(&[Some((self.stream.as_fd(), PollFlags::OUT))], None);
            if ready.iter().any(|flags| flags.intersects(PollFlags::ERR | PollFlags::HUP)) {
                return Err(Gone);
            }
            self.send()?;
        }
        Ok(())
    }

    /// Reads what has arrived, without blocking.
    pub(super) fn receive(&mut self) -> Result<(), Gone> {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_PER_TURN {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Gone),
                Ok(count) => self.frames.feed(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    /// The next complete request.
    pub(super) fn next_request(&mut self) -> Arrival {
        match self.frames.next_frame() {
            Ok(Some(body)) => {
                let body = match &mut self.channel {
                    Some(channel) => channel.open(body),
                    None => Ok(body),
                };
                match body.and_then(|body| Request::decode(&body)) {
                    Ok(request) => Arrival::Request(Box::new(request)),
                    Err(_) => Arrival::Invalid,
                }
            }
            Ok(None) => Arrival::Nothing,
            Err(_) => Arrival::Invalid,
        }
    }

    /// Waits for a request, at most for `patience`.
    pub(super) fn wait_request(&mut self, patience: Option<Duration>) -> Result<Arrival, Gone> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        loop {
            match self.next_request() {
                Arrival::Nothing => {}
                arrival => return Ok(arrival),
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Arrival::Nothing);
            }
            poll::wait(&[Some((self.stream.as_fd(), PollFlags::IN))], left);
            let received = self.receive();
            match self.next_request() {
                Arrival::Nothing => received?,
                // It was sent before the peer disconnected.
                arrival => return Ok(arrival),
            }
        }
    }
}
