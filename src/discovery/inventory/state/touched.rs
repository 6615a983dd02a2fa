//! Which pods a change of the state affects.

use ephemon_model::PodUid;

/// Pods about which an answer may have changed.
#[derive(Debug)]
pub(in crate::inventory) enum Touched {
    /// These pods, possibly repeated.
    Pods(Vec<PodUid>),
    /// Any pod.
    All,
}

// === impl Touched ===

impl Touched {
    pub(super) fn add(&mut self, uid: &PodUid) {
        if let Self::Pods(pods) = self {
            pods.push(uid.clone());
        }
    }
}
