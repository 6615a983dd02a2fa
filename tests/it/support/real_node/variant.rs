//! Which versions a node is made of. `tests/node/parts` builds them; their numbers stand there.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::parts::{Part, kept, program};
use super::SCRIPTS;

/// The class of pods that Debian's crun runs.
pub(crate) const CRUN: &str = "crun";
/// The class of pods that may have a user namespace: a runc that maps the owners of volumes' files.
pub(crate) const MAPPING_RUNC: &str = "mapping-runc";

/// A set of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The newest Kubernetes and containerd.
    Current,
    /// The newest Kubernetes on Debian's containerd.
    DebianRuntime,
    /// The oldest Kubernetes that the documents claim, on the newest containerd.
    OldestKubernetes,
    /// The newest Kubernetes on CRI-O, with crun.
    CriO,
    /// As [`Self::Current`], with gVisor as a runtime class.
    Gvisor,
}

/// Names the variant of the node that scenarios share, to play them all on it by hand.
const SHARED: &str = "EPHEMON_IT_NODE";

// === impl Variant ===

impl Variant {
    /// The one that scenarios share.
    pub(super) fn shared() -> Self {
        let asked = env::var(SHARED).unwrap_or_default();
        let all =
            [Self::Current, Self::DebianRuntime, Self::OldestKubernetes, Self::CriO, Self::Gvisor];
        match all.into_iter().find(|variant| variant.name() == asked) {
            Some(variant) => variant,
            None if asked.is_empty() => Self::Current,
            None => panic!("{SHARED}: {asked} is none of {:?}", all.map(Self::name)),
        }
    }

    /// For folders.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::DebianRuntime => "debian-runtime",
            Self::OldestKubernetes => "oldest-kubernetes",
            Self::CriO => "cri-o",
            Self::Gvisor => "gvisor",
        }
    }

    /// Where its runtime answers to CRI, in the node.
    pub(super) fn socket(self) -> &'static str {
        match self {
            Self::CriO => "/run/crio/crio.sock",
            _ => "/run/containerd/containerd.sock",
        }
    }

    /// What the machine must have.
    pub(super) fn parts(self) -> Vec<Part> {
        let mut parts = vec![Part::WritableCgroups, Part::MountNamespace];
        parts.extend(
            ["bash", "busybox", "ip", "nsenter", "openssl", "python3", "runc", "unshare"]
                .map(Part::Program),
        );
        parts.push(Part::File("/usr/lib/cni/ptp", "apt-get install containernetworking-plugins"));
        let built = [
            ("KUBERNETES", self.kubernetes()),
            ("KUBERNETES", Self::Current.kubernetes()),
            ("ETCD", folder("etcd", "ETCD")),
        ];
        parts.extend(built.map(|(what, folder)| Part::Built(what, folder)));
        match self {
            Self::CriO => {
                parts.push(Part::Built("CRIO", folder("crio", "CRIO")));
                parts.extend(["conmon", "crun", "podman"].map(Part::Program));
            }
            Self::DebianRuntime => parts.push(Part::Program("containerd")),
            _ => parts.push(Part::Built("CONTAINERD", folder("containerd", "CONTAINERD"))),
        }
        if self == Self::Gvisor {
            parts.push(Part::Built("GVISOR", folder("gvisor", "GVISOR")));
        }
        parts
    }

    /// What `tests/node/up` reads.
    pub(super) fn environment(self) -> Vec<(&'static str, OsString)> {
        let runtime = match self {
            Self::CriO => ("EPHEMON_NODE_CRIO", folder("crio", "CRIO").into()),
            _ => (
                "EPHEMON_NODE_CONTAINERD",
                self.containerd().map_or_else(|| "debian".into(), PathBuf::into_os_string),
            ),
        };
        let mut environment = vec![
            ("EPHEMON_NODE_KUBERNETES", self.kubernetes().into()),
            ("EPHEMON_NODE_KUBECTL", Self::kubectl().into()),
            ("EPHEMON_NODE_ETCD", folder("etcd", "ETCD").into()),
            ("EPHEMON_NODE_RUNTIMES", further_runtimes()),
            runtime,
        ];
        if self == Self::Gvisor {
            environment.push(("EPHEMON_NODE_GVISOR", folder("gvisor", "GVISOR").into()));
        }
        environment
    }

    /// The folder of its Kubernetes.
    fn kubernetes(self) -> PathBuf {
        let version =
            if self == Self::OldestKubernetes { "OLDEST_KUBERNETES" } else { "KUBERNETES" };
        folder("kubernetes", version)
    }

    /// The client, which is the newest's: of the oldest there is none.
    pub(super) fn kubectl() -> PathBuf {
        Self::Current.kubernetes().join("bin/kubectl")
    }

    /// The folder of its containerd, unless it is Debian's or there is none.
    fn containerd(self) -> Option<PathBuf> {
        let is_built = ![Self::DebianRuntime, Self::CriO].contains(&self);
        is_built.then(|| folder("containerd", "CONTAINERD"))
    }

    /// A program of its runtime.
    pub(super) fn program(self, name: &str) -> PathBuf {
        let built = self.containerd().map(|folder| folder.join("bin").join(name));
        built.or_else(|| program(name)).unwrap_or_else(|| name.into())
    }

    /// Where its programs are looked for.
    pub(super) fn path(self) -> Vec<PathBuf> {
        let usual = env::var_os("PATH").unwrap_or_default();
        let mut path: Vec<PathBuf> = env::split_paths(&usual).collect();
        path.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
        if let Some(folder) = self.containerd() {
            path.insert(0, folder.join("bin"));
        }
        path
    }
}

/// What a scenario with one of the further runtimes needs beside the node's own parts.
pub(crate) fn further_parts() -> [Part; 2] {
    [Part::Program("crun"), Part::Built("RUNC", folder("runc", "RUNC"))]
}

/// Those that are there, by their classes.
fn further_runtimes() -> OsString {
    let crun = program("crun").map(|_| Path::new(SCRIPTS).join("crun"));
    let runc = Some(folder("runc", "RUNC").join("bin/runc")).filter(|runc| runc.is_file());
    let mut pairs = OsString::new();
    for (class, program) in [(CRUN, crun), (MAPPING_RUNC, runc)] {
        if let Some(program) = program {
            pairs.push(format!(" {class}="));
            pairs.push(program);
        }
    }
    pairs
}

/// The folder of a part, by the number that the script has for it.
pub(crate) fn folder(part: &str, number: &str) -> PathBuf {
    let script = fs::read_to_string(Path::new(SCRIPTS).join("parts")).unwrap();
    let assigned = format!(" {number}=");
    let version = script
        .split_once(&assigned)
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("tests/node/parts has no {number}"));
    kept().join(format!("{part}-{version}"))
}
