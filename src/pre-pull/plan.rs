//! Which images are pulled, and when: each once for a pod, so many at one time, and the pods in turn.
//! Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use ephemon_discovery::awaited_images::{
    AwaitedImage, AwaitingPod, ForKubelet, MAX_IMAGES_PER_POD, MAX_PODS, key,
};
use ephemon_model::{PodRef, PodUid, PrePull};

use super::takers::{Pulled, TAKER_BYTES, Takers};

/// Most images of one pod over its life. The kubelet pulls the others.
const MAX_SEEN_PER_POD: usize = 32;
/// Most pulls of one pod that are kept for containers: of the images that are awaited, and of as many
/// that were told ahead and find no place.
const MAX_KEPT_PER_POD: usize = 2 * MAX_IMAGES_PER_POD;
/// Memory of the plan in bytes, beside the images that wait, which are counted where they come from.
pub const PLAN_BYTES: usize =
    MAX_PODS * (MAX_SEEN_PER_POD * 24 + MAX_KEPT_PER_POD * TAKER_BYTES + 1024);

/// An image of a pod, by its hash: two of one hash would be one, of which the kubelet pulls the other.
pub(crate) type Ticket = (PodUid, u64);

/// What is pulled of which pods.
#[derive(Debug)]
pub(crate) struct Plan {
    most: usize,
    running: usize,
    pods: HashMap<PodUid, Pod>,
    /// The pods in the order of their turns.
    turns: VecDeque<PodUid>,
}

#[derive(Debug)]
struct Pod {
    reference: Arc<PodRef>,
    seen: HashSet<u64>,
    /// It has had more than its share, which was told.
    is_full: bool,
    /// More was told ahead than is read, which was counted.
    is_told_more: bool,
    waiting: VecDeque<(u64, AwaitedImage)>,
    running: HashSet<u64>,
    takers: Takers,
}

/// What follows from what a pod waits for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Update {
    /// What is left to the kubelet, each image once.
    pub(crate) left: Vec<Left>,
    /// The pulls that nobody waits for any more.
    pub(crate) cancelled: Vec<Ticket>,
    /// The pulls of which is known by now which container has the image.
    pub(crate) told: Vec<PrePull>,
}

/// What is to be pulled now.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) ticket: Ticket,
    pub(crate) pod: Arc<PodRef>,
    pub(crate) image: AwaitedImage,
}

/// Why an image is not pulled here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    ForKubelet(ForKubelet),
    /// The pod has had its share.
    TooMany,
}

// === impl Plan ===

