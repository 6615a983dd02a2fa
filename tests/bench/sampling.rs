//! What one reading of one container costs: files kept open against files opened anew.
//!
//! `cargo bench --bench sampling`. Needs a cgroup it may make groups in (root, or a delegated one).
//! Budget: ≤ 35 µs a container-sample (`deploy/docs/performance.md`).

#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ephemon_cgroup::{Detected, Files, Hierarchy};
use ephemon_model::Usage;

const CONTAINERS: usize = 110;
const ROUNDS: usize = 200;
const BUDGET_US: f64 = 35.0;

/// Groups with a sleeping process each; removed when dropped.
struct Groups {
    roots: Vec<PathBuf>,
    sleepers: Vec<Child>,
}

impl Groups {
    fn make(hierarchy: &Hierarchy) -> std::io::Result<Self> {
        let mounts: Vec<&Path> = match hierarchy {
            Hierarchy::V2 { root } => vec![root],
            Hierarchy::V1 { mounts } => mounts.values().map(PathBuf::as_path).collect(),
        };
        let name = format!("ephemon-bench-{}", std::process::id());
        let mut groups =
            Self { roots: mounts.iter().map(|at| at.join(&name)).collect(), sleepers: Vec::new() };
        for root in &groups.roots {
            std::fs::create_dir_all(root)?;
            if hierarchy.has_events() {
                std::fs::write(root.join("cgroup.subtree_control"), "+cpu +memory +io +pids")?;
            }
        }
        for number in 0..CONTAINERS {
            let sleeper = Command::new("sleep").arg("600").spawn()?;
            for root in &groups.roots {
                let group = root.join(number.to_string());
                std::fs::create_dir_all(&group)?;
                std::fs::write(group.join("cgroup.procs"), sleeper.id().to_string())?;
            }
            groups.sleepers.push(sleeper);
        }
        Ok(groups)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for sleeper in &mut self.sleepers {
            drop(sleeper.kill());
            drop(sleeper.wait());
        }
        for root in &self.roots {
            for number in 0..CONTAINERS {
                drop(std::fs::remove_dir(root.join(number.to_string())));
            }
            drop(std::fs::remove_dir(root));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hierarchy = Hierarchy::detect(Path::new("/sys/fs/cgroup"))?;
    let groups = match Groups::make(&hierarchy) {
        Ok(groups) => groups,
        Err(error) => {
            println!("sampling: skipped: no cgroup can be made here ({error})");
            return Ok(());
        }
    };
    let name = format!("ephemon-bench-{}", std::process::id());
    let paths: Vec<PathBuf> =
        (0..CONTAINERS).map(|number| Path::new(&name).join(number.to_string())).collect();
    let mut buffer = Vec::new();
    let mut kept: Vec<Files> = paths.iter().map(|path| Files::open(&hierarchy, path)).collect();

    let kept_us = median_us(|| {
        for files in &mut kept {
            let mut usage = Usage::default();
            assert!(files.read(&mut usage, &mut buffer).is_ok());
            assert!(usage.cpu.usage_ns.is_some());
        }
    });
    let anew_us = median_us(|| {
        for path in &paths {
            let mut usage = Usage::default();
            let mut files = Files::open(&hierarchy, path);
            assert!(files.read(&mut usage, &mut buffer).is_ok());
        }
    });
    println!("{}; {CONTAINERS} containers, median of {ROUNDS} rounds", Detected(&hierarchy));
    println!("  kept open    {kept_us:6.1} µs a container-sample (budget {BUDGET_US})");
    println!("  opened anew  {anew_us:6.1} µs a container-sample ({:.1}×)", anew_us / kept_us);
    let core = kept_us * CONTAINERS as f64 / 1e6 * 100.0;
    println!("  {CONTAINERS} containers at 1 Hz: {core:.2} % of a core for reading");
    drop(groups);
    if kept_us > BUDGET_US { Err("over budget".into()) } else { Ok(()) }
}

/// Microseconds a container in the median round.
fn median_us(mut round: impl FnMut()) -> f64 {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed()
        })
        .collect();
    rounds.sort();
    rounds.get(ROUNDS / 2).map_or(0.0, Duration::as_secs_f64) * 1e6 / CONTAINERS as f64
}
