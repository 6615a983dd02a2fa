//! Containers that containerd is told to run one after the other, without a kubelet: what its events cost, and
//! when each source of the node knows.

use std::thread;
use std::time::{Duration, Instant};

use super::sources::{Places, Source};
use super::table::{self, Truth};
use crate::support::containerd::Containerd;
use crate::support::cri::Cri;
use crate::support::kubelet::{Pod, Spec};
use crate::support::node::{Node, PodPlace};
use crate::support::parts::{Part, all_there};
use crate::support::real_node;

/// Containers of each round, and those before the first, which warm the runtime up.
const ROUND: usize = 100;
const WARM: usize = 10;

pub(crate) fn measure() {
    let programs = real_node::folder("containerd", "CONTAINERD");
    let mut parts = vec![Part::WritableCgroups, Part::Built("containerd 2", programs.clone())];
    parts.extend(["runc", "busybox"].map(Part::Program));
    if !all_there(&parts) {
        return;
    }
    let node = Node::new();
    let containerd = Containerd::start_from(&node, Some(programs.join("bin")));
    let cri = containerd.cri();
    let on_node = |path: String| node.root().join(path.trim_start_matches('/'));
    let places = Places {
        root: node.root(),
        kubepods: Some(node.kubepods().into()),
        cri: containerd.socket(),
        nri: on_node(containerd.plugins_on(&node)),
    };
    // Its CRI hears of the images by events.
    thread::sleep(Duration::from_secs(3));
    let pod = Pod::start(&node, &cri, PodPlace::new("ci", "runner-0"));
    let mut ran = Vec::new();
    let mut round = |name: &str, count: usize| -> Vec<Duration> {
        let ran_now = (0..count).map(|number| run(&pod, &cri, &format!("{name}-{number}")));
        let (times, ids): (Vec<_>, Vec<_>) = ran_now.unzip();
        ran.extend(ids);
        times
    };
    round("warm", WARM);
    let [kernel, logs] = Source::kernel_and_logs(&places);
    let asked = Source::cri(&places);
    let before = round("without", ROUND);
    let events = Source::nri(&places);
    let (used, begin) = (events.used(), Instant::now());
    let with = round("with", ROUND);
    let each = events.used().saturating_sub(used) / u32::try_from(ROUND).unwrap();
    println!(
        "containerd 2, {ROUND} containers of 50 ms in {:.0} s, without a kubelet",
        begin.elapsed().as_secs_f64()
    );
    println!(
        "  creation and start: {} without the plugin, {} with it",
        spread(before),
        spread(with)
    );
    println!(
        "  CPU time of the agent for the events of a container: {:.2} ms",
        each.as_secs_f64() * 1e3
    );
    let truths: Vec<Truth> =
        ran[ran.len() - ROUND..].iter().map(|id| Truth::of(&cri, id)).collect();
    table::print(&[&kernel, &logs, &asked, &events], &truths);
    pod.stop(&cri, &ran);
}

/// How long the runtime took for its calls, and the id.
fn run(pod: &Pod<'_>, cri: &Cri, name: &str) -> (Duration, String) {
    let begin = Instant::now();
    let started = pod.run(cri, &Spec::load(name, "sleep 50"));
    let took = begin.elapsed();
    assert!(started.runs, "{name} starts");
    pod.wait(cri, &started.id);
    (took, started.id)
}

/// The median and the quarters around it.
fn spread(mut all: Vec<Duration>) -> String {
    all.sort();
    let at = |quarter: usize| all[(all.len() - 1) * quarter / 4].as_secs_f64() * 1e3;
    format!("{:.1} ms ({:.1} to {:.1})", at(2), at(1), at(3))
}
