//! The installed agent beside real containers: exact readings, every line, and what goes on while
//! it is replaced.

use serde_json::{Value, json};

use super::cpu::{assert_cpu, ended};
use super::installed::Installed;
use super::memory::prepared_within_limits;
use super::runner::{container, job};
use super::site::{PATIENCE, Site};
use crate::logs::backend::{Backend, attribute};
use crate::support::burn::burn;
use crate::support::collector::Wire;
use crate::support::parts::{Effect, sole_agent};
use crate::support::process::until;
use crate::support::workflow_images::BUSYBOX;

/// Seconds of each container's life.
const LIVES: [u64; 3] = [1, 5, 20];
/// Lines that a container writes before its pod is deleted.
const LINES: usize = 20_000;

/// Adds an ephemeral container as an administrator does, outside the hook.
fn debug(site: &Site, pod: &str, name: &str, script: &str) {
    let words = ["debug", pod, "-n", site.namespace(), "-c", name, "--profile=general"];
    let more = ["--image", BUSYBOX, "--attach=false", "--quiet", "--", "sh", "-c", script];
    site.kubectl().run(&[&words[..], &more[..]].concat());
}

#[test]
fn captures_of_short_and_long_containers_agree_with_their_own_counters() {
    let Some(site) = Site::start() else { return };
    let agent = Installed::apply(&site, "base", "");
    let runner = site.runner("runner-1");
    for seconds in LIVES {
        debug(&site, &runner.name, &format!("burn-{seconds}"), &burn(seconds));
    }
    for seconds in LIVES {
        let name = format!("burn-{seconds}");
        assert_eq!(site.end_of(&runner.name, &name).0, 0);
        let own = site.log_of_ended(&runner, &name).trim().parse::<f64>().unwrap() / 1e9;
        let (shown, quality) = agent.scrape_until(|ledger| ended(ledger, &name));
        assert_cpu(&name, &quality, own, shown);
    }
    let labels = [("quality", "exact")];
    agent.scrape_until(|ledger| ledger.sum("ephemon_agent_final_readings_total", &labels));
}

#[test]
fn a_deleted_pods_last_line_is_exported() {
    let Some(site) = Site::start() else { return };
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let agent = Installed::apply(&site, "overlays/otlp", &collector.endpoint());
    let runner = site.runner("runner-1");
    let script =
        format!("i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; done; sleep 1000");
    debug(&site, &runner.name, "writer", &script);
    let last = format!("line {LINES}\n");
    site.until_logged(&runner, "writer", |log| log.ends_with(&last));
    // An agent that has not opened the log by then cannot: the kubelet removes it with the pod.
    let is_open = || collector.lines().iter().any(|line| line.body == "line 1").then_some(());
    until(PATIENCE, is_open).unwrap_or_else(|| panic!("{}", agent.log()));
    let now =
        ["delete", "pod", &runner.name, "-n", site.namespace(), "--grace-period=0", "--force"];
    site.kubectl().run(&now);
    let all = || {
        let lines = collector.lines();
        let own = lines.iter().filter(|line| line.resource("k8s.container.name") == "writer");
        let bodies: std::collections::BTreeSet<String> =
            own.map(|line| line.body.clone()).collect();
        (bodies.len() == LINES).then_some(())
    };
    until(PATIENCE, all).unwrap_or_else(|| {
        panic!("{} lines came of {LINES}:\n{}", collector.lines().len(), agent.log())
    });
}

#[test]
fn a_job_during_which_the_agent_is_replaced_is_whole_in_its_trace_and_logs() {
    let Some(site) = Site::start() else { return };
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let agent = Installed::apply(&site, "overlays/otlp", &collector.endpoint());
    let mut runner = site.runner("runner-1");
    for (name, value) in
        [("GITHUB_RUN_ID", "14460881260"), ("GITHUB_RUN_ATTEMPT", "1"), ("GITHUB_JOB", "build")]
    {
        runner.env.push((name.to_owned(), value.to_owned()));
    }
    let web = json!({"entryPoint": "httpd", "entryPointArgs": ["-f", "-p", "80"], "portMappings": ["80"]});
    let state = runner.prepare(&job(BUSYBOX, ""), &[container(BUSYBOX, &web)]);
    let mut expected = Vec::new();
    let mut step = |runner: &super::runner::Runner, number: usize| {
        let called = runner.script(&state, &format!("echo step {number} says so"));
        assert_eq!(called.code, 0, "{called:?}");
        expected.push(format!("step {number} says so"));
    };
    (0..5).for_each(|number| step(&runner, number));
    agent.replace();
    (5..10).for_each(|number| step(&runner, number));
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    site.kubectl().run(&["delete", "pod", &runner.name, "-n", site.namespace()]);

    let job_span = || {
        let spans = collector.spans_of(site.namespace());
        let steps = spans.values().filter(|span| span.name == "__run").count();
        let job = spans
            .values()
            .find(|span| attribute(span, "ephemon.kind") == "job" || span.name == "build");
        (steps >= 10 && job.is_some()).then_some(steps)
    };
    let steps = until(PATIENCE, job_span).unwrap_or_else(|| {
        panic!(
            "the trace is not whole: {:#?}\n{}",
            collector.spans_of(site.namespace()),
            agent.log()
        )
    });
    assert_eq!(
        steps,
        10,
        "each step once: {:#?}\n{}",
        collector.spans_of(site.namespace()),
        agent.log()
    );
    let traces: std::collections::BTreeSet<_> =
        collector.spans_of(site.namespace()).values().map(|span| span.trace_id.clone()).collect();
    assert_eq!(traces.len(), 1, "{traces:?}");
    let arrived = || {
        let lines = collector.lines();
        expected.iter().all(|text| lines.iter().any(|line| line.body == *text)).then_some(())
    };
    until(PATIENCE, arrived).unwrap_or_else(|| panic!("{:?}\n{}", collector.lines(), agent.log()));
}

#[test]
fn limits_of_a_workflow_hold_by_the_installed_agent() {
    let _agent = sole_agent(Effect::Limits);
    let Some(site) = Site::start() else { return };
    let agent = Installed::apply(&site, "overlays/enforce-limits", "");
    let limited = job(BUSYBOX, "--memory 48m --cpus 0.5 --pids-limit 64");
    let (runner, called) = prepared_within_limits(&site, "runner", &limited);
    let state: Value = called.json()["state"].clone();
    let read = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us \
        /sys/fs/cgroup/pids/pids.max 2> /dev/null || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max \
        /sys/fs/cgroup/pids.max";
    let step = runner.script(&state, read);
    let seen: Vec<&str> = step.stdout.split_whitespace().collect();
    assert_eq!(seen, ["50331648", "50000", "64"], "{step:?}");
    let log = site.until_logged(&runner, "job", |log| log.contains("64\n"));
    assert!(log.starts_with("50331648\n"), "nothing of the hook's own is in it: {log}");
    let check = agent.check();
    for part in ["host's processes", "network values", "listen address"] {
        assert!(check.contains(&format!("ok       {part} ")), "{part}: {check}");
    }
    let killed = runner.script(&state, "exec tail /dev/zero");
    assert!(killed.code == 137 && killed.says("ran out of memory"), "{killed:?}");
    agent.scrape_until(|ledger| {
        ledger
            .sum("ephemon_container_memory_limit_bytes", &[("container", "job")])
            .filter(|limit| (limit - 50_331_648.0).abs() < 1.0)
    });
    assert_eq!(agent.complaints(), Vec::<String>::new());
}
