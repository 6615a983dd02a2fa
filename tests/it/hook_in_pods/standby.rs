//! Containers that stand by for container actions, under the real kubelet and the policies as
//! shipped.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::runner::{Calling, Runner, container, job};
use super::site::{PATIENCE, Site, id_of};
use crate::support::parts::{Effect, sole_agent};
use crate::support::process::{memory, until};
use crate::support::real_node::registry::{self, REGISTRY};
use crate::support::workflow_images::{ALPINE, BUSYBOX, TOOL};

/// What the hook says when it gives up containers that it has asked for, which may be there.
const TOO_SLOW: &str = "no container stands by for actions: the API server is too slow";

fn action(image: &str, script: &str) -> Value {
    let over = json!({
        "entryPoint": "sh", "entryPointArgs": ["-c", format!("\"{script}\"")],
        "environmentVariables": {"OWN": "of the step"}, "workingDirectory": "/github/workspace",
    });
    container(image, &over)
}

/// The images of a pod's ephemeral containers, by their names.
fn containers(site: &Site, pod: &str) -> BTreeMap<String, String> {
    let pod = site.pod(pod);
    let all = pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    all.filter_map(|one| Some((text(&one["name"])?, text(&one["image"])?))).collect()
}

fn names(site: &Site, runner: &Runner) -> Vec<String> {
    containers(site, &runner.name).into_keys().collect()
}

/// Prepares a job of actions with these images, for the first of which so many containers stand by, and has
/// it played; in a fresh pod each time until that returns something. Repeated because by design the hook
/// gives containers up: it waits for its look at the runner's files for a moment only, and for the API server
/// for two seconds.
fn standing_by<T>(
    site: &Site,
    (most, images): (usize, &[&str]),
    mut play: impl FnMut(&Runner, &Value) -> Option<T>,
) -> (Runner, Value, T) {
    let name =
        |at: usize| if at == 0 { "standby".to_owned() } else { format!("standby-{}", at + 1) };
    let images_of = images.iter().take(most).enumerate();
    let mut expected: BTreeMap<String, String> =
        images_of.map(|(at, image)| (name(at), (*image).to_owned())).collect();
    expected.insert("job".to_owned(), BUSYBOX.to_owned());
    let mut last = String::new();
    let found = (1..=5).find_map(|attempt| {
        let mut runner = site.runner(&format!("runner-{attempt}"));
        runner.expect(most, images, "sh");
        let prepared = runner.prepare_called(&job(BUSYBOX, ""), &[]);
        assert_eq!(prepared.code, 0, "{prepared:?}");
        let there = containers(site, &runner.name);
        last = format!("{there:?} {prepared:?}");
        if there != expected || prepared.stdout.contains(TOO_SLOW) {
            return None;
        }
        let state = prepared.json()["state"].clone();
        let played = play(&runner, &state)?;
        Some((runner, state, played))
    });
    found.unwrap_or_else(|| panic!("given up in each pod; in the last: {last}"))
}

/// Waits until the hook's book says of a container that is to follow that steps may take it, or that it was
/// given up; whether they may.
fn until_offered(runner: &Runner, container: &str) -> bool {
    let book = runner.root(&format!("/tmp/.ephemon-{}.standby/book", runner.name));
    let offered = || {
        let book: Value = serde_json::from_slice(&fs::read(&book).ok()?).ok()?;
        let waits = |one: &Value| one["container"] == container && one["asked"] == true;
        let is_waiting = book["waiting"].as_array()?.iter().any(waits);
        let is_given_up = book["given"].as_array()?.iter().any(|one| one == container);
        (is_waiting || is_given_up).then_some(is_waiting)
    };
    until(PATIENCE, offered).unwrap_or_else(|| panic!("{container} is not in the hook's book"))
}

/// Waits until a container's init listens.
fn until_ready(runner: &Runner, container: &str) {
    let socket: PathBuf = runner.directory.volume("ephemon/run").join(format!("{container}.sock"));
    until(PATIENCE, || socket.exists().then_some(())).expect("it stands by");
}

#[test]
fn actions_take_containers_that_stand_by_and_what_is_left_ends_with_the_job() {
    let Some(site) = Site::start() else { return };
    let images = [BUSYBOX, BUSYBOX, ALPINE, BUSYBOX];
    let (runner, state, ()) = standing_by(&site, (3, &images), |runner, state| {
        for container in ["standby", "standby-2", "standby-3"] {
            until_ready(runner, container);
        }
        assert_eq!(names(&site, runner), ["job", "standby", "standby-2", "standby-3"]);
        let id = site.until_status(&runner.name, "standby", id_of);
        let resident = memory(site.host_pid_of(&id), "VmRSS").unwrap();
        // A debug build has more; what is shipped is in deploy/docs/performance.md.
        assert!(resident < 8 << 20, "an init that waits has {resident} bytes");
        two_at_once(&site, runner, state)
    });
    // Behind them is one for the last step.
    assert_eq!(names(&site, &runner), ["job", "standby", "standby-2", "standby-3", "standby-4"]);
    let third = runner.call("run_container_step", &action(BUSYBOX, "echo third"), &state);
    assert_eq!((third.code, third.printed().as_str()), (0, "third\n"), "{third:?}");
    assert_eq!(site.end_of(&runner.name, "standby-4").0, 0);

    // An image's own entrypoint is not known to us: such an action has its container as ever.
    let own = runner.call("run_container_step", &container(TOOL, &json!({})), &state);
    assert_eq!(own.code, 3, "{own:?}");
    let cleaned = runner.call("cleanup_job", &json!({}), &state);
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    assert_eq!(site.end_of(&runner.name, "standby-3"), (0, "Completed".to_owned()));
    let all = ["job", "standby", "standby-2", "standby-3", "standby-4", "step"];
    assert_eq!(names(&site, &runner), all);
}

