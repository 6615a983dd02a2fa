//! Where things are in the volumes that the runner's pod shares with its ephemeral containers.

use std::path::{Path, PathBuf};

/// Mount paths inside job, service and step containers.
pub mod mount {
    /// Volume `ephemon`: sockets, journal. Same path in the runner container.
    pub const EPHEMON: &str = "/ephemon";
    /// Volume `ephemon-bin`: the programs, read only for everybody but who installs them. A job that
    /// could write there would be the hook at its next call.
    pub const PROGRAMS: &str = "/ephemon/bin";
    /// Volume `work`: the runner's `_work`.
    pub const WORK: &str = "/__w";
    /// The same volume once more, read only: what the targets of `:ro` links lead to.
    pub const WORK_READ_ONLY: &str = "/__w_ro";
    /// Where volumes are of which a container is to see a part only: `/__v/NAME`.
    pub const VOLUMES: &str = "/__v";
    /// The runner's tool cache, where that is not below its work directory
    /// (actions/runner, `ContainerInfo.cs`).
    pub const TOOLS: &str = "/__t";
    /// An image volume with the runner's own image, where the pod has one: the links in
    /// [`EXTERNALS`] lead there.
    pub const RUNNER_IMAGE: &str = "/__runner";
    /// Volume `externals`: the runner's node builds, read only.
    pub const EXTERNALS: &str = "/__e";
    /// Volume `github`: links into [`WORK`], see [`GITHUB_LINKS`].
    pub const GITHUB: &str = "/github";

    /// Names below [`GITHUB`] and where below [`WORK`] each leads. `/github/workspace` differs by
    /// job (`/__w/REPOSITORY/REPOSITORY`); the hook adds it.
    pub const GITHUB_LINKS: [(&str, &str); 4] = [
        ("home", "_temp/_github_home"),
        ("workflow", "_temp/_github_workflow"),
        ("file_commands", "_temp/_runner_file_commands"),
        ("runner_temp", "_temp"),
    ];
}

/// The `ephemon` volume, wherever the caller has it mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume(PathBuf);

// === impl Volume ===

impl Volume {
    /// The volume mounted at `root`, usually [`mount::EPHEMON`].
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The programs: `bin/`.
    pub fn bin(&self) -> PathBuf {
        self.0.join("bin")
    }

    /// `bin/ephemon-init`.
    pub fn init(&self) -> PathBuf {
        self.bin().join("ephemon-init")
    }

    /// Sockets and done markers: `run/`, writable by all (mode 1777), as `journal/` is: containers
    /// run as any user. Init makes both where they are missing. A socket appears by rename when it can be connected to, so
    /// a watch on this directory tells when a container is ready.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Journals, one file a container and one of the hook: `journal/`.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// The socket of one container's init. Container names are DNS labels (≤ 63 characters), so
    /// the path keeps within the 107 bytes of `sun_path` at the usual mount.
    pub fn socket(&self, container: &str) -> PathBuf {
        self.run().join(format!("{container}.sock"))
    }

    /// The done marker: the container ran and must not run again. The kubelet starts an ephemeral
    /// container anew when its dead predecessor was removed from the runtime (kubernetes#124176).
    pub fn done(&self, container: &str) -> PathBuf {
        self.run().join(format!("{container}.done"))
    }

    /// The journal of one container's init.
    pub fn container_journal(&self, container: &str) -> PathBuf {
        self.journal().join(format!("{container}.jsonl"))
    }

    /// Values to mask that were told in one container, one file a container and one of the hook:
    /// `masks/`, which everybody may write to and only root may read.
    pub fn masks(&self) -> PathBuf {
        self.0.join("masks")
    }

    /// The values told in one container, written by its init.
    pub fn container_masks(&self, container: &str) -> PathBuf {
        self.masks().join(format!("{container}.jsonl"))
    }

    /// The values that the hook knows of.
    pub fn hook_masks(&self) -> PathBuf {
        self.masks().join("_hook.jsonl")
    }

    /// The hook's own journal. No container has this name: DNS labels have no underscore.
    pub fn hook_journal(&self) -> PathBuf {
        self.journal().join("_hook.jsonl")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_container_name_fits_a_socket_address() {
        let path = Volume::new(mount::EPHEMON).socket(&"x".repeat(63));
        assert!(path.as_os_str().len() < 108, "{}", path.display());
    }
}
