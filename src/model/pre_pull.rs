//! An image that the agent had the runtime pull before the kubelet asked for it.

use std::sync::Arc;

/// One pull. Times are nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrePull {
    /// The first container of the pod's spec that has the image.
    pub container: Arc<str>,
    /// When the runtime was asked.
    pub start_ns: u64,
    /// When it was done.
    pub end_ns: u64,
    /// The image's size, as the runtime tells it.
    pub bytes: Option<u64>,
}
