//! The rig: what the scenarios need of the machine, and how to have it and give it back.

pub(crate) mod agent;
pub(crate) mod cgroups;
pub(crate) mod collector;
pub(crate) mod containerd;
pub(crate) mod cri;
pub(crate) mod cri_kubelet;
pub(crate) mod cri_wire;
pub(crate) mod exposition;
pub(crate) mod guest;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod kubelet;
pub(crate) mod launcher;
pub(crate) mod node;
pub(crate) mod parts;
pub(crate) mod pod_network;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod prometheus;
pub(crate) mod verdict;
pub(crate) mod vm;
pub(crate) mod witness;
pub(crate) mod workflow_images;
