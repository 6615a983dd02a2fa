//! The file system of a container of the embedded node: this machine's own files, with the pod's
//! volumes, its hosts file and its own cgroup mounted over them.
//!
//! It has its own mount namespace if the kernel allows one, as root or in a user namespace.
//! Otherwise (in a plain container) paths in the container's arguments are replaced instead, and
//! the demo says so.

use std::env::set_current_dir;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount,
};
use rustix::process::{chroot, getegid, geteuid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use super::helper;

/// How a container gets its volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum MountMode {
    /// A mount namespace.
    Namespace,
    /// A mount namespace in a user namespace, in which a process cannot change its user.
    UserNamespace,
    /// None: mount paths are replaced by paths of the node in command, arguments and environment.
    Textual,
}

/// One container's view.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct View {
    pub(super) mount_mode: MountMode,
    /// An empty directory for the new root.
    pub(super) root: PathBuf,
    pub(super) mounts: Vec<Mount>,
    /// The pod's hosts file.
    pub(super) hosts: PathBuf,
    /// What is mounted at `/sys/fs/cgroup`: one directory, or one for each controller, with its
    /// name.
    pub(super) cgroups: Vec<(Option<String>, PathBuf)>,
    pub(super) working_directory: Option<PathBuf>,
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mount {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

/// Names in the root directory that are not bound, because the new root has its own.
const OWN: [&str; 2] = ["sys", "lost+found"];

// === impl MountMode ===

impl MountMode {
    /// The best mode that this machine allows, found by trying. Needs an empty directory.
    pub(super) fn detect(binary: &Path, root: &Path) -> Self {
        let works = |kind: Self| {
            let mut check = Command::new(binary);
            check.args([helper::NAME, "see", kind.as_str()]).arg(root);
            check.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            check.status().is_ok_and(|status| status.success())
        };
        let found = [Self::Namespace, Self::UserNamespace].into_iter().find(|kind| works(*kind));
        found.unwrap_or(Self::Textual)
    }

    /// By the word of [`MountMode::as_str`].
    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Namespace, Self::UserNamespace, Self::Textual]
            .into_iter()
            .find(|s| s.as_str() == word)
    }

    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::UserNamespace => "user-namespace",
            Self::Textual => "textual",
        }
    }

    fn unshare(self) -> io::Result<()> {
        match self {
            Self::Textual => Ok(()),
            Self::Namespace => Ok(unshare(CloneFlags::CLONE_NEWNS)?),
            Self::UserNamespace => {
                let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
                unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
                fs::write("/proc/self/setgroups", "deny")?;
                fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
                fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
            }
        }
    }
}

// === impl View ===

impl View {
    /// Converts a path of the container to one of the node.
    pub(super) fn on_node(&self, path: &str) -> Option<PathBuf> {
        on_node(&self.mounts, path)
    }

    /// Enters the view with this process, which must have only one thread.
    pub(super) fn enter(&self) -> io::Result<()> {
        if self.mount_mode == MountMode::Textual {
            return self.work();
        }
        self.mount_mode.unshare()?;
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        mount("tmpfs", &self.root, "tmpfs", MountFlags::empty(), None)?;
        self.furnish()?;
        for volume in &self.mounts {
            let target = self.below(&volume.target);
            fs::create_dir_all(&target)?;
            mount_bind(&volume.source, &target)?;
            if volume.read_only {
                // A user namespace must keep the flags of inherited mounts.
                mount_remount(&target, MountFlags::BIND | MountFlags::RDONLY, "").ok();
            }
        }
        // On a machine without the file nothing has to be covered.
        mount_bind(&self.hosts, self.root.join("etc/hosts")).ok();
        chroot(&self.root)?;
        self.work()
    }

    /// Joins the view of a running container.
    pub(super) fn join(&self, pid: i32) -> io::Result<()> {
        let open = |kind: &str| fs::File::open(format!("/proc/{pid}/ns/{kind}"));
        let join =
            |namespace: &fs::File, kind| move_into_link_name_space(namespace.as_fd(), Some(kind));
        match self.mount_mode {
            MountMode::Textual => return self.work(),
            MountMode::Namespace => join(&open("mnt")?, LinkNameSpaceType::Mount)?,
            MountMode::UserNamespace => {
                let mounts = open("mnt")?;
                join(&open("user")?, LinkNameSpaceType::User)?;
                join(&mounts, LinkNameSpaceType::Mount)?;
            }
        }
        chroot(&self.root)?;
        self.work()
    }

