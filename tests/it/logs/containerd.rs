//! Logs that containerd writes and rotates, by the kubelet's steps.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use super::backend::{Backend, LogLine};
use super::{PATIENCE, arrived};
use crate::support::agent::Agent;
use crate::support::collector::Wire;
use crate::support::containerd::{Containerd, PARTS};
use crate::support::cri::Cri;
use crate::support::kubelet::{Pod, Spec};
use crate::support::node::{Node, PodPlace};
use crate::support::parts::{all_there, busy};
use crate::support::process::{output, until};
use crate::support::programs;
use crate::support::site::OTLP_TIMEOUT;

/// So many lines are written fast, and then slower ones until the log is rotated for the last time.
const FIRST: usize = 25_000;
/// So many thereafter.
const LAST: usize = 5_000;
/// What the job's last words begin with; the number of its lines follows.
const END: &str = "the end of ";

fn agent(node: &Node, backend: &Backend) -> Agent {
    let mut command = Command::new(programs::ephemon());
    command
        .args(["agent", "--no-api", "--node-name", "it"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.endpoint())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", backend.protocol())
        .envs([OTLP_TIMEOUT]);
    Agent::launch(&mut command, &node.root(), &node.kubepods())
}

/// Rotation as the kubelet does it: the older file compressed, the current one renamed, the runtime
/// told to open it anew.
///
/// Source: kubernetes v1.36.2, `pkg/kubelet/logs/container_log_manager.go`.
fn rotate(directory: &Path, cri: &Cri, id: &str, number: u32) {
    let rotated = |number: u32| directory.join(format!("0.log.20261125-1200{number:02}"));
    if number > 0 {
        output(Command::new("gzip").arg("--keep").arg(rotated(number - 1)));
        fs::remove_file(rotated(number - 1)).unwrap();
    }
    fs::rename(directory.join("0.log"), rotated(number)).unwrap();
    cri.reopen_container_log(id).unwrap();
}

/// Waits until the agent has a log open that is not empty. Then it may be renamed, compressed and removed: a
/// kubelet does so ten seconds later at the earliest, a time that a busy agent may need.
fn until_open(agent: &Agent, log: &Path) {
    let is_open = || {
        let log = fs::metadata(log).ok().filter(|log| log.len() > 0)?;
        let mut open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).ok()?.flatten();
        let is_it = |file: fs::Metadata| (file.dev(), file.ino()) == (log.dev(), log.ino());
        open.any(|file| fs::metadata(file.path()).is_ok_and(is_it)).then_some(())
    };
    until(PATIENCE, is_open).unwrap_or_else(|| panic!("{}:\n{}", log.display(), agent.log()));
}

fn bodies(lines: &BTreeMap<String, LogLine>, container: &str) -> Vec<String> {
    let of = lines.values().filter(|line| line.resource("k8s.container.name") == container);
    of.map(|line| line.body.clone()).collect()
}

#[test]
fn no_line_is_lost_while_the_log_is_rotated_compressed_and_at_the_end_deleted() {
    if !all_there(&PARTS) {
        return;
    }
    let _busy = busy();
    let node = Node::new();
    let backend = Backend::start(Wire::Grpc);
    let agent = agent(&node, &backend);
    let containerd = Containerd::start(&node);
    let cri = containerd.cri();
    let pod = Pod::start(&node, &cri, PodPlace::new("ci", "runner-0"));
    // It writes all the time while its log is rotated, however long that takes: how many lines there are,
    // only the job knows.
    let script = format!(
        "i=0; line() {{ echo \"line $i\"; i=$((i+1)); }}; \
         while [ $i -lt {FIRST} ]; do line; if [ $((i%1000)) = 0 ]; then sleep 0.01; fi; done; \
         until [ -e /gate/open ]; do line; sleep 0.01; done; \
         last=$((i+{LAST})); while [ $i -lt $last ]; do line; done; \
         echo oops >&2; printf \"{END}$i\""
    );
    let started = pod.run(&cri, &Spec::new("job", ["sh", "-c", &script]));
    let directory = node.pod_logs(&pod.place).join("job");
    for number in 0..4 {
        until_open(&agent, &directory.join("0.log"));
        rotate(&directory, &cri, &started.id, number);
    }
    until_open(&agent, &directory.join("0.log"));
    pod.open_gate();
    // A line of 40 000 bytes comes in three parts from the runtime, and as one.
    let long = "i=0; while [ $i -lt 4000 ]; do printf 0123456789; i=$((i+1)); done; echo";
    let other = pod.run(&cri, &Spec::new("long", ["sh", "-c", long]));
    pod.wait(&cri, &started.id);
    pod.wait(&cri, &other.id);
    // As a kubelet that removes the pod, whose logs the agent has open or has read.
    let is_there = |container: &str| {
        let lines = backend.lines();
        let came = lines.iter().any(|line| line.resource("k8s.container.name") == container);
        came.then_some(())
    };
    until(PATIENCE, || is_there("long")).unwrap_or_else(|| panic!("{}", agent.log()));
    fs::remove_dir_all(node.pod_logs(&pod.place)).unwrap();

    let count = || {
        let lines = backend.lines();
        lines.iter().find_map(|line| line.body.strip_prefix(END)?.parse::<usize>().ok())
    };
    let count = until(PATIENCE, count).unwrap_or_else(|| panic!("no end:\n{}", agent.log()));
    // With `oops`, the end, and the long one.
    let lines = arrived(&backend, count + 3, &agent);
    let mut job = bodies(&lines, "job");
    assert!(job.contains(&"oops".to_owned()));
    job.retain(|body| body.starts_with("line "));
    let number = |body: &str| body.trim_start_matches("line ").parse::<usize>().unwrap();
    job.sort_by_key(|body| number(body));
    let wanted: Vec<String> = (0..count).map(|number| format!("line {number}")).collect();
    assert!(count >= FIRST + LAST, "{count}");
    assert_eq!(job.len(), count);
    assert!(job == wanted, "every line once");
    assert_eq!(bodies(&lines, "long"), ["0123456789".repeat(4000)]);
    let ends = until(PATIENCE, || {
        let all = backend.records().into_iter();
        let ends: Vec<LogLine> = all.filter(|record| !record.event.is_empty()).collect();
        (ends.len() >= 2).then_some(ends)
    });
    for end in ends.expect("each log's last record") {
        assert_eq!(end.attribute("ephemon.log.complete"), "true", "{end:?}");
    }
    pod.stop(&cri, &[started.id, other.id]);
    agent.stop();
}
