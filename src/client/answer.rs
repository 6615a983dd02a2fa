//! The API's answers as values. Fields that are missing are as those that are not known.

pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod part;
pub(crate) mod samples;

use serde::Deserialize;

/// An answer that is none.
#[derive(Debug, Deserialize)]
pub(crate) struct Failure {
    pub(crate) error: String,
}
