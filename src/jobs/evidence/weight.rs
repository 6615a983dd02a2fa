//! What a piece of evidence takes of memory, bytes: an estimate that is rather too high, from the sizes
//! of its values, its texts, and what allocator and trees add to them.

use std::mem::size_of;
use std::sync::Arc;

use ephemon_contract::Record;
use ephemon_discovery::inventory::SpecEntry;
use ephemon_model::{ContainerId, JobEnv, PrePull};

use super::{Sighted, StepLine, StepReading};
use crate::runner_step::StepEvent;

/// Of an allocation, beside its bytes: the allocator's word and rounding, and an `Arc`'s counts.
const ALLOCATION: usize = 32;
/// A tree's nodes are half full where keys come in order, and so is a map that has just grown.
const SLACK: usize = 2;

/// A journal's record in its tree, with its place.
pub(crate) fn record(record: &Record) -> usize {
    let inline = SLACK * size_of::<((Arc<str>, u64), (u64, Record))>();
    // The place is noted once more until it is on disk.
    let noted = SLACK * size_of::<super::Place>();
    inline + noted + record.text_bytes() + ALLOCATION * record.text_count()
}

/// An entry of the pod's spec. What it shares with the inventory is counted: it may outlive that.
pub(crate) fn spec(entry: &SpecEntry) -> usize {
    entry.bytes() + SLACK * size_of::<super::Place>()
}

/// A container.
pub(crate) fn container(one: &Sighted) -> usize {
    let inline = SLACK * (size_of::<(ContainerId, Sighted)>() + size_of::<super::Place>());
    let reason = one.exit.as_ref().map(|exit| &exit.reason);
    inline + ContainerId::LEN + ALLOCATION + texts(&[Some(&one.name), one.image.as_ref(), reason])
}

/// An image that was pulled ahead.
pub(crate) fn pre_pull(pull: &PrePull) -> usize {
    let inline = SLACK * (size_of::<(Arc<str>, PrePull)>() + size_of::<super::Place>());
    inline + texts(&[Some(&pull.container)])
}

/// What is known of the job beside its containers.
pub(crate) fn job(job: &JobEnv) -> usize {
    size_of::<JobEnv>() + texts(&job.texts())
}

/// A line of the runner's log about a step.
pub(crate) fn step(line: &StepLine) -> usize {
    let inline = SLACK * size_of::<((u64, u64), (StepEvent, Option<StepReading>))>();
    let noted = SLACK * size_of::<super::Place>();
    inline + noted + texts(&[line.event.text()])
}

fn texts(texts: &[Option<&Arc<str>>]) -> usize {
    texts.iter().flatten().map(|text| text.len() + ALLOCATION).sum()
}
