//! Limits that the runtime sets for the agent when it creates a container (NRI), with the real
//! containerd: they are there for the container's first instruction, and whatever becomes of the
//! agent, containers start.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::installed::Installed;
use super::runner::job;
use super::site::{PATIENCE, Site};
use crate::support::agent::Agent;
use crate::support::exposition::Ledger;
use crate::support::process::until;
use crate::support::real_node::NODE;
use crate::support::workflow_images::BUSYBOX;

const LIMITS: &str = "memory=48Mi,cpus=0.5,pids=64";
/// What a container with these limits reads in its cgroup.
const LIMITED: [&str; 3] = ["50331648", "50000", "64"];
/// The paths are those of cgroup version 1, and of version 2.
const READ: &str = "cd /sys/fs/cgroup; \
    cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max 2> /dev/null || \
    { cat memory.max; cut -d ' ' -f 1 cpu.max; cat pids.max; }";

/// What the agent logs of a container for which it was too late.
pub(super) const LATE: &str = "a container was not decided on in time";
/// What it logs each time that the runtime has taken its plugin.
const TAKEN: &str = "tells of starts and ends (NRI)";
/// Most attempts of [`in_time`].
const ATTEMPTS: usize = 8;
/// The family of its counts of containers with limits that the runtime was about to create.
pub(super) const OF_LIMITS: &str = "ephemon_agent_limits_at_creation_total";
/// The same of containers that ask for init in front of their image's own entrypoint.
pub(super) const OF_INITS: &str = "ephemon_agent_inits_at_creation_total";

/// An agent that the runtime asks about containers, as a process or installed.
pub(super) trait Asked {
    /// What its metrics are now.
    fn scraped(&self) -> Ledger;

    /// What it has logged.
    fn logged(&self) -> String;
}

impl Asked for Agent {
    fn scraped(&self) -> Ledger {
        let mut ledger = Ledger::default();
        self.scrape_into(&mut ledger);
        ledger
    }

    fn logged(&self) -> String {
        self.log()
    }
}

impl Asked for Installed {
    fn scraped(&self) -> Ledger {
        let scraped = || {
            let mut ledger = Ledger::default();
            self.scrape_into(&mut ledger).map(|()| ledger)
        };
        until(PATIENCE, scraped).unwrap_or_else(|| panic!("no metrics:\n{}", self.log()))
    }

    fn logged(&self) -> String {
        self.log()
    }
}

/// What an agent had counted in a family before something was created.
pub(super) struct Before<'a, A> {
    agent: &'a A,
    family: &'a str,
    result: &'a str,
    counted: f64,
    missed: f64,
}

// === impl Before ===

impl<'a, A: Asked> Before<'a, A> {
    pub(super) fn of(agent: &'a A, family: &'a str, result: &'a str) -> Self {
        let (counted, missed) = (counted(agent, family, result), missed(agent, family));
        Self { agent, family, result, counted, missed }
    }

    /// How many more containers have this result now.
    pub(super) fn more(&self) -> f64 {
        counted(self.agent, self.family, self.result) - self.counted
    }

    /// Whether the agent admits that it was not in time: its count of such containers has risen.
    pub(super) fn is_missed(&self) -> bool {
        missed(self.agent, self.family) > self.missed
    }
}

/// Adds an ephemeral container that asks for limits and reads at once those that it has.
fn read(site: &Site, pod: &str, name: &str, limits: &str) -> Vec<String> {
    // In quotes: a comma would begin the next variable.
    let env = format!("\"EPHEMON_LIMITS={limits}\"");
    let words = ["debug", pod, "-n", site.namespace(), "-c", name, "--env", &env];
    let more = ["--profile=general", "--image", BUSYBOX, "--attach=false", "--quiet"];
    site.kubectl().run(&[&words[..], &more[..], &["--", "sh", "-c", READ]].concat());
    let ended = site.end_of(pod, name);
    let seen = site.kubectl().run(&["logs", pod, "-n", site.namespace(), "-c", name]);
    assert_eq!(ended.0, 0, "{name}: {ended:?} {seen}");
    seen.split_whitespace().map(str::to_owned).collect()
}

/// Creates a pod with an ordinary container that has the variable.
fn pod(site: &Site, name: &str, labels: &Value, script: &str) {
    let own = json!({
        "name": "own", "image": BUSYBOX, "command": ["sh", "-c", script],
        "env": [{"name": "EPHEMON_LIMITS", "value": LIMITS}],
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": site.namespace(), "labels": labels},
        "spec": {"nodeName": NODE, "restartPolicy": "Never", "containers": [own]},
    });
    site.api().create(&pod);
}

