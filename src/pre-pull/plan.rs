//! Which images are pulled, and when: each once for a pod, so many at one time, and the pods in turn.
//! Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use ephemon_discovery::awaited_images::{AwaitedImage, AwaitingPod, ForKubelet, MAX_PODS};
use ephemon_model::{PodRef, PodUid};

/// Most images of one pod over its life. The kubelet pulls the others.
const MAX_SEEN_PER_POD: usize = 32;
/// Memory of the plan in bytes, beside the images that wait, which are counted where they come from.
pub const PLAN_BYTES: usize = MAX_PODS * (MAX_SEEN_PER_POD * 48 + 1024);

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
    hasher: RandomState,
}

#[derive(Debug)]
struct Pod {
    reference: Arc<PodRef>,
    seen: HashSet<u64>,
    /// It has had more than its share, which was told.
    is_full: bool,
    waiting: VecDeque<(u64, AwaitedImage)>,
    running: HashSet<u64>,
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
        let (pods, turns, hasher) = (HashMap::new(), VecDeque::new(), RandomState::new());
        Self { most, running: 0, pods, turns, hasher }
    }

    /// What a pod waits for now. Returns what is left to the kubelet, each image once, and the pulls
    /// that nobody waits for any more.
    pub(crate) fn update(&mut self, awaiting: &AwaitingPod) -> (Vec<Left>, Vec<Ticket>) {
        let uid = &awaiting.pod.uid;
        if !self.turns.contains(uid) {
            self.turns.push_back(uid.clone());
        }
        let pod = self.pods.entry(uid.clone()).or_insert_with(|| Pod::new(&awaiting.pod));
        let images = awaiting.images.iter().map(|image| (self.hasher.hash_one(&image.name), image));
        let images: Vec<_> = images.collect();
        let awaited: HashSet<u64> = images.iter().map(|(key, _)| *key).collect();
        pod.waiting.retain(|(key, _)| awaited.contains(key));
        let cancelled = pod.running.difference(&awaited).map(|key| (uid.clone(), *key)).collect();
        let left = images.into_iter().filter_map(|(key, image)| pod.enter(key, image));
        (left.collect(), cancelled)
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
            waiting: VecDeque::new(),
            running: HashSet::new(),
        }
    }

    fn enter(&mut self, key: u64, image: &AwaitedImage) -> Option<Left> {
        if self.seen.contains(&key) {
            return None;
        }
        if self.seen.len() >= MAX_SEEN_PER_POD {
            return (!std::mem::replace(&mut self.is_full, true)).then_some(Left::TooMany);
        }
        self.seen.insert(key);
        if let Some(why) = image.for_kubelet {
            return Some(Left::ForKubelet(why));
        }
        self.waiting.push_back((key, image.clone()));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(number: usize) -> PodUid {
        PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap()
    }

    fn image(name: &str) -> AwaitedImage {
        AwaitedImage {
            name: name.into(),
            container: "job".into(),
            is_pulled_always: false,
            for_kubelet: None,
        }
    }

    fn pod(number: usize, names: &[String]) -> AwaitingPod {
        let pod = PodRef { namespace: "ci".into(), name: "runner".into(), uid: uid(number) };
        AwaitingPod { pod: Arc::new(pod), images: names.iter().map(|name| image(name)).collect() }
    }

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{prefix}-{number}:1")).collect()
    }

    fn started(plan: &mut Plan) -> Vec<Start> {
        std::iter::from_fn(|| plan.next()).collect()
    }

    #[test]
    fn pulls_of_a_pod_are_at_most_half_and_pods_take_turns() {
        let mut plan = Plan::new(5);
        let of = |number| pod(number, &names("a", 9));
        assert_eq!(plan.update(&of(1)), (Vec::new(), Vec::new()));
        assert_eq!(started(&mut plan).len(), 3);
        for number in 2..9 {
            plan.update(&of(number));
        }
        let more = started(&mut plan);
        let pods: HashSet<&PodUid> = more.iter().map(|start| &start.ticket.0).collect();
        assert_eq!((more.len(), pods.len()), (2, 2));
        plan.done(&more[0].ticket);
        plan.done(&more[0].ticket);
        assert_eq!(started(&mut plan).len(), 1, "each ends once");
        // The least that can be set.
        let mut plan = Plan::new(1);
        plan.update(&of(1));
        assert_eq!(started(&mut plan).len(), 1);
    }

    #[test]
    fn an_image_is_pulled_once_for_a_pod_and_none_that_nobody_waits_for() {
        let mut plan = Plan::new(4);
        let three = names("a", 3);
        plan.update(&pod(1, &three));
        let first = started(&mut plan);
        assert_eq!(first.len(), 2);
        // The kubelet has started the first and the third.
        let (left, cancelled) = plan.update(&pod(1, &three[1..2]));
        assert_eq!((left, cancelled), (Vec::new(), vec![first[0].ticket.clone()]));
        plan.done(&first[0].ticket);
        assert!(started(&mut plan).is_empty());
        plan.done(&first[1].ticket);
        plan.update(&pod(1, &three));
        assert!(started(&mut plan).is_empty(), "each was seen");
    }

    #[test]
    fn a_pod_that_is_gone_waits_for_nothing_and_leaves_nothing() {
        let mut plan = Plan::new(4);
        plan.update(&pod(1, &names("a", 9)));
        let running = started(&mut plan);
        let mut cancelled = plan.gone(&uid(1));
        let mut expected: Vec<Ticket> = running.iter().map(|start| start.ticket.clone()).collect();
        cancelled.sort();
        expected.sort();
        assert_eq!(cancelled, expected);
        assert!(started(&mut plan).is_empty());
        for start in &running {
            plan.done(&start.ticket);
        }
        assert!(plan.pods.is_empty() && plan.turns.is_empty() && plan.running == 0);
        assert_eq!(plan.gone(&uid(1)), []);
    }

    #[test]
    fn a_pod_has_its_share_and_what_is_left_is_told_once() {
        let mut plan = Plan::new(2);
        let mut with_secrets = pod(1, &names("a", 1));
        with_secrets.images[0].for_kubelet = Some(ForKubelet::PullSecrets);
        let left = vec![Left::ForKubelet(ForKubelet::PullSecrets)];
        assert_eq!(plan.update(&with_secrets), (left, Vec::new()));
        assert_eq!(plan.update(&with_secrets), (Vec::new(), Vec::new()));
        assert!(started(&mut plan).is_empty());
        let many = pod(2, &names("b", MAX_SEEN_PER_POD + 5));
        assert_eq!(plan.update(&many), (vec![Left::TooMany], Vec::new()));
        assert_eq!(plan.update(&many), (Vec::new(), Vec::new()));
        assert_eq!(plan.pods[&uid(2)].waiting.len(), MAX_SEEN_PER_POD);
    }
}
