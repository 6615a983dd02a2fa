//! Which pods and containers are on this node.
//!
//! [`cgroups`] detects creation and removal in the kernel's tree. [`inventory`] holds what is known
//! by name, from four sources: [`api`] the API server, [`logs`] the kubelet's log directories,
//! [`cri`] the container runtime, [`runtime_events`] the same by its own events. Each runs independently of
//! the others. [`identity`] identifies a
//! container, or reports that it is too early to do so; the [`feed`] notifies readers of changed
//! pods. [`runner_jobs`] asks ARC which job a runner has. [`nested`] finds the names of containers in
//! containers, and [`debug_containers`] lists what was attached to pods by hand. [`awaited_images`] are
//! those that the kubelet has still to pull for ephemeral containers.

pub mod api;
pub mod awaited_images;
pub mod cgroups;
pub mod cri;
pub mod debug_containers;
pub mod feed;
pub mod identity;
pub mod inventory;
pub mod logs;
pub mod nested;
pub mod pod_view;
pub mod runner_jobs;
pub mod runtime_events;
mod text;
