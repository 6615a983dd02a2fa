//! A runner's pod as an API server has it, which serves nothing else.

use std::path::{Path, PathBuf};

use ephemon_demo::api::{PatchKind, Store};
use serde_json::{Value, json};

use super::api_server::Api;
use super::cri::Cri;
use super::kubelet::{Pod, Spec, Started};
use super::node::PodPlace;

/// The node's name in the API.
pub(crate) const NODE: &str = "it";
/// The pod's namespace.
pub(crate) const NAMESPACE: &str = "ci";
/// The label by which agents know runners, if they are not given another selector.
pub(crate) const SELECTED: &str = "actions-ephemeral-runner";

/// The pod.
pub(crate) struct RunnerPod {
    /// Who it is.
    pub(crate) place: PodPlace,
    kubeconfig: PathBuf,
    store: Store,
    _api: Api,
}

// === impl RunnerPod ===

impl RunnerPod {
    /// Creates the pod of this name and serves the API; `kubeconfig` is written.
    pub(crate) fn create(name: &str, kubeconfig: PathBuf) -> Self {
        let store = Store::new(NODE, 1000);
        let pod = json!({
            "metadata": {"name": name, "labels": {SELECTED: "True"}},
            "spec": {"containers": [{"name": "runner", "image": "localhost/runner:1"}]},
        });
        let pod = store.create(NAMESPACE, pod).unwrap();
        let place = PodPlace {
            namespace: NAMESPACE.to_owned(),
            name: name.to_owned(),
            uid: pod["metadata"]["uid"].as_str().unwrap().to_owned(),
        };
        let api = Api::serve(store.clone(), &kubeconfig);
        Self { place, kubeconfig, store, _api: api }
    }

    /// For `--kubeconfig`.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Asks for an ephemeral container.
    pub(crate) fn ask(&self, container: &Value) {
        let patch = json!({"spec": {"ephemeralContainers": [container]}});
        self.store.patch_ephemeral(&self.key(), PatchKind::Strategic, &patch).unwrap();
    }

    /// Asks for an ephemeral container with these limits, and runs it on a node, as a kubelet does.
    pub(crate) fn run_limited(
        &self,
        (pod, cri): (&Pod<'_>, &Cri),
        limits: &str,
        spec: Spec,
    ) -> Started {
        let variable = json!({"name": "EPHEMON_LIMITS", "value": limits});
        self.ask(&json!({"name": spec.name, "image": "job", "env": [variable]}));
        pod.run(cri, &spec.variable("EPHEMON_LIMITS", limits))
    }

    /// What a kubelet says of the pod.
    pub(crate) fn set_status(&self, status: Value) {
        self.store.set_status(&self.key(), status).unwrap();
    }

    fn key(&self) -> (String, String) {
        (self.place.namespace.clone(), self.place.name.clone())
    }
}
