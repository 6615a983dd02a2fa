//! Which pods an act on the state concerned.

use ephemon_model::PodUid;

/// Pods about which an answer may have changed.
#[derive(Debug)]
pub(in crate::inventory) enum Touched {
    /// These, some more than once.
    Pods(Vec<PodUid>),
    /// Any.
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