    fn work(&self) -> io::Result<()> {
        let Some(directory) = &self.working_directory else {
            return if self.mount_mode == MountMode::Textual {
                Ok(())
            } else {
                set_current_dir("/")
            };
        };
        // As runc does.
        drop(fs::create_dir_all(directory));
        set_current_dir(directory)
    }

    /// Mounts this machine's own files, except for the directories that contain volumes.
    fn furnish(&self) -> io::Result<()> {
        let taken = |name: &str| {
            OWN.contains(&name) || self.mounts.iter().any(|volume| first(&volume.target) == name)
        };
        for entry in fs::read_dir("/")? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().is_some_and(taken) {
                continue;
            }
            let target = self.root.join(&name);
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                symlink(fs::read_link(entry.path())?, &target)?;
            } else if kind.is_dir() {
                fs::create_dir(&target)?;
                // What cannot be mounted stays empty.
                mount_bind_recursive(entry.path(), &target).ok();
            }
        }
        let system = self.root.join("sys/fs/cgroup");
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&system)?;
        for (controller, directory) in &self.cgroups {
            let target = match controller {
                Some(controller) => system.join(controller),
                None => system.clone(),
            };
            fs::create_dir_all(&target)?;
            mount_bind(directory, &target)?;
        }
        Ok(())
    }

    fn below(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// Converts a path below a mount's target to one of the node.
pub(super) fn on_node(mounts: &[Mount], path: &str) -> Option<PathBuf> {
    let below = |mount: &Mount| {
        let rest = Path::new(path).strip_prefix(&mount.target).ok()?;
        Some(if rest.as_os_str().is_empty() {
            mount.source.clone()
        } else {
            mount.source.join(rest)
        })
    };
    // The deepest one, because a volume can be mounted in another.
    let deepest = |mount: &&Mount| mount.target.components().count();
    mounts.iter().filter(|mount| below(mount).is_some()).max_by_key(deepest).and_then(below)
}

/// Whether this process can have such a view: tried in an empty directory.
pub(super) fn check(arguments: &[String]) -> bool {
    let [word, root] = arguments else { return false };
    let Some(mount_mode) = MountMode::parse(word) else { return false };
    let volume = Mount { source: root.into(), target: PathBuf::from("/__w"), read_only: false };
    let view = View {
        mount_mode,
        root: root.into(),
        mounts: vec![volume],
        hosts: PathBuf::from("/dev/null"),
        cgroups: Vec::new(),
        working_directory: None,
    };
    view.enter().is_ok()
}

fn first(path: &Path) -> &str {
    let mut parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
    parts.next().and_then(|part| part.as_os_str().to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_a_mount_are_found_on_the_node() {
        let mount = Mount {
            source: PathBuf::from("/n/work"),
            target: PathBuf::from("/__w"),
            read_only: false,
        };
        let programs = Mount {
            source: PathBuf::from("/n/bin"),
            target: PathBuf::from("/__w/bin"),
            read_only: true,
        };
        let mounts = [mount, programs];
        assert_eq!(on_node(&mounts, "/__w/bin/x"), Some(PathBuf::from("/n/bin/x")));
        assert_eq!(on_node(&mounts, "/__w"), Some(PathBuf::from("/n/work")));
        assert_eq!(on_node(&mounts, "/__w/_temp/x.sh"), Some(PathBuf::from("/n/work/_temp/x.sh")));
        assert_eq!(on_node(&mounts, "/__work"), None);
        assert_eq!(on_node(&mounts, "sh"), None);
    }

    #[test]
    fn every_sight_has_its_word() {
        for mount_mode in [MountMode::Namespace, MountMode::UserNamespace, MountMode::Textual] {
            assert_eq!(MountMode::parse(mount_mode.as_str()), Some(mount_mode));
        }
        assert_eq!(MountMode::parse("x"), None);
    }
}
