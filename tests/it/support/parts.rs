//! Which parts of the rig this machine has.
//!
//! Outside CI a scenario whose part is missing says which and passes; with `CI` set nothing may
//! skip, so it fails.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Set by `guest/vm.sh` for the test binary that runs inside the virtual machine.
pub(crate) const IN_VM: &str = "EPHEMON_IT_IN_VM";

/// Something of the machine that a scenario needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// User id 0 and a cgroup hierarchy that takes new groups.
    WritableCgroups,
    /// A program on the path.
    Program(&'static str),
    /// Debian's full kernel below /boot; the cloud kernel has no 9p.
    Kernel,
    /// Leave to make a mount namespace.
    MountNamespace,
    /// Leave to make a user namespace with a mount namespace in it.
    UserNamespace,
}

/// Whether every part is there.
///
/// # Panics
/// With `CI` set or inside the virtual machine, if one is not.
pub(crate) fn all_there(parts: &[Part]) -> bool {
    let missing: Vec<String> = parts.iter().filter_map(|part| part.missing()).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join("; ");
    assert!(env::var_os("CI").is_none() && !in_vm(), "nothing may skip in CI, but: {missing}");
    eprintln!("skipped: {missing}");
    false
}

/// Whether this process runs inside the rig's virtual machine.
pub(crate) fn in_vm() -> bool {
    env::var_os(IN_VM).is_some()
}

/// Held by scenarios that measure or fill the machine, so that they run one after the other.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where `.ci/run` puts what it builds, below the package.
const TOOLS: &str = "target/tools";

/// Where a program is. Debian keeps runc in /usr/sbin, which a user's path may lack.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/bin"].map(PathBuf::from))
        .chain([Path::new(env!("CARGO_MANIFEST_DIR")).join(TOOLS)])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// The newest kernel image of `linux-image-amd64` whose modules are there too.
pub(crate) fn kernel() -> Option<PathBuf> {
    let mut kernels: Vec<PathBuf> = fs::read_dir("/boot")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix("vmlinuz-").is_some_and(|version| {
                !version.contains("cloud") && Path::new("/lib/modules").join(version).is_dir()
            })
        })
        .collect();
    kernels.sort();
    kernels.pop()
}

impl Part {
    /// What is missing, and how to get it.
    fn missing(self) -> Option<String> {
        match self {
            Self::WritableCgroups => super::cgroups::why_not_writable(),
            Self::Program(name) => program(name)
                .is_none()
                .then(|| format!("`{name}` is not installed (.ci/run gets what is needed)")),
            Self::Kernel => kernel()
                .is_none()
                .then(|| "no kernel with modules (apt-get install linux-image-amd64)".to_owned()),
            Self::MountNamespace => (!unshares(&["--mount"])).then(|| {
                "no mount namespace can be made here (root can, in most places)".to_owned()
            }),
            Self::UserNamespace => (!unshares(&["--user", "--mount"])).then(|| {
                "no user namespace can be made here (sysctl user.max_user_namespaces)".to_owned()
            }),
        }
    }
}

fn unshares(kinds: &[&str]) -> bool {
    let tried = std::process::Command::new("unshare").args(kinds).arg("true").output();
    tried.is_ok_and(|output| output.status.success())
}
