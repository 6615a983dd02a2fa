//! A pod with one container, in which an engine's process runs in a root directory of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::agent::Agent;
use crate::support::cgroups::{CpuCounter, Tree, is_v2};
use crate::support::executable;
use crate::support::exposition::Ledger;
use crate::support::node::{Node, PodPlace};
use crate::support::parts::program;
use crate::support::process::{Running, until};

/// Nothing here takes longer unless it hangs.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// The container in which the engine runs.
const OUTER: &str = "dind";

/// A group of a nested container.
pub(super) struct Group {
    path: String,
    is_beside: bool,
}

/// The node, the pod, the engine, the agent. Fields are dropped in this order.
pub(super) struct Rig {
    agent: Agent,
    engine: Running,
    /// What the engine has started, by number.
    processes: Vec<u32>,
    outer: String,
    root: PathBuf,
    beside: Tree,
    node: Node,
}

/// An id as engines choose them.
pub(super) fn engine_id() -> String {
    format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..))
}

impl Rig {
    /// A pod of this name whose engine can start `count` processes.
    pub(super) fn start(name: &str, count: usize) -> Self {
        let node = Node::new();
        let pod = PodPlace::new("ci", name);
        let root = node.scratch().join("engine");
        for directory in ["bin", "dev", "var/lib/docker/containers"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        executable::place(&program("busybox").unwrap(), &root.join("bin/busybox"));
        // What a shell starts in the background reads from there.
        fs::write(root.join("dev/null"), "").unwrap();
        for number in 1..=count {
            for gate in ["go", "end"] {
                let fifo = root.join(format!("{gate}.{number}"));
                assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
            }
        }
        let outer = format!("{}/{}", pod.cgroup(), engine_id());
        let agent = Agent::start(&node, &["--sample-interval", "200ms"]);
        node.make_log_directory(&pod, OUTER);
        node.cgroups().make(&pod.cgroup());
        node.cgroups().make(&outer);
        node.link_log(&pod, OUTER, outer.rsplit('/').next().unwrap());
        // As the script of Docker's image does on v2, so that groups below can have controllers.
        let own = if is_v2() { format!("{outer}/init") } else { outer.clone() };
        node.cgroups().make(&own);
        let child = "read loops < /go.$n; i=0; while [ $i -lt $loops ]; do i=$((i+1)); done; \
                     : > /done.$n; read word < /end.$n";
        let script = format!(
            "read word < /go.0; n=1; while [ $n -le {count} ]; do ({child}) & n=$((n+1)); done; \
             wait; read word < /end.0"
        );
        for gate in ["go.0", "end.0"] {
            assert!(Command::new("mkfifo").arg(root.join(gate)).status().unwrap().success());
        }
        let busybox = program("busybox").unwrap();
        let mut command = Command::new(busybox);
        command.arg("chroot").arg(&root).args(["/bin/busybox", "sh", "-c", &script]);
        let engine = Running::start(&mut command);
        let beside = Tree::new();
        let processes = Vec::new();
        let mut rig = Self { agent, engine, processes, outer: outer.clone(), root, beside, node };
        let own = Group { path: own, is_beside: false };
        rig.enter(&own, rig.engine.pid().cast_unsigned());
        rig.open("go.0", "");
        let engine = rig.engine.pid();
        let children = format!("/proc/{engine}/task/{engine}/children");
        rig.processes = until(PATIENCE, || {
            let children = fs::read_to_string(&children).ok()?;
            let children: Vec<u32> =
                children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
            (children.len() == count).then_some(children)
        })
        .unwrap();
        rig.scrape_until(|ledger| {
            ledger.with("ephemon_container_info", &[("container", OUTER)]).count() == 1
        });
        rig
    }

    /// Makes a group below the container's.
    pub(super) fn below(&self, path: &str) -> Group {
        let path = format!("{}/{path}", self.outer);
        self.node.cgroups().make(&path);
        Group { path, is_beside: false }
    }

    /// Makes a group beside the kubelet's tree.
    pub(super) fn beside(&self, path: &str) -> Group {
        self.beside.make(path);
        Group { path: path.to_owned(), is_beside: true }
    }

    fn tree(&self, group: &Group) -> &Tree {
        if group.is_beside { &self.beside } else { self.node.cgroups() }
    }

    /// Puts a process into a group.
    pub(super) fn enter(&self, group: &Group, pid: u32) {
        for directory in self.tree(group).directories(&group.path) {
            fs::write(directory.join("cgroup.procs"), pid.to_string())
                .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        }
    }

    /// Writes what the engine stores of a container.
    pub(super) fn config(&self, id: &str, text: &str) {
        let directory = self.root.join("var/lib/docker/containers").join(id);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.v2.json"), text).unwrap();
    }

    /// Runs the engine's process of this number in a group, and waits until it has counted so far.
    pub(super) fn run(&self, number: usize, group: &Group, loops: u64) {
        let pid = self.processes[number - 1];
        self.enter(group, pid);
        self.open(&format!("go.{number}"), &loops.to_string());
        until(PATIENCE, || self.root.join(format!("done.{number}")).exists().then_some(()))
            .unwrap_or_else(|| panic!("process {number} does not get on"));
    }

    /// Ends the process and removes the group, as an engine does.
    pub(super) fn end(&self, number: usize, group: &Group) {
        self.open(&format!("end.{number}"), "");
        self.tree(group).remove(&group.path);
    }

    fn open(&self, gate: &str, text: &str) {
        fs::write(self.root.join(gate), format!("{text}\n")).unwrap();
    }

    /// CPU time of a group by the kernel, in seconds.
    pub(super) fn cpu(&self, group: &Group) -> f64 {
        let directory = self.tree(group).cpu_directory(&group.path);
        let ns = CpuCounter::open(&directory).unwrap().read_ns().unwrap();
        Duration::from_nanos(ns).as_secs_f64()
    }

    pub(super) fn scrape_until(&self, is_so: impl Fn(&Ledger) -> bool) -> Ledger {
        let mut ledger = Ledger::default();
        until(PATIENCE, || {
            self.agent.scrape_into(&mut ledger);
            is_so(&ledger).then_some(())
        })
        .unwrap_or_else(|| panic!("in vain: {ledger:?}\n{}", self.agent.log()));
        ledger
    }

    pub(super) fn cpu_is_shown(&self, container: &str) -> bool {
        let ledger = self.scrape_until(|_| true);
        let cpu = "ephemon_container_cpu_usage_seconds_total";
        ledger.sum(cpu, &[("container", container)]).is_some()
    }

    /// CPU time of the agent in seconds.
    pub(super) fn agent_cpu(&self) -> f64 {
        let ledger = self.scrape_until(|_| true);
        ledger.sum("process_cpu_seconds_total", &[]).unwrap()
    }

    /// Stops the agent's threads, and waits until the last one of them stands.
    pub(super) fn pause(&self) {
        self.signal(Signal::STOP);
        let threads = format!("/proc/{}/task", self.agent.pid());
        // `proc_pid_stat(5)`: the state is behind the name, which is in brackets.
        let is_stopped = |thread: fs::DirEntry| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        until(PATIENCE, || fs::read_dir(&threads).unwrap().flatten().all(is_stopped).then_some(()))
            .expect("the agent stops");
    }

    /// Lets them go on.
    pub(super) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.agent.pid()).unwrap(), signal).unwrap();
    }
}
