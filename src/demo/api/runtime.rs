//! The API server's interface to the kubelet of a pod's node.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use ephemon_base::lock;

use super::store::Key;

/// A kubelet, as far as the API server needs it for `log` and `exec`.
pub trait Runtime: fmt::Debug + Send + Sync {
    /// The container's log file in CRI's format; `None` while there is no container.
    fn log(&self, pod: &Key, container: &str) -> Option<PathBuf>;

    /// Whether the container runs according to the runtime, not to the published status.
    fn is_running(&self, pod: &Key, container: &str) -> bool;

    /// A process of this machine that stands for `command` run in the container: its standard
    /// streams and its exit code are the command's. Blocks only briefly.
    fn exec(&self, pod: &Key, container: &str, command: &[String]) -> io::Result<Command>;
}

/// The node's kubelet, once there is one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Attached(Arc<Mutex<Option<Arc<dyn Runtime>>>>);

// === impl Attached ===

impl Attached {
    pub(super) fn set(&self, runtime: Arc<dyn Runtime>) {
        *lock(&self.0) = Some(runtime);
    }

    pub(super) fn get(&self) -> Option<Arc<dyn Runtime>> {
        lock(&self.0).clone()
    }
}
