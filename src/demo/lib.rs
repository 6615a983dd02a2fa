//! The embedded node: an API stand-in and a kubelet stand-in for the demo and the tests, and the
//! demo that plays a script on them with the real agent beside.
//!
//! `node` puts `api`, `kubelet` and `cgroups` together; `part` is what the kubelet's helper
//! processes run (`shim` beside each container, `workload` in it); `view` is what a container sees.
//! `runner` speaks the hook protocol to the real hook, and `workflow` is the job it plays. `run`
//! plays that and `script`, and holds what `watcher` scraped (`shown`) against the kubelet's own
//! books (`report`).
//!
//! # Differences from a real node
//!
//! A scenario of the tests is played on this node and on a real one, and what a client sees is
//! compared. These differences stay:
//!
//! - Pods have no `managedFields`: nobody here applies server-side.
//! - Admission adds neither a service account nor tolerations: there are no accounts.
//! - Every list is whole: `limit` is not heeded.
//! - A field of the wrong type is refused with the code and reason of a real server, not its words.
//! - A command that `exec` cannot start ends with exit code 126.
//! - The status tells neither the resources that the node granted nor the user of a container.
//!
//! Beyond what is compared: containers are processes of this machine, share its network and process
//! ids, and see its files but for their volumes; image names stand for nothing but a place;
//! containers are not run again; there are no probes and no volumes but `emptyDir`; logs are not
//! rotated; an image that cannot be pulled is tried once.

pub mod api;
pub mod args;
pub mod cgroups;
pub mod kubelet;
pub mod node;
pub mod part;

mod cli;
mod helper;
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

pub use self::kubelet::{Kind, NodeEvent, Truth};
pub use args::Args;
pub use cli::main;
pub use node::{Node, NodeOptions};
pub use run::{Error, run};
pub use view::MountMode;
pub use watcher::AgentError;
