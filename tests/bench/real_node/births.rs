//! What the runtime's events (NRI) add to what other sources know of short containers: when each source
//! knows a start and an end, and what the events cost the runtime and the agent.

pub(crate) mod containerd;
pub(crate) mod kubelet;
mod sources;
mod table;
