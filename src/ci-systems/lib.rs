//! Which CI system has made a pod, and what its labels, annotations and literal environment say of the
//! job that runs in it. Pure.
//!
//! One file for each system says where its facts come from; `mapping` is what an operator writes for any
//! other. [`CiSystems`] asks them for a pod, [`PodJob`] holds the answer. GitHub Actions is not among
//! them: its runners do not say in the pod what they run.

mod argo;
mod buildkite;
mod gitlab;
mod gitlab_stage;
mod jenkins;
mod mapping;
mod part;
mod pod_facts;
mod pod_job;
mod said;
mod step_status;
mod system;
mod tekton;
pub mod text;

pub use gitlab_stage::GitlabStage;
pub use mapping::{Mapping, MappingError};
pub use part::Part;
pub use pod_job::{CiSystems, PodJob};
pub use step_status::step_status;
pub use system::{CiSystem, UnknownCiSystem};
