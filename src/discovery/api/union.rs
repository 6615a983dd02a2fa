//! What the watches of several selectors say together: the API has no selector that means "one or
//! the other".
//!
//! A pod is listed while any of the watches lists it. The list is complete when that of each is, and
//! as old as the oldest of them. Events arrive while they arrive at each.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Instant;

use ephemon_base::lock;
use ephemon_base::warning::Outage;
use ephemon_model::PodUid;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{MutexGuard as Turn, Notify};

use super::failure::Verb;
use crate::awaited_images::AwaitedImages;
use crate::debug_containers::DebugContainers;
use crate::inventory::Inventory;

/// All watches of one node.
#[derive(Debug)]
pub(super) struct Union {
    inventory: Inventory,
    /// Where containers that were attached by hand are listed.
    debug: Option<DebugContainers>,
    /// Where images that containers wait for are told of.
    images: Option<AwaitedImages>,
    /// Whether that is all that is wanted of the pods.
    is_for_debug: bool,
    shares: Mutex<Vec<Share>>,
    /// Held while a page of a list is in memory.
    turn: tokio::sync::Mutex<()>,
    all_listed: Notify,
}

/// What one watch has said.
#[derive(Debug, Default)]
struct Share {
    uids: HashSet<PodUid>,
    /// When its last complete list was requested.
    asked: Option<Instant>,
    live: bool,
    /// The failure that was last logged.
    said: Outage<(Verb, String)>,
}

// === impl Union ===

impl Union {
    pub(super) fn new(inventory: Inventory, watches: usize) -> Self {
        let shares = std::iter::repeat_with(Share::default).take(watches).collect();
        let (turn, all_listed) = (tokio::sync::Mutex::default(), Notify::new());
        let shares = Mutex::new(shares);
        let (debug, images) = (None, None);
        Self { inventory, debug, images, is_for_debug: false, shares, turn, all_listed }
    }

    /// Lists containers that were attached by hand, too.
    pub(super) fn with_debug(self, debug: Option<DebugContainers>) -> Self {
        Self { debug, ..self }
    }

    /// Tells of images that containers wait for, too.
    pub(super) fn with_images(self, images: Option<AwaitedImages>) -> Self {
        Self { images, ..self }
    }

    /// Lists those only. Nothing is entered into an inventory.
    pub(super) fn for_debug(debug: DebugContainers, watches: usize) -> Self {
        let union = Self::new(Inventory::default(), watches).with_debug(Some(debug));
        Self { is_for_debug: true, ..union }
    }

    /// Takes in what was attached to the pod by hand, and what its containers wait for; returns whether
    /// that is all that is wanted.
    pub(super) fn attached(&self, pod: &Pod) -> bool {
        if let Some(debug) = &self.debug {
            debug.apply(pod);
        }
        if let Some(images) = &self.images {
            images.apply(pod);
        }
        self.is_for_debug
    }

