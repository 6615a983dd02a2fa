//! Whole jobs in containers of other OCI runtimes than Debian's runc, with the agent beside: crun, and a
//! runc that gives pods a user namespace of their own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use super::cpu::assert_cpu;
use super::failures::cancel_a_step;
use super::images::CUT;
use super::installed::{Installed, LATE_ANSWERS};
use super::memory::{assert_out_of_memory, is_late_with_limits, until_out_of_memory};
use super::runner::{Called, Runner, container, job, prepared_in_time};
use super::site::{PATIENCE, Site, id_of};
use crate::logs::backend::{Backend, attribute};
use crate::support::burn::burn;
use crate::support::collector::Wire;
use crate::support::parts::{Effect, SoleAgent, all_there, sole_agent};
use crate::support::process::until;
use crate::support::real_node::variant::{CRUN, MAPPING_RUNC, further_parts};
use crate::support::workflow_images::{BUSYBOX, TOOL};

/// What the job has from its environment and shows.
const SECRET: &str = "correct-horse-battery";
/// What a step tells to be masked, and a container without init shows.
const TOLD: &str = "told-by-a-step-6148";
/// What its container may use: the options, and what the kernel then says of memory, time and tasks.
const LIMITS: (&str, [&str; 3]) =
    ("--memory 48m --cpus 0.5 --pids-limit 64", ["50331648", "50000", "64"]);
/// The same of the kernel's files.
const IN_FORCE: &str = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes \
    /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max 2> /dev/null || \
    cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max";

/// Uses the processor until the container's own counter has risen by 0.6 s, however long that takes on a
/// busy machine. The paths are those of cgroup version 1, and of version 2 in microseconds.
const BURN: &str = "used() { cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2> /dev/null || \
    echo $(($(awk '/^usage_usec/ { print $2 }' /sys/fs/cgroup/cpu.stat) * 1000)); }; \
    end=$(($(used) + 600000000)); while [ $(used) -lt $end ]; do :; done";

/// What the agent logs of a request that it sends again because the collector did not answer in time.
const SENT_AGAIN: [&str; 2] = ["will be sent again in", "no answer within"];

/// How the steps end, sorted.
const CODES: [i32; 9] = [0, 0, 0, 0, 3, 5, 42, 137, 137];
const EXIT_CODE: &str = "process.exit.code";

#[test]
fn a_job_in_containers_of_crun_is_whole_and_exact() {
    let Some((_agent, site)) = start() else { return };
    let (agent, collector) = watch(&site);
    let (runner, state) = prepared(&site, &json!({"runtimeClassName": CRUN}));
    assert!(!runner.has_users());
    let used = play(&site, &runner, &state);
    assert_shown(&site, &runner, &agent, &used);
    assert_exported(&site, &agent, &collector);
}

#[test]
fn a_job_in_a_user_namespace_of_its_own_is_whole_and_exact() {
    let Some((_agent, site)) = start() else { return };
    let (agent, collector) = watch(&site);
    let fields = json!({"runtimeClassName": MAPPING_RUNC, "hostUsers": false});
    let (runner, state) = prepared(&site, &fields);
    assert!(runner.has_users());
    let used = play(&site, &runner, &state);
    assert_shown(&site, &runner, &agent, &used);
    assert_exported(&site, &agent, &collector);
    // The volumes' files are not those of the node's users whose numbers the pod's users have there.
    let volume = runner.directory.volume("ephemon");
    for below in ["bin", "journal", "masks", "run"] {
        assert_eq!(fs::metadata(volume.join(below)).unwrap().uid(), 0, "{below}");
    }
}

/// None where the machine lacks a part, which it says.
fn start() -> Option<(SoleAgent, Site)> {
    if !all_there(&further_parts()) {
        return None;
    }
    let agent = sole_agent(Effect::Limits);
    Some((agent, Site::start()?))
}

fn watch(site: &Site) -> (Installed, Backend) {
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let agent = Installed::with(site, &["otlp", "enforce-limits"], &collector.endpoint());
    (agent, collector)
}

fn runner(site: &Site, name: &str, fields: &Value) -> Runner {
    let resources = json!({"limits": {"memory": "256Mi"}, "requests": {"memory": "160Mi"}});
    let mut runner = site.runner_beside(name, &resources, fields);
    for (name, value) in
        [("GITHUB_RUN_ID", "14460881260"), ("GITHUB_RUN_ATTEMPT", "1"), ("GITHUB_JOB", "build")]
    {
        runner.env.push((name.to_owned(), value.to_owned()));
    }
    runner
}

