//! Converts a pod of the API.

use std::sync::Arc;
use std::time::SystemTime;

use crate::logs::names::{is_label, is_pod_name};
use ephemon_ci_systems::CiSystems;
use ephemon_contract::{Limits, LimitsError, env, mount};
use ephemon_model::{ContainerId, ContainerType, Exit, PodRef, PodUid};
use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStatus, EphemeralContainer, Pod,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::ci;
use super::job::job;
use super::origin::Origin;
use super::{InvalidField, PodView, Run};
use crate::inventory::SpecEntry;

/// On a static pod's mirror: the UID in its cgroups and logs, which is the hash of the static pod's
/// file, or what the file has as `metadata.uid`.
///
/// Source: kubernetes v1.36.2, `pkg/kubelet/types/constants.go`, `ConfigMirrorAnnotationKey`;
/// `pkg/kubelet/config/common.go`, `applyDefaults`.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Longest reason of a status, and longest name of an image.
const MAX_TEXT: usize = 1024;

impl PodView {
    /// Extracts the used parts; `None` if the pod cannot be identified.
    pub fn of(pod: &Pod) -> (Option<Self>, Vec<InvalidField>) {
        Self::with(pod, &CiSystems::default())
    }

    /// The same; `ci_systems` say which job a pod runs that no hook works in.
    pub fn with(pod: &Pod, ci_systems: &CiSystems) -> (Option<Self>, Vec<InvalidField>) {
        let mut odd = Vec::new();
        let view = reference(pod, &mut odd).map(|pod_ref| {
            let mut spec = spec(pod, &mut odd);
            let origin = Origin::of(pod);
            // A mapping says nothing of pods that are known to be GitHub's.
            let is_githubs =
                |it: &Arc<Origin>| it.ephemeral_runner.is_some() || it.workflow.is_some();
            if !origin.as_ref().is_some_and(is_githubs) {
                ci::enter(pod, ci_systems, &mut spec);
            }
            Self {
                mirrors: mirrored(pod).filter(|uid| *uid != pod_ref.uid),
                pod: pod_ref,
                origin,
                spec,
                runs: runs(pod, &mut odd),
            }
        });
        (view, odd)
    }
}

fn reference(pod: &Pod, odd: &mut Vec<InvalidField>) -> Option<PodRef> {
    let meta = &pod.metadata;
    let (name, namespace) = (meta.name.as_deref(), meta.namespace.as_deref());
    let (Some(name), Some(namespace)) =
        (name.filter(|name| is_pod_name(name)), namespace.filter(|namespace| is_label(namespace)))
    else {
        odd.push(InvalidField::Name);
        return None;
    };
    let Some(uid) = meta.uid.as_deref().and_then(|uid| PodUid::parse(uid).ok()) else {
        odd.push(InvalidField::Uid);
        return None;
    };
    Some(PodRef { namespace: namespace.into(), name: name.into(), uid })
}

fn mirrored(pod: &Pod) -> Option<PodUid> {
    PodUid::parse(pod.metadata.annotations.as_ref()?.get(MIRROR)?).ok()
}

fn spec(pod: &Pod, odd: &mut Vec<InvalidField>) -> Vec<SpecEntry> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let containers = spec
        .containers
        .iter()
        .map(|c| (&c.name, &c.image, ContainerType::Container, (None, false), None));
    let init = spec.init_containers.iter().flatten().map(|c| {
        let container_type = match c.restart_policy.as_deref() {
            Some("Always") => ContainerType::Sidecar,
            _ => ContainerType::Init,
        };
        (&c.name, &c.image, container_type, (None, false), None)
    });
    let ephemeral =
        spec.ephemeral_containers.iter().flatten().map(|c| {
            (&c.name, &c.image, ContainerType::Ephemeral, (limits(c), wants_init(c)), job(c))
        });
    containers
        .chain(init)
        .chain(ephemeral)
        .filter_map(|(name, image, container_type, (limits, wants_init), job)| {
            Some(SpecEntry {
                name: container_name(name, odd)?,
                container_type,
                image: text(image.as_deref()),
                limits,
                wants_init,
                job,
            })
        })
        .collect()
}

