//! Images that the ephemeral containers of selected pods wait for: of those that the kubelet has not
//! started, as the API server shows them, and of those that the hook says it will add.
//!
//! What is not taken by the reader yet is bounded: one entry a pod, the latest.

mod image_name;
mod parse;
mod told;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use ephemon_base::lock;
use ephemon_contract::action_images::MAX_ACTION_IMAGES;
use ephemon_model::{PodRef, PodUid};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Notify;

/// Most pods with ephemeral containers; a kubelet runs 110 pods by default. A further pod is left to
/// the kubelet.
pub const MAX_PODS: usize = 112;
/// Most images of one pod at one time. Further ones follow when the kubelet has started containers
/// of these.
pub const MAX_IMAGES_PER_POD: usize = 8;
/// Memory of one image in bytes: its name, the container's, and their counts.
const IMAGE_BYTES: usize = image_name::MAX_BYTES + 160;
/// Memory of the keys of one pod's images that find no place, in bytes.
const MORE_BYTES: usize = MAX_ACTION_IMAGES * size_of::<u64>() + 16;
/// Memory of the changes that were not taken, and of as many that are being handled.
pub const AWAITED_BYTES: usize =
    2 * MAX_PODS * (MAX_IMAGES_PER_POD * IMAGE_BYTES + MORE_BYTES + 512);

/// What the ephemeral containers of a pod wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitingPod {
    /// The pod.
    pub pod: Arc<PodRef>,
    /// Each image once: by the order in the spec, then those that were told ahead.
    pub images: Vec<AwaitedImage>,
    /// The keys ([`key`]) of images that were told ahead and are awaited, but find no place in `images`
    /// beside those of containers. They come there when there is room.
    pub more: Vec<u64>,
    /// Images that were told ahead and that a container has by now, whether it was started or not: the
    /// last of them, as many as there is room for beside `images`, without those that are the same there.
    pub taken: Vec<TakenImage>,
    /// More were told ahead than are read, and they could be pulled.
    pub has_more: bool,
}

/// An image of a container that was not started, or that will be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedImage {
    /// Its name as the kubelet asks for it: with a tag or a digest.
    pub name: Arc<str>,
    /// The first container that has it; `None` of one that was told ahead.
    pub container: Option<Arc<str>>,
    /// Whether the kubelet pulls it though it is on the node (`imagePullPolicy: Always`).
    pub is_pulled_always: bool,
    /// Why nobody but the kubelet can pull it as the kubelet does.
    pub for_kubelet: Option<ForKubelet>,
}

/// An image that was told ahead, and the first container that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenImage {
    /// Its name, as in [`AwaitedImage`].
    pub name: Arc<str>,
    /// The container's name in the pod.
    pub container: Arc<str>,
}

/// Why an image is left to the kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForKubelet {
    /// The pod has pull secrets, which only the kubelet reads.
    PullSecrets,
    /// The pod has a runtime class, whose images the runtime may keep elsewhere.
    RuntimeClass,
    /// The name is not one of an image; the kubelet says so.
    Name,
}

/// What has changed of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaiting {
    /// What it waits for now.
    Pod(Arc<AwaitingPod>),
    /// It was deleted, or is no longer selected.
    Gone(PodUid),
}

/// The changes; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AwaitedImages(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Pods that were told of.
    known: HashSet<PodUid>,
    /// `None` of one that is gone.
    changed: HashMap<PodUid, Option<Arc<AwaitingPod>>>,
    refused: u64,
}

/// An image's name by its hash, which is the same for as long as the process lives.
pub fn key(name: &str) -> u64 {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    HASHER.hash_one(name)
}

// === impl AwaitedImages ===

impl AwaitedImages {
    /// Takes in a pod as the API server shows it.
    pub fn apply(&self, pod: &Pod) {
        let Some(awaiting) = parse::awaiting(pod) else { return };
        let uid = awaiting.pod.uid.clone();
        // It may stay for long, and its place is for one that waits.
        if parse::is_over(pod) {
            return self.deleted(&uid);
        }
        let mut state = self.state();
        if !state.known.contains(&uid) {
            if awaiting.images.is_empty() {
                return;
            }
            // A pod that is gone and was not taken yet has its place until it is.
            if state.known.len() >= MAX_PODS || state.changed.len() >= 2 * MAX_PODS {
                state.refused = state.refused.saturating_add(1);
                drop(state);
                return self.0.news.notify_one();
            }
            state.known.insert(uid.clone());
        }
        state.changed.insert(uid, Some(Arc::new(awaiting)));
        drop(state);
        self.0.news.notify_one();
    }

    /// The pod was deleted.
    pub fn deleted(&self, uid: &PodUid) {
        let mut state = self.state();
        if !state.known.remove(uid) {
            return;
        }
        state.changed.insert(uid.clone(), None);
        drop(state);
        self.0.news.notify_one();
    }

    /// A list is complete: pods that are not in it were deleted.
    pub fn list_complete(&self, uids: &HashSet<PodUid>) {
        let gone: Vec<PodUid> = self.state().known.difference(uids).cloned().collect();
        for uid in &gone {
            self.deleted(uid);
        }
    }

    /// Resolves when something changed since the last call. For one caller.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// The changes since the last call, and how many changes of pods that found no place.
    pub fn take(&self) -> (Vec<Awaiting>, u64) {
        let mut state = self.state();
        let changed = std::mem::take(&mut state.changed);
        let refused = std::mem::take(&mut state.refused);
        drop(state);
        let all =
            changed.into_iter().map(|(uid, pod)| pod.map_or(Awaiting::Gone(uid), Awaiting::Pod));
        (all.collect(), refused)
    }

    /// What is known is complete even after a panic of another thread.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

#[cfg(test)]
mod tests;
