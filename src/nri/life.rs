//! What the runtime tells of one container: that it is created, was started, has ended. Pure.
//!
//! Which events there are, and when, is the runtime's to say: containerd v2.4 and CRI-O tell of the
//! creation before it, of the start after it, and of the end after it, whether the container ended by
//! itself or was stopped; a creation or a start that fails is told as an end, too. An end can be told
//! before the start that came before it, as each is told by a thread of its own. The code that a container
//! ended with, and when, containerd tells from v2.3 on (`withExitEvent` in
//! `internal/cri/nri/nri_api_linux.go`).

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::wire::{ContainerEvent, ContainerLife, PodLife, StateChangeEvent};

/// Longest id, in bytes.
const MAX_ID: usize = 64;
/// Longest name of a container or a namespace, UID of a pod or reason of an end.
const MAX_LABEL: usize = 63;
/// Longest name of a pod.
const MAX_POD_NAME: usize = 253;
/// Memory of a pod, in bytes, with the texts' own overhead.
pub(super) const POD_BYTES: usize = MAX_ID + MAX_POD_NAME + 2 * MAX_LABEL + 256;
/// Memory of a container.
pub(super) const LIFE_BYTES: usize = 2 * MAX_ID + 2 * MAX_LABEL + 320;

/// The numbers of the events (NRI, `pkg/api/api.proto`).
const CREATE_CONTAINER: i32 = 4;
const POST_START_CONTAINER: i32 = 7;
const STOP_CONTAINER: i32 = 10;
/// The events that the runtime is to call the plugin for, a bit for each. No others: what they tell is told by
/// these, and while the plugin is called the runtime does nothing else for containers.
pub(super) const EVENTS: i32 =
    1 << (CREATE_CONTAINER - 1) | 1 << (POST_START_CONTAINER - 1) | 1 << (STOP_CONTAINER - 1);

/// What has become of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The runtime is about to create it. That may fail.
    Created,
    /// Its program was started.
    Started,
    /// It has ended, or never came to run.
    Ended,
}

/// A container as the runtime tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Its pod.
    pub pod: Arc<Pod>,
    /// The runtime's id.
    pub id: String,
    /// Its name in the pod's spec.
    pub container: String,
    /// When it was started, nanoseconds since 1970.
    pub started_ns: Option<u64>,
    /// How it ended.
    pub end: Option<End>,
}

/// A pod as the runtime tells of it. What it does not say is empty: all of a pod that it has removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// The runtime's id of its sandbox.
    pub sandbox: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// When, nanoseconds since 1970.
    pub at_ns: u64,
    /// With which code.
    pub code: i32,
    /// `Completed`, `OOMKilled` or similar; empty, as with containerd, if the runtime does not say.
    pub reason: String,
}

// === impl Event ===

impl Event {
    /// What a call of the runtime tells; `None` if that is nothing of this, or cannot be read.
    pub(super) fn told(method: &str, payload: Bytes) -> Option<(Self, Life)> {
        let event = match method {
            "CreateContainer" => Self::Created,
            "PostStartContainer" => Self::Started,
            "StopContainer" => Self::Ended,
            "StateChange" => {
                let StateChangeEvent { event, pod, container } =
                    StateChangeEvent::decode(payload).ok()?;
                if event != POST_START_CONTAINER {
                    return None;
                }
                return Some((Self::Started, Life::of(pod.as_ref(), &container?)?));
            }
            _ => return None,
        };
        let ContainerEvent { pod, container } = ContainerEvent::decode(payload).ok()?;
        Some((event, Life::of(pod.as_ref(), &container?)?))
    }
}

// === impl Life, Pod ===

impl Life {
    fn of(pod: Option<&PodLife>, container: &ContainerLife) -> Option<Self> {
        let pod = pod.map_or(Some(Pod::default()), Pod::of)?;
        Self::in_pod(pod.into(), container)
    }

    /// `None` if a text of it is no text, or longer than any.
    pub(super) fn in_pod(pod: Arc<Pod>, container: &ContainerLife) -> Option<Self> {
        let at = |ns: i64| u64::try_from(ns).ok().filter(|ns| *ns > 0);
        let end = at(container.finished_at).map(|at_ns| {
            let reason = text(&container.status_reason, MAX_LABEL).unwrap_or_default();
            End { at_ns, code: container.exit_code, reason }
        });
        Some(Self {
            pod,
            id: text(&container.id, MAX_ID)?,
            container: text(&container.name, MAX_LABEL)?,
            started_ns: at(container.started_at),
            end,
        })
    }
}

