//! The time that all pictures of a report have in common. Pure.

use ephemon_client::Job;

/// Columns of a picture: nothing is drawn finer.
pub(crate) const COLUMNS: usize = 800;
/// Between the marks of the axis, seconds.
const STEPS: [u64; 15] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600];
/// Most marks.
const MOST_MARKS: u64 = 9;
/// Longer than any job may take: what lies outside is drawn at the edge.
const LONGEST_MS: u64 = 7 * 86_400_000;

/// From the job's beginning to its end, or to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
}

// === impl Axis ===

impl Axis {
    /// Of a job. A runner that waited for it began earlier: it is drawn from the edge on.
    pub(crate) fn of(job: &Job) -> Self {
        let span = &job.summary.span;
        let start_ms = span.start_unix_ms.min(u64::MAX / 2);
        let end = span.end_unix_ms.unwrap_or(job.now_unix_ms);
        let end_ms = end.clamp(start_ms.saturating_add(1000), start_ms.saturating_add(LONGEST_MS));
        Self { start_ms, end_ms }
    }

    /// Where a moment is, between 0 and [`COLUMNS`].
    pub(crate) fn x(self, unix_ms: u64) -> f64 {
        let at = unix_ms.clamp(self.start_ms, self.end_ms) - self.start_ms;
        at as f64 / (self.end_ms - self.start_ms) as f64 * COLUMNS as f64
    }

    /// Milliseconds since the beginning.
    pub(crate) fn since(self, unix_ms: u64) -> u64 {
        unix_ms.saturating_sub(self.start_ms)
    }

    /// The marks: moments, in milliseconds since 1970.
    pub(crate) fn marks(self) -> Vec<u64> {
        let seconds = (self.end_ms - self.start_ms) / 1000;
        let fits = |step: &&u64| seconds / **step < MOST_MARKS;
        let step = STEPS.iter().find(fits).copied().unwrap_or(86_400) * 1000;
        let count = (self.end_ms - self.start_ms) / step;
        (0..=count).map(|number| self.start_ms + number * step).collect()
    }
}
