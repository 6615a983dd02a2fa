//! A second, independent reader of the containers' CPU counters: it asks each millisecond.
//!
//! Far too costly for a node and blind to what the agent does, so a fair judge of its figures.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::cgroups::CpuCounter;
use super::node::{Node, PodPlace};
use super::parts::in_vm;
use super::process::until;

/// Watches one pod until it is asked.
#[derive(Debug)]
pub(crate) struct EvidenceSource {
    directory: PathBuf,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<HashMap<String, Seen>>,
}

/// The last it saw of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Its CPU counter.
    pub(crate) cpu_ns: u64,
    /// Whether the counter was read with no process left, which makes it final.
    pub(crate) settled: bool,
}

struct Watched {
    cpu: CpuCounter,
    procs: PathBuf,
    seen: Seen,
    gone: bool,
}

impl EvidenceSource {
    /// Begins to watch every container's cgroup below the pod's.
    pub(crate) fn of(node: &Node, pod: &PodPlace) -> Self {
        let directory = node.cgroups().cpu_directory(&pod.cgroup());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watched = directory.clone();
        let thread = thread::spawn(move || watch(&watched, &stopped));
        Self { directory, stop, thread }
    }

    /// All it saw, by container id, once these containers' cgroups are gone.
    pub(crate) fn testify(self, ids: &[String]) -> HashMap<String, Seen> {
        let gone = |id: &String| {
            let scope = format!("cri-containerd-{id}.scope");
            !self.directory.join(id).exists() && !self.directory.join(scope).exists()
        };
        let all_gone = until(Duration::from_mins(1), || ids.iter().all(gone).then_some(()));
        all_gone.expect("the runtime must remove the cgroups of what has ended");
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn watch(directory: &Path, stop: &AtomicBool) -> HashMap<String, Seen> {
    // Emulation makes everything ten times slower, the runtime's removal of the cgroup too.
    let pause = Duration::from_millis(if in_vm() { 5 } else { 1 });
    let mut watched: HashMap<String, Watched> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let Some(id) = file.to_str().and_then(id_in) else {
                continue;
            };
            if !watched.contains_key(id) {
                let procs = entry.path().join("cgroup.procs");
                if let Ok(cpu) = CpuCounter::open(&entry.path()) {
                    let seen = Seen { cpu_ns: 0, settled: false };
                    watched.insert(id.to_owned(), Watched { cpu, procs, seen, gone: false });
                }
            }
        }
        watched.values_mut().filter(|one| !one.gone).for_each(Watched::look);
        thread::sleep(pause);
    }
    watched.into_iter().map(|(id, one)| (id, one.seen)).collect()
}

/// The container's id in its cgroup's name: `ID`, or `cri-containerd-ID.scope` from systemd.
fn id_in(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = name.strip_prefix("cri-containerd-").unwrap_or(name);
    (id.len() == 64).then_some(id)
}

impl Watched {
    /// First whether anyone is left, then the counter: in this order an empty cgroup's counter is
    /// final. Figures of a removed cgroup cannot be read and leave the earlier ones. The list is
    /// opened anew each time: on v1 a descriptor shows the list of its first read for a second.
    fn look(&mut self) {
        let empty = fs::read(&self.procs).map(|pids| pids.is_empty());
        match (empty, self.cpu.read_ns()) {
            (Ok(settled), Some(cpu_ns)) => self.seen = Seen { cpu_ns, settled },
            _ => self.gone = true,
        }
    }
}