/// A job with a service whose limits are in force, in a runner's pod with these fields; its state.
fn prepared(site: &Site, fields: &Value) -> (Runner, Value) {
    let mut asked = job(BUSYBOX, LIMITS.0);
    asked["environmentVariables"]["DEPLOY_PASSWORD"] = json!(SECRET);
    let web = json!({
        "entryPoint": "httpd", "entryPointArgs": ["-f", "-p", "80", "-h", "/etc"],
        "portMappings": ["80"], "createOptions": "--name web",
    });
    let services = [container(BUSYBOX, &web)];
    let is_late = |called: &Called| is_late_with_limits(called) || called.has_slow_service();
    let (runner, called) = prepared_in_time(is_late, |number| {
        let runner = runner(site, &format!("runner-{number}"), fields);
        let called = runner.prepare_called(&asked, &services);
        (runner, called)
    });
    assert_eq!(called.warnings(), [""; 0], "{called:?}");
    (runner, called.json()["state"].clone())
}

/// Steps of each kind and end, limits, and memory that is used up: by its container, the CPU seconds that
/// the kernel counted in it.
fn play(site: &Site, runner: &Runner, state: &Value) -> BTreeMap<String, f64> {
    runner.write("_temp/_runner_file_commands/set_output", "");
    // A runtime that is done late sets its own for a moment, until the agent looks again.
    let limits = LIMITS.1.join(" ");
    let script = format!(
        "echo made=1 >> \"$GITHUB_OUTPUT\"; echo x > made; wget -qO- http://web/os-release; \
         id -u; echo it says $DEPLOY_PASSWORD; for i in $(seq 600); do found=$({IN_FORCE}); \
         [ \"$(echo $found)\" != '{limits}' ] || break; sleep 0.1; done; echo \"$found\""
    );
    let step = runner.script(state, &script);
    assert_eq!(step.code, 0, "{step:?}");
    let lines: Vec<&str> = step.stdout.lines().collect();
    // The runner masks for itself.
    let shown = format!("it says {SECRET}");
    let said = ["ID=small", "0", &shown];
    assert_eq!(lines, [&said[..], &LIMITS.1].concat(), "{step:?}");
    assert_eq!(runner.read("_temp/_runner_file_commands/set_output"), "made=1\n");
    assert_eq!(runner.read("r/r/made"), "x\n");

    let failing = runner.script(state, "exit 42");
    assert!(failing.code == 42 && failing.says("exit code 42"), "{failing:?}");
    // Of all that the job's container used, its limit included.
    let burning = runner.script(state, BURN);
    assert_eq!(burning.code, 0, "{burning:?}");
    let killed = runner.script(state, "exec tail /dev/zero");
    assert!(killed.code == 137 && killed.says("ran out of memory"), "{killed:?}");
    cancel_a_step(runner, state, "");

    let words = format!("\"{}\"", burn(1));
    let over = json!({"entryPoint": "sh", "entryPointArgs": ["-c", words]});
    let action = runner.call("run_container_step", &container(BUSYBOX, &over), state);
    assert_eq!(action.code, 0, "{action:?}");
    let own = action.stdout.lines().find_map(|line| line.parse::<f64>().ok()).unwrap() / 1e9;
    let telling = runner.script(state, &format!("echo '::add-mask::{TOLD}'"));
    assert_eq!(telling.code, 0, "{telling:?}");
    let over = json!({"entryPointArgs": ["3", TOLD]});
    let tool = runner.call("run_container_step", &container(TOOL, &over), state);
    let printed = printed(site, runner, "step-2", &tool);
    assert!(tool.code == 3 && printed.contains("as 1000 in /srv\n"), "{printed}: {tool:?}");
    let over = json!({"entryPointArgs": ["tail", "/dev/zero"]});
    let hungry = runner.call("run_container_step", &container(BUSYBOX, &over), state);
    assert_out_of_memory(site, runner, "step-3", &hungry);

    let cleaned = runner.call("cleanup_job", &json!({}), state);
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    // What runs while the pod's memory is used up is said to have been killed, too, on version 1.
    for (name, code, reason) in [
        ("job", 0, None),
        ("busybox", 143, None),
        ("step", 0, Some("Completed")),
        ("step-2", 3, Some("Error")),
    ] {
        let (ended, why) = site.end_of(&runner.name, name);
        assert_eq!((ended, reason.unwrap_or(&why)), (code, &*why), "{name}");
    }
    until_out_of_memory(site, runner, "step-3");
    BTreeMap::from([("step".to_owned(), own)])
}

/// What a container without init has printed, as the hook shows it; as it is in the log, where the hook says
/// that it did not wait for all of that.
fn printed(site: &Site, runner: &Runner, container: &str, called: &Called) -> String {
    let is_late = called.warnings().iter().any(|warning| warning.contains(CUT));
    if is_late { site.log_of_ended(runner, container) } else { called.stdout.clone() }
}

