//! What may be read of a pod's metadata and spec: labels, annotations, owners, and variables whose value
//! stands in the spec. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

/// A pod's texts, by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct PodFacts<'a>(&'a Pod);

// === impl PodFacts ===

impl<'a> PodFacts<'a> {
    pub(super) fn of(pod: &'a Pod) -> Self {
        Self(pod)
    }

    pub(super) fn label(self, key: &str) -> Option<&'a str> {
        get(self.0.metadata.labels.as_ref(), key)
    }

    pub(super) fn annotation(self, key: &str) -> Option<&'a str> {
        get(self.0.metadata.annotations.as_ref(), key)
    }

    /// A variable of the container of this name. Values that come from Secrets and other objects are
    /// not in the spec.
    pub(super) fn env(self, container: &str, name: &str) -> Option<&'a str> {
        let mut all = self.containers();
        variable(all.find(|one| one.name == container)?, name)
    }

    /// A variable of the first container that has it.
    pub(super) fn any_env(self, name: &str) -> Option<&'a str> {
        self.containers().find_map(|one| variable(one, name))
    }

    /// The UID of the owner of this kind.
    pub(super) fn owner(self, kind: &str) -> Option<&'a str> {
        let mut owners = self.0.metadata.owner_references.iter().flatten();
        owners.find(|owner| owner.kind == kind).map(|owner| owner.uid.as_str())
    }

    pub(super) fn namespace(self) -> &'a str {
        self.0.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub(super) fn uid(self) -> &'a str {
        self.0.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Whether `spec.containers` has one of this name.
    pub(super) fn has_container(self, name: &str) -> bool {
        let spec = self.0.spec.as_ref();
        spec.is_some_and(|spec| spec.containers.iter().any(|one| one.name == name))
    }

    fn containers(self) -> impl Iterator<Item = &'a Container> {
        let spec = self.0.spec.as_ref();
        let own = spec.into_iter().flat_map(|spec| &spec.containers);
        own.chain(spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten()))
    }
}

fn get<'a>(texts: Option<&'a BTreeMap<String, String>>, key: &str) -> Option<&'a str> {
    texts?.get(key).map(String::as_str).filter(|text| !text.is_empty())
}

/// Of a variable that is set twice the last one counts, as for the kubelet.
fn variable<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    let mut all = container.env.iter().flatten();
    let found = all.rfind(|variable| variable.name == name)?;
    found.value.as_deref().filter(|value| !value.is_empty())
}
