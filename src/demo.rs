//! The embedded node: an API stand-in and a kubelet stand-in for the demo and the tests.

pub mod api;
pub mod cgroups;
pub mod kubelet;
pub mod node;
pub mod part;

mod shim;
mod workload;

pub use kubelet::{Happening, Kind, Truth};
pub use node::{Error, Node, NodeOptions};