impl Pod {
    /// `None` if a text of it is no text, or longer than any.
    pub(super) fn of(pod: &PodLife) -> Option<Self> {
        Some(Self {
            sandbox: text(&pod.id, MAX_ID)?,
            namespace: text(&pod.namespace, MAX_LABEL)?,
            name: text(&pod.name, MAX_POD_NAME)?,
            uid: text(&pod.uid, MAX_LABEL)?,
        })
    }
}

/// The id of the sandbox that a container belongs to.
pub(super) fn sandbox(container: &ContainerLife) -> Option<String> {
    text(&container.pod_sandbox_id, MAX_ID)
}

fn text(bytes: &Bytes, most: usize) -> Option<String> {
    if bytes.len() > most {
        return None;
    }
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod() -> PodLife {
        PodLife {
            id: Bytes::from_static(b"sandbox"),
            name: Bytes::from_static(b"runner-1"),
            uid: Bytes::from_static(b"uid-1"),
            namespace: Bytes::from_static(b"ci"),
        }
    }

    fn container() -> ContainerLife {
        ContainerLife {
            id: Bytes::from_static(b"id"),
            name: Bytes::from_static(b"job"),
            started_at: 7,
            ..ContainerLife::default()
        }
    }

    fn event(container: ContainerLife) -> Bytes {
        ContainerEvent { pod: Some(pod()), container: Some(container) }.encode_to_vec().into()
    }

    #[test]
    fn each_event_tells_of_its_container_and_pod() {
        for (method, event_told) in [
            ("CreateContainer", Event::Created),
            ("PostStartContainer", Event::Started),
            ("StopContainer", Event::Ended),
        ] {
            let (event, life) = Event::told(method, event(container())).unwrap();
            assert_eq!(event, event_told);
            assert_eq!((&*life.id, &*life.container, life.started_ns), ("id", "job", Some(7)));
            assert_eq!((&*life.pod.namespace, &*life.pod.name), ("ci", "runner-1"));
            assert_eq!((&*life.pod.uid, &*life.pod.sandbox), ("uid-1", "sandbox"));
            assert_eq!(life.end, None);
        }
        assert_eq!(Event::told("RemoveContainer", event(container())), None);
    }

    #[test]
    fn an_end_has_its_code_only_with_its_time() {
        let end = |finished_at| {
            let ended = ContainerLife { finished_at, exit_code: 137, ..container() };
            Event::told("StopContainer", event(ended)).unwrap().1.end
        };
        assert_eq!(end(0), None);
        assert_eq!(end(-1), None);
        assert_eq!(end(9), Some(End { at_ns: 9, code: 137, reason: String::new() }));
    }

    #[test]
    fn an_older_runtime_tells_of_the_start_as_a_change_of_state() {
        let told = |event| {
            let (pod, container) = (Some(pod()), Some(container()));
            let change = StateChangeEvent { event, pod, container }.encode_to_vec();
            Event::told("StateChange", change.into()).map(|(event, _)| event)
        };
        assert_eq!(told(POST_START_CONTAINER), Some(Event::Started));
        assert_eq!(told(6), None);
    }

    #[test]
    fn a_pod_that_was_removed_says_nothing_and_longer_texts_than_any_are_refused() {
        let gone = ContainerEvent { pod: None, container: Some(container()) }.encode_to_vec();
        let (_, life) = Event::told("StopContainer", gone.into()).unwrap();
        assert_eq!(*life.pod, Pod::default());
        let long = ContainerLife { name: vec![b'x'; 64].into(), ..container() };
        assert_eq!(Event::told("StopContainer", event(long)), None);
        let binary = ContainerLife { id: vec![255].into(), ..container() };
        assert_eq!(Event::told("StopContainer", event(binary)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_tell_of_a_container_or_of_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            for method in ["CreateContainer", "StopContainer", "StateChange"] {
                if let Some((_, life)) = Event::told(method, bytes.clone().into()) {
                    prop_assert!(life.id.len() <= MAX_ID && life.container.len() <= MAX_LABEL);
                }
            }
        }
    }
}