/// How many containers the agent has counted in this family with this result.
pub(super) fn counted(agent: &impl Asked, family: &str, result: &str) -> f64 {
    agent.scraped().sum(family, &[("result", result)]).unwrap_or_default()
}

/// How many it has counted there for which it was not in time, and how many sessions that have ended: the
/// runtime ends one in which it gets no answer. Containers of other scenarios' new pods can be among them:
/// the agent does not know yet that those pods are not selected.
fn missed(agent: &impl Asked, family: &str) -> f64 {
    let labels = [("watch", "nri")];
    let ended = agent.scraped().sum("ephemon_agent_watch_failures_total", &labels);
    let of = |result| counted(agent, family, result);
    of("late") + of("unknown") + ended.unwrap_or_default()
}

/// Waits until the runtime has taken the agent's plugin.
pub(super) fn until_taken(agent: &impl Asked) {
    let labels = [("watch", "nri")];
    let taken = || agent.scraped().sum("ephemon_agent_watch_up", &labels).filter(|up| *up > 0.0);
    until(PATIENCE, taken).unwrap_or_else(|| panic!("not registered:\n{}", agent.logged()));
}

/// How often the runtime has taken the agent's plugin.
pub(super) fn sessions(agent: &impl Asked) -> usize {
    agent.logged().matches(TAKEN).count()
}

/// Waits until it has done so once more: right after a session's end the metrics may still show that one.
fn until_taken_again(agent: &impl Asked, sessions_before: usize) {
    until(PATIENCE, || (sessions(agent) > sessions_before).then_some(()))
        .unwrap_or_else(|| panic!("not registered again:\n{}", agent.logged()));
}

/// Has something created for which the agent must be in time, which `attempt` says by what it returns; it is
/// given a number for names. Repeated because by design the runtime creates a container without an agent that
/// a busy machine keeps from its answer, and the agent does not wait again at once for a pod of which it was
/// told too late.
///
/// An attempt returns `None` only on a sign that something was late, such as the agent's own count or a
/// session that has ended, and asserts everything else: otherwise a fault that shows now and then passes.
pub(super) fn in_time<T>(agent: &impl Asked, mut attempt: impl FnMut(usize) -> Option<T>) -> T {
    let created = (1..=ATTEMPTS).find_map(|number| {
        // The runtime may have ended the session in the attempt before.
        until_taken(agent);
        attempt(number)
    });
    created.unwrap_or_else(|| panic!("in time in no attempt:\n{}", agent.logged()))
}

/// The same for one container in each attempt, and for what the agent counts in a family: `result` of the one
/// for which it was in time, and each other as one for which it was not.
pub(super) fn counted_in_time<T>(
    agent: &impl Asked,
    (family, result): (&str, &str),
    mut attempt: impl FnMut(usize) -> Option<T>,
) -> T {
    in_time(agent, |number| {
        let before = Before::of(agent, family, result);
        let created = attempt(number);
        let more = before.more();
        if created.is_some() && more.to_string() == "1" {
            return created;
        }
        until(PATIENCE, || before.is_missed().then_some(())).unwrap_or_else(|| {
            panic!("{more} more are {result:?}, and none was late:\n{}", agent.logged())
        });
        None
    })
}

/// Adds containers that ask for these limits until one has them at its first instruction, as it reads them.
fn until_limited(
    site: &Site,
    agent: &impl Asked,
    (pod, name): (&str, &str),
    (limits, limited): (&str, [&str; 3]),
) {
    counted_in_time(agent, (OF_LIMITS, "applied"), |number| {
        let found = read(site, pod, &format!("{name}-{number}"), limits);
        (found == limited).then_some(())
    });
}

/// A container as the agent knows it.
pub(super) fn container(agent: &Agent, name: &str) -> Option<Value> {
    let state: Value = serde_json::from_str(&agent.get("/debug/state", "*/*").body).ok()?;
    let pods = state["pods"].as_array()?.iter();
    let mut all = pods.filter_map(|pod| pod["containers"].as_array()).flatten();
    all.find(|container| container["name"] == name).cloned()
}

