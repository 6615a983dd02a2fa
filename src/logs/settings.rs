//! What the operator decides about logs.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ephemon_mask::job::Mode;

use super::ration::Ration;
use super::selection::Containers;
use ephemon_sanitize::Unproven;

/// Settings of the log export.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which containers' logs are exported.
    pub containers: Containers,
    /// What is done about secrets.
    pub mode: Mode,
    /// What becomes of text whose masks are not known to be all.
    pub unproven: Unproven,
    /// Whether each record also carries the line as it was written, colours included.
    pub original: bool,
    /// Most lines a second of one container; all where there is none.
    pub rate: Option<NonZeroU32>,
    /// One of so many lines of each container; all where there is none.
    pub one_of: Option<NonZeroU32>,
    /// The node's name.
    pub node: Arc<str>,
    /// `service.name` of every record, where the operator gives one.
    pub service_name: Option<Arc<str>>,
    /// Further attributes of every resource.
    pub attributes: Arc<[(String, String)]>,
    /// The kubelet's directory on the node, for the journals in pods' volumes.
    pub kubelet_root: PathBuf,
    /// Directories of the node that logs may be links into.
    pub link_dirs: Vec<PathBuf>,
    /// The agent's own directory on the node.
    pub state_dir: PathBuf,
    /// How long figures of a log that is over are kept.
    pub retain: Duration,
}

// === impl Settings ===

impl Settings {
    pub(super) fn ration(&self) -> Ration {
        Ration { rate: self.rate, one_of: self.one_of }
    }
}
