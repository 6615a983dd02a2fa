//! Containers in containers: real groups below a container's own and beside the pods, made as an
//! engine makes them, with processes that a process of the container started.

mod rig;

use std::thread;
use std::time::Duration;

use rig::{PATIENCE, Rig, engine_id};

use crate::support::exposition::Ledger;
use crate::support::parts::{Part, all_there};
use crate::support::process::until;

const PARTS: [Part; 2] = [Part::WritableCgroups, Part::Program("busybox")];
const CPU: &str = "ephemon_container_cpu_usage_seconds_total";
const QUALITY: &str = "ephemon_container_final_quality_info";
const ERROR: &str = "ephemon_pod_cpu_accounting_error_ratio";

fn cpu(ledger: &Ledger, container: &str, container_type: &str) -> Option<f64> {
    ledger.sum(CPU, &[("container", container), ("container_type", container_type)])
}

/// As engines print ids.
fn short(id: &str) -> &str {
    id.get(..12).unwrap()
}

fn quality(ledger: &Ledger, container: &str) -> String {
    let labels = [("container", container)];
    let (series, _) = ledger.with(QUALITY, &labels).next().unwrap();
    series.label("quality").to_owned()
}

/// Whether its end is shown.
fn is_final(ledger: &Ledger, container: &str) -> bool {
    ledger.with(QUALITY, &[("container", container)]).count() == 1
}

/// The values are those of the kernel's counter, as far as it was read a moment later.
fn is_near(seconds: f64, expected: f64) -> bool {
    (seconds - expected).abs() < 0.01 + expected * 0.02
}

