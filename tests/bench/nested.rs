//! What it costs the capture thread when nested containers of one pod end one by one, before their final
//! values were read.
//!
//! `cargo bench --bench nested`. The node is made of plain files in version 2's formats, so that it needs
//! no right: the figures are those of the agent's own work and of reading files, without the kernel's
//! part for a cgroup. Of one pod at most 256 are followed and 64 captured; the others are counted as left
//! out. Each end is derived from the engine's directory, which has used 1 ms more than was read.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ephemon_base::Heartbeat;
use ephemon_capture::readings::Readings;
use ephemon_capture::{Options, start};
use ephemon_discovery::inventory::Inventory;
use ephemon_model::Quality;
use ephemon_model::node::NodeRoot;
use ephemon_self_metrics::SelfMetrics;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";
const PATIENCE: Duration = Duration::from_mins(1);
/// From one end to the next.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the thread is watched while nothing ends.
const REST: Duration = Duration::from_secs(10);
/// CPU time of each as it was sampled, and what it used after that.
const SAMPLED_US: u64 = 10_000;
const LATE_US: u64 = 1_000;

/// What the ends of one round cost.
struct Cost {
    /// Followed before the first end.
    found: usize,
    /// CPU time of the capture thread in [`REST`] before the first end.
    at_rest: Duration,
    /// The same from the first end until the last was handled.
    cpu: Duration,
    /// Final values by quality.
    finals: BTreeMap<String, usize>,
    /// Σ of the final values, and of what those containers used, in microseconds.
    sums: (u64, u64),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("nested containers of one pod that end one by one, {PAUSE:?} apart");
    for containers in [50, 200, 600] {
        let Cost { found, at_rest, cpu, finals, sums } = round(containers)?;
        let each = cpu.as_secs_f64() * 1e6 / containers as f64;
        println!(
            "  {containers:3} ({found} captured): {:7.1} ms of the capture thread in {REST:?} at rest, \
             {:7.1} ms for all ends, {each:6.1} µs an end; {finals:?}, {} of {} µs",
            at_rest.as_secs_f64() * 1e3,
            cpu.as_secs_f64() * 1e3,
            sums.0,
            sums.1
        );
    }
    Ok(())
}

fn round(containers: u64) -> Result<Cost, Box<dyn std::error::Error>> {
    let node = tempfile::tempdir()?;
    let root = node.path().join("sys/fs/cgroup");
    let outer = root.join(format!("kubepods/burstable/pod{UID}")).join("a".repeat(64));
    fs::create_dir_all(node.path().join("proc"))?;
    fs::create_dir_all(outer.parent().ok_or("a pod")?)?;
    fs::write(root.join("cgroup.controllers"), "cpu memory\n")?;
    put(outer.parent().ok_or("a pod")?, 0)?;
    let options = Options {
        node: NodeRoot::new(node.path()),
        kubepods: None,
        sample_interval: Duration::from_secs(1),
        sample_budget: 1.0,
        max_containers: 100,
        max_nested: ephemon_capture::MAX_NESTED,
        heartbeat: Heartbeat::default(),
    };
    let readings = Readings::default();
    let capture = start(options, readings.clone(), Inventory::default(), SelfMetrics::new()?)?;
    until(|| capture.walked().borrow().then_some(()));
    put(&outer, 0)?;
    until(|| (!readings.snapshot().containers.is_empty()).then_some(()));
    let directory = outer.join("docker");
    put(&directory, 0)?;
    for number in 0..containers {
        let made = node.path().join("made");
        put(&made, SAMPLED_US)?;
        fs::rename(made, group(&directory, number))?;
        // Watches of the directory and of the group are set before the next appears.
        std::thread::sleep(Duration::from_micros(500));
    }
    let expected = usize::try_from(containers)?.min(ephemon_capture::MAX_NESTED / 4);
    let sampled = until(|| {
        let nested = |record: &&std::sync::Arc<ephemon_capture::readings::Record>| {
            record.nested && record.usage.cpu.usage_ns == Some(SAMPLED_US * 1000)
        };
        let found = readings.snapshot().containers.iter().filter(nested).count();
        (found >= expected).then_some(found)
    });
    let thread = Thread::find("ephemon-captur")?;
    let rested = thread.cpu()?;
    std::thread::sleep(REST);
    let before = thread.cpu()?;
    let at_rest = before.saturating_sub(rested);
    for number in 0..containers {
        let used_us = containers * SAMPLED_US + (number + 1) * LATE_US;
        // Never empty, as the kernel's files are not.
        let stat = fs::File::options().write(true).open(directory.join("cpu.stat"))?;
        stat.write_all_at(format!("usage_usec {used_us:010}\n").as_bytes(), 0)?;
        let group = group(&directory, number);
        fs::write(group.join("cpu.stat"), "")?;
        fs::remove_dir_all(group)?;
        std::thread::sleep(PAUSE);
    }
    let ended = until(|| {
        let records = readings.snapshot().containers;
        let ended: Vec<_> =
            records.into_iter().filter(|record| record.nested && record.ended.is_some()).collect();
        (ended.len() >= sampled).then_some(ended)
    });
    let cpu = thread.cpu()?.saturating_sub(before);
    let mut finals = BTreeMap::new();
    for record in &ended {
        let quality = record.ended.as_ref().map_or(Quality::LastSample, |ended| ended.quality);
        *finals.entry(format!("{quality:?}")).or_insert(0) += 1;
    }
    let shown_ns: u64 = ended.iter().filter_map(|record| record.usage.cpu.usage_ns).sum();
    let used_us = u64::try_from(ended.len())? * (SAMPLED_US + LATE_US);
    Ok(Cost { found: sampled, at_rest, cpu, finals, sums: (shown_ns / 1000, used_us) })
}

fn group(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:064x}"))
}

fn put(group: &Path, usage_us: u64) -> std::io::Result<()> {
    fs::create_dir_all(group)?;
    fs::write(group.join("cpu.stat"), format!("usage_usec {usage_us:010}\n"))?;
    fs::write(group.join("cgroup.events"), "populated 1\nfrozen 0\n")
}

fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "nothing came of it");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A thread of this process.
struct Thread(PathBuf);

impl Thread {
    /// The one whose name begins so.
    fn find(name: &str) -> Result<Self, Box<dyn std::error::Error>> {
        for entry in fs::read_dir("/proc/self/task")? {
            let path = entry?.path();
            if fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with(name)) {
                return Ok(Self(path));
            }
        }
        Err("no capture thread".into())
    }

    /// CPU time that it has used.
    fn cpu(&self) -> Result<Duration, Box<dyn std::error::Error>> {
        let text = fs::read_to_string(self.0.join("schedstat"))?;
        let ns = text.split_whitespace().next().ok_or("no schedstat")?.parse()?;
        Ok(Duration::from_nanos(ns))
    }
}
