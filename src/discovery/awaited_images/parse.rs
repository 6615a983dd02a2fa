//! What a pod's ephemeral containers wait for. Pure.
//!
//! The kubelet starts them one after the other, in the order of the spec, and pulls the image of each
//! as it comes to it.
//!
//! Source: kubernetes v1.36, `pkg/kubelet/kuberuntime/kuberuntime_manager.go`, `SyncPod`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ephemon_contract::action_images::is_always_pulled;
use ephemon_model::{PodRef, PodUid};
use k8s_openapi::api::core::v1::{ContainerStatus, EphemeralContainer, Pod};

use super::told::Told;
use super::{
    AwaitedImage, AwaitingPod, ForKubelet, MAX_IMAGES_PER_POD, TakenImage, image_name, key,
};
use crate::logs::names::{is_label, is_pod_name};

/// Reasons of a container that waits for its turn. With any other the kubelet has tried already.
///
/// Source: kubernetes v1.36, `pkg/kubelet/kubelet_pods.go`.
const UNTRIED: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// By this annotation of a pod containerd chooses where it keeps the images of a pull.
///
/// Source: containerd v2.4, `internal/cri/annotations/annotations.go`.
const RUNTIME_HANDLER: &str = "io.containerd.cri.runtime-handler";

/// `None` of a pod without ephemeral containers, or whose name or UID makes no sense.
pub(super) fn awaiting(pod: &Pod) -> Option<AwaitingPod> {
    let spec = pod.spec.as_ref()?;
    let containers = spec.ephemeral_containers.as_ref().filter(|all| !all.is_empty())?;
    let reference = reference(pod)?;
    let mut awaiting = AwaitingPod {
        pod: Arc::new(reference),
        images: Vec::new(),
        more: Vec::new(),
        taken: Vec::new(),
        has_more: false,
    };
    if !is_over(pod) {
        let statuses =
            pod.status.as_ref().and_then(|status| status.ephemeral_container_statuses.as_ref());
        let statuses: HashMap<&str, &ContainerStatus> =
            statuses.into_iter().flatten().map(|status| (status.name.as_str(), status)).collect();
        let told = Told::of(containers, &statuses);
        let of_pod = for_kubelet(pod);
        (awaiting.images, awaiting.more) = images(containers, &statuses, &told, of_pod);
        // Of a pod whose images are all left to the kubelet none is refused for their number.
        (awaiting.taken, awaiting.has_more) = (told.taken, told.has_more && of_pod.is_none());
        awaiting.taken.retain(|taken| !is_among(taken, &awaiting.images));
        // Those of earlier steps come first, and had their time.
        let room = MAX_IMAGES_PER_POD.saturating_sub(awaiting.images.len());
        awaiting.taken.drain(..awaiting.taken.len().saturating_sub(room));
    }
    Some(awaiting)
}

/// Whether an image says the same.
fn is_among(taken: &TakenImage, images: &[AwaitedImage]) -> bool {
    images
        .iter()
        .any(|image| image.name == taken.name && image.container.as_ref() == Some(&taken.container))
}

/// Those of containers, then those that are told ahead; and the keys of those that were told ahead and
/// find no place.
fn images(
    containers: &[EphemeralContainer],
    statuses: &HashMap<&str, &ContainerStatus>,
    told: &Told,
    of_pod: Option<ForKubelet>,
) -> (Vec<AwaitedImage>, Vec<u64>) {
    let mut names = HashSet::new();
    let (mut images, mut more) = (Vec::new(), Vec::new());
    for container in containers {
        let is_full = images.len() >= MAX_IMAGES_PER_POD;
        if is_full && told.taken.is_empty() {
            break;
        }
        let waits = statuses.get(container.name.as_str()).is_none_or(|status| is_untried(status));
        let policy = container.image_pull_policy.as_deref();
        let is_pulled_always = policy == Some("Always");
        if !waits
            || !(is_pulled_always || policy == Some("IfNotPresent"))
            || !is_label(&container.name)
        {
            continue;
        }
        let given = container.image.as_deref().unwrap_or_default();
        let name = image_name::with_tag(given);
        // Of what is no name only that there is one is told.
        let for_kubelet = if name.is_none() { Some(ForKubelet::Name) } else { of_pod };
        let name: Arc<str> = name.unwrap_or_default().into();
        if is_full {
            if told.taken.iter().any(|taken| taken.name == name) && names.insert(Arc::clone(&name))
            {
                more.push(key(&name));
            }
        } else if names.insert(Arc::clone(&name)) {
            let container = Some(container.name.as_str().into());
            images.push(AwaitedImage { name, container, is_pulled_always, for_kubelet });
        }
    }
    // Of what is no name only that there is one is told.
    let invalid = told.has_invalid.then(|| ("".into(), Some(ForKubelet::Name)));
    for (name, for_kubelet) in
        told.coming.iter().map(|name| (Arc::clone(name), of_pod)).chain(invalid)
    {
        if !names.insert(Arc::clone(&name)) {
            continue;
        }
        if images.len() >= MAX_IMAGES_PER_POD {
            more.extend((!name.is_empty()).then(|| key(&name)));
        } else {
            // As the API server will set it.
            let is_pulled_always = is_always_pulled(&name);
            images.push(AwaitedImage { name, container: None, is_pulled_always, for_kubelet });
        }
    }
    (images, more)
}

fn is_untried(status: &ContainerStatus) -> bool {
    let Some(state) = &status.state else { return true };
    if state.running.is_some() || state.terminated.is_some() {
        return false;
    }
    let reason = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
    reason.is_none_or(|reason| UNTRIED.contains(&reason))
}

/// Whether the kubelet starts no more containers of it.
/// It has ended or is about to, and awaits nothing any more.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"))
}

fn for_kubelet(pod: &Pod) -> Option<ForKubelet> {
    let spec = pod.spec.as_ref()?;
    let annotations = pod.metadata.annotations.as_ref();
    if spec.image_pull_secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()) {
        return Some(ForKubelet::PullSecrets);
    }
    let has_handler = annotations.is_some_and(|all| all.contains_key(RUNTIME_HANDLER));
    (spec.runtime_class_name.is_some() || has_handler).then_some(ForKubelet::RuntimeClass)
}

fn reference(pod: &Pod) -> Option<PodRef> {
    let meta = &pod.metadata;
    let name = meta.name.as_deref().filter(|name| is_pod_name(name))?;
    let namespace = meta.namespace.as_deref().filter(|namespace| is_label(namespace))?;
    let uid = PodUid::parse(meta.uid.as_deref()?).ok()?;
    Some(PodRef { namespace: namespace.into(), name: name.into(), uid })
}
