//! The forms in which things are shown, as `openapi.json` describes them. Pure.

pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod part;
pub(crate) mod samples;

use serde::Serialize;

/// The version that every answer names.
pub(crate) const VERSION: &str = "v1";

/// An answer that is none.
#[derive(Debug, Serialize)]
pub(crate) struct Failure<'a> {
    pub(crate) error: &'a str,
}

/// Milliseconds since 1970 of nanoseconds.
pub(crate) fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}
