//! The containers of a pod: the lists that they and their statuses stand in, and who stands where. Pure.

use serde_json::Value;

/// A container's type in the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The pod's sandbox, which stands in no list.
    Sandbox,
    /// `spec.initContainers`.
    Init,
    /// `spec.containers`.
    Regular,
    /// `spec.ephemeralContainers`.
    Ephemeral,
}

// === impl Kind ===

impl Kind {
    /// Those that stand in lists, in the order in which they start.
    pub(crate) const LISTED: [Self; 3] = [Self::Init, Self::Regular, Self::Ephemeral];

    /// The key of their list in the spec, and of that in the status.
    fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::Sandbox => ("", ""),
            Self::Init => ("initContainers", "initContainerStatuses"),
            Self::Regular => ("containers", "containerStatuses"),
            Self::Ephemeral => ("ephemeralContainers", "ephemeralContainerStatuses"),
        }
    }

    /// The key of their list in the spec.
    pub(crate) fn spec(self) -> &'static str {
        self.keys().0
    }

    /// The key of their list in the status.
    pub(crate) fn status(self) -> &'static str {
        self.keys().1
    }
}

/// The specs of a pod's containers of one kind.
pub(crate) fn of_kind(pod: &Value, kind: Kind) -> impl Iterator<Item = &Value> {
    list(pod, "spec", kind.spec())
}

/// The specs of all containers of a pod.
pub(crate) fn all(pod: &Value) -> impl Iterator<Item = &Value> {
    Kind::LISTED.into_iter().flat_map(move |kind| of_kind(pod, kind))
}

/// The spec of a container.
pub(crate) fn spec<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    all(pod).find(|container| container["name"] == name)
}

/// The status of a container.
pub fn status<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    let mut all = Kind::LISTED.into_iter().flat_map(|kind| list(pod, "status", kind.status()));
    all.find(|status| status["name"] == name)
}

fn list<'a>(pod: &'a Value, section: &str, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let list = pod.get(section).and_then(|section| section.get(key)).and_then(Value::as_array);
    list.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_found_in_whichever_list_it_stands() {
        let one = |name: &str| json!([{"name": name}]);
        let pod = json!({
            "spec": {"containers": one("main"), "initContainers": one("first"), "ephemeralContainers": one("late")},
            "status": {
                "containerStatuses": one("main"),
                "initContainerStatuses": one("first"),
                "ephemeralContainerStatuses": one("late"),
            },
        });
        for name in ["first", "main", "late"] {
            assert_eq!(spec(&pod, name), Some(&json!({"name": name})));
            assert_eq!(status(&pod, name), Some(&json!({"name": name})));
        }
        let names: Vec<&str> =
            all(&pod).filter_map(|container| container["name"].as_str()).collect();
        assert_eq!(names, ["first", "main", "late"]);
        assert_eq!((spec(&pod, "other"), status(&json!({}), "main")), (None, None));
        assert_eq!(of_kind(&pod, Kind::Sandbox).count(), 0);
    }
}
