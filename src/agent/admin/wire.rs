//! A client's connection that knows when hyper has passed all data to the kernel, and limits how
//! long it waits for the client: for its first byte, for the rest of a request, and for it to read.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ephemon_self_metrics::Closed;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::body::Outbox;

/// How long to wait for a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the connection to the first byte.
    pub(super) first_byte: Duration,
    /// From a request's first byte to the end of its head, or for a TLS handshake.
    pub(super) head: Duration,
    /// From a response to the next request: longer than usual scrape intervals, so that a scraper
    /// can keep its connection.
    pub(super) kept: Duration,
    /// For the client to read more of a response.
    pub(super) stall: Duration,
    /// For the client to read the complete response.
    pub(super) answer: Duration,
}

/// hyper flushes the connection only when its own buffer is empty (hyper 1.12,
/// `proto/h1/io.rs`, `Buffered::poll_flush`), so a flush confirms every body taken before it.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    outbox: Outbox,
    patience: Patience,
    phase: Phase,
    /// When the phase must end.
    due: Pin<Box<Sleep>>,
    /// When a pending write must have made progress.
    stalled: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Silent,
    Head,
    Answer,
    Kept,
}

// === impl Patience ===

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(5),
            head: Duration::from_secs(10),
            kept: Duration::from_secs(75),
            stall: Duration::from_secs(15),
            answer: Duration::from_mins(1),
        }
    }
}

// === impl Wire ===

impl<S> Wire<S> {
    pub(super) fn new(stream: S, outbox: Outbox, patience: Patience) -> Self {
        let due = Box::pin(sleep_until(Instant::now() + patience.first_byte));
        Self { stream, outbox, patience, phase: Phase::Silent, due, stalled: None }
    }

    fn enter(&mut self, phase: Phase) {
        let Patience { first_byte, head, kept, answer, .. } = self.patience;
        let time = match phase {
            Phase::Silent => first_byte,
            Phase::Head => head,
            Phase::Answer => answer,
            Phase::Kept => kept,
        };
        self.phase = phase;
        self.due.as_mut().reset(Instant::now() + time);
    }

    /// The phase changes to writing a response that was created.
    fn follow(&mut self) {
        if self.phase != Phase::Answer && self.outbox.is_answering() {
            self.enter(Phase::Answer);
        }
    }

    /// Returns an error if the phase has lasted too long.
    fn overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.due.as_mut().poll(cx));
        let (why, text) = match self.phase {
            Phase::Silent => (Some(Closed::Silent), "the client sent nothing"),
            Phase::Head => (Some(Closed::SlowRequest), "the client did not end its request"),
            Phase::Answer => (Some(Closed::SlowReader), "the client read too slowly"),
            // A normal end: no request is pending.
            Phase::Kept => (None, "the client sent no further request"),
        };
        Poll::Ready(self.give_up(why, text))
    }

    fn give_up(&self, why: Option<Closed>, text: &'static str) -> io::Error {
        if let Some(why) = why {
            self.outbox.seat().closed(why);
        }
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    /// Limits how long a write may be pending.
    fn patient(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        if let Poll::Ready(error) = self.overdue(cx) {
            return Poll::Ready(Err(error));
        }
        let until = Instant::now() + self.patience.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(stalled.as_mut().poll(cx));
        let error = self.give_up(Some(Closed::SlowReader), "the client stopped reading");
        Poll::Ready(Err(error))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        wire.follow();
        let before = buf.filled().len();
        match Pin::new(&mut wire.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                let some = buf.filled().len() > before;
                if some && matches!(wire.phase, Phase::Silent | Phase::Kept) {
                    wire.enter(Phase::Head);
                }
                Poll::Ready(read)
            }
            Poll::Pending => wire.overdue(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.follow();
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.patient(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.follow();
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.patient(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        match Pin::new(&mut wire.stream).poll_flush(cx) {
            // With TLS, bytes may be buffered in the lower layer.
            Poll::Pending => wire.overdue(cx).map(Err),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                if wire.outbox.confirm() {
                    wire.enter(Phase::Kept);
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
