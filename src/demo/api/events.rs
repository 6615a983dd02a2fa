//! Events of the kubelet about pods: the latest, listed by field selector.
//!
//! Source: kubernetes v1.36.2, `pkg/registry/core/event/strategy.go` (fields),
//! `staging/src/k8s.io/client-go/tools/record/event.go` (what a recorder fills in).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use ephemon_base::lock;
use serde_json::{Value, json};

use super::object::{new_uid, text, time};
use super::selector::{FieldSelector, InvalidSelector};

/// Most events; a real server deletes them after an hour.
const EVENTS_LIMIT: usize = 1_000;
/// Field selectors of events that are used here.
const FIELDS: &[(&str, &str)] = &[
    ("involvedObject.kind", "/involvedObject/kind"),
    ("involvedObject.name", "/involvedObject/name"),
    ("involvedObject.uid", "/involvedObject/uid"),
    ("metadata.name", "/metadata/name"),
    ("reason", "/reason"),
    ("type", "/type"),
];

/// All events. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Events(Arc<Mutex<VecDeque<Value>>>);

// === impl Events ===

impl Events {
    /// Stores an event of a node's kubelet about a container in this list of the pod's spec.
    pub fn tell(&self, pod: &Value, (list, container): (&str, &str), reason: &str, message: &str) {
        let get = |pointer| text(pod, pointer).unwrap_or_default();
        let (namespace, name, node) =
            (get("/metadata/namespace"), get("/metadata/name"), get("/spec/nodeName"));
        let (uid, now) = (new_uid(), time(SystemTime::now()));
        let event = json!({
            "metadata": {
                "name": format!("{name}.{}", uid.get(..16).unwrap_or_default()),
                "namespace": namespace,
                "uid": uid,
                "creationTimestamp": now,
            },
            "involvedObject": {
                "kind": "Pod",
                "apiVersion": "v1",
                "namespace": namespace,
                "name": name,
                "uid": get("/metadata/uid"),
                "fieldPath": format!("spec.{list}{{{container}}}"),
            },
            "reason": reason,
            "message": message,
            "type": "Normal",
            "source": {"component": "kubelet", "host": node},
            "reportingComponent": "kubelet",
            "reportingInstance": node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "eventTime": null,
        });
        let mut all = self.lock();
        if all.len() >= EVENTS_LIMIT {
            all.pop_front();
        }
        all.push_back(event);
    }

    /// The events of a namespace that match a field selector, as a list.
    pub(super) fn list(&self, namespace: &str, fields: &str) -> Result<Value, InvalidSelector> {
        let fields = FieldSelector::parse_of(fields, FIELDS)?;
        let all = self.lock();
        let items: Vec<_> = all
            .iter()
            .filter(|event| text(event, "/metadata/namespace") == Some(namespace))
            .filter(|event| fields.matches(event))
            .collect();
        Ok(json!({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": items}))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Value>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_selected_by_pod_and_reason() {
        let events = Events::default();
        let pod = |name: &str| json!({"metadata": {"namespace": "ci", "name": name}});
        let place = ("ephemeralContainers", "job");
        events.tell(&pod("a"), place, "Pulled", "one");
        events.tell(&pod("a"), place, "Created", "two");
        events.tell(&pod("b"), place, "Pulled", "three");
        let list = events.list("ci", "involvedObject.name=a,reason=Pulled").unwrap();
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!(items[0]["message"], "one");
        assert_eq!(items[0]["involvedObject"]["fieldPath"], "spec.ephemeralContainers{job}");
        assert_eq!(events.list("other", "").unwrap()["items"], json!([]));
        let refused = events.list("ci", "spec.nodeName=a").unwrap_err();
        assert_eq!(refused.to_string(), "field label not supported: spec.nodeName");
    }
}
