//! Init in front of images' own entrypoints, put there by the agent over NRI with the real containerd:
//! services and actions have what those with a given entrypoint have. Without the agent they run as
//! ever.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::images::whole;
use super::nri::{Before, OF_INITS, counted, counted_in_time, in_time, until_taken};
use super::runner::{Called, Runner, container, job};
use super::site::{PATIENCE, Site, id_of};
use crate::support::agent::Agent;
use crate::support::process::until;
use crate::support::real_node::NODE;
use crate::support::workflow_images::{BUSYBOX, POSTGRES, TOOL};

const IN_FRONT: &str = "/ephemon/bin/ephemon-init --in-front -- ";
/// What the hook says of an action without init.
const WITHOUT: &str = "runs without ephemon-init";
/// What it says of any such container that it has waited for, half a second after the kubelet's report and
/// where no init has begun.
const NOT_IN_FRONT: &str = "has not put ephemon-init in front";

/// How long the hook waits for init once the kubelet has reported that such a container runs.
const WAITS_FOR_INIT: Duration = Duration::from_millis(500);
/// How long it looks, when it cleans up, which services have ended.
const LOOKS_FOR_ENDS: Duration = Duration::from_secs(3);
/// Most cleanups in which that look may be too slow.
const CLEANUPS: usize = 5;

/// A runner whose hook asks.
fn asking(site: &Site, name: &str) -> Runner {
    let mut runner = site.runner(name);
    runner.env.push(("EPHEMON_NRI".to_owned(), "true".to_owned()));
    runner
}

/// An agent that the runtime has taken, and that leaves other scenarios' pods alone.
fn agent(site: &Site) -> Agent {
    let selector = site.selector();
    let agent = site.agent(&["--nri-socket", "/var/run/nri/nri.sock", "--pod-selector", &selector]);
    until_taken(&agent);
    agent
}

/// A service of the image's own entrypoint, which is none: these words are its command.
fn web(script: &str, options: &str) -> Value {
    let over = json!({
        "entryPointArgs": ["sh", "-c", format!("\"{script}\"")], "createOptions": options,
        "environmentVariables": {"PASSWORD": "hunter2-of-the-service"},
    });
    container(BUSYBOX, &over)
}

/// The command line of a container's first process.
fn command(site: &Site, pod: &str, name: &str) -> String {
    let id = site.until_status(pod, name, |status| {
        status.pointer("/state/running")?;
        id_of(status)
    });
    let line = fs::read(format!("/proc/{}/cmdline", site.host_pid_of(&id))).unwrap();
    String::from_utf8(line).unwrap().replace('\0', " ")
}

/// The account may not run commands in containers.
fn forbid_exec(site: &Site) {
    let words = ["delete", "rolebinding", "ephemon-runner-exec", "-n", site.namespace()];
    site.kubectl().run(&words);
}

/// The pod's containers that ask for init in front and in which it has not begun: it makes a journal first.
fn without_init(site: &Site, runner: &Runner) -> Vec<String> {
    let journals = runner.directory.volume("ephemon/journal");
    let pod = site.pod(&runner.name);
    let all = pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten();
    let asks = |one: &&Value| {
        let mut variables = one["env"].as_array().into_iter().flatten();
        variables.any(|variable| variable["name"] == "EPHEMON_INIT")
    };
    let names = all.filter(asks).filter_map(|one| one["name"].as_str().map(str::to_owned));
    names.filter(|name| !journals.join(format!("{name}.jsonl")).exists()).collect()
}

/// Whether init has begun so long after its container's start that the hook, which says in this line that it
/// is missing, no longer waited for it.
fn has_begun_late(site: &Site, runner: &Runner, line: &str) -> bool {
    let name = line.split_once(" (container ").and_then(|(_, rest)| rest.split_once(')'));
    let Some((name, _)) = name else { return false };
    let journal = runner.directory.volume("ephemon/journal").join(format!("{name}.jsonl"));
    // Init makes the file first, and its record soon after.
    let begun = until(PATIENCE, || {
        let text = fs::read_to_string(&journal).ok()?;
        let mut records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.find(|record| record["record"] == "container_started")?["at_ns"].as_i64()
    });
    let id = site.until_status(&runner.name, name, id_of);
    let started = site.cri().container_status(&id).unwrap().started_at;
    let waits = i64::try_from(WAITS_FOR_INIT.as_nanos()).unwrap();
    begun.is_some_and(|at| at - started >= waits)
}

