//! Real container engines in runners' pods: Docker as ARC's `dind` mode has it, podman, and builds.
//! What the agent shows of their containers is compared with what the kernel counted in them.

mod pod;
mod shown;

use rustix::process::{Pid, Signal, kill_process};

use super::cpu::assert_cpu;
use super::installed::Installed;
use super::site::Site;
use crate::support::burn::burn;
use crate::support::cgroups::is_v2;
use crate::support::engine_image::{NESTED, needs};
use crate::support::parts::all_there;
use crate::support::verdict::TICK;
use pod::{EnginePod, Form, POD};
use shown::{ERROR_LIMIT, Ended, Shown};

/// The image as Docker's users write it.
const IMAGE: &str = "nested:1";
/// How many containers are over at once.
const QUICK: usize = 6;

/// Seconds that so many containers may be charged for after their final readings: a tick each, where the
/// processor is taken from a process in its last steps.
fn last_steps(containers: usize) -> f64 {
    TICK * containers as f64
}

/// Holds what is shown of all containers of the pod's engine, with version 1 of cgroups, against what the
/// kernel has counted in their directory: it keeps there what removed groups have used.
fn assert_sum(pod: &EnginePod<'_>, all: &[Ended]) {
    let whole = pod.counted_below(&pod.outer_id(), "docker");
    let sum: f64 = all.iter().map(|ended| ended.cpu).sum();
    let allowed = 0.02 + last_steps(all.len()) + whole * 0.01;
    assert!((whole - sum).abs() < allowed, "{sum} of {whole} s: {all:#?}");
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// As engines print ids.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A nested container ends with its own counter, in nanoseconds, as its last line.
fn counted(output: &str) -> f64 {
    let last = output.split_whitespace().next_back();
    last.and_then(|word| word.parse::<f64>().ok()).unwrap_or_else(|| panic!("{output}")) / 1e9
}

/// Holds what is shown of a container against its own counter.
fn assert_used(ended: &Ended, own: f64) {
    assert_cpu(&format!("{ended:?}"), &ended.quality, own, ended.cpu);
}

/// A runtime gives a privileged container the node's cgroup namespace. With version 1 it mounts the
/// container's own groups all the same, below which an engine then makes its own.
fn expected_type(form: Form) -> &'static str {
    let is_beside = is_v2() || form == Form::SidecarWithNodesCgroups;
    if is_beside { "nested_beside" } else { "nested" }
}

/// Plays a scenario in a namespace of its own, where the machine has the engines.
fn on_a_site(play: impl FnOnce(&Site)) {
    if all_there(&needs())
        && let Some(site) = Site::start()
    {
        play(&site);
    }
}

/// The same with the installed agent, a pod whose engine answers, and what the agent shows of it.
fn with_engine(form: Form, play: impl FnOnce(&Site, &Installed, &EnginePod<'_>, &mut Shown<'_>)) {
    on_a_site(|site| {
        let agent = Installed::apply(site, "base", "");
        let pod = EnginePod::create(site, form);
        play(site, &agent, &pod, &mut Shown::installed(site, &agent));
    });
}

#[test]
fn dockers_containers_in_a_sidecar_are_shown_by_name_and_are_in_no_sum() {
    with_engine(Form::Sidecar, |_, agent, pod, shown| {
        assert_shown(pod, shown);

        // Docker removes their files while the agent looks for names.
        let run = format!("docker run --rm --name quick-$n {IMAGE} true & n=$((n+1))");
        pod.run(&format!("n=0; while [ $n -lt {QUICK} ]; do {run}; done; wait"));
        shown.until("the quick ones", |shown| (shown.all_ended().len() >= QUICK + 2).then_some(()));
        let all = shown.all_ended();
        let is_known = |ended: &Ended| {
            let name = ended.name.strip_prefix("dind/").unwrap_or_default();
            name.starts_with("quick-") || ended.id.starts_with(name)
        };
        assert!(all.iter().filter(|ended| is_known(ended)).count() >= QUICK, "{all:#?}");
        shown.until_balanced();
        if !is_v2() {
            assert_sum(pod, &all);
        }
        assert_eq!(agent.complaints(), Vec::<String>::new());
    });
}

/// Two containers at once: names, ids, image, and what each used.
fn assert_shown(pod: &EnginePod<'_>, shown: &mut Shown<'_>) {
    let form = pod.form();
    let (engine, outer) = (form.engine(), form.outer());
    let image = if engine == "docker" { IMAGE } else { NESTED };
    let run = |seconds| {
        let name = format!("burn-{seconds}");
        format!("{engine} run --name {name} {image} sh -c {} > /tmp/{name}", quoted(&burn(seconds)))
    };
    pod.run(&format!("{} & {}; wait", run(1), run(5)));
    for name in ["burn-1", "burn-5"] {
        let own = counted(&pod.run(&format!("cat /tmp/{name}")));
        let id = pod.run(&format!("{engine} inspect --format '{{{{.Id}}}}' {name}"));
        let ended = shown.until_ended(&format!("{outer}/{name}"));
        assert_used(&ended, own);
        assert_eq!((&*ended.id, &*ended.image), (id.trim(), image), "{ended:?}");
        assert_eq!(ended.container_type, expected_type(form));
    }
    shown.until_balanced();
}

