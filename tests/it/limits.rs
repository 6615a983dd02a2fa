//! Limits of ephemeral containers, asked for in the spec and enforced by the agent in real cgroups.

mod creation;
mod rig;
mod runtime;

use std::fs;
use std::path::Path;

use ephemon_cgroup::{InForce, Setting};
use ephemon_model::Limit;
use serde_json::json;

use crate::support::process::{kill, until};
use crate::support::programs;
use crate::support::runner_pod::SELECTED;
use rig::{PATIENCE, Rig, Wanted, all_shown, results, shown};

/// What a container has for ever that does nothing.
const WAIT: &str = "sleep 1000";

fn cpu_us(found: &InForce) -> Option<u64> {
    match found.cpu?.quota_us {
        Limit::Unlimited => None,
        Limit::At(quota_us) => Some(quota_us),
    }
}

fn at<T>(limit: Option<Limit<T>>) -> Option<T> {
    match limit? {
        Limit::Unlimited => None,
        Limit::At(value) => Some(value),
    }
}

/// A command in a shell of its own, which another one outlives until this file is there: a busy machine may
/// keep the agent from the container's end, and so from what the kernel has counted in it.
fn outlived(command: &str, file: &Path) -> String {
    let waits = format!("until [ -e {} ]; do sleep 0.05; done", file.display());
    format!("({command}); code=$?; {waits}; exit $code")
}

/// CPU, memory, tasks.
fn limits(found: &InForce) -> [Option<u64>; 3] {
    [cpu_us(found), at(found.memory_bytes), at(found.pids)]
}

#[test]
fn each_container_meets_its_own_limits_and_the_others_live_on() {
    let Some(rig) = Rig::start() else { return };
    let agent = rig.agent(&[]);
    rig.pod("r1", &json!({SELECTED: "True"}), &json!({}));
    let bomb = "n=0; while [ $n -lt 100 ]; do sleep 100 & n=$((n+1)); done";
    let read = rig.scratch.path().join("read");
    rig.add(
        "r1",
        &[
            ("eater", "memory=32Mi", &outlived("tail /dev/zero", &read)),
            ("bomb", "pids=20", &outlived(bomb, &read)),
            ("busy", "cpus=0.2,pids=50", "while :; do :; done"),
            ("free", "", WAIT),
            ("wrong", "cpus=lots", WAIT),
            ("tiny", "memory=4k,pids=10", WAIT),
        ],
    );
    results(&agent, "applied", 3.0);
    results(&agent, "invalid", 2.0);
    assert_eq!(limits(&rig.in_force("r1", "eater")), [None, Some(32 << 20), None]);
    assert_eq!(limits(&rig.in_force("r1", "bomb")), [None, None, Some(20)]);
    assert_eq!(limits(&rig.in_force("r1", "busy")), [Some(20_000), None, Some(50)]);
    for untouched in ["runner", "free", "wrong", "tiny"] {
        assert_eq!(limits(&rig.in_force("r1", untouched)), [None; 3], "{untouched}");
    }
    let of = |container| [("pod", "r1"), ("container", container)];
    let gauge = |name, container, value: f64| {
        shown(&agent, name, &of(container), |shown| (shown - value).abs() < 1e-6);
    };
    gauge("ephemon_container_cpu_limit_cores", "busy", 0.2);
    gauge("ephemon_container_memory_limit_bytes", "eater", f64::from(32 << 20));
    gauge("ephemon_container_tasks_limit", "bomb", 20.0);

    rig.go();
    let kills = [("event", "oom_kill"), ("pod", "r1"), ("container", "eater")];
    let wanted: [Wanted<'_>; 3] = [
        ("ephemon_container_memory_events_total", &kills, 1.0),
        ("ephemon_container_tasks_limit_hits_total", &of("bomb"), 1.0),
        ("ephemon_container_cpu_cfs_throttled_periods_total", &of("busy"), 10.0),
    ];
    all_shown(&agent, &wanted);
    fs::write(read, "").unwrap();
    assert_eq!(rig.end("r1", "eater"), (137, "OOMKilled".to_owned()));
    // The shell gives up when it cannot fork.
    assert_ne!(rig.end("r1", "bomb").0, 0);
    for alive in ["runner", "busy", "free", "wrong", "tiny"] {
        assert!(rig.runs("r1", alive), "{alive} lives on");
    }
    let log = agent.log();
    for name in ["wrong", "tiny"] {
        let lines = log.lines().filter(|line| line.contains("EPHEMON_LIMITS is not enforced"));
        let named: Vec<_> =
            lines.filter(|line| line.contains(&format!("container={name}"))).collect();
        assert!(named.len() == 1 && named[0].contains("pod=r1"), "{log}");
    }
    let delays = log.lines().filter(|line| line.contains("limits are in force"));
    delays.for_each(|line| eprintln!("{line}"));
    agent.stop();
}

