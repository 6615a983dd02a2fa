//! Every attack that a job can play on the agent, all at once, on the agent as it is shipped; and a
//! job beside them that notices nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use super::attacks::{BRIEF, FLOODS, Hostile, crowd, flood_journals, flood_logs};
use super::cpu::{assert_cpu_until, ended};
use super::installed::Installed;
use super::runner::{Runner, container, job};
use super::site::{PATIENCE, Site, id_of};
use crate::logs::backend::Backend;
use crate::support::collector::Wire;
use crate::support::exposition::Ledger;
use crate::support::full_journal::{JOURNALS, RECORDS};
use crate::support::parts::busy;
use crate::support::process::{memory, until};
use crate::support::workflow_images::BUSYBOX;

/// Steps of the honest job, and lines of each.
const STEPS: usize = 4;
const LINES: usize = 500;
/// Seconds that its last process is charged for after it has read its container's counter, beside attacks.
const AFTERWARDS: f64 = 0.05;
/// What its steps tell and show.
const SECRET: &str = "correct-horse-battery";

/// Sets it at the end, however that comes: the scenario waits for who looks at it.
struct AtLast<'a>(&'a AtomicBool);

impl Drop for AtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_installed_agent_survives_all_attacks_at_once_and_a_job_beside_them_is_exact() {
    let _busy = busy();
    let Some(site) = Site::alone() else { return };
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let agent = Installed::with(&site, &["otlp", "enforce-limits"], &collector.endpoint());
    let floods: Vec<Hostile<'_>> =
        (0..FLOODS).map(|number| Hostile::start(&site, &format!("flood-{number}"))).collect();
    let others = ["masks", "lines", "names"].map(|name| Hostile::start(&site, name));
    let honest = site.runner("honest");
    let address = agent.address().unwrap();
    let stop = AtomicBool::new(false);
    let own = thread::scope(|scope| {
        let _stopped = AtLast(&stop);
        scope.spawn(|| crowd(address, &stop));
        floods.iter().for_each(flood_journals);
        let [masks, lines, names] = &others;
        flood_logs(masks, lines, names);
        // The attacks are under way: this much the agent has already refused.
        let refused = |ledger: &Ledger| {
            dropped(ledger, "journal", "cap").zip(dropped(ledger, "logs", "withheld")).map(drop)
        };
        agent.scrape_until(refused);
        let own = play(&site, honest);
        let (shown, quality) = agent.scrape_until(|ledger| {
            let of =
                |name, container| ledger.sum(name, &[("pod", "honest"), ("container", container)]);
            for container in ["job", "step"] {
                of("ephemon_container_end_time_seconds", container)?;
                of("ephemon_container_log_complete", container).filter(|one| *one >= 1.0)?;
            }
            // No other pod of the site has a container of this name.
            ended(ledger, "step")
        });
        assert_cpu_until("step", &quality, (own, AFTERWARDS), shown);
        // A process that is called like the runtime puts off no limit.
        agent.scrape_until(|ledger| {
            let labels = [("pod", "lines"), ("container", "runtime")];
            let limit = ledger.sum("ephemon_container_memory_limit_bytes", &labels)?;
            (limit < 65.0 * 1024.0 * 1024.0).then_some(())
        });
        every_line_came(&collector, &agent);
        one_trace_came(&site, &collector, &agent);
        until_played(&collector, &agent);
        own
    });
    eprintln!(
        "the job's container used {own} s; the agent at most {} KiB",
        peak(&site, &agent) / 1024
    );
    agent.until_ready();
    assert_alive(&site, &agent);
}

/// Waits until each attack has been met: nearly all records of the journals had no room, silent peers
/// were hung up on, endless lines came in parts, and each brief container was seen.
fn until_played(collector: &Backend, agent: &Installed) {
    let least = (FLOODS * JOURNALS * RECORDS / 2) as f64;
    agent.scrape_until(|ledger| {
        dropped(ledger, "journal", "cap").filter(|all| *all >= least)?;
        ledger.sum("ephemon_agent_http_connections_closed_total", &[]).filter(|all| *all > 0.0)
    });
    let brief: BTreeSet<String> = (0..BRIEF).map(|number| format!("brief-{number}")).collect();
    let all = || {
        let lines = collector.lines();
        let of = |pod: &'static str| {
            lines.iter().filter(move |line| line.resource("k8s.pod.name") == pod)
        };
        let seen: BTreeSet<String> =
            of("names").map(|line| line.resource("k8s.container.name")).collect();
        let endless = of("lines").any(|line| line.body.len() > 100 * 1024);
        (endless && seen.is_superset(&brief)).then_some(())
    };
    until(PATIENCE, all).unwrap_or_else(|| panic!("{}", agent.log()));
}

/// What was dropped of a signal for a reason, if anything.
fn dropped(ledger: &Ledger, signal: &str, reason: &str) -> Option<f64> {
    let labels = [("signal", signal), ("reason", reason)];
    ledger.sum("ephemon_agent_dropped_items_total", &labels).filter(|all| *all > 0.0)
}

