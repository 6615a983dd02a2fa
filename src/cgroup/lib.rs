//! The kernel's cgroup files of versions 1 and 2: their paths and formats.
//!
//! `hierarchy` finds the mounts, `name` parses the kubelet's directory names,
//! `nested_name` those of engines in containers, `format` the kernel's
//! text formats; [`v1`] and [`v2`] convert one cgroup's files to a [`ephemon_model::Usage`],
//! [`Files`] is the one of the node's version, and [`LimitFiles`] sets one cgroup's limits. Nothing
//! here watches or decides.

mod files;
pub mod format;
mod hierarchy;
mod kept;
mod limits;
pub mod name;
pub mod nested_name;
pub mod v1;
pub mod v2;

pub use files::{Files, Gone, cpu_ns};
pub use format::Quota;
pub use hierarchy::{Controller, Detected, Hierarchy, NoHierarchy};
pub use kept::ReadError;
pub use limits::{InForce, LimitFiles, Refused, Setting};
