//! What a runner's container has used when one of its job's steps begins or ends.

use ephemon_capture::SpotReader;
use ephemon_jobs::{StepReading, figures};
use ephemon_logs::ContainerReader;

use super::shared::Shared;

/// Reads a container's counters for the log thread.
pub(super) fn reader(shared: &Shared) -> ContainerReader {
    let mut spot = SpotReader::new(shared.node.clone(), shared.inventory.clone());
    Box::new(move |pod, container| {
        let (at_ns, usage) = spot.read(pod, container)?;
        Some(StepReading { at_ns, figures: figures(&usage) })
    })
}
