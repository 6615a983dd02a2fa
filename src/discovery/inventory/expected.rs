//! What a container asks for that the runtime is about to create. Plain data.

use std::path::Path;
use std::sync::Arc;

use ephemon_contract::{Limits, LimitsError};

/// What is known of a container that the runtime is about to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// The pod, the container in its spec, or a running container of the pod is not known, or not
    /// yet.
    Unknown,
    /// The pod is not selected, or the container asks for nothing: an ordinary container, or one whose
    /// spec has neither.
    Nothing,
    /// An ephemeral container of a selected pod that asks for something.
    Asks(Asked),
    /// One that asks for init, and for limits of which it is not known, or not yet, beside which
    /// running container of the pod they are to be.
    AsksForInit,
}

/// What the spec of an ephemeral container asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its limits, or why their text is not valid; with the cgroup of a running container of the same
    /// pod, below the hierarchy's root.
    pub limits: Option<(Result<Limits, LimitsError>, Arc<Path>)>,
    /// Whether init is to be put in front of its image's own entrypoint.
    pub init: bool,
}
