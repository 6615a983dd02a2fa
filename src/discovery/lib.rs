//! Which pods and containers are on this node.
//!
//! [`cgroups`] sees births and deaths in the kernel's tree. [`inventory`] holds what is known by
//! name; three sources bring it in: [`api`] the API server, [`logs`] the kubelet's log directories,
//! [`cri`] the container runtime. Each runs by itself and never waits for another. [`identity`] says
//! who a container is, or that it is too early to say.

pub mod api;
pub mod cgroups;
pub mod cri;
pub mod identity;
pub mod inventory;
pub mod logs;
mod pace;
pub mod pod_view;
mod text;
