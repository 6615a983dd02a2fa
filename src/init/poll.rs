//! `poll(2)` over a few descriptors, some of which may not be of interest just now.

use std::{os::fd::BorrowedFd, time::Duration};

use nix::poll::{PollFd, PollFlags, PollTimeout};

/// Waits until one of them is ready, `patience` at most, and says how each is, in order. What is
/// not of interest is never ready. An interrupted wait is a short one.
pub(super) fn wait(
    fds: &[Option<(BorrowedFd<'_>, PollFlags)>],
    patience: Option<Duration>,
) -> Vec<PollFlags> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|(fd, flags)| PollFd::new(*fd, *flags)).collect();
    let timeout = match patience {
        None => PollTimeout::NONE,
        // Rounded up, or a wait of less than a millisecond would spin.
        Some(patience) => {
            let millis = patience.as_micros().div_ceil(1000);
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        }
    };
    // EINTR is a wait without a result. Nothing else can go wrong with descriptors we hold.
    let ready = nix::poll::poll(&mut polled, timeout).is_ok_and(|count| count > 0);
    let mut flags = polled.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
    fds.iter()
        .map(|fd| match fd {
            Some(_) => flags.next().filter(|_| ready).unwrap_or(PollFlags::empty()),
            None => PollFlags::empty(),
        })
        .collect()
}
