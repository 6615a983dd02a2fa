//! The job of a pod, by the system that has made the pod or by the operator's mapping. Pure.

use std::sync::Arc;

use ephemon_contract::trace::JobKey;
use ephemon_model::{CiJob, ContainerType, JobEnv};
use k8s_openapi::api::core::v1::Pod;

use super::mapping::{self, Mapping};
use super::part::Part;
use super::pod_facts::PodFacts;
use super::step_status::step_status;
use super::system::CiSystem;
use super::{argo, buildkite, gitlab, jenkins, tekton};

/// The name of what an operator's mapping describes, in `ephemon.ci.system`.
const OWN: &str = "custom";
/// The container by which a pod is known as a runner of GitHub Actions; what it runs is not in the pod.
const GITHUB_RUNNER: &str = "runner";

/// How pods are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CiSystems {
    own: Vec<Mapping>,
}

/// What a pod says of its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodJob {
    system: Option<CiSystem>,
    pod_uid: Arc<str>,
    has_main: bool,
    job: JobEnv,
}

// === impl CiSystems ===

impl CiSystems {
    /// With an operator's mappings, which go before what the systems say.
    pub fn new(own: Vec<Mapping>) -> Self {
        Self { own }
    }

    /// The job of a pod; `None` of one that no system has made and no mapping describes.
    pub fn job(&self, pod: &Pod) -> Option<PodJob> {
        let facts = PodFacts::of(pod);
        let known = CiSystem::ALL.into_iter().find_map(|system| {
            let read = match system {
                CiSystem::Gitlab => gitlab::job,
                CiSystem::Buildkite => buildkite::job,
                CiSystem::Tekton => tekton::job,
                CiSystem::Jenkins => jenkins::job,
                CiSystem::Argo => argo::job,
            };
            Some((system, read(facts)?))
        });
        let system = known.as_ref().map(|(system, _)| *system);
        if system.is_none() && (self.own.is_empty() || facts.has_container(GITHUB_RUNNER)) {
            return None;
        }
        let said = known.map(|(_, said)| said).unwrap_or_default();
        let said = mapping::apply(&self.own, facts, said.clone()).or(system.map(|_| said))?;
        let name = system.map_or(OWN, CiSystem::as_str);
        Some(PodJob {
            system,
            pod_uid: facts.uid().into(),
            has_main: facts.has_container(argo::MAIN),
            job: said.into_env(name),
        })
    }
}

// === impl PodJob ===

impl PodJob {
    /// What one of the pod's own containers is for.
    pub fn part(&self, container: &str, container_type: ContainerType) -> Part {
        match (container_type, self.system) {
            (ContainerType::Init, _) => Part::System,
            (ContainerType::Sidecar, _) => Part::Service,
            (_, Some(CiSystem::Gitlab)) => gitlab::part(container),
            (_, Some(CiSystem::Buildkite)) => buildkite::part(container),
            (_, Some(CiSystem::Tekton)) => tekton::part(container),
            (_, Some(CiSystem::Jenkins)) => jenkins::part(container),
            (_, Some(CiSystem::Argo)) => argo::part(container, self.has_main),
            (_, None) => Part::Step,
        }
    }

    /// The job as the spec of one of the pod's own containers tells it. `message`: the container's
    /// termination message, once there is one.
    pub fn of_container(
        &self,
        name: &str,
        container_type: ContainerType,
        message: Option<&str>,
    ) -> Arc<JobEnv> {
        let part = self.part(name, container_type);
        let ci = self.job.ci.as_deref().cloned().unwrap_or_default();
        let span = JobKey::of_pod(ci.run_key.as_deref(), &self.pod_uid).container_span(name);
        let is_tektons = self.system == Some(CiSystem::Tekton) && part == Part::Step;
        let ci = CiJob {
            step_name: tekton::step_name(name).filter(|_| is_tektons).map(Arc::from),
            step: message.filter(|_| is_tektons).and_then(step_status),
            ..ci
        };
        Arc::new(JobEnv {
            role: Some(part.as_str().into()),
            traceparent: Some(span.to_string().into()),
            ci: Some(Arc::new(ci)),
            ..self.job.clone()
        })
    }
}

#[cfg(test)]
mod tests;
