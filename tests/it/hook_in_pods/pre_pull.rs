//! Images that the agent has the runtime pull before the kubelet comes to them (`--pre-pull`), with the
//! real containerd and kubelet.

use std::collections::{BTreeMap, BTreeSet};

use ephemon_contract::env;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use super::runner::{Runner, container, job};
use super::site::{PATIENCE, Site};
use crate::logs::backend::{Backend, attribute};
use crate::support::agent::Agent;
use crate::support::collector::Wire;
use crate::support::exposition::Ledger;
use crate::support::parts::{Effect, sole_agent};
use crate::support::process::until;
use crate::support::real_node::registry::{self, REGISTRY, Visit};
use crate::support::workflow_images::BUSYBOX;

const SOCKET: &str = "/run/containerd/containerd.sock";
const SERVICES: [&str; 3] = ["one", "two", "three"];
const ACTIONS: [&str; 2] = ["first", "second"];

/// A service that goes on until it is told to stop.
fn service(image: &str) -> Value {
    container(image, &json!({"entryPoint": "sleep", "entryPointArgs": ["1000"]}))
}

fn pre_pulling(state_dir: &str) -> Vec<String> {
    let flags = ["--cri-socket", SOCKET, "--pre-pull", "8", "--state-dir", state_dir];
    flags.map(str::to_owned).into()
}

fn counted(agent: &Agent, result: &str) -> f64 {
    let mut ledger = Ledger::default();
    agent.scrape_into(&mut ledger);
    let labels = [("result", result)];
    ledger.sum("ephemon_agent_pre_pulled_images_total", &labels).unwrap_or_default()
}

fn until_counted(agent: &Agent, result: &str, count: f64) {
    until(PATIENCE, || (counted(agent, result) >= count).then_some(()))
        .unwrap_or_else(|| panic!("{result}: {}\n{}", counted(agent, result), agent.log()));
}

/// Names in which no other run has pulled anything.
fn fresh(name: &str) -> String {
    format!("{name}-{:08x}", fastrand::u32(..))
}

/// The spans of a job of this name that is over, by their ids.
fn spans_of(site: &Site, collector: &Backend, agent: &Agent, job: &str) -> BTreeMap<String, Span> {
    let spans = || {
        let spans = collector.spans_of(site.namespace());
        // The job's own span is the last of its trace.
        spans.values().any(|span| span.name == job).then_some(spans)
    };
    until(PATIENCE, spans).unwrap_or_else(|| {
        panic!("no trace: {:#?}\n{}", collector.spans_of(site.namespace()), agent.log())
    })
}

fn pulls(spans: &BTreeMap<String, Span>) -> Vec<&Span> {
    spans.values().filter(|span| span.name == "pull").collect()
}

