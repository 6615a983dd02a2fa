//! What the events of a pod's life say: the order of each aspect's own values, and which aspects change
//! together. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::status_of;
use super::recording::Recording;

/// What an aspect has where the event says nothing of it.
const NOTHING: &str = "-";

/// Notes a life. `neutral` replaces what is a node's own.
pub(super) fn note(
    life: &str,
    events: &[Value],
    neutral: impl Fn(&str) -> String,
    out: &mut Recording,
) {
    let mut kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    kinds.dedup();
    out.note(format!("{life}: events"), kinds.join(" > "));
    for (aspect, order) in orders(events) {
        let order: Vec<String> = order.iter().map(|value| neutral(value)).collect();
        out.note_order(format!("{life}: {aspect}"), order);
    }
    let first =
        |enough: &dyn Fn(&Value) -> bool| events.iter().position(|event| enough(&event["object"]));
    let main = first(&|pod| is(pod, "main", "running"));
    let phase = first(&|pod| pod["status"]["phase"] == "Running");
    let ready = first(&|pod| aspects(pod).get("condition Ready").is_some_and(|r| r == "True"));
    let ip = first(&|pod| pod["status"].get("podIP").is_some());
    out.note(format!("{life}: running with its phase"), main == phase);
    out.note(format!("{life}: running with its readiness"), main == ready);
    out.note(format!("{life}: an address not after it runs"), ip <= main);
    let versions: Vec<u64> = events
        .iter()
        .map(|event| &event["object"]["metadata"]["resourceVersion"])
        .map(|version| version.as_str().unwrap().parse().unwrap())
        .collect();
    out.note(format!("{life}: versions rise"), versions.is_sorted_by(|a, b| a < b));
}

/// Whether a container's state is this one.
pub(super) fn is(pod: &Value, container: &str, state: &str) -> bool {
    status_of(pod, container).is_some_and(|status| status["state"].get(state).is_some())
}

/// The values of each aspect that some event names, without those that follow themselves.
fn orders(events: &[Value]) -> BTreeMap<String, Vec<String>> {
    let all: Vec<BTreeMap<String, String>> =
        events.iter().map(|event| aspects(&event["object"])).collect();
    let mut orders = BTreeMap::new();
    for name in all.iter().flat_map(BTreeMap::keys) {
        let mut order: Vec<String> =
            all.iter().map(|of| of.get(name).map_or(NOTHING, String::as_str).to_owned()).collect();
        order.dedup();
        orders.insert(name.clone(), order);
    }
    orders
}

/// What an event says of a pod, aspect by aspect.
pub(super) fn aspects(pod: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let text = |value: &Value| value.to_string().replace('"', "");
    let metadata = &pod["metadata"];
    for (name, value) in [
        ("phase", &pod["status"]["phase"]),
        ("reason", &pod["status"]["reason"]),
        ("grace", &metadata["deletionGracePeriodSeconds"]),
        ("generation", &metadata["generation"]),
        ("class", &pod["status"]["qosClass"]),
    ] {
        let value = if value.is_null() { NOTHING.to_owned() } else { text(value) };
        all.insert(name.to_owned(), value);
    }
    for condition in pod["status"]["conditions"].as_array().into_iter().flatten() {
        let mut value = text(&condition["status"]);
        for more in ["reason", "message"] {
            if let Some(more) = condition[more].as_str() {
                value = format!("{value} {more}");
            }
        }
        all.insert(format!("condition {}", text(&condition["type"])), value);
    }
    for list in ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"] {
        for status in pod["status"][list].as_array().into_iter().flatten() {
            let name = text(&status["name"]);
            all.insert(format!("{name} ready"), text(&status["ready"]));
            all.insert(format!("{name} started"), text(&status["started"]));
            all.insert(format!("{name} restarts"), text(&status["restartCount"]));
            all.insert(format!("{name} state"), state(&status["state"]));
        }
    }
    all
}

/// `waiting ContainerCreating`, `running`, `terminated 3 Error`.
fn state(state: &Value) -> String {
    let Some((kind, more)) = state.as_object().and_then(|state| state.iter().next()) else {
        return NOTHING.to_owned();
    };
    let code = more["exitCode"].as_i64().map(|code| format!(" {code}")).unwrap_or_default();
    let reason = more["reason"].as_str().map(|reason| format!(" {reason}")).unwrap_or_default();
    format!("{kind}{code}{reason}")
}

#[cfg(test)]
mod tests;