/// Plays something until init is in front of so many more containers. Played again only if a container runs
/// without init and the agent admits that it was late for one, or if init has begun too late for the hook.
fn met_in_front(
    site: &Site,
    agent: &Agent,
    containers: usize,
    mut play: impl FnMut(usize) -> (Runner, Called),
) -> (Runner, Called) {
    in_time(agent, |attempt| {
        let before = Before::of(agent, OF_INITS, "applied");
        let (runner, called) = play(attempt);
        let has_begun = |name: &String| {
            let status = site.status(&runner.name, name).unwrap_or_default();
            ["running", "terminated"].iter().any(|state| !status["state"][state].is_null())
        };
        let is_there = until(PATIENCE, || {
            // Asked before the last look: init begins sooner than the kubelet says that its container runs.
            let is_late = without_init(site, &runner).iter().all(has_begun) && before.is_missed();
            if without_init(site, &runner).is_empty() {
                return Some(true);
            }
            is_late.then_some(false)
        });
        let is_there = is_there.unwrap_or_else(|| {
            let without = without_init(site, &runner);
            panic!("not late, and no init in {without:?}: {called:?}\n{}", agent.log())
        });
        if !is_there {
            return None;
        }
        let applied = before.more().to_string();
        assert_eq!(applied, containers.to_string(), "{called:?}\n{}", agent.log());
        if !called.stdout.contains(NOT_IN_FRONT) {
            return Some((runner, called));
        }
        let mut missing = called.stdout.lines().filter(|line| line.contains(NOT_IN_FRONT));
        let is_late = missing.all(|line| has_begun_late(site, &runner, line));
        assert!(is_late, "{called:?}\n{}", agent.log());
        None
    })
}

/// Calls an action with init in front: in the pod of the action before it, or in a fresh one for the first
/// and where something was late.
fn act(
    site: &Site,
    agent: &Agent,
    (name, place): (&str, &mut Option<(Runner, Value)>),
    call: impl Fn(&Runner, &Value) -> Called,
) -> Called {
    let mut of_job = Value::Null;
    let (runner, called) = met_in_front(site, agent, 1, |attempt| {
        let fresh = || {
            let runner = asking(site, &format!("{name}-{attempt}"));
            let state = runner.prepare(&job(BUSYBOX, ""), &[]);
            (runner, state)
        };
        let (runner, state) = place.take().unwrap_or_else(fresh);
        let called = call(&runner, &state);
        of_job = state;
        (runner, called)
    });
    *place = Some((runner, of_job));
    called
}

/// Cleans up, and returns what the hook says of services that ended before the job did. It says nothing where
/// its look at the pod was too slow; then it cleans up again, and the others are over by then, too.
fn told_of_ends(runner: &Runner, state: &Value, dying: &str) -> Vec<String> {
    let told = (0..CLEANUPS).find_map(|before| {
        let began = Instant::now();
        let cleaned = runner.call("cleanup_job", &json!({}), state);
        let took = began.elapsed();
        assert_eq!(cleaned.code, 0, "{cleaned:?}");
        let told = cleaned.stdout.lines().filter(|line| line.contains("ended before the job did"));
        let told: Vec<String> = told.map(str::to_owned).collect();
        if told.is_empty() && took >= LOOKS_FOR_ENDS {
            return None;
        }
        let is_meant = |line: &String| before == 0 || line.contains(&format!("service {dying} "));
        Some(told.into_iter().filter(is_meant).collect())
    });
    told.expect("one of the looks at the pod is in time")
}