#[test]
fn a_container_below_a_container_is_shown_and_is_in_no_sum() {
    if !all_there(&PARTS) {
        return;
    }
    let rig = Rig::start("nested-below", 2);
    let (id, ended) = (engine_id(), engine_id());
    rig.config(&id, r#"{"Name":"/redis","Config":{"Image":"redis:7","Env":["TOKEN=hunter2"]}}"#);
    let group = rig.below(&format!("docker/{id}"));
    rig.run(1, &group, 300_000);
    let burnt = rig.cpu(&group);
    assert!(burnt > 0.05, "{burnt}");
    // What is below a container is part of it; the two are read at moments of their own.
    let ledger = rig.scrape_until(|ledger| {
        cpu(ledger, "dind/redis", "nested").is_some_and(|seconds| is_near(seconds, burnt))
            && ledger.sum(CPU, &[("container", "dind")]).is_some_and(|outer| outer >= burnt * 0.9)
    });
    let info = [("container", "dind/redis"), ("container_id", &*id), ("image", "redis:7")];
    assert_eq!(ledger.with("ephemon_container_info", &info).count(), 1, "{ledger:?}");
    assert!(!format!("{ledger:?}").contains("hunter2"));

    // One without a name, which is over at once.
    let brief = rig.below(&format!("docker/{ended}"));
    rig.run(2, &brief, 20_000);
    let used = rig.cpu(&brief);
    rig.end(2, &brief);
    let name = format!("dind/{}", short(&ended));
    // Before the other one ends: two that are found to have ended share what was missed of both.
    let ledger = rig.scrape_until(|ledger| is_final(ledger, &name));
    let seconds = cpu(&ledger, &name, "nested").unwrap();
    assert!(is_near(seconds, used), "{seconds} of {used}");
    let quality = quality(&ledger, &name);
    assert!(["exact", "residual"].contains(&&*quality), "{quality}");
    rig.end(1, &group);
    // Counted twice it would be near 1. The pod is balanced at every end and every five seconds.
    let ledger = rig.scrape_until(|ledger| {
        let error = ledger.sum(ERROR, &[]);
        is_final(ledger, "dind/redis") && error.is_some_and(|error| error < 0.05)
    });
    assert_eq!(ledger.sum("ephemon_pod_beside_cpu_usage_seconds_total", &[]), None);
}

#[test]
fn one_that_is_over_before_it_was_seen_has_what_its_engines_directory_used() {
    if !all_there(&PARTS) {
        return;
    }
    let rig = Rig::start("nested-short", 3);
    // The agent does not run while it lives.
    let first = rig.below(&format!("docker/{}", engine_id()));
    rig.run(1, &first, 1_000);
    rig.scrape_until(|ledger| ledger.with(CPU, &[("container_type", "nested")]).count() == 1);
    rig.pause();
    let id = engine_id();
    let missed = rig.below(&format!("docker/{id}"));
    rig.run(2, &missed, 200_000);
    let used = rig.cpu(&missed);
    rig.end(2, &missed);
    rig.resume();
    let name = format!("dind/{}", short(&id));
    let ledger = rig.scrape_until(|ledger| is_final(ledger, &name));
    let seconds = cpu(&ledger, &name, "nested").unwrap();
    assert!(is_near(seconds, used), "{seconds} of {used}");
    assert_eq!(quality(&ledger, &name), "residual");
}

#[test]
fn a_container_beside_the_pods_is_the_pods_by_its_ancestry() {
    if !all_there(&PARTS) {
        return;
    }
    let rig = Rig::start("nested-beside", 2);
    let id = engine_id();
    rig.config(&id, r#"{"Name":"/web","Config":{"Image":"nginx:1"}}"#);
    let foreign = rig.beside(&format!("docker/{}", engine_id()));
    let group = rig.beside(&format!("docker/{id}"));
    rig.run(1, &group, 300_000);
    let mut others = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    rig.enter(&foreign, others.id());
    let burnt = rig.cpu(&group);
    let beside = "ephemon_pod_beside_cpu_usage_seconds_total";
    let ledger = rig.scrape_until(|ledger| {
        let shown = cpu(ledger, "dind/web", "nested_beside");
        let added = ledger.sum(beside, &[("pod", "nested-beside")]);
        shown.zip(added).is_some_and(|both| is_near(both.0, burnt) && is_near(both.1, burnt))
    });
    let nested = ledger
        .with(CPU, &[])
        .filter(|(series, _)| series.label("container_type").starts_with("nested"));
    assert_eq!(nested.count(), 1, "the other one is nobody's: {ledger:?}");
    let outer = ledger.sum(CPU, &[("container", "dind")]).unwrap();
    assert!(outer < burnt, "it is in no other's values: {outer} of {burnt}");
    rig.end(1, &group);
    let ledger = rig.scrape_until(|ledger| {
        let error = ledger.sum(ERROR, &[]);
        is_final(ledger, "dind/web") && error.is_none_or(|error| error < 0.05)
    });
    let added = ledger.sum(beside, &[("pod", "nested-beside")]).unwrap();
    assert!(is_near(added, burnt), "{added} of {burnt}: it stays in the pod's books");
    others.kill().unwrap();
    others.wait().unwrap();
}

#[test]
fn podmans_monitors_beside_the_pods_are_in_the_pods_books() {
    if !all_there(&PARTS) {
        return;
    }
    let rig = Rig::start("nested-monitors", 2);
    let monitors = rig.beside("libpod_parent/conmon");
    let group = rig.beside(&format!("libpod_parent/libpod-{}", engine_id()));
    rig.run(1, &group, 100_000);
    rig.run(2, &monitors, 300_000);
    let (used, watching) = (rig.cpu(&group), rig.cpu(&monitors));
    assert!(watching > used && used > 0.0, "{watching} {used}");
    let labels = [("pod", "nested-monitors")];
    let whole = |ledger: &Ledger| ledger.sum("ephemon_pod_beside_cpu_usage_seconds_total", &labels);
    let ledger = rig.scrape_until(|ledger| {
        let error = ledger.sum(ERROR, &labels);
        whole(ledger).is_some_and(|seconds| is_near(seconds, used + watching))
            && error.is_none_or(|error| error < 0.05)
    });
    let nested = ledger
        .with(CPU, &[])
        .filter(|(series, _)| series.label("container_type").starts_with("nested"));
    assert_eq!(nested.count(), 1, "the monitors are no container: {ledger:?}");
    rig.end(1, &group);
    rig.end(2, &monitors);
}

#[test]
fn a_job_that_makes_a_thousand_groups_is_held_to_its_bounds() {
    if !all_there(&PARTS) {
        return;
    }
    let rig = Rig::start("nested-flood", 1);
    let ids: Vec<String> = (0..1000).map(|_| engine_id()).collect();
    for id in &ids {
        rig.below(id);
    }
    let dropped = "ephemon_agent_dropped_items_total";
    let cap = [("signal", "metrics"), ("reason", "cap")];
    let ledger = rig.scrape_until(|ledger| ledger.sum(dropped, &cap).is_some_and(|n| n > 0.0));
    let shown = ledger.with("ephemon_container_info", &[("container_type", "nested")]).count();
    assert!(shown <= 64, "{shown}");
    // The pod's own are captured as before.
    assert!(rig.cpu_is_shown("dind"));
    // Nothing happens any more: once it has read all of them, the agent rests. On a busy machine that is
    // not at once.
    let rests = || {
        let before = rig.agent_cpu();
        thread::sleep(Duration::from_secs(2));
        (rig.agent_cpu() - before < 0.4).then_some(())
    };
    until(PATIENCE, rests).expect("it uses less than a fifth of a processor");
}