#[test]
fn the_books_of_a_pod_hold_when_dockers_container_is_killed_with_all_in_it() {
    with_engine(Form::Classic, |site, agent, pod, shown| {
        assert_shown(pod, shown);

        let outer = pod.outer_id();
        let loops = "while :; do :; done";
        for name in ["first", "second"] {
            pod.run(&format!("docker run -d --name {name} {IMAGE} sh -c {}", quoted(loops)));
        }
        let names = ["first", "second"].map(|name| format!("dind/{name}"));
        for name in &names {
            shown.until(name, |shown| shown.cpu(name).filter(|cpu| *cpu > 0.5));
        }
        let before = names.clone().map(|name| shown.cpu(&name).unwrap());
        kill_process(Pid::from_raw(site.host_pid_of(&outer)).unwrap(), Signal::KILL).unwrap();
        assert_eq!(site.end_of(POD, "dind").0, 137);
        for (name, before) in names.iter().zip(before) {
            let ended = shown.until_ended(name);
            assert!(ended.cpu >= before, "{ended:?} had used {before} s");
            assert!(
                ["exact", "residual", "residual_shared"].contains(&&*ended.quality),
                "{ended:?}"
            );
        }
        shown.until("the outer container", |shown| shown.ended("dind"));
        shown.until_balanced();
        assert_eq!(agent.complaints(), Vec::<String>::new());
    });
}

#[test]
fn steps_of_builds_are_containers_of_the_engine() {
    with_engine(Form::Sidecar, |_, _, pod, shown| {
        let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let file = format!("FROM {IMAGE}\nRUN {work}\n");
        for is_buildkit in [false, true] {
            if is_buildkit {
                pod.build_with_buildkit(&file);
            } else {
                let build = "DOCKER_BUILDKIT=0 docker build --network=none -";
                pod.run(&format!("printf %s {} | {build}", quoted(&file)));
            }
            // BuildKit stores no names, and its ids are shorter.
            let is_steps = |ended: &Ended| {
                let is_short = ended.id.len() == 25;
                let is_unnamed = ended.name == format!("dind/{}", short(&ended.id));
                if is_buildkit {
                    is_short && is_unnamed
                } else {
                    ended.image.starts_with("sha256:")
                }
            };
            let what = format!("the step, is_buildkit = {is_buildkit}");
            let step = shown.until(&what, |shown| shown.all_ended().into_iter().find(is_steps));
            assert_eq!(step.container_type, expected_type(pod.form()), "{step:?}");
            assert!(["exact", "residual"].contains(&&*step.quality), "{step:?}");
            if !is_v2() {
                assert_sum(pod, &shown.all_ended());
            }
        }
        shown.until_balanced();
    });
}

#[test]
fn what_docker_makes_beside_the_pod_is_in_the_pods_books() {
    with_engine(Form::SidecarWithNodesCgroups, |_, _, pod, shown| {
        assert_shown(pod, shown);
        let all = shown.all_ended();
        let ended: f64 = all.iter().map(|ended| ended.cpu).sum();
        let last = last_steps(all.len());
        // The pod's own values follow those of its containers within five seconds.
        let is_same = |beside: &f64| (beside - ended).abs() <= (ended * ERROR_LIMIT).max(last);
        shown.until(&format!("{ended} s beside the pod"), |shown| {
            shown.cpu_beside().filter(is_same)
        });
        let outer = shown.cpu("dind").unwrap();
        let own = pod.counted_below(&pod.outer_id(), "");
        assert!(outer <= own, "it is in no other's values: {outer} s, where {own} s were counted");
    });
}

#[test]
fn podmans_containers_are_shown_by_name_and_its_monitors_are_not_counted_as_theirs() {
    on_a_site(|site| {
        let agent = site.agent(&["--sample-interval", "200ms"]);
        let pod = EnginePod::create(site, Form::Podman);
        let mut shown = Shown::process(site, &agent);
        assert_shown(&pod, &mut shown);
        let work = quoted(&burn(1));
        pod.run("podman pod create --infra=false --name both");
        let own =
            counted(&pod.run(&format!("podman run --pod both --name one {NESTED} sh -c {work}")));
        assert_used(&shown.until_ended("runner/one"), own);

        // The agent does not run while it lives.
        let signal = |signal| kill_process(Pid::from_raw(agent.pid()).unwrap(), signal).unwrap();
        signal(Signal::STOP);
        let own = counted(&pod.run(&format!("podman run --name missed {NESTED} sh -c {work}")));
        let id = pod.run("podman inspect --format '{{.Id}}' missed");
        signal(Signal::CONT);
        let missed = shown.until_ended(&format!("runner/{}", short(&id)));
        assert_used(&missed, own);
        assert_eq!(missed.quality, "residual", "{missed:?}");
        shown.until_balanced();
    });
}
