//! Nested containers that were removed before their final values were read, until those values are
//! derived. Pure.
//!
//! What such a container has used is what its engine's directory has used, and no other container in
//! it: each of the others has to be read for that. A job may end hundreds of them one by one, and reading
//! all others at each end would keep the capture thread busy for a time that grows with the square of
//! their number. So the number of readings is bounded. Below the bound each end is derived at once and
//! alone; beyond it ends wait for each other, and share what they used, as those do that are found
//! removed at the same time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ephemon_discovery::cgroups::MAX_FOLLOWED;
use ephemon_model::PodUid;

use crate::container::Container;

/// So many readings of other containers are made without waiting, if none were made before.
const BURST_READS: i64 = 4_096;
/// So many more with each millisecond: at 10 µs each, a twentieth of one CPU.
const READS_PER_MS: i64 = 5;
/// So many readings for each end are made in any case, so that few wait, and not for long.
const READS_PER_END: usize = 4;
/// The shortest wait for further readings.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// Memory of one that waits, in bytes: its paths, names and last values. None of its files is open.
const MISSED_CONTAINER_BYTES: usize = 2048;
/// Memory of all that wait, in bytes.
pub const MISSED_BYTES: usize = (MAX_FOLLOWED / READS_PER_END + 1) * MISSED_CONTAINER_BYTES;

/// Those that wait.
pub(super) struct Missed {
    waiting: Vec<Container>,
    /// Readings that may be made; below 0, those that were made too many.
    credit: i64,
    filled: Instant,
}

// === impl Missed ===

impl Missed {
    pub(super) fn new(now: Instant) -> Self {
        Self { waiting: Vec::new(), credit: BURST_READS, filled: now }
    }

    pub(super) fn push(&mut self, container: Container) {
        self.waiting.push(container);
    }

    /// Those that wait.
    pub(super) fn waiting(&self) -> &[Container] {
        &self.waiting
    }

    /// Whether those that wait are to be derived now. `others`: how many nested containers are held, each
    /// of which may have to be read.
    pub(super) fn is_due(&mut self, others: usize, now: Instant) -> bool {
        self.fill(now);
        let len = self.waiting.len();
        len > 0 && (self.credit > 0 || len.saturating_mul(READS_PER_END) >= others)
    }

    /// When they will be.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        let missing = (1 - self.credit).max(0) + READS_PER_MS - 1;
        let missing = u64::try_from(missing / READS_PER_MS).unwrap_or(0);
        Some((self.filled + Duration::from_millis(missing)).max(now + SHORTEST_WAIT))
    }

    /// So many readings were made.
    pub(super) fn spend(&mut self, reads: usize) {
        let reads = i64::try_from(reads).unwrap_or(i64::MAX);
        self.credit = self.credit.saturating_sub(reads).max(-BURST_READS);
    }

    /// Removes those of one directory that wait, and those in directories below it. An inner directory
    /// comes before those above it, whose books are right only after it.
    pub(super) fn take_innermost(&mut self) -> Option<(PathBuf, Vec<Container>)> {
        let directory = self.waiting.iter().filter_map(directory_of);
        let directory = directory.max_by_key(|path| path.components().count())?.clone();
        let (taken, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|container| container.path.starts_with(&directory));
        self.waiting = waiting;
        Some((directory, taken))
    }

    /// CPU time that is known of those of a pod that are beside it, nanoseconds.
    pub(super) fn beside_ns(&self, pod: &PodUid) -> u64 {
        let of_pod = self.waiting.iter().filter(|container| &container.pod == pod);
        let beside = of_pod.filter(|container| container.is_beside());
        beside
            .fold(0, |sum, container| sum.saturating_add(container.usage.cpu.usage_ns.unwrap_or(0)))
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_millis();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.filled += Duration::from_millis(passed.into());
        let more = i64::from(passed) * READS_PER_MS;
        self.credit = self.credit.saturating_add(more).min(BURST_READS);
    }
}

fn directory_of(container: &Container) -> Option<&PathBuf> {
    container.nested.as_ref()?.group.engines_directory.as_ref()
}

#[cfg(test)]
mod tests;
