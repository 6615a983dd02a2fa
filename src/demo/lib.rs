//! The embedded node: an API server and a kubelet for the demo and the tests, and the demo, which
//! runs a script on them together with the real agent.
//!
//! `node` combines `api`, `kubelet` and `cgroups`; `part` is what the kubelet's helper processes
//! run (`shim` for each container, `workload` in it); `view` is the file system of a container.
//! `runner` speaks the hook protocol with the real hook, and `workflow` is the job that it runs.
//! `run` executes that and `script`, and compares what `watcher` scraped (`shown`) with the
//! kubelet's own records (`report`).
//!
//! # Differences from a real node
//!
//! A test runs one scenario on this node and on a real one, and compares what a client sees. These
//! differences remain:
//!
//! - Pods have no `managedFields`, because there is no server-side apply.
//! - Admission adds neither a service account nor tolerations: there are no accounts.
//! - Every list is complete: `limit` is ignored.
//! - A field of the wrong type is rejected with the code and reason of a real server, but not its
//!   message.
//! - A command that `exec` cannot start ends with exit code 126.
//! - The status contains neither the resources granted by the node nor the user of a container.
//!
//! Beyond what is compared: containers are processes of this machine, share its network and process
//! ids, and see its files except for their volumes; image names select only a built-in command;
//! containers are not restarted; there are no probes and no volumes but `emptyDir`; logs are not
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
