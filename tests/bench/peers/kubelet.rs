//! Metrics on a real node: what the kubelet's cAdvisor shows of short containers and what that costs,
//! beside the agent as it is installed.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::installed::Installed;
use super::runner::Runner;
use super::site::{Site, id_of};
use crate::rig::used;
use crate::support::parts::program;
use crate::support::real_node::RealNode;
use crate::support::workflow_images::BUSYBOX;

/// Seconds of each container's life.
const LIVES: [u64; 3] = [1, 5, 20];
/// Containers of each life.
const ROUNDS: usize = 3;
/// Containers of the second measurement of costs.
const MANY: usize = 110;
/// For so long costs are measured.
const MINUTE: Duration = Duration::from_mins(1);
/// A container's readings become rare at half a minute of age.
const SETTLED: Duration = Duration::from_secs(40);
/// Scrapes whose cost is measured.
const SCRAPES: u32 = 20;
const CADVISOR: &str = "/api/v1/nodes/node1/proxy/metrics/cadvisor";

pub(crate) fn measure() {
    let Some(site) = Site::start() else { return };
    let agent = Installed::apply(&site, "base", "");
    let runners: Vec<Runner> =
        (0..3).map(|number| site.runner(&format!("runner-{number}"))).collect();
    captures(&site, &agent, &runners[0]);
    // What has ended is no longer kept by either.
    thread::sleep(SETTLED);
    costs(&site, &agent, &format!("{} runners' pods", runners.len()));
    let each = MANY.div_ceil(runners.len());
    for runner in &runners {
        add_idle(&site, runner, each);
    }
    thread::sleep(SETTLED);
    costs(&site, &agent, &format!("{} idle ephemeral containers more", each * runners.len()));
}

/// CPU time that each shows of containers which use the processor all their life.
fn captures(site: &Site, agent: &Installed, runner: &Runner) {
    let over = AtomicBool::new(false);
    let (ran, seen) = thread::scope(|scope| {
        let seen = scope.spawn(|| poll(site, &over));
        let mut ran = Vec::new();
        for round in 0..ROUNDS {
            for seconds in LIVES {
                let name = format!("burn-{seconds}-{round}");
                burn(site, runner, &name, seconds);
                site.end_of(&runner.name, &name);
                let own = site.log_of_ended(runner, &name).trim().parse::<f64>().unwrap() / 1e9;
                ran.push((name, seconds, own));
            }
        }
        over.store(true, Ordering::Relaxed);
        (ran, seen.join().unwrap())
    });
    println!(
        "captures: share of the CPU time by the container's own counter, {ROUNDS} of each life"
    );
    println!("| life | kubelet's cAdvisor, scraped each second | ephemon |");
    println!("|---|---|---|");
    for life in LIVES {
        let (mut kubelet, mut ephemon) = (Vec::new(), Vec::new());
        for (name, _, own) in ran.iter().filter(|(_, seconds, _)| *seconds == life) {
            kubelet.push(seen.get(name).copied().unwrap_or(0.0) / own * 100.0);
            let labels = [("container", name.as_str())];
            let shown = agent.scrape_until(|ledger| {
                ledger.sum("ephemon_container_end_time_seconds", &labels)?;
                ledger.sum("ephemon_container_cpu_usage_seconds_total", &labels)
            });
            ephemon.push(shown / own * 100.0);
        }
        println!("| {life} s | {} | {} |", range(&kubelet), range(&ephemon));
    }
}

/// The lowest and the highest.
fn range(shares: &[f64]) -> String {
    let (low, high) = (
        shares.iter().copied().fold(f64::MAX, f64::min),
        shares.iter().copied().fold(0.0, f64::max),
    );
    format!("{low:.1} to {high:.1} %")
}

/// Uses the processor for so long, and ends with its own counter in nanoseconds.
fn burn(site: &Site, runner: &Runner, name: &str, seconds: u64) {
    let script = format!(
        "end=$(($(date +%s) + {seconds})); while [ $(date +%s) -lt $end ]; do :; done; \
         cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2> /dev/null || \
         echo $(($(awk '/^usage_usec/ {{ print $2 }}' /sys/fs/cgroup/cpu.stat) * 1000))"
    );
    let words = ["debug", &runner.name, "-n", site.namespace(), "-c", name, "--profile=general"];
    let more = ["--image", BUSYBOX, "--attach=false", "--quiet", "--", "sh", "-c", &script];
    site.kubectl().run(&[&words[..], &more[..]].concat());
}

/// The most that cAdvisor showed of each container, asked once a second.
fn poll(site: &Site, over: &AtomicBool) -> HashMap<String, f64> {
    let mut most: HashMap<String, f64> = HashMap::new();
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let page = site.kubectl().run(&["get", "--raw", CADVISOR]);
        for line in
            page.lines().filter(|line| line.starts_with("container_cpu_usage_seconds_total{"))
        {
            let name = line.split_once("container=\"").and_then(|(_, rest)| rest.split_once('"'));
            let value = line.rsplit_once("} ").and_then(|(_, rest)| rest.split(' ').next());
            if let (Some((name, _)), Some(Ok(value))) = (name, value.map(str::parse::<f64>)) {
                let shown = most.entry(name.to_owned()).or_default();
                *shown = shown.max(value);
            }
        }
        thread::sleep(Duration::from_secs(1).saturating_sub(begin.elapsed()));
    }
    most
}

