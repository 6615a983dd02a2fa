//! Reads the journals that hook and init write in a pod's `ephemon` volume, on the host.
//!
//! The job can write anything there: links, pipes, endless lines, a million files. `volume` opens
//! only regular files directly below the volume's own directory; a `file` is an open journal, and a `pod` has several; the `reader` keeps them open, within
//! bounds, for all readers, and continues to read a file whose name was removed. A journal is
//! evidence about its own pod only.

mod file;
mod pod;
mod reader;
mod volume;

use std::sync::Arc;

use ephemon_contract::Record;
use ephemon_model::PodUid;

pub use ephemon_contract::lines::{Found, Lines};
pub use reader::{FILE_BYTES, MAX_FILES, VOLUME};
pub use reader::{MAX_FILES_PER_POD, Reader};
pub use volume::Directory;

/// The hook's own journal; a container's is named after the container.
pub const HOOK: &str = "_hook";

/// One record and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The pod whose volume contains it.
    pub pod: PodUid,
    /// The file's name without `.jsonl`: a container's name, or [`HOOK`].
    pub file: Arc<str>,
    /// Start of its line in the file, in bytes: together with `file`, its identity.
    pub at: u64,
    /// The record. Its content must not be trusted.
    pub record: Record,
}
