//! The journals that hook and init write in a pod's `ephemon` volume, read on the host.
//!
//! Whatever the job can write to is there: links, pipes, endless lines, a million files. `volume`
//! opens nothing but regular files right below the volume's own directory; `lines` makes records of
//! bytes as they come; a `file` is one that is open, a `pod` has several; the `reader` keeps what is
//! open, within bounds, for all who read, and reads on when a file has lost its name. A journal is only ever evidence about its own pod.

mod file;
mod lines;
mod pod;
mod reader;
mod volume;

use std::sync::Arc;

use ephemon_contract::Record;
use ephemon_model::PodUid;

pub use lines::{Found, Lines};
pub use reader::{FILE_BYTES, MAX_FILES, VOLUME};
pub use reader::{MAX_FILES_PER_POD, Reader};
pub use volume::Directory;

/// The hook's own journal; a container's is named after the container.
pub const HOOK: &str = "_hook";

/// One record and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The pod in whose volume it stood.
    pub pod: PodUid,
    /// The file's name without `.jsonl`: a container's name, or [`HOOK`].
    pub file: Arc<str>,
    /// Where in the file it began, bytes: with `file`, its identity.
    pub at: u64,
    /// The record. Nothing in it is to be taken on trust.
    pub record: Record,
}
