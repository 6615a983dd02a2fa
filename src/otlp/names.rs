//! Names of attributes, by the one table of agent and hook.

pub use ephemon_otel::conventions::SCHEMA_URL;
pub use ephemon_otel::conventions::attribute::*;

/// The server where none is told.
pub(crate) const GITHUB: &str = "https://github.com";
