//! The trees that kubelets and runtimes make, by their sources' rules for paths: which directories are
//! pods, which are containers, and which are neither. [`SEEN`] has those that were recorded on a real node.
//!
//! Sources: kubernetes `pkg/kubelet/cm/{pod_container_manager,cgroup_manager}_linux.go` (both drivers);
//! containerd `internal/cri/server` (`getCgroupsPath`: `ID`, or `SLICE:cri-containerd:ID`), the same in
//! 1.x's `pkg/cri/server`; CRI-O
//! `internal/config/cgmgr` (`crio-ID`; `crio-conmon-ID` before 1.36, and of workloads); Docker `daemon/oci_linux.go` (`docker-ID.scope`
//! with systemd), which cri-dockerd leaves as it is; crun `src/libcrun/cgroup-systemd.c`
//! (`find_systemd_subgroup`: on cgroup v2 the processes are in `container` below the scope); gVisor
//! `runsc/container/container.go` (a group for each container, of which at most the sandbox's has processes)
//! and Kata Containers `src/runtime/virtcontainers/sandbox.go` (one group, at the sandbox's path; Kata's has a prefix with cgroupfs, and may have another outside of kubepods); kind and k3d by the `--cgroup-root` of their kubelets.

use super::*;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

/// Name, `--kubepods` if it is needed, the digits of the containers in it, and directories. `U` stands for
/// the pod's UID, `E` for its escaped form, and `<a>` for an id of these digits.
type Layout = (&'static str, Option<&'static str>, &'static str, &'static [&'static str]);

/// Recorded below `/sys/fs/cgroup/cpuacct` on nodes of `tests/node/up` (Kubernetes 1.36.3, cgroup v1), each of
/// a pod with one container; the ids are shortened to one digit. The processes:
///
/// - CRI-O 1.36.3 with crun 1.8.1: in `<b>`. `<a>` is the sandbox's, which has none and is older. The
///   monitors are in CRI-O's own group.
/// - gVisor 160fafc42237, with containerd 2.4.2: all in `podU` itself. `<a>` is the sandbox's, and older.
const SEEN: &[Layout] = &[
    (
        "CRI-O, seen",
        None,
        "ab",
        &["kubepods/burstable/podU/crio-<a>", "kubepods/burstable/podU/crio-<b>"],
    ),
    ("gVisor, seen", None, "ab", &["kubepods/burstable/podU/<a>", "kubepods/burstable/podU/<b>"]),
];

const CGROUPFS: &[Layout] = &[
    ("containerd", None, "ab", &["kubepods/burstable/podU/<a>", "kubepods/burstable/podU/<b>"]),
    ("guaranteed", None, "a", &["kubepods/podU/<a>"]),
    ("best effort", None, "a", &["kubepods/besteffort/podU/<a>"]),
    (
        "CRI-O with groups for its monitors",
        None,
        "ab",
        &[
            "kubepods/burstable/podU/crio-<a>",
            "kubepods/burstable/podU/crio-<b>",
            "kubepods/burstable/podU/crio-conmon-<b>",
        ],
    ),
    ("cri-dockerd", None, "a", &["kubepods/besteffort/podU/<a>"]),
    ("kind", None, "a", &["kubelet/kubepods/burstable/podU/<a>"]),
    ("k3d", None, "a", &["k3s/kubepods/burstable/podU/<a>"]),
    (
        "Kata",
        None,
        "a",
        &["kubepods/burstable/podU/kata_<a>", "kata_overhead/kubepods/burstable/podU/<a>"],
    ),
    (
        "an engine inside a container",
        None,
        "a",
        &["kubepods/burstable/podU/<a>/docker/<c>", "kubepods/burstable/podU/<a>/init"],
    ),
    (
        "what is beside pods",
        None,
        "",
        &["kubepods/burstable/other/<a>", "system.slice/docker-<a>.scope"],
    ),
];

const SYSTEMD: &[Layout] = &[
    (
        "containerd",
        None,
        "ab",
        &[
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podE.slice/cri-containerd-<a>.scope",
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podE.slice/cri-containerd-<b>.scope",
        ],
    ),
    ("guaranteed", None, "a", &["kubepods.slice/kubepods-podE.slice/cri-containerd-<a>.scope"]),
    (
        "CRI-O with runc",
        None,
        "a",
        &[
            "kubepods.slice/kubepods-podE.slice/crio-<a>.scope",
            "kubepods.slice/kubepods-podE.slice/crio-conmon-<a>.scope",
        ],
    ),
    (
        "CRI-O with crun on cgroup v2",
        None,
        "ab",
        &[
            "kubepods.slice/kubepods-podE.slice/crio-<a>.scope/container",
            "kubepods.slice/kubepods-podE.slice/crio-<b>.scope/container",
            "kubepods.slice/kubepods-podE.slice/crio-conmon-<b>.scope",
        ],
    ),
    ("cri-dockerd", None, "a", &["kubepods.slice/kubepods-podE.slice/docker-<a>.scope"]),
    (
        "kind",
        None,
        "a",
        &["kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
           kubelet-kubepods-besteffort-podE.slice/cri-containerd-<a>.scope"],
    ),
    ("gVisor, Kata", None, "a", &["kubepods.slice/kubepods-podE.slice/cri-containerd-<a>.scope"]),
    (
        "another root",
        Some("pods.slice/pods-kubepods.slice"),
        "a",
        &["pods.slice/pods-kubepods.slice/pods-kubepods-podE.slice/cri-containerd-<a>.scope"],
    ),
];

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn directories((_, _, _, directories): &Layout) -> Vec<String> {
    let written = |text: &&str| {
        let text = text.replace("podU", &format!("pod{UID}"));
        let text = text.replace("podE", &format!("pod{}", UID.replace('-', "_")));
        ['a', 'b', 'c']
            .iter()
            .fold(text, |text, digit| text.replace(&format!("<{digit}>"), &id(*digit)))
    };
    directories.iter().map(written).collect()
}

fn layouts() -> impl Iterator<Item = &'static Layout> {
    SEEN.iter().chain(CGROUPFS).chain(SYSTEMD)
}

fn found(events: &[CgroupEvent]) -> Vec<(ContainerId, PodUid, PathBuf)> {
    let mut found: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            CgroupEvent::Created(id, uid, path) => Some((id.clone(), uid.clone(), path.clone())),
            _ => None,
        })
        .collect();
    found.sort();
    found
}

