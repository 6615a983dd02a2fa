//! The names of OpenTelemetry's semantic conventions that agent and hook use, all of one version, and
//! beside them our own, below `ephemon.` and `github.`, for what the conventions have no name for.
//!
//! The published crate of the conventions is behind their registry: what it has already is held to it
//! here, and kinds and units of metrics by the test `conventions`.

pub mod attribute;
pub mod metric;

/// The version of the conventions that the names are of: of the registry's releases the newest.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
