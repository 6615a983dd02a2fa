//! When a container's group was created.

use std::time::{Duration, SystemTime};

/// The longest tick of a kernel's clock (`CONFIG_HZ=100`).
const TICK: Duration = Duration::from_millis(10);
/// An event is at most this old when it is read. An earlier time of the group is not trusted,
/// because a process in it may have set it.
const LATEST_EVENT: Duration = Duration::from_mins(1);

/// When a group was created whose event was just read. On a busy node the event may be read when
/// the container's processes already run; the kernel keeps a group's time from when it was first
/// looked up, which the runtime does. That time has the resolution of a tick: for an event that
/// waited for less than one, the present time is more precise.
///
/// Source: Linux, `fs/kernfs/inode.c`, `kernfs_init_inode`.
pub(super) fn creation_time(made: SystemTime, now: SystemTime) -> SystemTime {
    match now.duration_since(made) {
        Ok(age) if (TICK..=LATEST_EVENT).contains(&age) => made,
        _ => now,
    }
}
