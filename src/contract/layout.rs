//! Paths in the volumes that the runner's pod shares with its ephemeral containers.

use std::path::{Path, PathBuf};

/// First argument of an init that the agent has put in front of an image's own command
/// ([`super::env::INIT`]). That command follows after `--`.
pub const IN_FRONT: &str = "--in-front";

/// Mount paths inside job, service and step containers.
pub mod mount {
    /// Volume `ephemon`: sockets, journals. The same path in the runner's container.
    pub const EPHEMON: &str = "/ephemon";
    /// Volume `ephemon-bin`: the programs, read-only except for the container that installs them. A
    /// job that could write there could replace the hook.
    pub const PROGRAMS: &str = "/ephemon/bin";
    /// The name of that volume.
    pub const PROGRAMS_VOLUME: &str = "ephemon-bin";
    /// Volume `work`: the runner's `_work`.
    pub const WORK: &str = "/__w";
    /// The same volume, read-only: the target of `:ro` links.
    pub const WORK_READ_ONLY: &str = "/__w_ro";
    /// Mount paths of volumes of which a container is to see only a part: `/__v/NAME`.
    pub const VOLUMES: &str = "/__v";
    /// The runner's tool cache, if it is not below its work directory (actions/runner,
    /// `ContainerInfo.cs`).
    pub const TOOLS: &str = "/__t";
    /// An image volume with the runner's own image, if the pod has one; the links in [`EXTERNALS`]
    /// lead there.
    pub const RUNNER_IMAGE: &str = "/__runner";
    /// Volume `externals`: the runner's builds of Node.js, read-only.
    pub const EXTERNALS: &str = "/__e";
    /// Volume `github`: links into [`WORK`], see [`GITHUB_LINKS`].
    pub const GITHUB: &str = "/github";

    /// Names below [`GITHUB`], and their targets below [`WORK`]. `/github/workspace` differs for
    /// each job (`/__w/REPOSITORY/REPOSITORY`); the hook adds it.
    pub const GITHUB_LINKS: [(&str, &str); 4] = [
        ("home", "_temp/_github_home"),
        ("workflow", "_temp/_github_workflow"),
        ("file_commands", "_temp/_runner_file_commands"),
        ("runner_temp", "_temp"),
    ];
}

/// The `ephemon` volume at the caller's mount path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume(PathBuf);

// === impl Volume ===

impl Volume {
    /// The volume mounted at `root`, usually [`mount::EPHEMON`].
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The mount path.
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

    /// Sockets and done markers: `run/`, writable for all users (mode 1777), as is `journal/`,
    /// because containers run as any user. Init creates both if they are missing. A socket is
    /// renamed into place once it accepts connections, so a watch on this directory shows when a
    /// container is ready.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Journals, one file per container and one of the hook: `journal/`.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// The socket of one container's init. Container names are DNS labels (≤ 63 characters), so at
    /// the usual mount path it fits the 107 bytes of `sun_path`.
    pub fn socket(&self, container: &str) -> PathBuf {
        self.run().join(format!("{container}.sock"))
    }

    /// The done marker: the container has run and must not run again. The kubelet starts an
    /// ephemeral container again if the ended one was removed from the runtime (kubernetes#124176).
    pub fn done(&self, container: &str) -> PathBuf {
        self.run().join(format!("{container}.done"))
    }

    /// The journal of one container's init.
    pub fn container_journal(&self, container: &str) -> PathBuf {
        self.journal().join(format!("{container}.jsonl"))
    }

    /// Values to mask that were registered in a container, one file per container and one of the
    /// hook: `masks/`, which all users can write to and only root can read.
    pub fn masks(&self) -> PathBuf {
        self.0.join("masks")
    }

    /// The values that were registered in one container, written by its init.
    pub fn container_masks(&self, container: &str) -> PathBuf {
        self.masks().join(format!("{container}.jsonl"))
    }

    /// The values that the hook registered.
    pub fn hook_masks(&self) -> PathBuf {
        self.masks().join("_hook.jsonl")
    }

    /// The hook's own journal. No container has this name: DNS labels have no underscore.
    pub fn hook_journal(&self) -> PathBuf {
        self.journal().join("_hook.jsonl")
    }
}

/// Whether a text can be a container's name, which is then no path: a DNS label has up to 63 lower-case
/// letters, digits and `-`.
pub fn is_container_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(is_plain)
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
