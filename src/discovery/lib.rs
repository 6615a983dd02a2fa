//! Which pods and containers are on this node.
//!
//! [`cgroups`] sees births and deaths in the kernel's tree. [`inventory`] holds what is known by
//! name; three sources bring it in: [`api`] the API server, [`logs`] the kubelet's log directories,
//! [`cri`] the container runtime. Each runs by itself and never waits for another. [`identity`] says
//! who a container is, or that it is too early to say; the [`feed`] says which pods have changed to
//! those who look at them.

pub mod api;
pub mod cgroups;
pub mod cri;
pub mod feed;
pub mod identity;
pub mod inventory;
pub mod logs;
pub mod pod_view;
mod text;
