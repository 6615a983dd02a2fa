//! Which pods and containers are on this node.

pub mod cgroups;
pub mod inventory;