    pub(super) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Waits until no other watch has a page in memory.
    pub(super) async fn turn(&self) -> Turn<'_, ()> {
        self.turn.lock().await
    }

    /// Resolves when each watch has listed its pods once.
    pub(super) async fn all_listed(&self) {
        self.all_listed.notified().await;
    }

    pub(super) fn listed(&self, place: usize, uid: &PodUid) {
        self.with(place, |share| {
            share.uids.insert(uid.clone());
        });
        self.inventory.listed(uid);
    }

    pub(super) fn unlisted(&self, place: usize, uid: &PodUid) {
        let is_gone = {
            let mut shares = lock(&self.shares);
            if let Some(share) = shares.get_mut(place) {
                share.uids.remove(uid);
            }
            shares.iter().all(|share| !share.uids.contains(uid))
        };
        if is_gone {
            self.inventory.unlisted(uid);
            if let Some(debug) = &self.debug {
                debug.deleted(uid);
            }
            if let Some(images) = &self.images {
                images.deleted(uid);
            }
        }
    }

    pub(super) fn list_complete(&self, place: usize, uids: HashSet<PodUid>, asked: Instant) {
        let complete = {
            let mut shares = lock(&self.shares);
            if let Some(share) = shares.get_mut(place) {
                (share.uids, share.asked, share.live) = (uids, Some(asked), true);
            }
            // While one of them fails, nobody knows what it would list.
            let asked: Option<Vec<Instant>> =
                shares.iter().map(|share| share.asked.filter(|_| share.live)).collect();
            let all = shares.iter().flat_map(|share| &share.uids).cloned().collect();
            asked.and_then(|asked| asked.into_iter().min()).map(|oldest| (all, oldest))
        };
        if let Some((all, oldest)) = complete {
            if let Some(debug) = &self.debug {
                debug.list_complete(&all);
            }
            if let Some(images) = &self.images {
                images.list_complete(&all);
            }
            self.inventory.list_complete(&all, oldest);
            self.all_listed.notify_one();
        }
    }

    pub(super) fn live(&self, place: usize) {
        self.with(place, |share| share.live = true);
        if self.is_live() {
            self.inventory.api_live();
        }
    }

    pub(super) fn failing(&self, place: usize) {
        self.with(place, |share| share.live = false);
        self.inventory.api_failing();
    }

    /// Whether a failure is to be logged: it is not the one that was logged last, of this watch or of
    /// another.
    pub(super) fn is_news(&self, place: usize, verb: Verb, sentence: &str) -> bool {
        let what = (verb, sentence.to_owned());
        let mut shares = lock(&self.shares);
        let mut others = shares.iter().enumerate().filter(|(at, _)| *at != place);
        let is_known = others.any(|(_, share)| share.said.current() == Some(&what));
        let is_news = shares.get_mut(place).is_some_and(|share| share.said.is_news(what));
        is_news && !is_known
    }

    /// Whether the failure that was last logged of this watch is one of `verb`.
    pub(super) fn has_failed(&self, place: usize, verb: Verb) -> bool {
        let shares = lock(&self.shares);
        let said = shares.get(place).and_then(|share| share.said.current());
        said.is_some_and(|(failed, _)| *failed == verb)
    }

    /// This watch works again; whether that is to be logged: none of them has a failure any more.
    pub(super) fn recovers(&self, place: usize) -> bool {
        let mut shares = lock(&self.shares);
        let had = shares.get_mut(place).is_some_and(|share| share.said.end());
        had && shares.iter().all(|share| !share.said.is_on())
    }

    fn is_live(&self) -> bool {
        lock(&self.shares).iter().all(|share| share.live)
    }

    fn with(&self, place: usize, act: impl FnOnce(&mut Share)) {
        if let Some(share) = lock(&self.shares).get_mut(place) {
            act(share);
        }
    }
}

#[cfg(test)]
mod tests {
    use ephemon_model::PodRef;
    use ephemon_self_metrics::SelfMetrics;

    use super::*;
    use crate::inventory::{Evidence, EvidenceSource, Verdict};

    fn uid(n: u32) -> PodUid {
        PodUid::parse(&format!("0e269fa4-f505-4963-9096-{n:012}")).unwrap()
    }

    fn union(watches: usize) -> Union {
        Union::new(Inventory::with_api(SelfMetrics::new().unwrap()), watches)
    }

    #[test]
    fn a_pod_of_either_selector_is_taken_and_none_before_all_have_listed() {
        let union = union(2);
        let verdict = |n| union.inventory().verdict(&uid(n));
        let asked = Instant::now();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert_eq!(verdict(3), Verdict::Open);
        union.listed(0, &uid(1));
        union.list_complete(0, HashSet::from([uid(1)]), asked);
        assert_eq!((verdict(1), verdict(3)), (Verdict::Wanted, Verdict::Open));
        union.listed(1, &uid(2));
        union.list_complete(1, HashSet::from([uid(2)]), Instant::now());
        assert_eq!((verdict(1), verdict(2)), (Verdict::Wanted, Verdict::Wanted));
        // Seen on the node after the first of the two was asked: it may be among the first's.
        assert_eq!(verdict(3), Verdict::Open);
        union.list_complete(0, HashSet::from([uid(1)]), Instant::now());
        union.list_complete(1, HashSet::from([uid(2)]), Instant::now());
        assert_eq!(verdict(3), Verdict::Unwanted);
    }

    #[test]
    fn a_pod_is_gone_when_neither_selector_has_it() {
        let union = union(2);
        for place in [0, 1] {
            union.listed(place, &uid(1));
            union.list_complete(place, HashSet::from([uid(1)]), Instant::now());
        }
        let pod = PodRef { namespace: "ci".into(), name: "runner-1".into(), uid: uid(1) };
        union.inventory().learn(Evidence::Pod { pod, by: EvidenceSource::Api });
        let is_listed = || union.inventory().snapshot().iter().any(|pod| pod.listed);
        union.unlisted(0, &uid(1));
        assert!(is_listed());
        union.unlisted(1, &uid(1));
        assert!(!is_listed());
    }

    #[test]
    fn one_failure_of_all_is_logged_once_and_so_is_its_end() {
        let union = union(2);
        assert!(union.is_news(0, Verb::List, "away"));
        assert!(!union.is_news(1, Verb::List, "away"));
        assert!(union.is_news(1, Verb::Watch, "refused"));
        assert!(union.has_failed(0, Verb::List) && !union.has_failed(1, Verb::List));
        assert!(!union.recovers(0));
        assert!(union.recovers(1));
        assert!(!union.recovers(1));
    }
}
