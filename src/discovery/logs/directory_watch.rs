//! inotify on directories, with its limits: logs which setting is too low, and leaves the work to
//! the periodic scan.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ephemon_base::warning::Outage;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tracing::warn;

/// Most directories watched at once: 250 pods with ten containers, and as many again.
const MAX_WATCHES: usize = 8_192;

/// Bytes of events that are read at once; an event has at most 272 bytes.
const BUFFER: usize = 16 * 1024;

/// Buffers that are read in one turn, so that many events cannot delay the periodic scan.
const MAX_BUFFERS: usize = 64;

/// A change in a watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryEvent<P> {
    /// A new entry with this name.
    New(P, String),
    /// The directory was removed.
    Gone(P),
    /// Events were lost.
    Lost,
}

/// Watches directories, each identified by its place `P`.
#[derive(Debug)]
pub struct DirectoryWatch<P> {
    inotify: Option<OwnedFd>,
    /// By watch descriptor. The kernel does not reuse descriptors.
    places: HashMap<i32, P>,
    unwatched: Outage,
}

// === impl DirectoryWatch ===

impl<P: Clone + Eq + Hash> DirectoryWatch<P> {
    /// Creates an inotify instance. If none is left, no events are reported, and the log says so.
    #[expect(clippy::new_without_default, reason = "it warns")]
    pub fn new() -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .inspect_err(|error| {
                if *error == Errno::MFILE {
                    warn!(
                        "no inotify instance left for log directories; using periodic scans only. Raise \
                         sysctl fs.inotify.max_user_instances, or the limit of open files"
                    );
                } else {
                    warn!(%error, "cannot use inotify for log directories; using periodic scans only");
                }
            })
            .ok();
        Self { inotify, places: HashMap::new(), unwatched: Outage::default() }
    }

    /// The descriptor that becomes readable with an event.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Watches a directory; repeating it is harmless. A missing directory is not an error: the
    /// periodic scan tries again.
    pub fn watch(&mut self, directory: &Path, place: P) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        if self.places.len() >= MAX_WATCHES {
            self.warn_once(directory, "there are too many log directories to watch them all");
            return;
        }
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(inotify, directory, events) {
            Ok(descriptor) => {
                self.places.insert(descriptor, place);
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(Errno::NOSPC) => self.warn_once(
                directory,
                "no inotify watch left; raise sysctl fs.inotify.max_user_watches",
            ),
            Err(error) => self.warn_once(directory, &format!("cannot watch it: {error}")),
        }
    }

    /// All events since the last call, up to a bound.
    pub fn take(&mut self) -> Vec<DirectoryEvent<P>> {
        let mut watch = Vec::new();
        let Some(inotify) = &self.inotify else {
            return watch;
        };
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        let mut buffers = 0;
        loop {
            if reader.is_buffer_empty() {
                if buffers == MAX_BUFFERS {
                    break;
                }
                buffers += 1;
            }
            let event = match reader.next() {
                Ok(event) => event,
                Err(error) => {
                    if error != Errno::WOULDBLOCK {
                        warn!(%error, "cannot read inotify events of log directories");
                        watch.push(DirectoryEvent::Lost);
                    }
                    return watch;
                }
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                watch.push(DirectoryEvent::Lost);
            } else if event.events().contains(ReadFlags::IGNORED) {
                watch.extend(self.places.remove(&event.wd()).map(DirectoryEvent::Gone));
            } else if let Some(place) = self.places.get(&event.wd())
                && let Some(name) = event.file_name().and_then(|name| name.to_str().ok())
            {
                watch.push(DirectoryEvent::New(place.clone(), name.to_owned()));
            }
        }
        // More events are queued than one turn reads, and the descriptor will not wake the thread
        // for them.
        watch.push(DirectoryEvent::Lost);
        watch
    }

    fn warn_once(&mut self, directory: &Path, what: &str) {
        if self.unwatched.begins() {
            warn!(directory = %directory.display(), "{what}; the periodic scan finds what is missed");
        }
    }
}
