//! The names of OpenTelemetry's semantic conventions that agent and hook use, all of one version,
//! and our own names, below `ephemon.` and `github.`, where the conventions have none.
//!
//! The published crate of the conventions is behind their registry: names that it already has are
//! checked against it here, and kinds and units of metrics by the test `conventions`.

pub mod attribute;
pub mod metric;

/// The version of the conventions: the newest release of the registry.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
