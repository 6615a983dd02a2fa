//! The kernel's cgroup files, version 1 and 2: where they are and what they say.
//!
//! `hierarchy` finds the mounts, `name` reads the kubelet's directory names, `format` the kernel's
//! text formats; [`v1`] and [`v2`] turn one cgroup's files into a [`ephemon_model::Usage`], and
//! [`Files`] is whichever of the two the node has, and [`LimitFiles`] sets one cgroup's limits. std
//! only; nothing here watches or decides.

mod files;
pub mod format;
mod hierarchy;
mod kept;
mod limits;
pub mod name;
pub mod v1;
pub mod v2;

pub use files::{Files, Gone};
pub use format::Quota;
pub use hierarchy::{Controller, Detected, Hierarchy, NoHierarchy};
pub use kept::Trouble;
pub use limits::{InForce, LimitFiles, Refused, Setting};
