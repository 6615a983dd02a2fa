//! The whole agent on a busy node: what it finds, how exact it is, what it costs.
//!
//! `cargo bench --bench node` (needs root). Takes eight minutes: 1000 containers of 50 ms at twenty
//! a second, then twice 110 that live for two minutes, idle and at work, then three idle ones.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    dead_code,
    reason = "a program that prints figures, on the test rig, of which it uses a part"
)]

use std::thread;
use std::time::{Duration, Instant};

#[path = "../it"]
mod it {
    pub(crate) mod support;
}

#[path = "rig"]
mod rig {
    pub(crate) mod parts;
    pub(crate) mod used;
}

use it::support::agent::{Agent, TEXT};
use it::support::exposition::Ledger;
use it::support::launcher::{self, Ran};
use it::support::node::{Node, PodPlace};
use it::support::parts::{Part, all_there};
use it::support::verdict::{self, Truth};
use rig::{parts, used};

const SHORT: u32 = 1000;
const LONG: u32 = 110;
const LONG_MS: u32 = 120_000;
const PODS: usize = 20;

fn main() {
    if !all_there(&[Part::WritableCgroups]) {
        return;
    }
    let node = Node::new();
    let pods: Vec<PodPlace> =
        (0..PODS).map(|number| PodPlace::new("ci", &format!("runner-{number}"))).collect();
    for pod in &pods {
        node.cgroups().make(&pod.cgroup());
    }
    // `cargo bench --bench node -- cost` runs that part alone; `capture`, `busy` and `rest` are the
    // others.
    if parts::is_wanted("capture") {
        let agent = Agent::start(&node, &[]);
        capture(&node, &pods, &agent);
        agent.stop();
    }
    if parts::is_wanted("cost") {
        let agent = Agent::start(&node, &[]);
        cost(&node, &pods, &agent, LONG, "idle", &format!("sleep {LONG_MS}"));
        agent.stop();
    }
    if parts::is_wanted("busy") {
        let agent = Agent::start(&node, &[]);
        let words = "burn 1 sleep 250 ".repeat(LONG_MS as usize / 251);
        cost(&node, &pods, &agent, LONG, "at work four times a second", words.trim_end());
        agent.stop();
    }
    if parts::is_wanted("rest") {
        let agent = Agent::start(&node, &[]);
        cost(&node, &pods, &agent, 3, "idle", &format!("sleep {LONG_MS}"));
        agent.stop();
    }
    for pod in &pods {
        node.cgroups().remove(&pod.cgroup());
    }
}

/// 1000 containers of 50 ms, twenty a second.
fn capture(node: &Node, pods: &[PodPlace], agent: &Agent) {
    let every = Duration::from_millis(50);
    let start = Instant::now();
    let ran: Vec<Ran> = thread::scope(|scope| {
        let lives: Vec<_> = (0..SHORT)
            .map(|number| {
                thread::sleep((every * number).saturating_sub(start.elapsed()));
                let linger = Duration::from_millis(fastrand::u64(35..60));
                let pod = &pods[number as usize % PODS];
                let name = format!("step-{number:04}");
                scope.spawn(move || launcher::run(node, pod, &name, "burn 20 sleep 30", linger))
            })
            .collect();
        lives.into_iter().map(|life| life.join().unwrap()).collect()
    });
    let took = start.elapsed();
    let truths: Vec<Truth> = ran.iter().map(Truth::from).collect();
    let ledger = verdict::settle(agent, &truths, Duration::from_mins(1));
    verdict::check(agent, &ledger, &truths);
    let worst = ran.iter().map(|one| off_by_us(&ledger, one)).fold(0.0, f64::max);
    println!("capture: {SHORT} containers of 50 ms in {:.0} s", took.as_secs_f64());
    println!("  found {SHORT}; finals: {}", verdict::finals(&ledger));
    println!("  largest difference to the kernel's last figure: {worst:.0} µs of CPU time");
    let error = verdict::accounting_error(&ledger).unwrap_or_default();
    println!("  largest accounting error of a pod: {:.3} %", error * 100.0);
    let cpu = cpu_seconds(node);
    println!("  agent: {:.2} % of a core meanwhile", cpu / took.as_secs_f64() * 100.0);
}

