//! A small life as a node shows it that hides nothing, as a busy kubelet shows it, and as it must not be.

use serde_json::json;

use super::super::comparison::differences;
use super::super::order::Order;
use super::*;

const ORDERS: [Order; 3] = [
    ("life: condition Ready", "- > (False) > True > False"),
    ("life: main ready", "- > (false) > true > false"),
    ("life: main state", "- > (waiting ContainerCreating) > running > terminated 0 Completed"),
];

const CREATED: usize = 0;
const WAITS: usize = 1;
const RUNS: usize = 2;
const OVER: usize = 3;

fn event(kind: &str, version: u64, status: &Value) -> Value {
    let metadata = json!({"resourceVersion": version.to_string(), "generation": 1});
    json!({"type": kind, "object": {"metadata": metadata, "status": status}})
}

fn status(phase: &str, ready: bool, state: &Value) -> Value {
    let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" }});
    let main =
        json!({"name": "main", "ready": ready, "started": true, "restartCount": 0, "state": state});
    json!({"phase": phase, "podIP": "::1", "conditions": [condition], "containerStatuses": [main]})
}

/// Created, waits, runs, over.
fn life() -> Vec<Value> {
    let over = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    vec![
        event("ADDED", 1, &json!({"phase": "Pending"})),
        event(
            "MODIFIED",
            2,
            &status("Pending", false, &json!({"waiting": {"reason": "ContainerCreating"}})),
        ),
        event("MODIFIED", 3, &status("Running", true, &json!({"running": {}}))),
        event("DELETED", 4, &status("Succeeded", false, &over)),
    ]
}

fn recorded(events: &[Value]) -> Recording {
    let mut recording = Recording::new(&ORDERS);
    note("life", events, str::to_owned, &mut recording);
    recording
}

/// The lines that differ from those of a whole life.
fn differing(events: &[Value]) -> Vec<String> {
    let found = differences(&recorded(events), &recorded(&life()));
    found.into_iter().map(|difference| difference.line).collect()
}

#[test]
fn a_kubelet_that_puts_two_changes_into_one_status_shows_the_same_life() {
    let mut coalesced = life();
    coalesced.remove(WAITS);
    assert_eq!(differing(&coalesced), [""; 0]);
    assert_eq!(recorded(&life()).incomplete(), []);
    let missed: Vec<&str> =
        recorded(&coalesced).incomplete().into_iter().map(|((line, _), _)| line).collect();
    assert_eq!(missed, ORDERS.map(|(line, _)| line));
}

#[test]
fn every_other_difference_of_a_life_is_found() {
    let changed = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut events = life();
        change(&mut events);
        differing(&events)
    };
    let main = |event: usize, key: &'static str, value: Value| {
        move |events: &mut Vec<Value>| {
            events[event]["object"]["status"]["containerStatuses"][0][key] = value.clone();
        }
    };
    let waits = json!({"waiting": {"reason": "PodInitializing"}});
    assert_eq!(changed(&main(WAITS, "state", waits)), ["life: main state"]);
    let fails = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    assert_eq!(changed(&main(OVER, "state", fails)), ["life: main state"]);
    assert_eq!(changed(&main(RUNS, "restartCount", json!(1))), ["life: main restarts"]);
    // What is held is in some event.
    let lost = changed(&|events| drop(events.remove(RUNS)));
    assert!(lost.contains(&"life: main state".to_owned()), "{lost:?}");
    assert!(lost.contains(&"life: phase".to_owned()), "{lost:?}");
    let never_created = changed(&|events| drop(events.remove(CREATED)));
    assert!(never_created.contains(&"life: events".to_owned()), "{never_created:?}");
    let goes_back = changed(&|events| {
        let again = events[WAITS].clone();
        events.insert(OVER, again);
    });
    assert!(goes_back.contains(&"life: main state".to_owned()), "{goes_back:?}");
    assert!(goes_back.contains(&"life: versions rise".to_owned()), "{goes_back:?}");
    // Ready only in an event of its own.
    let later = changed(&|events| {
        let mut early = events[RUNS].clone();
        early["object"]["status"]["conditions"][0]["status"] = json!("False");
        early["object"]["metadata"]["resourceVersion"] = json!("2");
        events[WAITS] = early;
    });
    assert_eq!(later, ["life: running with its readiness"]);
}
