//! The agent's pods in a cluster, whatever has installed them.

use std::time::Duration;

use serde_json::Value;

use super::site::{PATIENCE, Site};
use crate::support::process::until;
use crate::support::real_node::{Api, Kubectl};

/// Their label.
pub(super) const LABEL: &str = "app.kubernetes.io/component=agent";

/// Longest wait for their log, which a failure's message shows, too.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);

/// The pods in one namespace.
pub(super) struct AgentPods {
    kubectl: Kubectl,
    api: Api,
    namespace: String,
    /// What makes them, as `kubectl` takes it.
    daemon_set: String,
}

// === impl AgentPods ===

impl AgentPods {
    pub(super) fn of(site: &Site, namespace: &str, name: &str) -> Self {
        let (kubectl, api) = (site.kubectl().clone(), site.api().clone());
        let daemon_set = format!("daemonset/{name}");
        Self { kubectl, api, namespace: namespace.to_owned(), daemon_set }
    }

    /// The one that is not being deleted, as the API has it; null if there is none.
    pub(super) fn live(&self) -> Value {
        let live = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_null();
        self.all().into_iter().find(live).unwrap_or(Value::Null)
    }

    /// What they have logged. Without an answer it is asked again for a while, and then why there is none is
    /// all that there is: no log is not one without complaints.
    pub(super) fn log(&self) -> String {
        let words = ["logs", &self.daemon_set, "-n", &self.namespace];
        let mut why = String::new();
        let log = until(ANSWERS_WITHIN, || {
            let done = self.kubectl.command(&words).output().unwrap();
            why = String::from_utf8_lossy(&done.stderr).into_owned();
            done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
        });
        log.unwrap_or(why)
    }

    /// Has them replaced as an upgrade does.
    pub(super) fn restart(&self) {
        self.kubectl.run(&["rollout", "restart", &self.daemon_set, "-n", &self.namespace]);
    }

    /// Waits until every pod of the `DaemonSet` is ready and none of an older one is left.
    pub(super) fn until_ready(&self) {
        let words =
            ["rollout", "status", &self.daemon_set, "-n", &self.namespace, "--timeout=120s"];
        let done = self.kubectl.command(&words).output().unwrap();
        assert!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), self.log());
    }

    /// Waits until none is left: a deletion of what made them does not wait for them, and one that still
    /// ends holds the node's lock.
    pub(super) fn until_none(&self) {
        // Without an answer it is asked again: this may be the end of a scenario that has failed.
        let all = || self.api.try_list(&self.namespace, "pod", LABEL);
        let none = || all().ok().filter(Vec::is_empty).map(drop);
        until(PATIENCE, none).unwrap_or_else(|| eprintln!("agents stay in {}", self.namespace));
    }

    fn all(&self) -> Vec<Value> {
        self.api.list(&self.namespace, "pod", LABEL)
    }
}
