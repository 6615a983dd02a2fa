//! Plain domain types that most crates of the agent use: pods, containers, their usage, buckets of
//! native histograms. No I/O, std only.

mod container;
mod ended;
mod exponential;
mod job;
mod log_flaw;
mod log_loss;
mod log_refusal;
mod log_stream;
pub mod node;
mod pod;
mod pre_pull;
mod usage;

pub use container::{ContainerId, ContainerType, InvalidContainerId};
pub use ended::{Ended, Exit, Quality};
pub use exponential::{ExponentialBuckets, Span, ZERO_THRESHOLD};
pub use job::{CiJob, JobEnv, StepStatus};
pub use log_flaw::LogFlaw;
pub use log_loss::LogLoss;
pub use log_refusal::LogRefusal;
pub use log_stream::LogStream;
pub use pod::{InvalidPodUid, PodRef, PodUid};
pub use pre_pull::PrePull;
pub use usage::{
    CpuUsage, Faults, IoUsage, Limit, MemoryEvents, MemoryUsage, NetUsage, PidsUsage, Pressure,
    PressureUsage, Usage,
};
