//! ephemon: metrics, logs, traces and a container hook for Kubernetes ephemeral containers.

pub mod agent;
pub mod capture;
pub mod cgroup;
pub mod cli;
pub mod contract;
pub mod demo;
pub mod discovery;
pub mod hook;
pub mod metrics;
pub mod model;
pub mod node;
pub mod vitals;
