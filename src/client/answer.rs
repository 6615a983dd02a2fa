//! The API's answers as values. Fields that are missing are as those that are not known.

mod bounded;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod part;
pub(crate) mod samples;

use serde::Deserialize;

pub(crate) use bounded::at_most;

/// Most jobs of a list, parts and steps of a job, and lines of a log that are read. An agent sends at
/// most 300 jobs, 1500 steps, 500 containers and 512 KiB of log, each line with its names.
pub(crate) const MAX_JOBS: usize = 512;
pub(crate) const MAX_PARTS: usize = 2048;
pub(crate) const MAX_SERIES: usize = 64;
pub(crate) const MAX_LINES: usize = 16_384;

/// An answer that is none.
#[derive(Debug, Deserialize)]
pub(crate) struct Failure {
    pub(crate) error: String,
}
