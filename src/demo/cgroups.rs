//! Where the embedded node puts its containers: real cgroups of either version, or a scratch tree.
//!
//! They are tried in that order, and the result is logged in one line. Everything is below
//! `ephemon-demo-PID/kubepods`, separate from a real node on the same machine.

pub(crate) mod place;

mod kernel;
pub(crate) mod leftover;
mod scratch;
mod v1;
mod v2;

use std::io;
use std::path::{Path, PathBuf};

pub use place::{Figures, Limits, Place};
pub(crate) use scratch::{CgroupWriter, Counters};

/// Prefix of the parent cgroup's name, before the demo's process id.
const PREFIX: &str = "ephemon-demo-";

/// Which back end to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Choice {
    /// The first that works: version 1, version 2, scratch.
    #[default]
    Auto,
    /// Real cgroups, version 1.
    V1,
    /// Real cgroups, version 2.
    V2,
    /// A tree of plain files that the embedded node writes: no kernel counts, no kernel enforces.
    Scratch,
}

/// Why no cgroup can be created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The hierarchy is not mounted.
    #[error("no cgroup {0} hierarchy with a CPU time counter is mounted")]
    NotMounted(&'static str),
    /// A directory or file cannot be created or written.
    #[error("cannot {act} {}: {source}", path.display())]
    Io {
        /// `create`, `write`, `remove`.
        act: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A cgroup can be created, but a process cannot be moved into it.
    #[error("cgroups can be created below {}, but processes cannot be moved into them", .0.display())]
    NoEntry(PathBuf),
}

/// The chosen back end, with its parent cgroup.
#[derive(Debug)]
pub struct Cgroups {
    tree: Tree,
    base: String,
    /// Why it is a scratch tree, if real cgroups were tried.
    refused: Option<Error>,
}

#[derive(Debug)]
enum Tree {
    V1(v1::Tree),
    V2(v2::Tree),
    Scratch(scratch::Tree),
}

/// A pod's quality of service, which determines the path of its cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Directly below `kubepods`.
    Guaranteed,
    /// Below `burstable`.
    Burstable,
    /// Below `besteffort`.
    BestEffort,
}

// === impl Cgroups ===

impl Cgroups {
    /// Creates the parent cgroup with the first back end that works. `scratch` is the path of a
    /// scratch tree, `binary` this program. First removes what ended demos left behind.
    pub fn open(choice: Choice, scratch: &Path, binary: &Path) -> Result<Self, Error> {
        leftover::sweep();
        let base = format!("{PREFIX}{}", unique());
        let v1 = || v1::Tree::open(binary, &base).map(Tree::V1);
        let v2 = || v2::Tree::open(binary, &base).map(Tree::V2);
        let plain = || scratch::Tree::open(scratch, &base).map(Tree::Scratch);
        let mut refused = None;
        let tree = match choice {
            Choice::Auto => v1().or_else(|first| {
                v2().or_else(|second| {
                    let unmounted = matches!(first, Error::NotMounted(_));
                    refused = Some(if unmounted { second } else { first });
                    plain()
                })
            }),
            Choice::V1 => v1(),
            Choice::V2 => v2(),
            Choice::Scratch => plain(),
        }?;
        let base = match &tree {
            Tree::V2(tree) => tree.base().to_owned(),
            Tree::V1(_) | Tree::Scratch(_) => base,
        };
        Ok(Self { tree, base, refused })
    }

    /// One line that describes it.
    pub fn describe(&self) -> String {
        match &self.tree {
            Tree::V1(tree) => format!("cgroups: real, version 1 ({})", tree.controllers()),
            Tree::V2(tree) => format!("cgroups: real, version 2 ({})", tree.controllers()),
            Tree::Scratch(_) => {
                let scratch = "cgroups: a scratch tree of the kernel's files, written from /proc \
                    and wait4; nothing enforces limits";
                match &self.refused {
                    Some(why) => format!("{scratch} ({why})"),
                    None => scratch.to_owned(),
                }
            }
        }
    }

    /// Whether a kernel enforces memory limits.
    pub fn enforces_memory(&self) -> bool {
        match &self.tree {
            Tree::V1(tree) => tree.has("memory"),
            Tree::V2(tree) => tree.has("memory"),
            Tree::Scratch(_) => false,
        }
    }

    /// Whether the kernel itself counts.
    pub fn is_real(&self) -> bool {
        !matches!(self.tree, Tree::Scratch(_))
    }

    /// The path that replaces `/sys/fs/cgroup` of the node.
    pub fn mount(&self) -> &Path {
        match &self.tree {
            Tree::V1(tree) => tree.mount(),
            Tree::V2(tree) => tree.mount(),
            Tree::Scratch(tree) => tree.mount(),
        }
    }

    /// The node's kubepods cgroup, relative to the hierarchy's root.
    pub fn kubepods(&self) -> String {
        format!("{}/kubepods", self.base)
    }

    /// A pod's cgroup, named as by the kubelet with the cgroupfs driver.
    pub fn pod(&self, qos: Qos, uid: &str) -> Place {
        let relative = match qos {
            Qos::Guaranteed => format!("{}/pod{uid}", self.kubepods()),
            Qos::Burstable => format!("{}/burstable/pod{uid}", self.kubepods()),
            Qos::BestEffort => format!("{}/besteffort/pod{uid}", self.kubepods()),
        };
        match &self.tree {
            Tree::V1(tree) => tree.place(&relative),
            Tree::V2(tree) => Place::V2 { dir: tree.directory(&relative) },
            Tree::Scratch(tree) => {
                let (dir, ledger) = tree.directories(&relative);
                Place::Scratch { dir, ledger }
            }
        }
    }

    /// Removes the parent cgroup with everything below it; kills processes in it.
    pub fn close(&self) {
        match &self.tree {
            Tree::V1(tree) => tree.close(&self.base),
            Tree::V2(tree) => tree.close(),
            Tree::Scratch(tree) => tree.close(),
        }
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        self.close();
    }
}

/// The process id, and a number if one process runs several nodes.
fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    match NEXT.fetch_add(1, Ordering::Relaxed) {
        0 => std::process::id().to_string(),
        nth => format!("{}-{nth}", std::process::id()),
    }
}

// === impl Qos ===

impl Qos {
    /// From the pod's `status.qosClass`.
    pub fn of(class: &str) -> Self {
        match class {
            "Guaranteed" => Self::Guaranteed,
            "Burstable" => Self::Burstable,
            _ => Self::BestEffort,
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::Guaranteed => "",
            Self::Burstable => "burstable",
            Self::BestEffort => "besteffort",
        }
    }
}
