//! What ends the thread's sleep besides new logs: a collector's answer, and the order to stop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// A descriptor that can be read while there is something to do, and whether that is to stop.
#[derive(Debug)]
pub(super) struct Wake {
    event: OwnedFd,
    stops: AtomicBool,
}

// === impl Wake ===

impl Wake {
    /// # Errors
    /// Where the kernel gives no descriptor.
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, stops: AtomicBool::new(false) })
    }

    /// Ends the sleep that is under way, or the next one.
    pub(super) fn wake(&self) {
        // A counter that is full can be read all the same.
        rustix::io::write(&self.event, &1_u64.to_ne_bytes()).ok();
    }

    /// The thread is to come to an end.
    pub(super) fn stop(&self) {
        self.stops.store(true, Ordering::Release);
        self.wake();
    }

    /// After a sleep that was ended: whether the thread is to come to an end. Sleeps that begin after this
    /// are not ended by what was before.
    pub(super) fn is_stop(&self) -> bool {
        // First the counter: whoever stops later writes to it later.
        rustix::io::read(&self.event, &mut [0; 8]).ok();
        self.stops.load(Ordering::Acquire)
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(wake: &Wake) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(wake.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
    }

    #[test]
    fn a_wake_ends_one_sleep_and_a_stop_is_never_forgotten() {
        let wake = Wake::new().unwrap();
        assert!(!is_readable(&wake));
        wake.wake();
        wake.wake();
        assert!(is_readable(&wake));
        assert!(!wake.is_stop() && !is_readable(&wake));
        wake.stop();
        wake.wake();
        assert!(is_readable(&wake));
        assert!(wake.is_stop() && wake.is_stop());
    }
}
