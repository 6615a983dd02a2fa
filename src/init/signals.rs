//! The signals that wake the main loop: ended children, and the stop signals of images.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::process::Signal;
use signal_hook::{flag, low_level::pipe};

/// Signals with which a container runtime may stop a container: an image chooses its own
/// (`STOPSIGNAL`), and the kernel drops one for process 1 that has no handler (`pid_namespaces(7)`).
const STOPS: [Signal; 8] = [
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::POWER,
];
/// SIGRTMIN+3 with the C library's SIGRTMIN of 34, as images with systemd have it. It has no name
/// here, and is taken as SIGTERM.
const STOP_OF_SYSTEMD: i32 = 37;

/// Whether servers take the signal for a wish to read their configuration or open their logs again, too:
/// the command decides what it means, and the container ends if the command does.
pub(super) fn may_reload(signal: Signal) -> bool {
    matches!(signal, Signal::HUP | Signal::USR1 | Signal::USR2 | Signal::WINCH)
}

/// Descriptors that are readable once a signal has come.
pub(super) struct Signals {
    child: UnixStream,
    stop: UnixStream,
    /// The number of the last stop signal.
    last: Arc<AtomicUsize>,
}

// === impl Signals ===

impl Signals {
    /// Installs the handlers. Steps do not inherit them, because `exec` resets handlers.
    pub(super) fn register() -> io::Result<Self> {
        let (child, child_tx) = UnixStream::pair()?;
        let (stop, stop_tx) = UnixStream::pair()?;
        let last = Arc::new(AtomicUsize::new(0));
        pipe::register(Signal::CHILD.as_raw(), child_tx)?;
        for number in STOPS.map(Signal::as_raw).into_iter().chain([STOP_OF_SYSTEMD]) {
            let value = usize::try_from(number).map_err(io::Error::other)?;
            // In this order: once awake, the loop reads which it was.
            flag::register_usize(number, Arc::clone(&last), value)?;
            pipe::register(number, stop_tx.try_clone()?)?;
        }
        child.set_nonblocking(true)?;
        stop.set_nonblocking(true)?;
        Ok(Self { child, stop, last })
    }

    /// Readable if a child may have ended.
    pub(super) fn child(&self) -> BorrowedFd<'_> {
        self.child.as_fd()
    }

    /// Readable if the container is to stop.
    pub(super) fn stop(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    /// Makes `child` unreadable until the next signal.
    pub(super) fn take_child(&self) {
        drop((&self.child).read(&mut [0; 256]));
    }

    /// Makes `stop` unreadable until the next signal. Returns the last one.
    pub(super) fn take_stop(&self) -> Signal {
        drop((&self.stop).read(&mut [0; 256]));
        let number = i32::try_from(self.last.load(Ordering::SeqCst));
        number.ok().and_then(Signal::from_named_raw).unwrap_or(Signal::TERM)
    }
}
