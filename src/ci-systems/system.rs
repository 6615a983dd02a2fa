//! The systems that are known by name, and the labels by which their pods are selected. Plain values.

use std::fmt;
use std::str::FromStr;

/// A CI system that runs each job in a pod of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CiSystem {
    /// GitLab Runner with the Kubernetes executor.
    Gitlab,
    /// Buildkite's agent-stack-k8s.
    Buildkite,
    /// Tekton Pipelines.
    Tekton,
    /// Jenkins with the Kubernetes plugin.
    Jenkins,
    /// Argo Workflows.
    Argo,
}

/// The text names no CI system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCiSystem(String);

// === impl CiSystem ===

impl CiSystem {
    /// Every system.
    pub const ALL: [Self; 5] =
        [Self::Gitlab, Self::Buildkite, Self::Tekton, Self::Jenkins, Self::Argo];

    /// Its name on the command line and in `ephemon.ci.system`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gitlab => "gitlab",
            Self::Buildkite => "buildkite",
            Self::Tekton => "tekton",
            Self::Jenkins => "jenkins",
            Self::Argo => "argo",
        }
    }

    /// The label selector that its pods, and no others, match.
    pub fn selector(self) -> &'static str {
        match self {
            Self::Gitlab => super::gitlab::POD,
            Self::Buildkite => super::buildkite::JOB_UUID,
            Self::Tekton => super::tekton::TASK_RUN,
            Self::Jenkins => super::jenkins::LABEL,
            Self::Argo => super::argo::WORKFLOW,
        }
    }

    /// Whether its steps run one after another though their containers start together: a step begins
    /// when the one before it has ended.
    pub fn is_sequential(self) -> bool {
        matches!(self, Self::Buildkite | Self::Tekton)
    }

    /// Whether the exit code of the system's own containers decides on the job.
    pub fn own_containers_decide(self) -> bool {
        self == Self::Argo
    }

    /// Whether the system writes into a container's termination message when its step began and how it
    /// ended.
    pub fn tells_steps(self) -> bool {
        self == Self::Tekton
    }
}

impl FromStr for CiSystem {
    type Err = UnknownCiSystem;

    fn from_str(text: &str) -> Result<Self, UnknownCiSystem> {
        let found = Self::ALL.into_iter().find(|system| system.as_str() == text.trim());
        found.ok_or_else(|| UnknownCiSystem(text.to_owned()))
    }
}

impl fmt::Display for CiSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl UnknownCiSystem ===

impl fmt::Display for UnknownCiSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = CiSystem::ALL.map(CiSystem::as_str).join(", ");
        write!(f, "`{}` is not a known CI system; the known ones are {known}", self.0)
    }
}

impl std::error::Error for UnknownCiSystem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_system_and_another_is_refused_with_those_that_are() {
        for system in CiSystem::ALL {
            assert_eq!(system.as_str().parse(), Ok(system));
            assert!(!system.selector().is_empty());
        }
        let error = "circleci".parse::<CiSystem>().unwrap_err().to_string();
        assert!(
            error.contains("circleci") && error.contains("gitlab, buildkite, tekton"),
            "{error}"
        );
    }
}
