//! Containers of containerd and runc, driven as a kubelet drives them: of every length and end.
//!
//! What is true of a container's CPU time is said by a witness that reads the kernel every
//! millisecond, and by the pod's own counter, which keeps what its containers used.

use std::thread;
use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::containerd::{Containerd, PARTS, RUNC};
use crate::support::cri::Cri;
use crate::support::exposition::{Ledger, Series};
use crate::support::kubelet::{Pod, Spec, Started};
use crate::support::node::{Node, PodPlace};
use crate::support::parts::{all_there, busy};
use crate::support::verdict::{self, Truth};
use crate::support::witness::EvidenceSource;

/// How long the agent may take to show what has ended.
const SETTLE: Duration = Duration::from_mins(1);
/// How often a scenario is played at most.
const PLAYS: usize = 8;

/// What all plays of a scenario came to.
#[derive(Debug, Default)]
struct Tally {
    /// Plays in which each final is the container's own.
    clean: usize,
    /// Finals of all plays, and those of them that are not.
    finals: usize,
    worse: usize,
    /// Ends that the witness missed, of containers whose command ran.
    missed: usize,
    /// Containers of clean plays: their figures are compared.
    ran: usize,
    /// Those of them whose CPU time the witness knows.
    known: usize,
}

#[test]
fn each_container_is_shown_with_the_cpu_time_it_used() {
    scenario(&[], |pod, cri| {
        let specs = [
            Spec::load("burn-30ms", "burn 30"),
            Spec::load("burn-50ms", "burn 50"),
            Spec::load("burn-300ms", "burn 300"),
            Spec::load("burn-1s", "burn 1000"),
            Spec::load("burn-5s", "burn 5000"),
            Spec::load("idle-1s", "sleep 1000"),
            Spec::load("memory", "memory 64 sleep 50"),
            Spec::load("files", "write /tmp/file 16"),
            Spec::load("many-pids", "pids 50"),
            Spec::new("shell", ["sh", "-c", "echo one; echo two >&2; exit 3"]),
        ];
        specs.map(|spec| one_after_the_other(pod, cri, &spec)).to_vec()
    });
}

#[test]
fn ends_that_go_wrong_are_shown_like_any_other() {
    scenario(&[], |pod, cri| {
        let oom = Spec::load("out-of-memory", "burn 50 memory 96").limited(48 << 20);
        let missing = Spec::new("missing-command", ["/bin/there-is-no-such-file"]);
        let ran = vec![
            one_after_the_other(pod, cri, &oom),
            one_after_the_other(pod, cri, &Spec::load("after", "burn 100")),
            one_after_the_other(pod, cri, &missing),
        ];
        // Not the reason: a runtime that hears of the kill after the end says `Error`.
        assert_eq!(cri.container_status(&ran[0].id).unwrap().exit_code, 137);
        assert!(!ran[2].runs, "a command that is not there cannot have started");
        ran
    });
}

#[test]
fn ten_that_end_at_once_are_told_apart() {
    scenario(&[], |pod, cri| {
        let ran = thread::scope(|scope| {
            let starts: Vec<_> = (0..10)
                .map(|number| {
                    let cri = cri.again();
                    scope.spawn(move || {
                        let words = format!("wait /gate/open burn {}", 20 + number * 5);
                        pod.run(&cri, &Spec::load(&format!("burst-{number}"), &words))
                    })
                })
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect::<Vec<_>>()
        });
        pod.open_gate();
        for started in &ran {
            pod.wait(cri, &started.id);
        }
        ran
    });
}

#[test]
fn the_runtimes_socket_gives_the_same_names() {
    scenario(&["--cri-socket"], |pod, cri| {
        let specs = [Spec::load("burn-50ms", "burn 50"), Spec::load("burn-300ms", "burn 300")];
        specs.map(|spec| one_after_the_other(pod, cri, &spec)).to_vec()
    });
}

