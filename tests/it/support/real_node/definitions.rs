//! Definitions of resources that no plain cluster has: `OpenShift`'s constraints, and the monitors of the
//! Prometheus Operator. `tests/node/parts` gets them from their modules.

use std::fs;

use super::super::parts::{Part, all_there};
use super::variant::folder;

/// The text of each, for `kubectl apply`; none where one is not there, which is said.
pub(crate) fn texts() -> Option<Vec<String>> {
    let parts = [
        ("PROMETHEUS_OPERATOR", folder("prometheus-operator", "PROMETHEUS_OPERATOR")),
        ("OPENSHIFT", folder("openshift", "OPENSHIFT")),
    ];
    if !all_there(&parts.clone().map(|(what, folder)| Part::Built(what, folder))) {
        return None;
    }
    let files = parts.into_iter().flat_map(|(_, folder)| fs::read_dir(folder).unwrap().flatten());
    let files = files.map(|entry| entry.path()).filter(|path| path.is_file());
    Some(files.map(|path| fs::read_to_string(path).unwrap()).collect())
}