impl Plan {
    /// At most so many pulls at one time.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, running: 0, pods: HashMap::new(), turns: VecDeque::new() }
    }

    /// What a pod waits for now.
    pub(crate) fn update(&mut self, awaiting: &AwaitingPod) -> Update {
        let uid = &awaiting.pod.uid;
        if !self.turns.contains(uid) {
            self.turns.push_back(uid.clone());
        }
        let pod = self.pods.entry(uid.clone()).or_insert_with(|| Pod::new(&awaiting.pod));
        let images: Vec<_> =
            awaiting.images.iter().map(|image| (key(&image.name), image)).collect();
        let mut awaited: HashSet<u64> = images.iter().map(|(key, _)| *key).collect();
        pod.keep_waiting(&awaited);
        awaited.extend(&awaiting.more);
        let cancelled = pod.running.difference(&awaited).map(|key| (uid.clone(), *key)).collect();
        let left = images.iter().filter_map(|(key, image)| pod.enter(*key, image));
        let mut left: Vec<Left> = left.collect();
        if awaiting.has_more && !std::mem::replace(&mut pod.is_told_more, true) {
            left.push(Left::TooMany);
        }
        let own = images.iter().filter_map(|(key, image)| Some((*key, image.container.as_ref()?)));
        let taken = awaiting.taken.iter().map(|taken| (key(&taken.name), &taken.container));
        // One that a container has had already is not of one that waits.
        let takers: Vec<_> = taken.chain(own).collect();
        let told = takers.iter().filter_map(|(key, container)| pod.take(*key, container)).collect();
        let Pod { takers, waiting, running, .. } = pod;
        takers.keep(|key| is_pulled(waiting, running, key), &awaited);
        Update { left, cancelled, told }
    }

    /// A pull was done, which is still one of the plan's. Returns it if a container has the image; else
    /// it is told when one has.
    pub(crate) fn pulled(&mut self, (uid, key): &Ticket, pulled: Pulled) -> Option<PrePull> {
        self.pods.get_mut(uid)?.takers.pulled(*key, pulled)
    }

    /// A pod is gone. Returns its pulls.
    pub(crate) fn gone(&mut self, uid: &PodUid) -> Vec<Ticket> {
        let Some(pod) = self.pods.get_mut(uid) else { return Vec::new() };
        pod.waiting.clear();
        let cancelled = pod.running.iter().map(|key| (uid.clone(), *key)).collect();
        self.turns.retain(|one| one != uid);
        self.forget_idle(uid);
        cancelled
    }

    /// The next pull, if there is room for one.
    pub(crate) fn next(&mut self) -> Option<Start> {
        if self.running >= self.most {
            return None;
        }
        let of_pod = self.most.div_ceil(2);
        for _ in 0..self.turns.len() {
            let uid = self.turns.pop_front()?;
            self.turns.push_back(uid.clone());
            let Some(pod) = self.pods.get_mut(&uid) else { continue };
            if pod.running.len() >= of_pod {
                continue;
            }
            if let Some((key, image)) = pod.waiting.pop_front() {
                pod.running.insert(key);
                self.running += 1;
                let pod = Arc::clone(&pod.reference);
                return Some(Start { ticket: (uid, key), pod, image });
            }
        }
        None
    }

    /// A pull has ended, however it did.
    pub(crate) fn done(&mut self, (uid, key): &Ticket) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        pod.takers.done(*key);
        if pod.running.remove(key) {
            self.running = self.running.saturating_sub(1);
        }
        if !self.turns.contains(uid) {
            self.forget_idle(uid);
        }
    }

    /// A pod that is gone is kept until its last pull has ended, so that pulls are counted.
    fn forget_idle(&mut self, uid: &PodUid) {
        if self.pods.get(uid).is_some_and(|pod| pod.running.is_empty()) {
            self.pods.remove(uid);
        }
    }
}

// === impl Pod ===

impl Pod {
    fn new(pod: &Arc<PodRef>) -> Self {
        Self {
            reference: Arc::clone(pod),
            seen: HashSet::new(),
            is_full: false,
            is_told_more: false,
            waiting: VecDeque::new(),
            running: HashSet::new(),
            takers: Takers::default(),
        }
    }

    /// What was told ahead and has no place now comes again, when there is one.
    fn keep_waiting(&mut self, placed: &HashSet<u64>) {
        let Self { waiting, seen, .. } = self;
        waiting.retain(|(key, image)| {
            let is_kept = placed.contains(key);
            if !is_kept && image.container.is_none() {
                seen.remove(key);
            }
            is_kept
        });
    }

    fn enter(&mut self, key: u64, image: &AwaitedImage) -> Option<Left> {
        if self.seen.contains(&key) {
            return None;
        }
        if self.seen.len() >= MAX_SEEN_PER_POD {
            return self.refuse();
        }
        self.seen.insert(key);
        if let Some(why) = image.for_kubelet {
            return Some(Left::ForKubelet(why));
        }
        self.waiting.push_back((key, image.clone()));
        None
    }

    /// One more than it may have.
    fn refuse(&mut self) -> Option<Left> {
        (!std::mem::replace(&mut self.is_full, true)).then_some(Left::TooMany)
    }

    fn take(&mut self, key: u64, container: &Arc<str>) -> Option<PrePull> {
        if !is_pulled(&self.waiting, &self.running, key) {
            return self.takers.take(key, container);
        }
        self.takers.wait(key, container);
        None
    }
}

/// Whether the image is to be pulled, or being pulled.
fn is_pulled(waiting: &VecDeque<(u64, AwaitedImage)>, running: &HashSet<u64>, key: u64) -> bool {
    running.contains(&key) || waiting.iter().any(|(one, _)| *one == key)
}

#[cfg(test)]
mod tests;