#[track_caller]
fn check(layout: &Layout, events: &[CgroupEvent]) {
    let (name, _, containers, _) = layout;
    let found = found(events);
    let ids: Vec<String> = found.iter().map(|(id, _, _)| id.to_string()).collect();
    let expected: Vec<String> = containers.chars().map(id).collect();
    assert_eq!(ids, expected, "{name}");
    for (container, uid, path) in found {
        assert_eq!(uid.as_str(), UID, "{name}");
        let is_there = directories(layout).iter().any(|one| Path::new(one).starts_with(&path));
        assert!(is_there, "{name}: {container} {}", path.display());
    }
}

#[test]
fn every_layout_is_found_by_a_walk() {
    for layout in layouts() {
        let root = tempfile::tempdir().unwrap();
        for directory in directories(layout) {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let kubepods = layout.1.map(PathBuf::from);
        let mut tree = CgroupTree::new(root.path().to_owned(), kubepods, true);
        let mut events = Vec::new();
        tree.walk(&mut events);
        check(layout, &events);
    }
}

/// The kubelet makes a pod's directory while the agent runs.
#[test]
fn every_layout_is_found_by_events() {
    for layout in layouts() {
        let root = tempfile::tempdir().unwrap();
        let directories = directories(layout);
        let is_below = |top: &&str| directories[0].starts_with(&format!("{top}/"));
        let top = layout.1.or_else(|| name::KUBEPODS_ROOTS.into_iter().find(is_below)).unwrap();
        std::fs::create_dir_all(root.path().join(top)).unwrap();
        let kubepods = layout.1.map(PathBuf::from);
        let mut tree = CgroupTree::new(root.path().to_owned(), kubepods, true);
        let mut events = Vec::new();
        tree.walk(&mut events);
        assert_eq!(found(&events), [], "{}", layout.0);
        for directory in &directories {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        tree.read(&mut events);
        // What was made before a watch was there is listed when the watch is.
        tree.read(&mut events);
        check(layout, &events);
    }
}
