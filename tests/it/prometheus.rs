//! Debian's Prometheus on the agent for a minute, asked by its own API what it has.

mod native;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agent::{Agent, OPEN_METRICS, TEXT};
use crate::support::launcher::{self, Ran};
use crate::support::node::{Node, PodPlace};
use crate::support::parts::{self, Part, all_there};
use crate::support::process::until;
use crate::support::prometheus::Prometheus;

/// How long Prometheus watches, and how often a container of 0.3 s is run.
const WATCH: Duration = Duration::from_mins(1);
const EVERY: Duration = Duration::from_secs(2);

#[test]
fn prometheus_has_every_container_of_a_third_of_a_second() {
    if !all_there(&[Part::WritableCgroups, Part::Program("prometheus")]) {
        return;
    }
    let node = Node::new();
    let agent = Agent::start(&node, &[]);
    let prometheus = Prometheus::start(node.scratch(), &[agent.address()]);
    let pod = PodPlace::new("ci", "runner-0");
    node.cgroups().make(&pod.cgroup());
    let start = Instant::now();
    let mut ran: Vec<Ran> = Vec::new();
    while start.elapsed() < WATCH {
        let name = format!("step-{}", ran.len());
        let words = "burn 200 sleep 100";
        ran.push(launcher::run(&node, &pod, &name, words, Duration::from_millis(40)));
        thread::sleep(EVERY.saturating_sub(Duration::from_millis(350)));
    }
    let last = format!("step-{}", ran.len() - 1);
    let final_of = |name: &str| {
        let query =
            format!("last_over_time(ephemon_container_end_time_seconds{{container={name:?}}}[5m])");
        prometheus.query(&query).first().copied()
    };
    until(Duration::from_secs(30), || final_of(&last)).expect("the last one must arrive too");

    for one in &ran {
        let query = format!(
            "last_over_time(ephemon_container_cpu_usage_seconds_total{{namespace=\"ci\",\
             pod=\"runner-0\",container={:?}}}[5m])",
            one.name
        );
        let known = Duration::from_nanos(one.cpu_ns).as_secs_f64();
        let values = prometheus.query(&query);
        assert_eq!(values.len(), 1, "{}: {values:?}", one.name);
        assert!(
            (values[0] - known).abs() <= (known / 100.0).max(0.001),
            "{}: Prometheus has {} s, the kernel had {known} s",
            one.name,
            values[0]
        );
    }
    let up = prometheus.query("min_over_time(up{job=\"ephemon\"}[1m])");
    assert_eq!(up, [1.0], "a scrape failed");
    let target = prometheus.target();
    assert_eq!(target["health"], "up", "{target}");
    assert_eq!(target["lastError"], "", "{target}");
    node.cgroups().remove(&pod.cgroup());
    agent.stop();
}

#[test]
fn promtool_finds_nothing_to_say_about_the_text() {
    if !all_there(&[Part::WritableCgroups, Part::Program("promtool")]) {
        return;
    }
    let node = Node::new();
    let agent = Agent::start(&node, &[]);
    let pod = PodPlace::new("ci", "runner-0");
    node.cgroups().make(&pod.cgroup());
    launcher::run(&node, &pod, "step", "burn 50", Duration::from_millis(40));
    let shown = "ephemon_container_end_time_seconds{";
    let text = until(Duration::from_secs(20), || {
        let answer = agent.get("/metrics", TEXT);
        answer.body.contains(shown).then_some(answer)
    });
    let text = text.expect("the container must be shown");
    assert!(text.head.contains("content-type: text/plain; version=0.0.4"), "{}", text.head);
    let open = agent.get("/metrics", OPEN_METRICS);
    assert!(open.head.contains("content-type: application/openmetrics-text"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n"), "OpenMetrics must say where it ends");

    let mut promtool = Command::new(parts::program("promtool").unwrap())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
    node.cgroups().remove(&pod.cgroup());
    agent.stop();
}
