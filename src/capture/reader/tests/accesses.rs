//! Which files of a group are written and read, as the kernel tells of it: what the agent has read of a
//! container it does not show before the container has ended.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// The last file that the test writes; then the agent looks for a process, and finding none reads all.
const FINAL_READING: [(ReadFlags, &str); 3] = [
    (ReadFlags::MODIFY, "memory.current"),
    (ReadFlags::ACCESS, "cgroup.events"),
    (ReadFlags::ACCESS, "memory.current"),
];

/// The accesses to the files of one group from now on.
pub(super) struct Accesses {
    watch: OwnedFd,
    /// How far [`FINAL_READING`] has come.
    seen: usize,
}

impl Accesses {
    pub(super) fn of(group: &Path) -> Self {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, group, WatchFlags::MODIFY | WatchFlags::ACCESS).unwrap();
        Self { watch, seen: 0 }
    }

    /// Whether the agent has taken a final reading of what was written since.
    pub(super) fn show_final_reading(&mut self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watch, &mut buffer);
        while let Some((access, file)) = FINAL_READING.get(self.seen) {
            let Ok(event) = events.next() else { return false };
            let name = event.file_name().and_then(|name| name.to_str().ok());
            self.seen += usize::from(event.events().contains(*access) && name == Some(*file));
        }
        true
    }
}
