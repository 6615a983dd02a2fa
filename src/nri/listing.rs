//! All pods and containers of the runtime, which it tells when the plugin registers, in as many parts as it
//! likes: kept within bounds until the last. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::life::{self, Life, Pod};
use super::wire::{ContainerLife, LISTED_CONTAINERS, LISTED_MORE, LISTED_PODS, PodLife};

/// Most pods that are kept. A kubelet runs 110 by default.
const MAX_PODS: usize = 256;
/// Most containers.
const MAX_CONTAINERS: usize = 1024;
/// Memory of a list, in bytes.
pub(super) const LIST_BYTES: usize = MAX_PODS * life::POD_BYTES + MAX_CONTAINERS * life::LIFE_BYTES;

/// What there is, by the runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Pods with a sandbox.
    pub pods: Vec<Arc<Pod>>,
    /// Containers that were created and have not ended.
    pub containers: Vec<Life>,
    /// Nothing was left out: a container that is not listed has ended, by the runtime.
    pub is_complete: bool,
}

/// A list of which parts come.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pods: HashMap<String, Arc<Pod>>,
    /// Each with the id of its sandbox: the runtime divides pods and containers as it fits, not by pod.
    containers: Vec<(String, Life)>,
    is_cut: bool,
}

// === impl Listing ===

impl Listing {
    /// Takes in a part, the payload of `Synchronize`. Returns whether there is another.
    pub(super) fn take(&mut self, part: Bytes) -> bool {
        let more = self.walk(part);
        self.is_cut |= more.is_none();
        more.unwrap_or_default()
    }

    /// What comes after a list; `cut`: after one of which a part was cut, so that it is not all.
    pub(super) fn after(cut: bool) -> Self {
        Self { is_cut: cut, ..Self::default() }
    }

    /// What was told so far, of which there may be more.
    pub(super) fn cut(self) -> List {
        List { is_complete: false, ..self.finish() }
    }

    /// What was told.
    pub(super) fn finish(self) -> List {
        let Self { pods, containers, is_cut } = self;
        let joined = containers.into_iter().map(|(sandbox, life)| match pods.get(&sandbox) {
            Some(pod) => Life { pod: Arc::clone(pod), ..life },
            None => life,
        });
        let containers = joined.collect();
        List { pods: pods.into_values().collect(), containers, is_complete: !is_cut }
    }

    /// The elements are looked at one by one: the shortest take two bytes, and would take more as values.
    fn walk(&mut self, mut rest: Bytes) -> Option<bool> {
        let mut more = false;
        while rest.has_remaining() {
            let (tag, wire_type) = decode_key(&mut rest).ok()?;
            match (tag, wire_type) {
                (LISTED_PODS | LISTED_CONTAINERS, WireType::LengthDelimited) => {
                    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                    if length > rest.len() {
                        return None;
                    }
                    let element = rest.split_to(length);
                    let kept = if tag == LISTED_PODS {
                        self.pod(element)
                    } else {
                        self.container(element)
                    };
                    self.is_cut |= kept.is_none();
                }
                (LISTED_MORE, WireType::Varint) => more = decode_varint(&mut rest).ok()? != 0,
                _ => {
                    skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?;
                }
            }
        }
        Some(more)
    }

    /// Keeps a pod. `None`: it is left out.
    fn pod(&mut self, element: Bytes) -> Option<()> {
        let pod = Pod::of(&PodLife::decode(element).ok()?)?;
        if self.pods.len() >= MAX_PODS && !self.pods.contains_key(&pod.sandbox) {
            return None;
        }
        self.pods.insert(pod.sandbox.clone(), pod.into());
        Some(())
    }

    /// Keeps a container. `None`: it is left out.
    fn container(&mut self, element: Bytes) -> Option<()> {
        let container = ContainerLife::decode(element).ok()?;
        let life = Life::in_pod(Arc::default(), &container)?;
        if self.containers.len() >= MAX_CONTAINERS {
            return None;
        }
        self.containers.push((life::sandbox(&container)?, life));
        Some(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(sandbox: &str) -> PodLife {
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        PodLife {
            id: text(sandbox),
            name: text(&format!("pod-{sandbox}")),
            uid: text("uid"),
            namespace: text("ci"),
        }
    }

    fn container(id: &str, sandbox: &str) -> ContainerLife {
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        ContainerLife {
            id: text(id),
            pod_sandbox_id: text(sandbox),
            name: text("job"),
            ..ContainerLife::default()
        }
    }

    /// A part of the runtime's list.
    fn part(pods: &[PodLife], containers: &[ContainerLife], more: bool) -> Bytes {
        let mut part = Vec::new();
        for pod in pods {
            prost::encoding::message::encode(LISTED_PODS, pod, &mut part);
        }
        for container in containers {
            prost::encoding::message::encode(LISTED_CONTAINERS, container, &mut part);
        }
        self::more(more, &mut part);
        part.into()
    }

    /// The field that says whether there is another part.
    pub(crate) fn more(more: bool, part: &mut Vec<u8>) {
        if more {
            prost::encoding::bool::encode(LISTED_MORE, &more, part);
        }
    }

    #[test]
    fn containers_find_their_pods_whichever_part_has_them() {
        let mut listing = Listing::default();
        let first = part(&[pod("a")], &[container("1", "a"), container("2", "b")], true);
        assert!(listing.take(first));
        assert!(!listing.take(part(&[pod("b")], &[container("3", "gone")], false)));
        let list = listing.finish();
        assert!(list.is_complete && list.pods.len() == 2, "{list:?}");
        let told = list.containers.iter().map(|life| (&*life.id, &*life.pod.name));
        assert_eq!(told.collect::<Vec<_>>(), [("1", "pod-a"), ("2", "pod-b"), ("3", "")]);
    }

    #[test]
    fn a_list_that_is_cut_or_too_long_is_taken_as_far_as_it_goes_and_says_so() {
        let whole = part(&[pod("a")], &[container("1", "a"), container("2", "a")], true);
        let mut listing = Listing::default();
        assert!(
            !listing.take(whole.slice(..whole.len() - 5)),
            "its end says whether there is more"
        );
        let list = listing.finish();
        assert!(!list.is_complete);
        assert_eq!((list.pods.len(), list.containers.len()), (1, 1));

        let many: Vec<_> = (0..=MAX_CONTAINERS).map(|n| container(&n.to_string(), "a")).collect();
        let pods: Vec<_> = (0..=MAX_PODS).map(|n| pod(&n.to_string())).collect();
        let mut listing = Listing::default();
        for _ in 0..3 {
            assert!(listing.take(part(&pods, &many, true)));
        }
        let list = listing.finish();
        assert!(!list.is_complete);
        assert_eq!((list.pods.len(), list.containers.len()), (MAX_PODS, MAX_CONTAINERS));
    }

    #[test]
    fn the_shortest_elements_take_no_memory() {
        let mut listing = Listing::default();
        assert!(!listing.take([0x12, 0].repeat(2 << 20).into()));
        assert_eq!(listing.containers.len(), MAX_CONTAINERS);
        assert!(listing.containers.capacity() <= 2 * MAX_CONTAINERS);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_part(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut listing = Listing::default();
            listing.take(bytes.into());
            listing.finish();
        }
    }
}
