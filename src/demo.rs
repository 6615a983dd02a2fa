//! The embedded node: an API stand-in and a kubelet stand-in for the demo and the tests, and the
//! demo that plays a script on them with the real agent beside.
//!
//! `node` puts `api`, `kubelet` and `cgroups` together; `part` is what the kubelet's helper
//! processes run (`shim` beside each container, `workload` in it); `view` is what a container sees.
//! `runner` speaks the hook protocol to the real hook, and `workflow` is the job it plays. `run`
//! plays that and `script`, and holds what `watcher` scraped (`shown`) against the kubelet's own
//! books (`report`).

pub mod api;
pub mod args;
pub mod cgroups;
pub mod kubelet;
pub mod node;
pub mod part;

mod progress;
mod report;
mod run;
mod runner;
mod script;
mod shim;
mod shown;
mod sink;
mod view;
mod watcher;
mod workflow;
mod workload;

pub use self::kubelet::{Happening, Kind, Truth};
pub use args::Args;
pub use node::{Node, NodeOptions};
pub use run::{Error, run};
pub use view::Sight;
pub use watcher::WatcherError;
