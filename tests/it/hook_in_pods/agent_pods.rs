//! The agent's pods in a cluster, whatever has installed them.

use serde_json::Value;

use super::site::PATIENCE;
use crate::support::process::until;
use crate::support::real_node::Kubectl;

/// Their label.
pub(super) const LABEL: &str = "app.kubernetes.io/component=agent";
/// What makes them.
const DAEMON_SET: &str = "daemonset/ephemon";

/// The pods in one namespace.
pub(super) struct AgentPods {
    kubectl: Kubectl,
    namespace: String,
}

// === impl AgentPods ===

impl AgentPods {
    pub(super) fn of(kubectl: &Kubectl, namespace: &str) -> Self {
        Self { kubectl: kubectl.clone(), namespace: namespace.to_owned() }
    }

    /// The one that is not being deleted, as the API has it; null if there is none.
    pub(super) fn live(&self) -> Value {
        let words = ["get", "pods", "-n", &self.namespace, "-l", LABEL, "-o", "json"];
        let all: Value = serde_json::from_str(&self.kubectl.run(&words)).unwrap();
        let live = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        all["items"].as_array().unwrap().iter().find(live).cloned().unwrap_or(Value::Null)
    }

    /// What they have logged.
    pub(super) fn log(&self) -> String {
        let done = self.kubectl.command(&["logs", DAEMON_SET, "-n", &self.namespace]).output();
        String::from_utf8_lossy(&done.unwrap().stdout).into_owned()
    }

    /// Has them replaced as an upgrade does.
    pub(super) fn restart(&self) {
        self.kubectl.run(&["rollout", "restart", DAEMON_SET, "-n", &self.namespace]);
    }

    /// Waits until every pod of the `DaemonSet` is ready and none of an older one is left.
    pub(super) fn until_ready(&self) {
        let words = ["rollout", "status", DAEMON_SET, "-n", &self.namespace, "--timeout=120s"];
        let done = self.kubectl.command(&words).output().unwrap();
        assert!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), self.log());
    }

    /// Waits until none is left: a deletion of what made them does not wait for them, and one that still
    /// ends holds the node's lock.
    pub(super) fn until_none(&self) {
        let words = ["get", "pods", "-n", &self.namespace, "-l", LABEL, "-o", "name"];
        // A namespace that is gone has none.
        let none = || self.kubectl.command(&words).output().ok()?.stdout.is_empty().then_some(());
        until(PATIENCE, none).unwrap_or_else(|| eprintln!("agents stay in {}", self.namespace));
    }
}
