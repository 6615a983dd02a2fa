//! What containers used over time, kept in memory for the job page.
//!
//! Capture adds each of its readings; nothing is read for the history alone. A container has one
//! [`series`](SeriesView) of a fixed maximum size: a `track` for what every reading has (CPU time,
//! memory), and one for what only complete readings have (throttling, I/O, pressure). Each track
//! keeps the last minutes finely and the whole life coarsely, in two `ring`s. The [`History`] bounds
//! how many series there are, per pod and in all. A figure that was not read is a gap, never 0.

mod ring;
mod series;
mod store;
mod track;
mod view;

pub use store::{History, MAX_BYTES, MAX_PER_POD, MAX_SERIES, MAX_VIEW_BYTES, PodView};
pub use view::{ActivityPoint, SeriesView, UsagePoint};

use ephemon_model::{ContainerId, PodUid, Usage};

/// One reading of a container.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The container's pod.
    pub pod: &'a PodUid,
    /// The container.
    pub id: &'a ContainerId,
    /// When its cgroup was created, milliseconds since 1970.
    pub created_ms: u64,
    /// When the values were read, milliseconds since 1970.
    pub at_ms: u64,
    /// The values.
    pub usage: &'a Usage,
    /// Whether all values were read now. If not, those beyond CPU time and memory are older.
    pub complete: bool,
    /// Whether it is the container's final reading.
    pub last: bool,
}