/// The honest job: what its last container used by its own counter, in seconds.
fn play(site: &Site, mut runner: Runner) -> f64 {
    for (name, value) in
        [("GITHUB_RUN_ID", "14460881260"), ("GITHUB_RUN_ATTEMPT", "1"), ("GITHUB_JOB", "honest")]
    {
        runner.env.push((name.to_owned(), value.to_owned()));
    }
    let web = json!({"entryPoint": "httpd", "entryPointArgs": ["-f", "-p", "80"], "portMappings": ["80"]});
    let mut asked = job(BUSYBOX, "");
    asked["environmentVariables"]["DEPLOY_PASSWORD"] = json!(SECRET);
    let state = runner.prepare(&asked, &[container(BUSYBOX, &web)]);
    for number in 0..STEPS {
        let script = format!(
            "i=0; while [ $i -lt {LINES} ]; do echo step {number} line $i; i=$((i+1)); done; \
             echo step {number} says $DEPLOY_PASSWORD"
        );
        let step = runner.script(&state, &script);
        assert_eq!(step.code, 0, "{step:?}");
    }
    let burn = "\"end=$(($(date +%s) + 3)); while [ $(date +%s) -lt $end ]; do :; done; \
        cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2> /dev/null || \
        echo $(($(awk '/^usage_usec/ { print $2 }' /sys/fs/cgroup/cpu.stat) * 1000))\"";
    let action = container(BUSYBOX, &json!({"entryPoint": "sh", "entryPointArgs": ["-c", burn]}));
    let step = runner.call("run_container_step", &action, &state);
    assert_eq!(step.code, 0, "{step:?}");
    let own = step.stdout.lines().find_map(|line| line.parse::<f64>().ok()).unwrap() / 1e9;
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    site.kubectl().run(&["delete", "pod", &runner.name, "-n", site.namespace()]);
    own
}

/// Each line of the steps once, masked where it must be.
fn every_line_came(collector: &Backend, agent: &Installed) {
    let expected: BTreeSet<String> = (0..STEPS)
        .flat_map(|step| {
            let lines = (0..LINES).map(move |line| format!("step {step} line {line}"));
            lines.chain([format!("step {step} says ***")])
        })
        .collect();
    let mut came = BTreeMap::new();
    let all = || {
        came.clear();
        let lines = collector.lines().into_iter();
        let own = lines.filter(|line| {
            line.resource("k8s.pod.name") == "honest" && line.body.starts_with("step ")
        });
        // Delivery is at least once, by the same id.
        came.extend(own.map(|line| (line.attribute("log.record.uid"), line.body)));
        (came.len() >= expected.len()).then_some(())
    };
    until(PATIENCE, all).unwrap_or_else(|| panic!("{} came\n{}", came.len(), agent.log()));
    let bodies: BTreeSet<String> = came.values().cloned().collect();
    assert_eq!((came.len(), &bodies), (expected.len(), &expected));
    assert!(!collector.everything().contains(SECRET), "the secret left the node");
}

/// The job's spans, all of them, each below another of the same trace.
fn one_trace_came(site: &Site, collector: &Backend, agent: &Installed) {
    let whole = || {
        let spans = collector.spans_of(site.namespace());
        let trace = spans.values().find(|span| span.name == "honest")?.trace_id.clone();
        let own: Vec<Span> = spans.into_values().filter(|span| span.trace_id == trace).collect();
        let steps = own.iter().filter(|span| span.name == "__run").count();
        (steps > STEPS).then_some(own)
    };
    let spans = until(PATIENCE, whole).unwrap_or_else(|| {
        let names: Vec<String> =
            collector.spans_of(site.namespace()).into_values().map(|span| span.name).collect();
        panic!("the trace is not whole: {names:?}\n{}", agent.log())
    });
    let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
    let found = ["honest", "prepare", "job", "busybox", "step", "cleanup"].map(count);
    assert_eq!(found, [1; 6], "{spans:#?}");
    // The scripts, and the action, which is a step with a container below it.
    assert_eq!(count("__run"), STEPS + 1, "{spans:#?}");
    let ids: BTreeSet<&Vec<u8>> = spans.iter().map(|span| &span.span_id).collect();
    let roots = spans.iter().filter(|span| !ids.contains(&span.parent_span_id));
    let roots: Vec<&str> = roots.map(|span| span.name.as_str()).collect();
    assert_eq!(roots, ["honest"]);
    for span in &spans {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
}

/// The agent is the one that was started, was never out of memory, answers, and has said of whom it
/// dropped what.
fn assert_alive(site: &Site, agent: &Installed) {
    let pod = agent.pod();
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["restartCount"], 0, "{status}\n{}", agent.log());
    assert_eq!((&status["ready"], &status["lastState"]), (&json!(true), &json!({})), "{status}");
    let floods = (0..FLOODS).map(|number| format!("\"flood-{number}\""));
    let names: Vec<String> = floods.chain(["\"masks\"".to_owned()]).collect();
    let all_are_told = |log: &String| names.iter().all(|name| log.contains(name));
    let told = until(PATIENCE, || Some(agent.log()).filter(all_are_told));
    let complaints = agent.complaints();
    assert!(told.is_some(), "{names:?}: {complaints:#?}");
    assert!(!complaints.iter().any(|line| line.contains("honest")), "{complaints:#?}");
    assert!(peak(site, agent) < ephemon_agent::budget::EXPORT_LIMIT as u64);
}

/// The most memory of the agent's process so far, bytes, by the kernel.
fn peak(site: &Site, agent: &Installed) -> u64 {
    let id = id_of(&agent.pod()["status"]["containerStatuses"][0]).unwrap();
    memory(site.host_pid_of(&id), "VmHWM").unwrap()
}