#[test]
fn a_service_of_its_images_own_entrypoint_has_health_masks_figures_and_an_end() {
    let Some(site) = Site::start() else { return };
    let agent = agent(&site);
    forbid_exec(&site);
    let script = "echo $PASSWORD; sleep 1; echo ready > /srv/who; httpd -p 80 -h /srv; sleep 1000";
    let options = "--name web --ulimit nofile=512:512 --health-cmd \"wget -qO- http://localhost/who\" --health-interval 1s --health-retries 60";
    let database = container(POSTGRES, &json!({"createOptions": "--name db"}));
    let dying = web("while ! test -e /go; do sleep 0.1; done; exit 5", "--name dying");
    let services = [web(script, options), database, dying];
    let (runner, prepared) = met_in_front(&site, &agent, 3, |attempt| {
        let runner = asking(&site, &format!("runner-1-{attempt}"));
        let prepared = runner.prepare_called(&job(BUSYBOX, ""), &services);
        (runner, prepared)
    });
    assert_eq!(prepared.code, 0, "{prepared:?}\n{}", agent.log());
    assert!(!prepared.stdout.contains("::warning::"), "{prepared:?}");
    let state = prepared.json()["state"].clone();
    // It was waited for until its own command said so; the other declares no port, and need not listen yet.
    let script = "wget -qO- http://web/who; n=0; until wget -qO- http://db:5432/port 2> /dev/null; do \
        n=$((n+1)); [ $n -lt 600 ]; sleep 0.2; done";
    let step = runner.script(&state, script);
    assert_eq!(step.stdout, "ready\n5432\n", "{step:?}");
    let line = command(&site, &runner.name, "busybox");
    assert!(line.starts_with(&format!("{IN_FRONT}sh -c echo $PASSWORD;")), "{line}");
    assert_eq!(command(&site, &runner.name, "postgres"), format!("{IN_FRONT}/entry.sh "));
    assert!(command(&site, &runner.name, "busybox-2").starts_with(IN_FRONT));
    let id = site.until_status(&runner.name, "busybox-2", id_of);
    fs::write(format!("/proc/{}/root/go", site.host_pid_of(&id)), "").unwrap();
    site.end_of(&runner.name, "busybox-2");
    let log = site.until_logged(&runner, "busybox", |log| log.contains('\n'));
    assert!(log.contains("***") && !log.contains("hunter2"), "{log}");

    let told = told_of_ends(&runner, &state, "busybox-2");
    assert!(matches!(&told[..], [one] if one.contains("exit code 5")), "{told:?}");
    for service in ["busybox", "postgres"] {
        // Before the pod's end, which is not asked for.
        site.end_of(&runner.name, service);
        let journal = runner.directory.volume("ephemon/journal").join(format!("{service}.jsonl"));
        let journal = fs::read_to_string(journal).unwrap();
        assert!(journal.contains("\"step_ended\"") && journal.contains("cpu"), "{journal}");
    }

    // One that is not well, and one whose end is its own, which is over before it can be found unwell.
    for (number, (script, retries, words)) in
        [("sleep 1000", 2, "not well"), ("exit 5", 50, "exit code 5")].into_iter().enumerate()
    {
        let options = format!(
            "--health-cmd \"echo not well; false\" --health-interval 100ms --health-retries {retries}"
        );
        let services = [web(script, &options)];
        let (_, called) = met_in_front(&site, &agent, 1, |attempt| {
            let runner = asking(&site, &format!("runner-{}-{attempt}", number + 2));
            let called = runner.prepare_called(&job(BUSYBOX, ""), &services);
            (runner, called)
        });
        assert!(called.code == 1 && called.says(words), "{called:?}");
    }
}

#[test]
fn an_action_of_its_images_own_entrypoint_has_streams_and_can_be_cancelled() {
    let Some(site) = Site::start() else { return };
    let agent = agent(&site);
    let mut place = None;
    let over = json!({"environmentVariables": {"TOOL": "of the workflow"}});
    let tool = act(&site, &agent, ("streams", &mut place), |runner, state| {
        runner.call("run_container_step", &container(TOOL, &over), state)
    });
    let own = "tool: of the workflow, 3 from the image as 1000 in /srv\n";
    assert!(tool.code == 3 && tool.printed().starts_with(own), "{tool:?}\n{}", agent.log());
    assert_eq!(tool.stderr, "to stderr\n");
    let over = json!({"entryPointArgs": ["0", "\"of the step\""], "workingDirectory": "/__w/r/r"});
    let tool = act(&site, &agent, ("arguments", &mut place), |runner, state| {
        runner.call("run_container_step", &container(TOOL, &over), state)
    });
    let own = "tool: its own, 0 of the step as 1000 in /__w/r/r\n";
    assert_eq!((tool.code, &*tool.printed()), (0, own), "{tool:?}");

    let script = "\"echo on > begun; exec sleep 1000\"";
    let over = json!({"entryPointArgs": ["sh", "-c", script], "workingDirectory": "/__w/r/r"});
    let long = act(&site, &agent, ("cancelled", &mut place), |runner, state| {
        let long = runner.begin("run_container_step", &container(BUSYBOX, &over), state);
        until(PATIENCE, || (!runner.read("r/r/begun").is_empty()).then_some(())).expect("it runs");
        long.signal(Signal::INT);
        long.finish()
    });
    assert_eq!(long.code, 130, "{long:?}");
    let (runner, state) = place.expect("the last action's");
    let pod = site.pod(&runner.name);
    let all = pod["spec"]["ephemeralContainers"].as_array().unwrap().iter();
    let steps = all.filter_map(|one| one["name"].as_str().filter(|name| name.starts_with("step")));
    let ends: Vec<_> = steps.map(|name| site.end_of(&runner.name, name)).collect();
    assert!(!ends.is_empty(), "{pod}");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    assert_eq!(site.secrets(), Vec::<String>::new());
}