fn off_by_us(ledger: &Ledger, ran: &Ran) -> f64 {
    let labels = [("namespace", "ci"), ("pod", ran.pod.as_str()), ("container", ran.name.as_str())];
    let shown = ledger.sum("ephemon_container_cpu_usage_seconds_total", &labels);
    let known = Duration::from_nanos(ran.cpu_ns).as_secs_f64();
    (shown.expect("checked before") - known).abs() * 1e6
}

/// So many containers that live long enough to be sampled once a second.
fn cost(node: &Node, pods: &[PodPlace], agent: &Agent, count: u32, what: &str, words: &str) {
    thread::scope(|scope| {
        for number in 0..count {
            let pod = &pods[number as usize % PODS];
            scope.spawn(move || {
                let name = format!("service-{number:03}");
                launcher::run(node, pod, &name, words, Duration::from_millis(50))
            });
        }
        // Past the first half minute the steady interval holds.
        thread::sleep(Duration::from_secs(40));
        let (before, work) = (cpu_seconds(node), Work::of(node));
        thread::sleep(Duration::from_mins(1));
        let cpu = cpu_seconds(node) - before;
        let work = Work::of(node).since(&work);
        let after = scrape(agent);
        println!("cost: {count} containers at 1 Hz, {what}");
        println!("  CPU {:.2} % of a core", cpu / 60.0 * 100.0);
        println!("  each second: {work}");
        let rss = figure(&after, "process_resident_memory_bytes");
        let pid = pid(node).parse().unwrap();
        let touched = used::touched_bytes(pid, || {
            for _ in 0..5 {
                thread::sleep(Duration::from_secs(2));
                scrape(agent);
            }
        });
        println!(
            "  memory {:.1} MB RSS (budget 12), {:.1} MB of it used in ten seconds with five scrapes",
            rss / 1e6,
            touched as f64 / 1e6
        );
        let mut times: Vec<Duration> = (0..50)
            .map(|_| {
                let start = Instant::now();
                let answer = agent.get("/metrics", TEXT);
                assert_eq!(answer.status, 200);
                start.elapsed()
            })
            .collect();
        times.sort();
        let lines =
            agent.get("/metrics", TEXT).body.lines().filter(|l| !l.starts_with('#')).count();
        println!("  scrape over HTTP: {lines} series in {:.2} ms (median of 50)", ms(times[25]));
    });
}

/// What the agent has done so far, by the kernel's books.
#[derive(Default)]
struct Work {
    wakeups: u64,
    reads: u64,
    writes: u64,
    written_bytes: u64,
}

impl Work {
    fn of(node: &Node) -> Self {
        let pid = pid(node);
        let figure = |path: String, name: &str| -> u64 {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
        };
        let io = |name: &str| figure(format!("/proc/{pid}/io"), name);
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let wakeups = tasks.map(|task| {
            figure(task.path().join("status").display().to_string(), "voluntary_ctxt_switches:")
        });
        Self {
            wakeups: wakeups.sum(),
            reads: io("syscr:"),
            writes: io("syscw:"),
            written_bytes: io("write_bytes:"),
        }
    }

    /// A line of the rates over a minute.
    fn since(&self, before: &Self) -> String {
        let rate = |now: u64, before: u64| (now - before) as f64 / 60.0;
        format!(
            "{:.1} wakeups, {:.1} reads, {:.1} writes, {:.0} bytes to the disk",
            rate(self.wakeups, before.wakeups),
            rate(self.reads, before.reads),
            rate(self.writes, before.writes),
            rate(self.written_bytes, before.written_bytes),
        )
    }
}

/// The agent's process number, which its lock holds.
fn pid(node: &Node) -> String {
    let lock = node.root().join("var/lib/ephemon/agent.lock");
    std::fs::read_to_string(lock).unwrap().trim().to_owned()
}

/// CPU time of the agent: finer than the whole seconds of its own process metrics.
fn cpu_seconds(node: &Node) -> f64 {
    used::scheduled_seconds(pid(node).parse().unwrap())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn scrape(agent: &Agent) -> Ledger {
    let mut ledger = Ledger::default();
    agent.scrape_into(&mut ledger);
    ledger
}

fn figure(ledger: &Ledger, name: &str) -> f64 {
    ledger.sum(name, &[]).unwrap_or_default()
}
