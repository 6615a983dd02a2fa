//! A thousand short containers, twenty a second, without a runtime: it could not start as many.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::launcher::{self, Ran};
use crate::support::node::{Node, PodPlace};
use crate::support::parts::{Part, all_there, busy, in_vm};
use crate::support::verdict::{self, Truth};

const RATE: u32 = 20;
const PODS: usize = 20;

/// In software emulation one start takes as long as ten do natively: 100 at four a second.
const NATIVE: u32 = 1000;
const EMULATED: u32 = 100;

#[test]
fn a_thousand_containers_of_50_ms_are_found_with_their_figures() {
    churn(35..60);
}

#[test]
fn a_thousand_whose_cgroup_goes_5_ms_after_their_last_process_are_found_too() {
    churn(5..6);
}

/// `linger`: milliseconds a cgroup outlives its process.
fn churn(linger: Range<u64>) {
    if !all_there(&[Part::WritableCgroups]) {
        return;
    }
    let _busy = busy();
    let (count, every) = if in_vm() {
        (EMULATED, Duration::from_millis(250))
    } else {
        (NATIVE, Duration::from_secs(1) / RATE)
    };
    let node = Node::new();
    let agent = Agent::start(&node, &[]);
    let pods: Vec<PodPlace> =
        (0..PODS).map(|number| PodPlace::new("ci", &format!("runner-{number}"))).collect();
    for pod in &pods {
        node.cgroups().make(&pod.cgroup());
    }

    let start = Instant::now();
    let ran: Vec<Ran> = thread::scope(|scope| {
        let (node, pods) = (&node, &pods);
        let lives: Vec<_> = (0..count)
            .map(|number| {
                // A steady rate, whatever the starts take.
                thread::sleep((every * number).saturating_sub(start.elapsed()));
                let linger = Duration::from_millis(fastrand::u64(linger.clone()));
                scope.spawn(move || {
                    let pod = &pods[number as usize % PODS];
                    let name = format!("step-{number:04}");
                    launcher::run(node, pod, &name, "burn 20 sleep 30", linger)
                })
            })
            .collect();
        lives.into_iter().map(|life| life.join().unwrap()).collect()
    });

    let truths: Vec<Truth> = ran.iter().map(Truth::from).collect();
    let ledger = verdict::settle(&agent, &truths, Duration::from_mins(1));
    eprintln!("{count} containers in {:?}: {}", start.elapsed(), verdict::finals(&ledger));
    // All are found on an idle machine, as the benchmark `node` shows. On a busy one a cgroup may be gone
    // before the agent comes to it.
    let (found, missed): (Vec<Truth>, Vec<Truth>) =
        truths.iter().cloned().partition(|truth| verdict::is_shown(&ledger, truth));
    assert!(missed.len() <= truths.len() / 100, "{missed:#?}\n{}", agent.log());
    verdict::check(&agent, &ledger, &found);
    // A pod that is read while one of its containers goes has no residual to give.
    let unknown = verdict::quality(&ledger, "last_sample");
    assert!(unknown <= truths.len() / 100, "{}", verdict::finals(&ledger));
    // What is said on a busy machine is held to the pods' sums.
    assert!(verdict::quality(&ledger, "exact") > 0, "{}", verdict::finals(&ledger));
    // What was missed is in its pod's counter: each is a fiftieth of it.
    let of_pod = |pod: &PodPlace| missed.iter().filter(|truth| truth.pod == pod.name).count();
    let most = pods.iter().map(of_pod).max().unwrap_or_default();
    verdict::balanced(&agent, 0.01 + 1.5 * share(most * PODS, truths.len()));
    for pod in &pods {
        node.cgroups().remove(&pod.cgroup());
    }
    agent.stop();
}

#[expect(clippy::cast_precision_loss, reason = "counts of containers")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
