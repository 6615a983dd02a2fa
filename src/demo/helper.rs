//! How the embedded node calls its helper processes, which [`part`](super::part) runs.

/// The hidden subcommand.
pub(super) const NAME: &str = "demo-part";
