//! Debian's Prometheus on the agent for a minute, asked by its own API what it has.

mod native;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agent::{Agent, OPEN_METRICS, TEXT};
use crate::support::launcher::{self, Ran};
use crate::support::node::{Node, PodPlace};
use crate::support::parts::{self, Part, all_there, busy};
use crate::support::process::until;
use crate::support::prometheus::Prometheus;
use crate::support::verdict;

/// How long Prometheus watches, and how often a container of 0.3 s is run.
const WATCH: Duration = Duration::from_mins(1);
const EVERY: Duration = Duration::from_secs(2);
/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn prometheus_has_every_container_of_a_third_of_a_second() {
    if !all_there(&[Part::WritableCgroups, Part::Program("prometheus")]) {
        return;
    }
    // Beside a scenario that keeps the machine busy more of the containers would be read late.
    let _busy = busy();
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
    let latest = |family: &str, name: &str| {
        let labels = format!("namespace=\"ci\",pod=\"runner-0\",container={name:?}");
        format!("last_over_time({family}{{{labels}}}[5m])")
    };
    let mut late = Vec::new();
    for one in &ran {
        // A scrape has the end of a container and its last figures, or neither.
        let end = latest("ephemon_container_end_time_seconds", &one.name);
        until(PATIENCE, || prometheus.query(&end).pop()).unwrap_or_else(|| panic!("no {end}"));
        let values =
            prometheus.query(&latest("ephemon_container_cpu_usage_seconds_total", &one.name));
        let [value] = values[..] else { panic!("{}: {values:?}", one.name) };
        let known = Duration::from_nanos(one.cpu_ns).as_secs_f64();
        let off = (value - known).abs();
        if off > (known / 100.0).max(0.001) {
            let quality = latest("ephemon_container_final_quality_info", &one.name);
            let quality = prometheus.series(&quality)[0]["metric"]["quality"].clone();
            let name = &one.name;
            let line =
                format!("{name}: Prometheus has {value} s, {quality}; the kernel had {known} s");
            assert!(off <= verdict::TICK + 0.001 || quality == "last_sample", "{line}");
            late.push(line);
        }
    }
    // On a busy machine the last steps of a process may be charged late, by a tick of the scheduler, and a
    // cgroup may be gone before the agent comes to it. All the others are right.
    assert!(late.len() <= ran.len().div_ceil(10), "{}", late.join("\n"));
    // Such a machine may also keep a scrape for longer than its second.
    prometheus.until_well("avg_over_time(up{job=\"ephemon\"}[1m]) > 0.9");
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
    let shown = "ephemon_container_end_time_seconds{";
    let mut steps = 0;
    let text = until(PATIENCE, || {
        // A busy machine may keep the agent from one for as long as it lives, but not from all.
        let name = format!("step-{steps}");
        launcher::run(&node, &pod, &name, "burn 50", Duration::from_millis(40));
        steps += 1;
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
