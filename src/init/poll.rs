//! `poll(2)` for several descriptors, some of which may not be of interest at the moment.

use std::{os::fd::BorrowedFd, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec};

/// Waits until one of them is ready, at most for `patience`, and returns the state of each, in
/// order. Descriptors without interest are never ready. A signal can shorten the wait.
pub(super) fn wait(
    fds: &[Option<(BorrowedFd<'_>, PollFlags)>],
    patience: Option<Duration>,
) -> Vec<PollFlags> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    // A time that the kernel cannot represent counts as no limit.
    let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
    // EINTR is a wait without result. No other error is possible with valid descriptors.
    let ready = rustix::event::poll(&mut polled, timeout.as_ref()).is_ok_and(|count| count > 0);
    let mut flags = polled.iter().map(PollFd::revents);
    fds.iter()
        .map(|fd| match fd {
            Some(_) => flags.next().filter(|_| ready).unwrap_or(PollFlags::empty()),
            None => PollFlags::empty(),
        })
        .collect()
}