/// Adds containers that sleep, in one change of the pod.
fn add_idle(site: &Site, runner: &Runner, count: usize) {
    let names: Vec<String> = (0..count).map(|number| format!("idle-{number}")).collect();
    let containers: Vec<_> = names
        .iter()
        .map(|name| json!({"name": name, "image": BUSYBOX, "command": ["sleep", "100000"]}))
        .collect();
    let patch = json!({"spec": {"ephemeralContainers": containers}}).to_string();
    let words = ["patch", "pod", &runner.name, "-n", site.namespace()];
    let more = ["--subresource", "ephemeralcontainers", "--type", "strategic", "-p", &patch];
    site.kubectl().run(&[&words[..], &more[..]].concat());
    for name in &names {
        site.until_status(&runner.name, name, |status| {
            status.pointer("/state/running").map(|_| ())
        });
    }
}

/// What each uses at rest and for a scrape.
fn costs(site: &Site, agent: &Installed, what: &str) {
    let pod = agent.pod();
    let id = id_of(&pod["status"]["containerStatuses"][0]).unwrap();
    let ours = site.host_pid_of(&id);
    let kubelets = kubelet(&site.node);
    let before = (used::scheduled_seconds(ours), used::scheduled_seconds(kubelets), Instant::now());
    let cadvisor = cadvisor_share(site);
    let seconds = before.2.elapsed().as_secs_f64();
    let at_rest = (
        (used::scheduled_seconds(ours) - before.0) / seconds,
        (used::scheduled_seconds(kubelets) - before.1) / seconds,
    );
    println!("costs: {what}");
    println!("| | kubelet | ephemon |");
    println!("|---|---|---|");
    println!(
        "| CPU at rest | {:.2} % of a core, {} | {:.2} % |",
        at_rest.1 * 100.0,
        cadvisor.map_or("cAdvisor's part not measured".to_owned(), |share| format!(
            "{:.2} % of it in cAdvisor",
            share * 100.0
        )),
        at_rest.0 * 100.0
    );
    let theirs = scrapes(kubelets, at_rest.1, || site.kubectl().run(&["get", "--raw", CADVISOR]));
    let own = scrapes(ours, at_rest.0, || agent.get("/metrics").unwrap().body);
    println!(
        "| CPU of a scrape | {:.2} ms for {} series | {:.2} ms for {} series |",
        theirs.0, theirs.1, own.0, own.1
    );
    println!(
        "| memory | {:.1} MB, all of the kubelet | {:.1} MB |",
        used::resident_bytes(kubelets) as f64 / 1e6,
        used::resident_bytes(ours) as f64 / 1e6
    );
    if let Some(bytes) = working_set(site, &pod) {
        println!(
            "| memory of its container, as the kubelet shows it (working set) | | {:.1} MB |",
            bytes / 1e6
        );
    }
}

/// What counts against the limit of the pod's container, by cAdvisor: its own memory, and pages of files
/// that were first read for it and are in use.
fn working_set(site: &Site, pod: &Value) -> Option<f64> {
    let page = site.kubectl().run(&["get", "--raw", CADVISOR]);
    let named = |key: &str, value: &str| format!("{key}={value:?}");
    let labels = [
        named("container", pod["spec"]["containers"][0]["name"].as_str()?),
        named("pod", pod["metadata"]["name"].as_str()?),
    ];
    let line = page.lines().find(|line| {
        line.starts_with("container_memory_working_set_bytes{")
            && labels.iter().all(|label| line.contains(label))
    })?;
    line.rsplit_once("} ")?.1.split(' ').next()?.parse().ok()
}

/// Milliseconds of CPU time for a scrape over what the process uses anyway, and the page's series.
fn scrapes(pid: i32, at_rest: f64, get: impl Fn() -> String) -> (f64, usize) {
    let (before, begin) = (used::scheduled_seconds(pid), Instant::now());
    let pages = (0..SCRAPES).map(|_| get()).collect::<Vec<_>>();
    let used = used::scheduled_seconds(pid) - before - at_rest * begin.elapsed().as_secs_f64();
    let series = pages[0].lines().filter(|line| !line.starts_with('#')).count();
    (used / f64::from(SCRAPES) * 1e3, series)
}

/// The share of a core that the kubelet spends in cAdvisor's code, by its own profile of a minute.
fn cadvisor_share(site: &Site) -> Option<f64> {
    let seconds = MINUTE.as_secs();
    let path = format!("/api/v1/nodes/node1/proxy/debug/pprof/profile?seconds={seconds}");
    let profile = site.kubectl().command(&["get", "--raw", &path]).output().unwrap();
    assert!(profile.status.success(), "{}", String::from_utf8_lossy(&profile.stderr));
    let Some(go) = program("go") else {
        eprintln!("`go` is not installed: what of the kubelet is cAdvisor cannot be told");
        return None;
    };
    let file = site.node.folder().join("kubelet.pprof");
    fs::write(&file, profile.stdout).unwrap();
    let words = ["tool", "pprof", "-top", "-cum", "-unit=ms", "-focus=google/cadvisor"];
    let told = Command::new(go).args(words).arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    // "Showing nodes accounting for 120ms, 38.71% of 310ms total"
    let line = told.lines().find_map(|line| line.strip_prefix("Showing nodes accounting for "))?;
    let milliseconds: f64 = line.split("ms").next()?.parse().ok()?;
    Some(milliseconds / 1e3 / MINUTE.as_secs_f64())
}

/// The process of the node's kubelet.
fn kubelet(node: &RealNode) -> i32 {
    let folder = node.folder().display().to_string();
    let processes = procfs::process::all_processes().unwrap().flatten();
    let words = |process: &procfs::process::Process| process.cmdline().unwrap_or_default();
    processes
        .filter(|process| process.stat().is_ok_and(|stat| stat.comm == "kubelet"))
        .find(|process| words(process).iter().any(|word| word.contains(&folder)))
        .expect("the kubelet runs")
        .pid
}