/// Names, ids, exit codes, reasons and what each container used.
fn assert_shown(site: &Site, runner: &Runner, agent: &Installed, used: &BTreeMap<String, f64>) {
    let ends =
        [("job", 0.0), ("busybox", 143.0), ("step", 0.0), ("step-2", 3.0), ("step-3", 137.0)];
    let ids = ends.map(|(name, _)| site.until_status(&runner.name, name, id_of));
    // The namespace may have another pod whose job came too late to its limits.
    let pod = ("pod", runner.name.as_str());
    agent.scrape_until(|ledger| {
        for ((name, code), id) in ends.iter().zip(&ids) {
            let labels = [("container", *name), pod];
            let of = |family: &str| ledger.sum(family, &labels);
            of("ephemon_container_end_time_seconds")?;
            of("ephemon_container_exit_code").filter(|shown| (shown - code).abs() < 0.5)?;
            let mut infos = ledger.with("ephemon_container_info", &labels);
            infos.find(|(info, _)| info.label("container_id") == *id)?;
            let (quality, _) =
                ledger.with("ephemon_container_final_quality_info", &labels).next()?;
            let quality = quality.label("quality");
            // `cleanup_job` ends two at once, as soon as the last action has ended.
            let together = ["job", "busybox", "step-3"];
            let is_shared = quality == "residual_shared" && together.contains(name);
            assert!(["exact", "residual"].contains(&quality) || is_shared, "{name}: {quality}");
            if let Some(own) = used.get(*name) {
                let shown = of("ephemon_container_cpu_usage_seconds_total")?;
                assert_cpu(name, quality, *own, shown);
            }
        }
        let job = ("container", "job");
        let limit = ledger.sum("ephemon_container_memory_limit_bytes", &[job, pod])?;
        assert!(limit < 50_400_000.0, "{limit}");
        let kills = [job, pod, ("event", "oom_kill")];
        ledger.sum("ephemon_container_memory_events_total", &kills).filter(|n| *n >= 1.0)?;
        let reason = [("container", "step-3"), pod, ("exit_reason", "OOMKilled")];
        ledger.sum("ephemon_container_exit_reason_info", &reason)?;
        let network = [("namespace", site.namespace()), pod];
        ledger.sum("ephemon_pod_network_receive_bytes_total", &network)
    });
    let check = agent.check();
    for part in ["host's processes", "network values"] {
        assert!(check.contains(&format!("ok       {part} ")), "{part}: {check}");
    }
}

/// The steps' spans with their ends and figures, and their lines, masked; and no complaint of the agent.
fn assert_exported(site: &Site, agent: &Installed, collector: &Backend) {
    let steps = || {
        let mut steps: Vec<_> = collector.spans_of(site.namespace()).into_values().collect();
        steps.retain(|span| span.name == "__run");
        steps
    };
    let ended = |steps: &[Span]| {
        let codes = steps.iter().filter_map(|step| attribute(step, EXIT_CODE).parse().ok());
        let mut codes: Vec<i32> = codes.collect();
        codes.sort_unstable();
        codes
    };
    let all = || (ended(&steps()) == CODES).then_some(());
    until(PATIENCE, all).unwrap_or_else(|| panic!("{:#?}\n{}", steps(), agent.log()));
    let steps = steps();
    let with = |code: &str| steps.iter().find(|step| attribute(step, EXIT_CODE) == code).unwrap();
    assert_eq!(attribute(with("42"), "cicd.pipeline.task.run.result"), "failure");
    let killed = steps.iter().any(|step| attribute(step, "ephemon.oom.kills") == "1");
    assert!(killed, "{steps:#?}");
    // One step has burned 0.6 s.
    let most = steps.iter().filter_map(cpu_seconds).fold(0.0, f64::max);
    assert!((0.5..3.0).contains(&most), "{steps:#?}");
    let lines = || {
        let lines = collector.lines();
        let has = |text: &str| lines.iter().any(|line| line.body == text);
        (has("it says ***") && has("tool: its own, 3 *** as 1000 in /srv")).then_some(())
    };
    until(PATIENCE, lines).unwrap_or_else(|| panic!("{:?}\n{}", collector.lines(), agent.log()));
    let everything = collector.everything();
    for secret in [SECRET, TOLD] {
        assert!(!everything.contains(secret), "{secret} left the node");
    }
    let is_sent_again = |line: &String| SENT_AGAIN.iter().all(|words| line.contains(words));
    let (again, others): (Vec<_>, Vec<_>) = agent.complaints().into_iter().partition(is_sent_again);
    assert_eq!(others, Vec::<String>::new());
    // All has arrived.
    assert!(again.len() <= LATE_ANSWERS, "{again:#?}");
}

fn cpu_seconds(step: &Span) -> Option<f64> {
    let pair = step.attributes.iter().find(|pair| pair.key == "ephemon.cpu.seconds")?;
    match pair.value.as_ref()?.value.as_ref()? {
        AnyValue::DoubleValue(seconds) => Some(*seconds),
        _ => None,
    }
}