#[test]
fn a_tighter_limit_stays_and_a_pod_that_is_not_selected_is_left_alone() {
    let Some(rig) = Rig::start() else { return };
    let agent = rig.agent(&[]);
    let resources = json!({"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}});
    rig.pod("tight", &json!({SELECTED: "True"}), &resources);
    rig.pod("other", &json!({"app": "database"}), &json!({}));
    rig.add("other", &[("job", "cpus=0.5,memory=64Mi,pids=50", WAIT)]);
    rig.add(
        "tight",
        &[("job", "cpus=2,memory=128Mi", WAIT), ("tighter", "cpus=0.1,memory=32Mi,pids=9", WAIT)],
    );
    results(&agent, "applied", 1.0);
    results(&agent, "tighter", 1.0);
    assert_eq!(limits(&rig.in_force("tight", "job")), [Some(50_000), Some(64 << 20), None]);
    let tighter = [Some(10_000), Some(32 << 20), Some(9)];
    assert_eq!(limits(&rig.in_force("tight", "tighter")), tighter);
    assert_eq!(limits(&rig.in_force("other", "job")), [None; 3]);
    agent.stop();
}

#[test]
fn an_agent_that_was_killed_takes_up_its_limits_again_and_keeps_them_in_force() {
    let Some(rig) = Rig::start() else { return };
    rig.pod("r1", &json!({SELECTED: "True"}), &json!({}));
    let first = rig.agent(&[]);
    rig.add("r1", &[("kept", "cpus=1,pids=30", WAIT), ("undone", "memory=64Mi,pids=40", WAIT)]);
    results(&first, "applied", 2.0);
    kill(first.pid());
    drop(first);
    rig.set("r1", "undone", Setting::Pids { tasks: 4000 });

    let second = rig.agent(&[]);
    results(&second, "applied", 1.0);
    results(&second, "already", 1.0);
    assert_eq!(limits(&rig.in_force("r1", "kept")), [Some(100_000), None, Some(30)]);
    assert_eq!(limits(&rig.in_force("r1", "undone")), [None, Some(64 << 20), Some(40)]);

    // Past the close looks at the start something sets them anew. On a busy machine one of these looks may
    // still come, and take it for the runtime's doing. There are eight.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let said = |words: &str| second.log().matches(words).count();
    let (close, late) = ("limits set after the runtime", "another process removed the limits");
    for sets in 1..=9 {
        rig.set("r1", "kept", Setting::Pids { tasks: 4000 });
        until(PATIENCE, || (limits(&rig.in_force("r1", "kept"))[2] == Some(30)).then_some(()))
            .expect("the limit must be set again");
        until(PATIENCE, || (said(close) + said(late) >= sets).then_some(()))
            .unwrap_or_else(|| panic!("{}", second.log()));
        if said(late) > 0 {
            break;
        }
    }
    results(&second, "restored", 1.0);
    second.stop();
}

/// Version 1 refuses a limit below what is in use, version 2 kills.
#[test]
fn a_container_that_uses_more_than_its_new_limit_is_waited_for_or_killed() {
    let Some(rig) = Rig::start() else { return };
    rig.pod("r1", &json!({SELECTED: "True"}), &json!({}));
    let demo = programs::demo().display();
    let hold = format!("{demo} demo-part workload hold 64 1000s");
    let free = rig.scratch.path().join("free");
    let hold = if rig.is_v2() {
        format!("exec {hold}")
    } else {
        let waits = format!("until [ -e {} ]; do sleep 0.05; done", free.display());
        format!("{hold} & holds=$!; {waits}; kill -9 $holds; exec sleep 1000")
    };
    rig.add("r1", &[("holder", "memory=16Mi", &hold)]);
    rig.go();
    until(PATIENCE, || (rig.memory("r1", "holder")? > 60 << 20).then_some(()))
        .expect("it must hold its memory");
    let agent = rig.agent(&[]);
    if rig.is_v2() {
        assert_eq!(rig.end("r1", "holder"), (137, "OOMKilled".to_owned()));
    } else {
        until(PATIENCE, || agent.log().contains("retrying for").then_some(()))
            .unwrap_or_else(|| panic!("{}", agent.log()));
        assert_eq!(limits(&rig.in_force("r1", "holder")), [None; 3]);
        fs::write(free, "").unwrap();
        results(&agent, "applied", 1.0);
        assert_eq!(limits(&rig.in_force("r1", "holder")), [None, Some(16 << 20), None]);
        assert!(rig.runs("r1", "holder"), "it lives on");
    }
    agent.stop();
}

#[test]
fn a_mount_that_is_read_only_is_one_error_that_says_what_to_change() {
    let Some(rig) = Rig::start() else { return };
    // Bind mounts of a namespace of its own are made read-only: version 1 has many.
    let script = "mount --make-rprivate / && \
                  for at in $(awk '$5 ~ \"^/sys/fs/cgroup\" {print $5}' /proc/self/mountinfo); do \
                  mount -o remount,bind,ro $at; done; exec \"$0\" \"$@\"";
    let agent = rig.agent(&["unshare", "--mount", "sh", "-c", script]);
    rig.pod("r1", &json!({SELECTED: "True"}), &json!({}));
    rig.add("r1", &[("one", "pids=30", WAIT), ("two", "memory=64Mi", WAIT)]);
    results(&agent, "failed", 2.0);
    assert_eq!(limits(&rig.in_force("r1", "one")), [None; 3]);
    // The metric may be faster than the log.
    until(PATIENCE, || agent.log().contains("ERROR").then_some(()));
    let log = agent.log();
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    for words in ["--enforce-limits", "/sys/fs/cgroup", "DaemonSet", "readOnly"] {
        assert!(errors[0].contains(words), "{words}: {}", errors[0]);
    }
    agent.stop();
}
