//! `poll(2)` over a few descriptors, some of which may not be of interest just now.

use std::{os::fd::BorrowedFd, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec};

/// Waits until one of them is ready, `patience` at most, and says how each is, in order. What is
/// not of interest is never ready. An interrupted wait is a short one.
pub(super) fn wait(
    fds: &[Option<(BorrowedFd<'_>, PollFlags)>],
    patience: Option<Duration>,
) -> Vec<PollFlags> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    // Longer than the kernel can wait is for ever.
    let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
    // EINTR is a wait without a result. Nothing else can go wrong with descriptors we hold.
    let ready = rustix::event::poll(&mut polled, timeout.as_ref()).is_ok_and(|count| count > 0);
    let mut flags = polled.iter().map(PollFd::revents);
    fds.iter()
        .map(|fd| match fd {
            Some(_) => flags.next().filter(|_| ready).unwrap_or(PollFlags::empty()),
            None => PollFlags::empty(),
        })
        .collect()
}
