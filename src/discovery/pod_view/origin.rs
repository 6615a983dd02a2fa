//! What a pod's labels, owners and environment say of the GitHub runner that it belongs to. Pure.
//!
//! Sources: actions-runner-controller, `controllers/actions.github.com/constants.go` and
//! `resourcebuilder.go` (labels and owner of a runner's pod); runner-container-hooks,
//! `packages/k8s/src/hooks/constants.ts` and `packages/k8s/src/k8s/index.ts` of v0.7.0 and v0.8.1
//! (label and names of the pods that it creates, and the `Job` of a container action in v0.7.0).

use std::sync::Arc;

use ephemon_model::{JobEnv, PodRef};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::job::job_text;
use crate::logs::names::is_pod_name;

/// ARC's API group, and its object for one runner.
const GROUP: &str = "actions.github.com/";
const EPHEMERAL_RUNNER: &str = "EphemeralRunner";
/// Labels of the scale set's GitHub URL, which ARC puts on a runner's pod.
const ORGANIZATION: &str = "actions.github.com/organization";
const REPOSITORY: &str = "actions.github.com/repository";
/// What ARC ends a name with that is too long for a label: it is not the name.
const TRIMMED: &str = "-trim";
const LABEL_LENGTH: usize = 63;
/// On the pods of the reference hook: the name of the runner's pod.
const RUNNER_POD: &str = "runner-pod";
/// The runner's container, and its variable that names a hook.
const RUNNER: &str = "runner";
const HOOKS: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS";
/// Where the runner's image has the reference hook, in both of its forms.
const REFERENCE_HOOK: &str = "/home/runner/k8s";
/// In the name of a container action's pod, before eight random digits.
const STEP: &str = "-step-";
const STEP_DIGITS: usize = 8;
/// The hook cuts the runner's name off here to make a container action's.
const STEP_CUT: usize = LABEL_LENGTH - STEP.len() - STEP_DIGITS;

/// The runner that a pod belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The `EphemeralRunner` in the pod's namespace that the pod was made for.
    pub ephemeral_runner: Option<Arc<str>>,
    /// What the labels say of its job.
    pub labels: Option<Arc<JobEnv>>,
    /// Whether the runner calls a hook that is not the reference's: it may be ours, whose containers
    /// say more of the job.
    pub has_own_hook: bool,
    /// The runner that has created the pod for its job.
    pub workflow: Option<WorkflowPod>,
}

/// A pod that the reference hook has created for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowPod {
    /// The runner's pod in the same namespace.
    pub runner: Arc<str>,
    /// Whether only the beginning of its name is known.
    pub is_cut: bool,
    /// What it is for.
    pub purpose: Purpose,
}

/// What the reference hook has created a pod for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// The job's container and its services.
    Job,
    /// A container action that is started in the pod by `exec` (v0.8).
    Action,
    /// A container action that is the pod's own program (v0.7): its exit code is the action's.
    OwnProgram,
}

// === impl Purpose ===

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Job, Self::Action, Self::OwnProgram];

    /// For files that the agent reads again.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Action => "action",
            Self::OwnProgram => "own-program",
        }
    }
}

// === impl Origin ===

impl Origin {
    /// Of a pod; `None` where nothing says that it is a runner's.
    pub(super) fn of(pod: &Pod) -> Option<Arc<Self>> {
        let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
        let ephemeral_runner = owners
            .iter()
            .find(|owner| owner.kind == EPHEMERAL_RUNNER && owner.api_version.starts_with(GROUP))
            .map(|owner| owner.name.as_str())
            .filter(|name| is_pod_name(name))
            .map(Arc::from);
        let origin = Self {
            ephemeral_runner,
            labels: labels(pod).map(Arc::new),
            has_own_hook: has_own_hook(pod),
            workflow: WorkflowPod::of(pod, owners),
        };
        (origin != Self::default()).then(|| Arc::new(origin))
    }
}

// === impl WorkflowPod ===

impl WorkflowPod {
    fn of(pod: &Pod, owners: &[OwnerReference]) -> Option<Self> {
        let name = pod.metadata.name.as_deref()?;
        if let Some(runner) = label(pod, RUNNER_POD).filter(|name| is_pod_name(name)) {
            let purpose = if step_of(name).is_some() { Purpose::Action } else { Purpose::Job };
            return Some(Self { runner: runner.into(), is_cut: false, purpose });
        }
        // The hook labels the `Job` of a container action, and not the pod that follows from it.
        let job = owners.iter().find(|owner| owner.kind == "Job")?;
        let runner = step_of(&job.name).filter(|name| is_pod_name(name))?;
        let is_cut = runner.len() >= STEP_CUT;
        Some(Self { runner: runner.into(), is_cut, purpose: Purpose::OwnProgram })
    }

    /// Whether this is the pod of its runner, by name.
    pub(crate) fn is_of(&self, namespace: &str, pod: &PodRef) -> bool {
        let is_named =
            *pod.name == *self.runner || (self.is_cut && pod.name.starts_with(&*self.runner));
        is_named && &*pod.namespace == namespace
    }
}

/// The runner of a container action's pod or `Job`.
fn step_of(name: &str) -> Option<&str> {
    let (runner, digits) = name.rsplit_once(STEP)?;
    let is_random = digits.len() == STEP_DIGITS && digits.bytes().all(|it| it.is_ascii_hexdigit());
    (is_random && !runner.is_empty()).then_some(runner)
}

fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// A runner that is registered for one repository runs the jobs of no other.
fn labels(pod: &Pod) -> Option<JobEnv> {
    let whole = |name: &&str| !(name.len() == LABEL_LENGTH && name.ends_with(TRIMMED));
    let owner = label(pod, ORGANIZATION).filter(whole)?;
    let name = label(pod, REPOSITORY).filter(whole)?;
    Some(JobEnv { repository: job_text(&format!("{owner}/{name}")), ..JobEnv::default() })
}

fn has_own_hook(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let runner = containers.filter(|container| container.name == RUNNER);
    let variables = runner.flat_map(|container| container.env.iter().flatten());
    let mut hooks = variables.filter(|variable| variable.name == HOOKS);
    hooks.any(|hook| hook.value.as_deref().is_none_or(|path| !path.starts_with(REFERENCE_HOOK)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn origin(
        name: &str,
        labels: &Value,
        owner: Option<(&str, &str, &str)>,
    ) -> Option<Arc<Origin>> {
        let owners = owner.map(|(group, kind, name)| {
            json!([{"apiVersion": group, "kind": kind, "name": name, "uid": "u"}])
        });
        let metadata = json!({"name": name, "labels": labels, "ownerReferences": owners});
        Origin::of(&serde_json::from_value(json!({"metadata": metadata})).unwrap())
    }

    #[test]
    fn a_runners_pod_is_owned_by_its_object_and_labelled_with_where_it_is_registered() {
        let labels =
            json!({"actions.github.com/organization": "o", "actions.github.com/repository": "r"});
        let owner = ("actions.github.com/v1alpha1", "EphemeralRunner", "linux-runner-x");
        let known = origin("linux-runner-x", &labels, Some(owner)).unwrap();
        assert_eq!(known.ephemeral_runner.as_deref(), Some("linux-runner-x"));
        assert_eq!(known.labels.as_ref().unwrap().repository.as_deref(), Some("o/r"));
        assert_eq!((known.has_own_hook, &known.workflow), (false, &None));
        for owner in [
            ("example.org/v1", "EphemeralRunner", "linux-runner-x"),
            ("actions.github.com/v1alpha1", "EphemeralRunner", "../secrets/x"),
            ("apps/v1", "ReplicaSet", "web"),
        ] {
            assert_eq!(origin("x", &json!({}), Some(owner)), None, "{owner:?}");
        }
    }

    #[test]
    fn an_organizations_runner_and_a_trimmed_label_name_no_repository() {
        let trimmed = format!("{}-trim", "x".repeat(58));
        for labels in [
            json!({"actions.github.com/organization": "o"}),
            json!({"actions.github.com/repository": "r"}),
            json!({"actions.github.com/organization": "o", "actions.github.com/repository": trimmed}),
            json!({"actions.github.com/organization": "o", "actions.github.com/repository": ""}),
        ] {
            assert_eq!(origin("x", &labels, None), None, "{labels}");
        }
    }

    #[test]
    fn pods_of_the_reference_hook_name_their_runner() {
        let label = || json!({"runner-pod": "linux-runner-x"});
        let none = || json!({});
        let job = |name| Some(("batch/v1", "Job", name));
        for (name, labels, owner, expected) in [
            ("linux-runner-x-workflow", label(), None, Some((false, Purpose::Job))),
            ("linux-runner-x-step-0a1b2c3d", label(), None, Some((false, Purpose::Action))),
            (
                "linux-runner-x-step-0a1b2c3d-k2x9z",
                none(),
                job("linux-runner-x-step-0a1b2c3d"),
                Some((false, Purpose::OwnProgram)),
            ),
            ("nightly-28f1", none(), job("nightly-28f1"), None),
            ("a-step-by-step", none(), job("a-step-by-step"), None),
            ("x", json!({"runner-pod": "../x"}), None, None),
        ] {
            let workflow = origin(name, &labels, owner).and_then(|it| it.workflow.clone());
            let seen = workflow.as_ref().map(|it| (it.is_cut, it.purpose));
            assert_eq!(seen, expected, "{name}");
            assert!(workflow.is_none_or(|it| &*it.runner == "linux-runner-x"), "{name}");
        }
    }

    #[test]
    fn a_name_that_the_hook_has_cut_is_found_by_its_beginning() {
        let long = "x".repeat(60);
        let job = format!("{}-step-0a1b2c3d", "x".repeat(STEP_CUT));
        let owner = Some(("batch/v1", "Job", job.as_str()));
        let workflow = origin("y", &json!({}), owner).unwrap().workflow.clone().unwrap();
        let uid = ephemon_model::PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let pod =
            |name: &str| PodRef { namespace: "ci".into(), name: name.into(), uid: uid.clone() };
        assert!(workflow.is_of("ci", &pod(&long)));
        assert!(!workflow.is_of("other", &pod(&long)) && !workflow.is_of("ci", &pod("x")));
    }

    #[test]
    fn a_hook_that_is_not_the_references_may_say_more() {
        for (value, expected) in [
            (None, false),
            (Some("/home/runner/k8s/index.js"), false),
            (Some("/home/runner/k8s-novolume/index.js"), false),
            (Some("/ephemon/bin/hook.js"), true),
        ] {
            let env = value.map(|value| json!([{"name": HOOKS, "value": value}]));
            let container = json!({"name": "runner", "env": env});
            let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [container]}});
            let origin = Origin::of(&serde_json::from_value(pod).unwrap());
            assert_eq!(origin.is_some_and(|it| it.has_own_hook), expected, "{value:?}");
        }
    }
}