/// The sources that have told the agent of it.
fn told_by(container: &Value) -> impl Iterator<Item = &str> {
    container["sources"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[test]
fn limits_are_there_for_the_first_instruction_and_only_where_they_are_asked_for() {
    let Some(site) = Site::alone() else { return };
    // Without `enforce-limits`: the cgroup tree is read only.
    let agent = Installed::apply(&site, "overlays/nri", "");
    let runner = site.runner("runner-1");
    until_limited(&site, &agent, ("runner-1", "limited"), (LIMITS, LIMITED));
    let least = ("memory=32Mi,cpus=0.1,pids=32", ["33554432", "10000", "32"]);
    until_limited(&site, &agent, ("runner-1", "least"), least);

    // Without limits is what a container of the same pod has that asks for none.
    let free = read(&site, "runner-1", "free", "");
    assert_ne!(free, LIMITED);
    let small = counted_in_time(&agent, (OF_LIMITS, "left"), |number| {
        Some(read(&site, "runner-1", &format!("small-{number}"), "memory=16Mi,cpus=0.05,pids=8"))
    });
    assert_eq!(small, free);
    // Of a pod that is not selected, and an ordinary one of a pod that is.
    site.unguard();
    pod(&site, "stranger", &json!({}), "sleep 1000");
    site.until_status("stranger", "own", |status| status.pointer("/state/running").cloned());
    let unselected = read(&site, "stranger", "unselected", LIMITS);
    pod(&site, "ordinary", &json!({"actions-ephemeral-runner": "True"}), READ);
    assert_eq!(site.end_of("ordinary", "own").0, 0);
    let own = site.kubectl().run(&["logs", "ordinary", "-n", site.namespace()]);
    assert_eq!(own.split_whitespace().collect::<Vec<_>>(), unselected);
    assert!(unselected.iter().zip(LIMITED).all(|(seen, limit)| seen != limit), "{unselected:?}");

    // And by the hook, which asks whether they are in force; in another pod if it was late for the first.
    let mut first = Some(runner);
    let step = counted_in_time(&agent, (OF_LIMITS, "applied"), |number| {
        let other = || site.runner(&format!("runner-{number}"));
        let runner = first.take().unwrap_or_else(other);
        let called =
            runner.prepare_called(&job(BUSYBOX, "--memory 48m --cpus 0.5 --pids-limit 64"), &[]);
        assert_eq!(called.code, 0, "{called:?}");
        let in_force = !called.stdout.contains("are not in force");
        in_force.then(|| runner.script(&called.json()["state"], READ))
    });
    assert_eq!(step.stdout.split_whitespace().collect::<Vec<_>>(), LIMITED, "{step:?}");
    let [applied, left] = ["applied", "left"].map(|result| counted(&agent, OF_LIMITS, result));
    assert!(applied >= 3.0 && left >= 1.0, "{applied} and {left}:\n{}", agent.log());
    // No other container is counted, but those whose answer the runtime did not wait for.
    let most = 4.0 + missed(&agent, OF_LIMITS);
    assert!(applied + left <= most, "{applied} and {left}:\n{}", agent.log());
    let mut complaints = agent.complaints();
    complaints.retain(|line| !line.contains(LATE));
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
fn containers_start_whatever_becomes_of_the_agent_and_it_returns() {
    let Some(site) = Site::alone() else { return };
    let flags = ["--nri-socket", "/var/run/nri/nri.sock", "--state-dir", "/run/ephemon-nri"];
    let agent = site.agent(&flags);
    until_taken(&agent);
    site.runner("runner-1");
    until_limited(&site, &agent, ("runner-1", "before"), (LIMITS, LIMITED));

    // It hangs: the runtime's time limit passes once, and it goes on without.
    let before = sessions(&agent);
    let pid = Pid::from_raw(agent.pid()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let free = read(&site, "runner-1", "hanging", LIMITS);
    kill_process(pid, Signal::CONT).unwrap();
    assert_ne!(free, LIMITED);
    until_taken_again(&agent, before);
    until_limited(&site, &agent, ("runner-1", "again"), (LIMITS, LIMITED));

    // The runtime is upgraded.
    let before = sessions(&agent);
    site.node.stop_containerd();
    site.node.start_containerd();
    until_taken_again(&agent, before);
    until_limited(&site, &agent, ("runner-1", "upgraded"), (LIMITS, LIMITED));
    // The runner lived on meanwhile, and the runtime lists it to its plugin.
    let listed = || container(&agent, "runner").filter(|it| told_by(it).any(|by| by == "nri"));
    let runner = until(PATIENCE, listed).unwrap_or_else(|| panic!("{}", agent.log()));
    assert_eq!(runner["ended"], false, "{runner}");

    crate::support::process::kill(agent.pid());
    drop(agent);
    assert_eq!(read(&site, "runner-1", "without", LIMITS), free);
}
