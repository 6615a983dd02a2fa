//! The kubelet's log directories: they provide a pod's name by its UID, a container's name by its
//! id, and, by the order in which logs are created, names of containers for which no other source
//! has one.
//!
//! Directories only: no log is opened here. inotify reports changes immediately; a periodic scan
//! finds what it missed, and works alone where inotify is not available.

pub mod directory_watch;
mod follower;
pub mod names;

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_base::backoff::jittered;
use ephemon_model::node::NodeRoot;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use tracing::warn;

use super::inventory::Inventory;
use follower::Follower;

/// How often all directories are read again while inotify works.
const RESCAN_INTERVAL: Duration = Duration::from_secs(10);

/// How often they are read again while inotify does not work, or a directory does not exist yet.
const RESCAN_INTERVAL_WITHOUT_EVENTS: Duration = Duration::from_secs(2);

/// Ends the reading thread when dropped.
struct Stop(Arc<OwnedFd>);

/// Updates `inventory` from every log directory, until dropped.
///
/// Reads on a separate thread, because a slow or blocked disk must not block other tasks.
pub async fn watch(node: NodeRoot, inventory: Inventory) -> Infallible {
    loop {
        match eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
            Ok(fd) => {
                let stop = Stop(Arc::new(fd));
                let stopped = stop.0.clone();
                let (node, inventory) = (node.clone(), inventory.clone());
                let reading = tokio::task::spawn_blocking(move || read(&node, inventory, &stopped));
                if let Err(error) = reading.await {
                    warn!(%error, "cannot read log directories; rescanning all");
                }
            }
            Err(error) => warn!(%error, "cannot read log directories; retrying"),
        }
        tokio::time::sleep(RESCAN_INTERVAL_WITHOUT_EVENTS).await;
    }
}

fn read(node: &NodeRoot, inventory: Inventory, stop: &OwnedFd) {
    let mut follower = Follower::new(node, inventory);
    let mut rescan_at = Instant::now();
    loop {
        let now = Instant::now();
        let due = now >= rescan_at;
        let complete = follower.turn(due);
        if due {
            let alone = follower.descriptor().is_none() || !complete;
            let period = if alone { RESCAN_INTERVAL_WITHOUT_EVENTS } else { RESCAN_INTERVAL };
            rescan_at = now + jittered(period, fastrand::f64());
        }
        let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
        fds.extend(follower.descriptor().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let wait = rescan_at.saturating_duration_since(Instant::now());
        match poll(&mut fds, Timespec::try_from(wait).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                warn!(%error, "cannot wait for inotify events; using periodic scans only");
                std::thread::sleep(RESCAN_INTERVAL_WITHOUT_EVENTS);
            }
        }
        if fds.first().is_some_and(|stop| !stop.revents().is_empty()) {
            return;
        }
    }
}

// === impl Stop ===

impl Drop for Stop {
    fn drop(&mut self) {
        // The counter cannot be full: this is its only writer.
        rustix::io::write(self.0.as_fd(), &1_u64.to_ne_bytes()).ok();
    }
}