#[test]
fn without_the_agent_everything_runs_as_ever() {
    let Some(site) = Site::start() else { return };
    let runner = asking(&site, "runner-1");
    let script = "sleep 1; echo ready > /srv/who; exec httpd -f -p 80 -h /srv";
    let options = "--ulimit nofile=512:512 --health-cmd \"wget -qO- http://localhost/who\" --health-interval 1s --health-retries 60";
    let prepared = runner.prepare_called(&job(BUSYBOX, ""), &[web(script, options)]);
    assert_eq!(prepared.code, 0, "{prepared:?}");
    // What only init can do is named, now that it is known to be missing.
    assert!(prepared.stdout.contains("option --ulimit of"), "{prepared:?}");
    let state = prepared.json()["state"].clone();
    assert_eq!(runner.script(&state, "wget -qO- http://busybox/who").stdout, "ready\n");
    assert!(command(&site, "runner-1", "busybox").starts_with("httpd "));
    let tool = container(TOOL, &json!({}));
    let tool = whole(|| runner.call("run_container_step", &tool, &state));
    assert_eq!(tool.code, 3, "{tool:?}");
    assert!(tool.stdout.contains(WITHOUT) && tool.stdout.contains("tool: its own"), "{tool:?}");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}

/// Attaches a container with the hook's variable and these mounts, which shows its own command line;
/// the reason of its end.
fn attach(site: &Site, pod: &str, name: &str, mounts: &Value) -> String {
    let spec = json!({
        "env": [{"name": "EPHEMON_INIT", "value": "[]"}, {"name": "EPHEMON_ROLE", "value": "service"}],
        "volumeMounts": mounts,
    });
    let custom = site.node.folder().join(format!("{name}-{:08x}.json", fastrand::u32(..)));
    fs::write(&custom, spec.to_string()).unwrap();
    let script = "tr '\\0' ' ' < /proc/1/cmdline";
    let words = ["debug", pod, "-n", site.namespace(), "-c", name, "--profile=general"];
    let more = ["--image", BUSYBOX, "--attach=false", "--quiet", "--custom"];
    let custom = custom.to_str().unwrap();
    // As arguments: the image's own entrypoint, which is none, stays.
    let args = ["--arguments-only", "--", "sh", "-c", script];
    site.kubectl().run(&[&words[..], &more[..], &[custom], &args[..]].concat());
    site.end_of(pod, name).1
}

#[test]
fn nothing_is_put_in_front_of_what_is_not_the_hooks_to_ask_for() {
    let Some(site) = Site::start() else { return };
    let agent = agent(&site);
    site.unguard();
    let programs = |read_only: bool, path: &str| json!([{"name": "ephemon-bin", "mountPath": path, "readOnly": read_only}]);
    let own = json!({
        "name": "own", "image": BUSYBOX, "args": ["sleep", "1000"],
        "env": [{"name": "EPHEMON_INIT", "value": "[]"}],
        "volumeMounts": programs(true, "/ephemon/bin"),
    });
    let pod = |name: &str, labels: &Value| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": site.namespace(), "labels": labels},
            "spec": {
                "nodeName": NODE, "restartPolicy": "Never", "containers": [own],
                "volumes": [{"name": "ephemon-bin", "emptyDir": {}}],
            },
        });
        site.api().create(&pod);
        // An ordinary container, whoever's.
        assert_eq!(command(&site, name, "own"), "sleep 1000 ");
    };
    pod("stranger", &json!({}));
    pod("selected", &site.labels());
    let cases = [
        ("stranger", "as-the-hook", programs(true, "/ephemon/bin")),
        ("selected", "writable", programs(false, "/ephemon/bin")),
        ("selected", "elsewhere", programs(true, "/bin/ephemon")),
        ("selected", "nowhere", json!([])),
    ];
    for (pod, name, mounts) in cases {
        attach(&site, pod, name, &mounts);
        let line = site.kubectl().run(&["logs", pod, "-n", site.namespace(), "-c", name]);
        // The shell has become its one command.
        assert!(line.starts_with("tr "), "{name}: {line}\n{}", agent.log());
    }
    assert_eq!(counted(&agent, OF_INITS, "applied").to_string(), "0");
    let reason = counted_in_time(&agent, (OF_INITS, "applied"), |attempt| {
        let name = format!("asking-{attempt}");
        pod(&name, &site.labels());
        // The volume is anybody's who makes the pod: what he puts there runs as his container would.
        let id = site.until_status(&name, "own", id_of);
        let own = format!("/proc/{}/root/ephemon/bin", site.host_pid_of(&id));
        assert!(fs::read_dir(own).unwrap().next().is_none());
        let reason = attach(&site, &name, "as-the-hook", &programs(true, "/ephemon/bin"));
        // Its own command has run.
        (reason != "Completed").then_some(reason)
    });
    assert_eq!(reason, "StartError");
}
