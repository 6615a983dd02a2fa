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
        processes(),
    ];
    findings.extend(privileges(args));
    findings.extend([inotify(&node), open_files(), state(&node, args), address(args)]);
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

fn processes() -> Finding {
    const PART: &str = "host's processes";
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if namespace.as_os_str() == INITIAL_PID_NAMESPACE {
        return Finding::fine(PART, "the host's PID namespace");
    }
    let what = "a PID namespace of its own: ends on cgroup v1 are seen up to a second late, and limits \
                are set a second late; set hostPID: true";
    Finding::limited(PART, what)
}

fn privileges(args: &Args) -> [Finding; 2] {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let finding = |part, capability, name: &str, without: &str| {
        if held.contains(capability) {
            Finding::fine(part, name)
        } else {
            Finding::limited(part, format!("no {name}: {without}"))
        }
    };
    let trace = if args.enforce_limits {
        "network values are missing, and limits may be set while the runtime is still at work"
    } else {
        "network values are missing"
    };
    [
        finding(
            "real-time priority",
            CapabilitySet::SYS_NICE,
            "CAP_SYS_NICE",
            "on a busy node final readings may be lower bounds",
        ),
        finding("network values", CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE", trace),
    ]
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

fn state(node: &NodeRoot, args: &Args) -> Finding {
    const PART: &str = "state directory";
    let directory = node.join(&args.state_dir);
    match NodeLock::take(&directory) {
        Ok(_) => {}
        Err(LockError::Held { holder, .. }) => {
            let who = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            let what = format!("{}: an agent{who} runs on this node", directory.display());
            return Finding::fine(PART, what);
        }
        Err(error @ LockError::Unwritable { .. }) => {
            let what =
                format!("{error}: counts of jobs and positions in logs are lost at a restart");
            return Finding::limited(PART, what);
        }
    }
    let free = rustix::fs::statvfs(&directory).map(|it| it.f_bavail.saturating_mul(it.f_frsize));
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

fn address(args: &Args) -> Finding {
    const PART: &str = "listen address";
    match TcpListener::bind(args.listen) {
        Ok(_) => Finding::fine(PART, args.listen.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let what =
                format!("{} is in use: by the agent that runs, or by another program", args.listen);
            Finding::limited(PART, what)
        }
        Err(error) => Finding::missing(PART, format!("{}: {error}; see --listen", args.listen)),
    }
}
