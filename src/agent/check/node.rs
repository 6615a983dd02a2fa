//! What the node itself has to offer: cgroups, directories, capabilities, limits.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use ephemon_capture as capture;
use ephemon_model::node::NodeRoot;
use rustix::thread::{CapabilitySet, capabilities};

use super::Finding;
use crate::args::Args;
use crate::kubelet_root;
use crate::limits;
use crate::lock::{LockError, NodeLock};

/// The initial PID namespace (`PROC_PID_INIT_INO` in `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";
/// Fewer inotify watches than this are soon used up: each pod and each of its containers takes one or
/// two.
const INOTIFY_WATCHES_MIN: u64 = 8192;

pub(super) fn findings(args: &Args) -> Vec<Finding> {
    let node = NodeRoot::new(&args.node_root);
    let mut findings = vec![
        cgroups(&node, args),
        directory(
            "pod logs",
            &node.pod_logs(),
            "names of containers come late and no logs are read; mount the host's /var/log below \
             --node-root",
        ),
        directory(
            "kubelet's pods",
            &node.join(kubelet_root::of(args)).join("pods"),
            "steps of jobs and values to mask are not read; mount the kubelet's directory below \
             --node-root, or name it by --kubelet-root",
        ),
        processes(&node),
        real_time(),
        network_values(args),
        inotify(&node),
        open_files(),
    ];
    // Looked at while the lock is free, or held by the agent that runs.
    let (state, agent_runs) = state(&node, args);
    findings.extend([state, address(args, agent_runs)]);
    findings
}

fn cgroups(node: &NodeRoot, args: &Args) -> Finding {
    const PART: &str = "cgroups";
    let found = match capture::look(node, args.kubepods.as_deref()) {
        Ok(found) => found,
        Err(error) => return Finding::missing(PART, error.to_string()),
    };
    let capture::Found { hierarchy, root, kubepods } = found;
    let Some(kubepods) = kubepods else {
        let what = format!(
            "{hierarchy}, without the kubelet's tree: no pod runs on this node yet, or it is elsewhere: \
             name it by --kubepods"
        );
        return Finding::limited(PART, what);
    };
    let what = format!("{hierarchy}, {}", kubepods.display());
    if args.enforce_limits && !is_writable(&root) {
        let what = format!(
            "{what}; {} is read-only: --enforce-limits sets none; mount it read-write and run as root",
            root.display()
        );
        return Finding::missing(PART, what);
    }
    Finding::fine(PART, what)
}

fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

fn directory(part: &'static str, at: &Path, without: &str) -> Finding {
    match fs::read_dir(at) {
        Ok(_) => Finding::fine(part, at.display().to_string()),
        Err(error) => Finding::limited(part, format!("{}: {error}: {without}", at.display())),
    }
}

fn processes(node: &NodeRoot) -> Finding {
    const PART: &str = "host's processes";
    let own = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if own.as_os_str() == INITIAL_PID_NAMESPACE {
        return Finding::fine(PART, "the host's PID namespace");
    }
    // A node can be a container itself (kind); its kubelet's processes are then not in the initial
    // namespace. Below a root of its own, `/proc` is the node's, and process 1 its first.
    let first = node.proc().join("1/ns/pid");
    if node.proc() != Path::new("/proc") && fs::read_link(first).is_ok_and(|nodes| nodes == own) {
        return Finding::fine(PART, "the node's PID namespace");
    }
    let what = "a PID namespace of its own: ends on cgroup v1 are seen up to a second late, and limits \
                are set a second late; set hostPID: true";
    Finding::limited(PART, what)
}

fn real_time() -> Finding {
    const PART: &str = "real-time priority";
    match capture::real_time_is_allowed() {
        Ok(()) => Finding::fine(PART, "the kernel allows it"),
        Err(why) => {
            let what = format!("on a busy node final readings may be lower bounds: {why}");
            Finding::limited(PART, what)
        }
    }
}

fn network_values(args: &Args) -> Finding {
    const PART: &str = "network values";
    let held =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE));
    if held {
        return Finding::fine(PART, "CAP_SYS_PTRACE");
    }
    let without = if args.enforce_limits {
        "network values are missing, and limits may be set while the runtime is still at work"
    } else {
        "network values are missing"
    };
    Finding::limited(PART, format!("no CAP_SYS_PTRACE: {without}"))
}

fn inotify(node: &NodeRoot) -> Finding {
    const PART: &str = "inotify";
    let setting = |name: &str| -> Option<u64> {
        let path = node.proc().join("sys/fs/inotify").join(name);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let (watches, instances) = (setting("max_user_watches"), setting("max_user_instances"));
    if let Err(error) = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC) {
        let what = format!(
            "no instance to be had ({error}): the tree is walked five times a second instead; raise \
             fs.inotify.max_user_instances{}",
            instances.map(|now| format!(" (now {now})")).unwrap_or_default()
        );
        return Finding::limited(PART, what);
    }
    match watches {
        Some(watches) if watches < INOTIFY_WATCHES_MIN => Finding::limited(
            PART,
            format!("at most {watches} watches: raise fs.inotify.max_user_watches"),
        ),
        Some(watches) => Finding::fine(PART, format!("at most {watches} watches")),
        None => Finding::fine(PART, "an instance was made"),
    }
}

fn open_files() -> Finding {
    const PART: &str = "open files";
    let (containers, files) = limits::containers_now();
    let what = format!("{files}: at most {containers} containers at once");
    if containers < limits::CONTAINERS_MIN {
        return Finding::limited(PART, format!("{what}; raise it (ulimit -n, LimitNOFILE)"));
    }
    Finding::fine(PART, what)
}

/// The state directory, and whether an agent holds its lock.
fn state(node: &NodeRoot, args: &Args) -> (Finding, bool) {
    const PART: &str = "state directory";
    let directory = node.join(&args.state_dir);
    match NodeLock::take(&directory) {
        Ok(_) => {}
        Err(LockError::Held { holder, .. }) => {
            let who = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            let what = format!("{}: an agent{who} runs on this node", directory.display());
            return (Finding::fine(PART, what), true);
        }
        Err(error @ LockError::Unwritable { .. }) => {
            let what =
                format!("{error}: counts of jobs and positions in logs are lost at a restart");
            return (Finding::limited(PART, what), false);
        }
    }
    (room(&directory, args), false)
}

/// The disk space for the spools.
fn room(directory: &Path, args: &Args) -> Finding {
    const PART: &str = "state directory";
    let free = rustix::fs::statvfs(directory).map(|it| it.f_bavail.saturating_mul(it.f_frsize));
    let Ok(free) = free else {
        return Finding::fine(PART, directory.display().to_string());
    };
    let mib = free / (1 << 20);
    let what = format!("{}, {mib} MiB free", directory.display());
    // A spool for each of the three signals.
    if mib < 3 * u64::from(args.export.spool_mib) {
        let what = format!("{what}: less than the spools may take (3 × --spool-mib)");
        return Finding::limited(PART, what);
    }
    Finding::fine(PART, what)
}

fn address(args: &Args, agent_runs: bool) -> Finding {
    const PART: &str = "listen address";
    let in_use = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    match TcpListener::bind(args.listen) {
        Ok(_) => Finding::fine(PART, args.listen.to_string()),
        Err(error) if in_use(&error) && agent_runs => {
            Finding::fine(PART, format!("{} is in use, as an agent runs on this node", args.listen))
        }
        Err(error) if in_use(&error) => {
            Finding::limited(PART, format!("{} is in use by another program", args.listen))
        }
        Err(error) => Finding::missing(PART, format!("{}: {error}; see --listen", args.listen)),
    }
}