/// Two actions at one time, each of which goes on only when the other is there, and not before the hook has
/// asked for the container of a later one: with its step's end a call gives that up. None if it did so, as it
/// does where the API server takes more than two seconds.
fn two_at_once(site: &Site, runner: &Runner, state: &Value) -> Option<()> {
    let meet = |number: usize| {
        format!(
            "mkdir -p here; touch here/{number}; until [ $(ls here | wc -l) = 2 ]; do sleep 0.05; done; \
             until [ -e go ]; do sleep 0.05; done; echo $OWN {number}; exit {number}"
        )
    };
    let both = [3, 4].map(|number| {
        let action = action(BUSYBOX, &meet(number));
        (number, runner.begin("run_container_step", &action, state))
    });
    let is_offered = until_offered(runner, "standby-4");
    runner.write("r/r/go", "");
    for (number, called) in both.map(|(number, calling)| (number, calling.finish())) {
        assert_eq!(called.code, i32::try_from(number).unwrap(), "{called:?}");
        assert!(called.stdout.contains(&format!("of the step {number}\n")), "{called:?}");
    }
    for (container, code) in
        ["standby", "standby-2"].map(|one| (one, site.end_of(&runner.name, one).0))
    {
        assert!([3, 4].contains(&code), "{container}: {code}");
    }
    is_offered.then_some(())
}

#[test]
fn an_image_that_cannot_be_had_stands_by_in_vain_and_fails_its_own_step() {
    let Some(site) = Site::start() else { return };
    let missing = format!("{REGISTRY}/missing:1");
    let images = [&*missing, BUSYBOX];
    let (runner, state, ()) = standing_by(&site, (2, &images), |_, _| Some(()));
    assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
    let called = runner.call("run_container_step", &action(&missing, "true"), &state);
    assert!(called.code == 1 && called.says("check its name and tag"), "{called:?}");
    assert!(called.says("(container standby) does not start"), "{called:?}");
    let called = runner.call("run_container_step", &action(BUSYBOX, "echo on"), &state);
    assert_eq!((called.code, called.printed().as_str()), (0, "on\n"), "{called:?}");
    assert_eq!(site.end_of(&runner.name, "standby-2").0, 0);

    // One that is cancelled or killed ends what it had taken, and nothing else.
    let long = |begun: &str| action(BUSYBOX, &format!("echo on > {begun}; exec sleep 1000"));
    for (begun, signal, code) in [("one", Signal::INT, 130), ("two", Signal::KILL, 137)] {
        let step: Calling = runner.begin("run_container_step", &long(begun), &state);
        let path = format!("r/r/{begun}");
        until(PATIENCE, || (!runner.read(&path).is_empty()).then_some(())).expect("it runs");
        step.signal(signal);
        assert_eq!(step.finish().code, code);
    }
    assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    for container in names(&site, &runner).iter().filter(|name| *name != "standby") {
        site.end_of(&runner.name, container);
    }
}

#[test]
fn an_image_is_pulled_while_the_steps_before_its_own_run() {
    // It is the kubelet that pulls, and no agent that does so ahead.
    let _agent = sole_agent(Effect::Pulls);
    let Some(site) = Site::start() else { return };
    // The registry gives it when two of its group were asked for.
    let group = format!("standby-{:08x}", fastrand::u32(..));
    let (absent, own) =
        (format!("{REGISTRY}/meet/2/{group}/standby:1"), format!("{group}-standby"));
    let (runner, state, ()) = standing_by(&site, (1, &[&*absent]), |_, _| Some(()));
    // Nobody waits for the pull but the step that needs it.
    assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
    until(PATIENCE, || registry::has_come(&own).then_some(())).expect("its pull has begun");
    let status = site.status(&runner.name, "standby");
    assert!(status.is_none_or(|one| one["state"]["running"].is_null()));
    let given = Instant::now();
    registry::ask(&group, "other");
    let called = runner.call("run_container_step", &action(&absent, "cat /name"), &state);
    assert_eq!((called.code, called.printed().as_str()), (0, own.as_str()), "{called:?}");
    // The registry counts them from the meeting on.
    let visits = registry::visits(&[&own]);
    let is_later = visits.iter().all(|visit| visit.began >= given);
    assert!(is_later && !visits.is_empty(), "it was not there before: {visits:?}");
    assert_eq!(site.end_of(&runner.name, "standby"), (0, "Completed".to_owned()));
    assert_eq!(names(&site, &runner), ["job", "standby"]);
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}
