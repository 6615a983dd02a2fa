//! A client's connection that knows when hyper has handed everything to the kernel, and does not
//! wait for ever for a client that stopped reading.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::body::Outbox;

/// Time in which a client must read something of an answer that is under way.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// hyper flushes the connection only when its own buffer is empty (hyper 1.12,
/// `proto/h1/io.rs`, `Buffered::poll_flush`), so a flush confirms every body taken before it.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    outbox: Outbox,
    stalled: Option<Pin<Box<Sleep>>>,
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(stream: TcpStream, outbox: Outbox) -> Self {
        Self { stream, outbox, stalled: None }
    }

    /// Lets a pending write wait for so long only.
    fn patient(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL_TIMEOUT)));
        ready!(stalled.as_mut().poll(cx));
        let error = io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading");
        Poll::Ready(Err(error))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.patient(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.patient(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.outbox.confirm();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