/// One pod on a fresh node with the agent on it; `life` is what happens in the pod.
fn scenario(flags: &[&str], life: impl Fn(&Pod<'_>, &Cri) -> Vec<Started>) {
    scenario_by(RUNC, flags, life);
}

/// The same by this handler of the runtime.
///
/// The runtime removes a cgroup some 50 ms after the container's end. A busy machine may keep the agent
/// from it for longer, which then says that it has no last reading: all is played again, until
/// [`Tally::is_enough`].
pub(crate) fn scenario_by(
    handler: &str,
    flags: &[&str],
    life: impl Fn(&Pod<'_>, &Cri) -> Vec<Started>,
) {
    if !all_there(&PARTS) {
        return;
    }
    let _busy = busy();
    let mut tally = Tally::default();
    for _ in 0..PLAYS {
        play(handler, flags, &life, &mut tally);
        if tally.is_enough() {
            return;
        }
        eprintln!("not enough yet: {tally:?}");
    }
    panic!("the agent missed too many finals, or the witness too many ends: {tally:?}");
}

/// Plays it once. Where a final is not the container's own, the figures of the play prove nothing.
fn play(
    handler: &str,
    flags: &[&str],
    life: impl Fn(&Pod<'_>, &Cri) -> Vec<Started>,
    tally: &mut Tally,
) {
    let node = Node::new();
    let containerd = Containerd::start(&node);
    let cri = containerd.cri();
    let socket = containerd.socket_on(&node);
    let mut flags = flags.to_vec();
    if flags.contains(&"--cri-socket") {
        flags.push(&socket);
    }
    let agent = Agent::start(&node, &flags);
    let pod = Pod::start_by(&node, &cri, PodPlace::new("ci", "runner-0"), handler);
    let witness = EvidenceSource::of(&node, &pod.place);
    let place = pod.place.clone();
    let sandbox = pod.sandbox.clone();

    let ran = life(&pod, &cri);
    let ids: Vec<String> = ran.iter().map(|started| started.id.clone()).collect();
    let seen = witness.testify(&ids);
    let truths: Vec<Truth> = ran
        .iter()
        .map(|started| {
            let seen = seen.get(&started.id).filter(|seen| seen.settled);
            Truth {
                namespace: place.namespace.clone(),
                pod: place.name.clone(),
                name: started.name.clone(),
                id: started.id.clone(),
                cpu_ns: seen.map(|seen| seen.cpu_ns),
            }
        })
        .collect();

    let ledger = verdict::settle(&agent, &truths, SETTLE);
    check_identities(&agent, &ledger, &truths, &sandbox);
    let worse = ["residual_shared", "last_sample"].map(|name| verdict::quality(&ledger, name));
    tally.enter(&ran, &truths, worse.iter().sum());
    if worse != [0, 0] {
        eprintln!("not each final is the container's own: {}", verdict::finals(&ledger));
        pod.stop(&cri, &ids);
        agent.stop();
        return;
    }
    verdict::check(&agent, &ledger, &truths);
    check_books(&agent, &ledger, truths.len());
    let used = Duration::from_nanos(pod.stop(&cri, &ids)).as_secs_f64();
    let cpu = "ephemon_container_cpu_usage_seconds_total";
    let shown = ledger.sum(cpu, &[("pod", &place.name)]).unwrap_or_default();
    let of_sandbox = seen.get(&sandbox).map_or(0, |seen| seen.cpu_ns);
    let sum = shown + Duration::from_nanos(of_sandbox).as_secs_f64();
    assert!(
        (used - sum).abs() <= verdict::tolerance_of_pod(used, truths.len() + 1),
        "the pod used {used} s; {shown} s shown and the sandbox make {sum} s"
    );
    eprintln!(
        "{} containers: {}; the pod used {used:.6} s, {:+.6} s beside them",
        ran.len(),
        verdict::finals(&ledger),
        used - sum
    );
    agent.stop();
}

/// Each container is shown once, by its own name and id, and the sandbox is not. So it is in every play:
/// a busy machine may keep the agent from a container's last reading, but not from knowing who it is.
fn check_identities(agent: &Agent, ledger: &Ledger, truths: &[Truth], sandbox: &str) {
    let infos: Vec<&Series> = ledger.all("ephemon_container_info").map(|(info, _)| info).collect();
    // A busy runtime tells of the image when the name is known by the log: then there are two series.
    let is_less = |one: &Series, whole: &Series| {
        let mut labels = one.labels.iter();
        one != whole && labels.all(|(name, value)| whole.labels.get(name) == Some(value))
    };
    let last = infos.iter().filter(|info| !infos.iter().any(|other| is_less(info, other)));
    let mut shown: Vec<[&str; 2]> =
        last.map(|info| [info.label("container"), info.label("container_id")]).collect();
    let mut ran: Vec<[&str; 2]> =
        truths.iter().map(|truth| [truth.name.as_str(), truth.id.as_str()]).collect();
    shown.sort_unstable();
    ran.sort_unstable();
    assert_eq!(shown, ran, "the sandbox is {sandbox}\n{}", agent.log());
}

/// All have a final, and the sums agree.
fn check_books(agent: &Agent, ledger: &Ledger, ran: usize) {
    let sure = verdict::quality(ledger, "exact") + verdict::quality(ledger, "residual");
    assert!(sure >= ran, "{}", verdict::finals(ledger));
    // A pod that has used next to nothing has no ratio.
    if verdict::accounting_error(ledger).is_some() {
        verdict::balanced(agent, 0.01);
    }
}

// === impl Tally ===

impl Tally {
    /// Adds a play with so many finals that are not the container's own.
    fn enter(&mut self, ran: &[Started], truths: &[Truth], worse: usize) {
        self.clean += usize::from(worse == 0);
        self.finals += ran.len();
        self.worse += worse;
        let known = truths.iter().map(|truth| truth.cpu_ns.is_some());
        // Where the command is not there the runtime may remove the cgroup at once, on any machine.
        let missed = ran.iter().zip(known.clone()).filter(|(one, known)| one.runs && !known);
        self.missed += missed.count();
        if worse == 0 {
            self.ran += ran.len();
            self.known += known.filter(|known| *known).count();
        }
    }

    /// Whether the plays show that the agent has each final where the machine lets it.
    ///
    /// How busy the machine is, the witness tells: it has no longer for an end than the agent, and no event.
    /// So the agent may miss one final in eight more than the witness does: a fault that costs every second
    /// one passes in one run of thirty, however few there are. A busy machine may keep the witness from most
    /// ends, so it need only know a quarter of the figures of all clean plays: with fewer, a wrong one could
    /// hide among those that nobody knows.
    fn is_enough(&self) -> bool {
        let allowed = self.missed + self.finals / PLAYS;
        self.clean > 0 && self.worse <= allowed && self.known * 4 >= self.ran
    }
}

pub(crate) fn one_after_the_other(pod: &Pod<'_>, cri: &Cri, spec: &Spec) -> Started {
    let started = pod.run(cri, spec);
    pod.wait(cri, &started.id);
    started
}
