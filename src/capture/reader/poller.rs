//! The epoll instance of the capture thread.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// Most events that are read at once.
const BATCH: usize = 256;

/// Waits for descriptors, each identified by a token.
#[derive(Debug)]
pub(super) struct Poller(OwnedFd);

/// The kernel's events. Belongs to one thread, because the events may contain pointers.
#[derive(Default)]
pub(super) struct PollEvents {
    events: Vec<epoll::Event>,
    pub(super) tokens: Vec<u64>,
}

// === impl Poller ===

impl Poller {
    pub(super) fn new() -> Result<Self, Errno> {
        epoll::create(epoll::CreateFlags::CLOEXEC).map(Self)
    }

    /// Reports the descriptor whenever it is readable.
    pub(super) fn add(&self, fd: impl AsFd, token: u64) -> Result<(), Errno> {
        epoll::add(&self.0, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
    }

    /// Reports the descriptor once.
    pub(super) fn add_once(&self, fd: impl AsFd, token: u64) -> Result<(), Errno> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&self.0, fd, epoll::EventData::new_u64(token), flags)
    }

    /// Waits until a descriptor is readable or the time is over.
    pub(super) fn wait(
        &self,
        timeout: Duration,
        poll_events: &mut PollEvents,
    ) -> Result<(), Errno> {
        let timeout = Timespec::try_from(timeout).ok();
        poll_events.events.clear();
        poll_events.events.reserve(BATCH);
        let spare = rustix::buffer::spare_capacity(&mut poll_events.events);
        match epoll::wait(&self.0, spare, timeout.as_ref()) {
            Ok(_) => {
                poll_events.tokens.extend(poll_events.events.iter().map(|event| event.data.u64()));
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
