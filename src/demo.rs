//! The embedded node: an API stand-in and a kubelet stand-in for the demo and the tests, and the
//! demo that plays a script on them with the real agent beside.
//!
//! `node` puts `api`, `kubelet` and `cgroups` together; `part` is what the kubelet's helper
//! processes run (`shim` beside each container, `workload` in it). `run` plays `script` and holds
//! what `watcher` scraped (`shown`) against the kubelet's own books (`report`).

pub mod api;
pub mod args;
pub mod cgroups;
pub mod kubelet;
pub mod node;
pub mod part;

mod progress;
mod report;
mod run;
mod script;
mod shim;
mod shown;
mod watcher;
mod workload;

pub use args::Args;
pub use kubelet::{Happening, Kind, Truth};
pub use node::{Node, NodeOptions};
pub use run::{Error, run};
pub use watcher::WatcherError;