/// The limits in the container's environment. If a variable is set twice, the kubelet uses the last
/// one.
fn limits(container: &EphemeralContainer) -> Option<Result<Limits, LimitsError>> {
    let mut variables = container.env.iter().flatten();
    let text = variables.rfind(|variable| variable.name == env::LIMITS)?.value.as_deref()?;
    Some(text.parse()).filter(|limits| *limits != Ok(Limits::default()))
}

/// Whether init may be put in front of its image's own entrypoint: the hook's variable is set, the spec
/// gives no command, and the volume of the programs is mounted at its place, read only.
fn wants_init(container: &EphemeralContainer) -> bool {
    let is_asked = container.env.iter().flatten().any(|variable| variable.name == env::INIT);
    let has_command = container.command.as_ref().is_some_and(|command| !command.is_empty());
    let mut mounts = container.volume_mounts.iter().flatten();
    let has_programs = mounts.any(|it| {
        it.name == mount::PROGRAMS_VOLUME
            && it.mount_path == mount::PROGRAMS
            && it.read_only == Some(true)
            && it.sub_path.is_none()
            && it.sub_path_expr.is_none()
    });
    is_asked && has_programs && !has_command
}

fn runs(pod: &Pod, odd: &mut Vec<InvalidField>) -> Vec<Run> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let mut runs = Vec::new();
    for status in lists.into_iter().flatten().flatten() {
        let Some(name) = container_name(&status.name, odd) else {
            continue;
        };
        runs.extend(previous_run(status, &name, odd));
        runs.extend(current_run(status, &name, odd));
    }
    runs
}

fn current_run(
    status: &ContainerStatus,
    name: &Arc<str>,
    odd: &mut Vec<InvalidField>,
) -> Option<Run> {
    let id = container_id(status.container_id.as_deref(), odd)?;
    let state = status.state.as_ref();
    let running = state.and_then(|state| state.running.as_ref());
    // A waiting container may still have the id of the previous run.
    let terminated = state.and_then(|state| state.terminated.as_ref()).filter(|end| {
        end.container_id
            .as_deref()
            .is_none_or(|text| ContainerId::parse_status(text).is_ok_and(|other| other == id))
    });
    Some(Run {
        id,
        name: name.clone(),
        image_id: text(Some(&status.image_id)),
        started: running
            .and_then(|running| time(running.started_at.as_ref()))
            .or_else(|| terminated.and_then(|end| time(end.started_at.as_ref()))),
        finished: terminated.and_then(|end| time(end.finished_at.as_ref())),
        exit: terminated.map(exit),
    })
}

fn previous_run(
    status: &ContainerStatus,
    name: &Arc<str>,
    odd: &mut Vec<InvalidField>,
) -> Option<Run> {
    let end = status.last_state.as_ref()?.terminated.as_ref()?;
    Some(Run {
        id: container_id(end.container_id.as_deref(), odd)?,
        name: name.clone(),
        image_id: None,
        started: time(end.started_at.as_ref()),
        finished: time(end.finished_at.as_ref()),
        exit: Some(exit(end)),
    })
}

fn exit(end: &ContainerStateTerminated) -> Exit {
    Exit { code: end.exit_code, reason: text(end.reason.as_deref()).unwrap_or_default() }
}

fn container_name(name: &str, odd: &mut Vec<InvalidField>) -> Option<Arc<str>> {
    if is_label(name) {
        return Some(name.into());
    }
    odd.push(InvalidField::ContainerName);
    None
}

/// A missing or empty id means that the container has not been created, which is normal.
fn container_id(id: Option<&str>, odd: &mut Vec<InvalidField>) -> Option<ContainerId> {
    let id = id.filter(|id| !id.is_empty())?;
    let parsed = ContainerId::parse_status(id).ok();
    if parsed.is_none() {
        odd.push(InvalidField::ContainerId);
    }
    parsed
}

fn text(text: Option<&str>) -> Option<Arc<str>> {
    let text = text.filter(|text| !text.is_empty())?;
    Some(text.chars().take(MAX_TEXT).collect::<String>().into())
}

/// The API's zero time (year 1, which Go writes for "never") becomes `None`.
fn time(time: Option<&Time>) -> Option<SystemTime> {
    let time = SystemTime::from(time?.0);
    (time > SystemTime::UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests;