fn identified(runner: &mut Runner, job: &str) {
    let run = [("GITHUB_RUN_ID", "14460881261"), ("GITHUB_RUN_ATTEMPT", "1"), ("GITHUB_JOB", job)];
    runner.env.extend(run.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn without_it_the_images_of_a_job_are_pulled_one_after_the_other() {
    let _agent = sole_agent(Effect::Pulls);
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let names = ["serial-job", "serial-one", "serial-two"].map(fresh);
    let [main, one, two] = names.each_ref().map(|name| format!("{REGISTRY}/slow/{name}:1"));
    let state = runner.prepare(&job(&main, ""), &[service(&one), service(&two)]);
    let visits = registry::visits(&names.each_ref().map(String::as_str));
    // Configuration and layer of each.
    assert_eq!(visits.len(), 6, "{visits:?}");
    let is_apart =
        |pair: &[Visit]| pair[0].image == pair[1].image || pair[0].ended <= pair[1].began;
    assert!(visits.windows(2).all(is_apart), "{visits:?}");
    let order: Vec<&str> = visits.iter().step_by(2).map(|visit| visit.image.as_str()).collect();
    assert_eq!(order, names.each_ref().map(String::as_str), "the order of the spec");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}

#[test]
fn the_images_of_a_job_and_its_services_are_pulled_at_once_and_each_is_a_span() {
    let _agent = sole_agent(Effect::Pulls);
    let Some(site) = Site::start() else { return };
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let flags = pre_pulling("/run/ephemon-pre-pull");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let agent = site.agent_to(&collector.endpoint(), &flags);
    let mut runner = site.runner("runner-1");
    identified(&mut runner, "pre");
    let group = fresh("meet");
    let image = |name: &str| format!("{REGISTRY}/meet/4/{group}/{name}:1");
    // The registry answers for none of the four before it was asked for all of them: one after the
    // other, none would ever be pulled.
    let services = SERVICES.map(|name| service(&image(name)));
    let state = runner.prepare(&job(&image("job"), ""), &services);
    assert_eq!(runner.script(&state, "cat /name").stdout, format!("{group}-job"));
    until_counted(&agent, "pulled", 3.0);
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    site.kubectl().run(&["delete", "pod", "runner-1", "-n", site.namespace()]);

    let spans = spans_of(&site, &collector, &agent, "pre");
    let pulls = pulls(&spans);
    let of: BTreeSet<String> =
        pulls.iter().map(|span| attribute(span, "container.image.name")).collect();
    assert_eq!((pulls.len(), of.len()), (4, 4), "one for each image: {pulls:#?}\n{}", agent.log());
    let ahead: Vec<_> =
        pulls.iter().filter(|span| attribute(span, "ephemon.image.pre_pulled") == "true").collect();
    // The first the kubelet may have had before the agent knew of it.
    assert!(ahead.len() >= 3, "{pulls:#?}\n{}", agent.log());
    let last_begin = ahead.iter().map(|span| span.start_time_unix_nano).max().unwrap();
    let first_end = ahead.iter().map(|span| span.end_time_unix_nano).min().unwrap();
    assert!(last_begin < first_end, "they overlap: {ahead:#?}");
    assert!(ahead.iter().all(|span| !attribute(span, "ephemon.image.bytes").is_empty()));
    let complaints: Vec<_> =
        agent.log().lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect();
    assert_eq!(complaints, Vec::<String>::new());
}

/// An image that the registry does not give before it was asked for four of its group.
fn of_four(group: &str, name: &str) -> String {
    format!("{REGISTRY}/meet/4/{group}/{name}:1")
}

/// What the agent is told of the images of a pod's actions, once its job's containers are there.
fn told_of(site: &Site, pod: &str) -> Option<String> {
    let pod = site.pod(pod);
    let containers = pod["spec"]["ephemeralContainers"].as_array()?;
    let variables = containers.iter().filter_map(|one| one["env"].as_array()).flatten();
    let told = variables.filter(|variable| variable["name"] == env::ACTION_IMAGES);
    Some(told.filter_map(|variable| variable["value"].as_str()).collect())
}

/// Prepares a job of images of this group, as those of its actions are. None if the hook has not told of
/// these, because by design it waits for its look at the runner's files for a moment only.
fn prepared_telling(site: &Site, runner: &mut Runner, group: &str) -> Option<Value> {
    let images = ACTIONS.map(|name| of_four(group, name));
    // The second one's container is added when a step has taken the first one's.
    runner.expect(1, &images.each_ref().map(String::as_str), "cat");
    let services = [service(&of_four(group, "service"))];
    let args = json!({"container": job(&of_four(group, "job"), ""), "services": services});
    // The registry answers for none of the four before it was asked for all of them, and the containers
    // of actions are added when the job is ready: asked for only then, none would ever be pulled.
    let preparing = runner.begin("prepare_job", &args, &Value::Null);
    let told = until(PATIENCE, || told_of(site, &runner.name)).expect("its containers are added");
    let is_whole = images.iter().all(|image| told.contains(image));
    if !is_whole {
        // The kubelet would wait for the other two.
        for name in ACTIONS {
            registry::ask(group, name);
        }
    }
    let called = preparing.finish();
    assert_eq!(called.code, 0, "told of {told:?}: {called:?}");
    is_whole.then(|| called.json()["state"].clone())
}

#[test]
fn the_images_of_actions_are_pulled_beside_the_jobs_and_each_is_a_span() {
    let _agent = sole_agent(Effect::Pulls);
    let Some(site) = Site::start() else { return };
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let flags = pre_pulling("/run/ephemon-pre-pull-actions");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let agent = site.agent_to(&collector.endpoint(), &flags);
    let told = (1..=3).find_map(|attempt| {
        let (name, group) = (format!("pre-{attempt}"), fresh("actions"));
        let mut runner = site.runner(&format!("runner-{attempt}"));
        identified(&mut runner, &name);
        let pulled = counted(&agent, "pulled");
        let state = prepared_telling(&site, &mut runner, &group)?;
        Some((runner, state, (name, group), pulled))
    });
    let (runner, state, (of_job, group), pulled) = told.expect("one of the hooks has told of them");
    for name in ACTIONS {
        let own = json!({"entryPoint": "cat", "entryPointArgs": ["/name"]});
        let action = container(&of_four(&group, name), &own);
        let called = runner.call("run_container_step", &action, &state);
        let said = called.stdout.lines().last().unwrap_or_default();
        assert_eq!((called.code, said), (0, &*format!("{group}-{name}")), "{called:?}");
    }
    until_counted(&agent, "pulled", pulled + 3.0);
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    site.kubectl().run(&["delete", "pod", &runner.name, "-n", site.namespace()]);

    let spans = spans_of(&site, &collector, &agent, &of_job);
    let mut pulls = pulls(&spans);
    let of_group = format!("/{group}/");
    pulls.retain(|span| attribute(span, "container.image.name").contains(&of_group));
    assert_eq!(pulls.len(), 4, "one for each image: {pulls:#?}\n{}", agent.log());
    for name in ACTIONS {
        let image = format!("/{group}/{name}");
        let is_its = |span: &&&Span| attribute(span, "container.image.name").ends_with(&image);
        let pull = pulls.iter().find(is_its).unwrap_or_else(|| panic!("{name}: {pulls:#?}"));
        // A step does not wait for one that stands by if its own would start sooner.
        let container = attribute(pull, "k8s.container.name");
        assert!(["standby", "standby-2", "step", "step-2"].contains(&&*container), "{pull:#?}");
        assert_eq!(attribute(pull, "ephemon.image.pre_pulled"), "true", "{pull:#?}");
        assert!(!attribute(pull, "ephemon.image.bytes").is_empty(), "{pull:#?}");
        // It began before anybody had asked for its container.
        let parent = spans.values().find(|span| span.span_id == pull.parent_span_id).unwrap();
        assert_eq!(attribute(parent, "k8s.container.name"), container, "{parent:#?}");
        assert!(pull.start_time_unix_nano < parent.start_time_unix_nano, "{pull:#?} {parent:#?}");
    }
    let complaints: Vec<_> =
        agent.log().lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect();
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
fn what_cannot_be_pulled_is_the_kubelets_to_report_and_what_is_its_own_is_left() {
    // Its registry that never answers keeps the kubelet from all other images, and counts are of the node.
    let Some(site) = Site::alone() else { return };
    let flags = pre_pulling("/run/ephemon-pre-pull-left");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let agent = site.agent(&flags);
    // Denied, and one that is there; in another pod if the agent gave one up, for which nobody waited any
    // more when the runtime answered.
    let present = BUSYBOX;
    let asked = (1..=5).find(|number| {
        let given_up = counted(&agent, "cancelled");
        let runner = site.runner(&format!("runner-1-{number}"));
        let denied = format!("{REGISTRY}/private/{}:1", fresh("denied"));
        let called = runner.prepare_called(&job(present, ""), &[service(&denied)]);
        assert!(called.code == 1 && called.says("imagePullSecrets"), "{called:?}");
        let are_counted = || {
            let all = ["failed", "present"].iter().all(|result| counted(&agent, result) >= 1.0);
            all.then_some(true).or((counted(&agent, "cancelled") > given_up).then_some(false))
        };
        until(PATIENCE, are_counted).unwrap_or_else(|| panic!("not counted:\n{}", agent.log()))
    });
    assert!(asked.is_some(), "given up in each pod:\n{}", agent.log());

    // A registry that never answers holds nobody up but its own pod, and a pod that is deleted no one.
    let hanging = fresh("hang");
    let asked = format!("{REGISTRY}/hang/{hanging}:1");
    let second = site.runner("runner-2");
    let calling = second.begin(
        "prepare_job",
        &json!({"container": job(present, ""), "services": [service(&asked)]}),
        &Value::Null,
    );
    until(PATIENCE, || registry::has_come(&hanging).then_some(())).expect("it was asked for");
    let third = site.runner("runner-3");
    let quick = format!("{REGISTRY}/meet/1/{}/x:1", fresh("quick"));
    let state = third.prepare(&job(present, ""), &[]);
    let own = json!({"entryPoint": "cat", "entryPointArgs": ["/name"]});
    let cancelled = counted(&agent, "cancelled");
    let gone = ["delete", "pod", "runner-2", "-n", site.namespace(), "--grace-period=0", "--force"];
    site.kubectl().run(&gone);
    until_counted(&agent, "cancelled", cancelled + 1.0);
    assert_ne!(calling.finish().code, 0);
    let called = third.call("run_container_step", &container(&quick, &own), &state);
    assert_eq!(called.code, 0, "{called:?}");
    assert_eq!(third.call("cleanup_job", &json!({}), &state).code, 0);

    // With pull secrets only the kubelet pulls.
    let secret = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "ephemon-runner", "namespace": site.namespace()},
        "imagePullSecrets": [{"name": "registry"}],
    });
    site.kubectl().apply(&secret.to_string());
    // Admission reads accounts from a cache, which may be older.
    let mut number = 0;
    let with_secrets = || {
        number += 1;
        let runner = site.runner(&format!("runner-4-{number}"));
        let secrets = site.pod(&runner.name)["spec"]["imagePullSecrets"].clone();
        secrets.as_array().is_some_and(|all| !all.is_empty()).then_some(runner)
    };
    let fourth = until(PATIENCE, with_secrets).expect("a pod with its account's secrets");
    let left = counted(&agent, "pull_secrets");
    let state = fourth.prepare(&job(present, ""), &[service(&quick)]);
    until_counted(&agent, "pull_secrets", left + 2.0);
    assert_eq!(fourth.call("cleanup_job", &json!({}), &state).code, 0);
    agent.stop();
}

