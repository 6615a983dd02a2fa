//! Which pods and containers are on this node.

pub mod inventory;
