//! Plain domain types every room speaks: pods, containers, what they used. No I/O, std only.

mod container;
mod ended;
mod job;
mod pod;
mod usage;

pub use container::{ContainerId, ContainerType, InvalidContainerId};
pub use ended::{Ended, Exit, Quality};
pub use job::JobEnv;
pub use pod::{InvalidPodUid, PodRef, PodUid};
pub use usage::{
    CpuUsage, Faults, IoUsage, Limit, MemoryEvents, MemoryUsage, NetUsage, PidsUsage, Pressure,
    PressureUsage, Usage,
};