#[test]
fn it_goes_on_when_the_runtime_was_started_again_and_so_does_another_agent() {
    let Some(site) = Site::alone() else { return };
    let flags = pre_pulling("/run/ephemon-pre-pull-again");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let agent = site.agent(&flags);
    let runner = site.runner("runner-1");
    let hanging = fresh("hang");
    let asked = format!("{REGISTRY}/hang/{hanging}:1");
    let args = json!({"container": job(BUSYBOX, ""), "services": [service(&asked)]});
    let calling = runner.begin("prepare_job", &args, &Value::Null);
    until(PATIENCE, || registry::has_come(&hanging).then_some(())).expect("it was asked for");
    site.node.stop_containerd();
    let over = || {
        let ends = ["failed", "unreachable", "cancelled"].map(|result| counted(&agent, result));
        (ends.iter().sum::<f64>() >= 1.0).then_some(())
    };
    until(PATIENCE, over).unwrap_or_else(|| panic!("the pull goes on:\n{}", agent.log()));
    site.node.start_containerd();
    let gone = ["delete", "pod", "runner-1", "-n", site.namespace(), "--grace-period=0", "--force"];
    site.kubectl().run(&gone);
    assert_ne!(calling.finish().code, 0);
    prepared_at_once(&site, "runner-2");
    agent.stop();
    let agent = site.agent(&flags);
    prepared_at_once(&site, "runner-3");
    until_counted(&agent, "pulled", 1.0);
    agent.stop();
}

/// Of two images neither of which is given before both were asked for.
fn prepared_at_once(site: &Site, pod: &str) {
    let runner = site.runner(pod);
    let group = fresh("again");
    let image = |name: &str| format!("{REGISTRY}/meet/2/{group}/{name}:1");
    let state = runner.prepare(&job(&image("job"), ""), &[service(&image("one"))]);
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}
