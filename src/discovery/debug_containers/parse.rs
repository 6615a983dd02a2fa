//! The containers of a pod that were attached by hand. Pure.
//!
//! The field manager is in `metadata.managedFields`, in the entry that owns the container's key.
//! `kubectl debug` names none, so that the API server takes the beginning of its user agent.
//!
//! Sources: kubernetes v1.36, `staging/src/k8s.io/kubectl/pkg/cmd/debug/debug.go`,
//! `debugByEphemeralContainer`; `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/create.go`,
//! `managerOrUserAgent`.

use std::sync::Arc;
use std::time::SystemTime;

use ephemon_contract::env;
use ephemon_model::{PodRef, PodUid};
use k8s_openapi::api::core::v1::{ContainerStatus, EphemeralContainer, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};

use super::DebugContainer;
use crate::logs::names::{is_label, is_pod_name};

/// Longest image.
const MAX_IMAGE: usize = 256;
/// Longest first word of a command, and longest name of a field manager, which the API server
/// limits to this as well.
const MAX_WORD: usize = 128;

/// What a pod has.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) containers: Vec<DebugContainer>,
    /// Further ones.
    pub(super) left_out: u64,
}

/// The containers that were attached by hand, at most `limit` of them: first those that are listed
/// already, so that the end of each is seen, then those that are not over. The order in the pod says
/// nothing of their age.
pub(super) fn debug_containers(
    pod: &Pod,
    limit: usize,
    is_listed: impl Fn(&PodUid, &str) -> bool,
) -> Found {
    let listed = pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_ref());
    let by_hand: Vec<&EphemeralContainer> =
        listed.into_iter().flatten().filter(|one| !is_hooks(one) && is_label(&one.name)).collect();
    if by_hand.is_empty() {
        return Found::default();
    }
    let Some(reference) = reference(pod) else { return Found::default() };
    let mut containers: Vec<_> =
        by_hand.into_iter().map(|one| container(one, pod, Arc::clone(&reference))).collect();
    let is_new = |one: &DebugContainer| !is_listed(&one.pod.uid, &one.container);
    containers.sort_by_cached_key(|one| (is_new(one), one.exit_code.is_some()));
    let left_out = containers.len().saturating_sub(limit);
    containers.truncate(limit);
    Found { containers, left_out: left_out as u64 }
}

/// Whether the hook made it: it names the role of each of its own in the environment.
fn is_hooks(container: &EphemeralContainer) -> bool {
    container.env.iter().flatten().any(|variable| variable.name == env::ROLE)
}

fn reference(pod: &Pod) -> Option<Arc<PodRef>> {
    let meta = &pod.metadata;
    let name = meta.name.as_deref().filter(|name| is_pod_name(name))?;
    let namespace = meta.namespace.as_deref().filter(|namespace| is_label(namespace))?;
    let uid = PodUid::parse(meta.uid.as_deref()?).ok()?;
    Some(Arc::new(PodRef { namespace: namespace.into(), name: name.into(), uid }))
}

fn container(one: &EphemeralContainer, pod: &Pod, reference: Arc<PodRef>) -> DebugContainer {
    let added = added(pod, &one.name);
    let statuses =
        pod.status.as_ref().and_then(|status| status.ephemeral_container_statuses.as_ref());
    let status = statuses.into_iter().flatten().find(|status| status.name == one.name);
    let state = status.and_then(|status: &ContainerStatus| status.state.as_ref());
    let running = state.and_then(|state| state.running.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref());
    let started = running
        .and_then(|running| time(running.started_at.as_ref()))
        .or_else(|| ended.and_then(|ended| time(ended.started_at.as_ref())));
    // The entry has the time of the last container that its manager added.
    let attached = added.and_then(|entry| time(entry.time.as_ref()));
    let attached = attached.filter(|at| started.is_none_or(|started| *at <= started));
    DebugContainer {
        pod: reference,
        container: one.name.as_str().into(),
        image: one.image.as_deref().and_then(|image| word(image, MAX_IMAGE)),
        target: one.target_container_name.as_deref().filter(|name| is_label(name)).map(Arc::from),
        command: command(one),
        field_manager: added
            .and_then(|entry| entry.manager.as_deref())
            .and_then(|manager| word(manager, MAX_WORD)),
        attached,
        started,
        finished: ended.and_then(|ended| time(ended.finished_at.as_ref())),
        exit_code: ended.map(|ended| ended.exit_code),
    }
}

/// The program: the first element up to the first white space, because a whole command line may
/// stand in it. The image's own is not known here.
fn command(one: &EphemeralContainer) -> Option<Arc<str>> {
    let first = one.command.as_ref()?.first()?;
    word(first.split_whitespace().next()?, MAX_WORD)
}

/// The entry whose manager owns the container's key in the list.
fn added<'a>(pod: &'a Pod, name: &str) -> Option<&'a ManagedFieldsEntry> {
    let key = format!("k:{{\"name\":\"{name}\"}}");
    let entries = pod.metadata.managed_fields.as_ref()?;
    entries.iter().find(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        let list = fields
            .and_then(|fields| fields.get("f:spec"))
            .and_then(|spec| spec.get("f:ephemeralContainers"));
        list.is_some_and(|list| list.get(&key).is_some())
    })
}

fn word(text: &str, limit: usize) -> Option<Arc<str>> {
    let text: String = text.chars().filter(char::is_ascii_graphic).take(limit).collect();
    (!text.is_empty()).then(|| text.into())
}

fn time(time: Option<&Time>) -> Option<SystemTime> {
    let time = SystemTime::from(time?.0);
    (time > SystemTime::UNIX_EPOCH).then_some(time)
}
