//! A container runtime's answers.

use ephemon_discovery::cri::{explain, read, wire};
use ephemon_discovery::inventory::Evidence;
use ephemon_discovery::logs::names::is_label;
use ephemon_model::ContainerId;
use prost::Message;

use super::pieces;

/// Longest reason of a container's end that is kept, bytes.
const LONGEST_REASON: usize = 4096;

/// Three answers: the list of sandboxes, the list of containers, the status of one.
pub(super) fn runtime(data: &[u8]) {
    let pieces = pieces(data);
    let piece = |at: usize| pieces.get(at).copied().unwrap_or_default();
    let sandboxes = wire::ListPodSandboxResponse::decode(piece(0)).unwrap_or_default();
    let containers = wire::ListContainersResponse::decode(piece(1)).unwrap_or_default();
    let (most, all) = (2 * sandboxes.items.len(), containers.containers.len());
    let (evidence, exited) = read(sandboxes, containers);
    assert!(evidence.len() <= most + all && exited.len() <= all, "more than was said");
    evidence.iter().for_each(checked);

    let id = ContainerId::parse(&"0".repeat(64)).expect("an id");
    if let Ok(status) = wire::ContainerStatusResponse::decode(piece(2)) {
        if let Some(evidence) = explain(&id, status.clone()) {
            checked(&evidence);
            let Evidence::Container { id: of, word, .. } = &evidence else {
                panic!("{evidence:?} is of no container")
            };
            assert_eq!((of, word.pod.is_none()), (&id, true), "of another container");
            assert!(word.exit.is_some(), "it has not ended");
        }
        // A message of fields that are known is read back as the same.
        let again = wire::ContainerStatusResponse::decode(&*status.encode_to_vec());
        assert_eq!(again.ok(), Some(status));
    }
}

fn checked(evidence: &Evidence) {
    let Evidence::Container { word, .. } = evidence else { return };
    assert!(is_label(&word.name), "{:?}", word.name);
    let reason = word.exit.as_ref().map_or(0, |exit| exit.reason.len());
    assert!(reason <= LONGEST_REASON, "{reason} bytes");
}
