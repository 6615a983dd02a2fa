//! Which parts of the rig this machine has.
//!
//! Outside CI a scenario whose part is missing says which and passes; with `CI` set nothing may
//! skip, so it fails.

use std::env;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Set by `guest/vm.sh` for the test binary that runs inside the virtual machine.
pub(crate) const IN_VM: &str = "EPHEMON_IT_IN_VM";

/// Something of the machine that a scenario needs.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// User id 0 and a cgroup hierarchy that takes new groups.
    WritableCgroups,
    /// A program on the path.
    Program(&'static str),
    /// Leave to make a mount namespace.
    MountNamespace,
    /// Leave to make a user namespace with a mount namespace in it.
    UserNamespace,
    /// A file, and how to get it.
    File(&'static str, &'static str),
    /// What `tests/node/parts` builds, and the folder it is in.
    Built(&'static str, PathBuf),
}

/// Whether every part is there.
///
/// # Panics
/// With `CI` set or inside the virtual machine, if one is not.
pub(crate) fn all_there(parts: &[Part]) -> bool {
    let missing: Vec<String> = parts.iter().filter_map(Part::missing).collect();
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

/// Held while there is an agent on the shared node that does this to other scenarios' pods, too, or while there
/// may be none.
static EFFECTS: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];
/// Held by one scenario that keeps the machine busy.
static MACHINE: Mutex<()> = Mutex::new(());

/// What an agent may do beside looking.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effect {
    /// Limits are set.
    Limits,
    /// Images are pulled.
    Pulls,
}

/// Held by a scenario whose agent on the shared node has this effect, or that may meet no such agent: of these
/// one runs at a time. Agents that only look are beside each other.
pub(crate) fn sole_agent(effect: Effect) -> SoleAgent {
    EFFECTS[effect as usize].lock().unwrap_or_else(PoisonError::into_inner)
}

/// What [`sole_agent`] gives.
pub(crate) type SoleAgent = MutexGuard<'static, ()>;

/// Held by a scenario that keeps the machine busy, on a node of its own, or whose figures a busy machine would
/// spoil: of these one runs at a time.
pub(crate) fn busy() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The top of the source tree.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are below it")
}

/// Where a program is. Debian keeps runc in /usr/sbin, which a user's path may lack.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/bin"].map(PathBuf::from))
        .chain(built())
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// The user's cache folder.
pub(crate) fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").unwrap_or_default().join(".cache");
    set("XDG_CACHE_HOME").unwrap_or_else(home)
}

/// Where `.ci/run` and `tests/node/parts` keep what they build: a folder for each version of a part.
pub(crate) fn kept() -> PathBuf {
    cache().join("ephemon")
}

/// These folders, the last one first.
fn built() -> Vec<PathBuf> {
    let entries = fs::read_dir(kept()).into_iter().flatten();
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    // What is still being built has a hidden name.
    folders.retain(|folder| folder.file_name().is_none_or(|name| name.as_bytes()[0] != b'.'));
    folders.sort_by(|one, other| other.cmp(one));
    folders
}

impl Part {
    /// What is missing, and how to get it.
    fn missing(&self) -> Option<String> {
        match *self {
            Self::WritableCgroups => super::cgroups::why_not_writable(),
            Self::Program(name) => program(name)
                .is_none()
                .then(|| format!("`{name}` is not installed (.ci/run gets what is needed)")),
            Self::MountNamespace => (!unshares(&["--mount"])).then(|| {
                "no mount namespace can be made here (root can, in most places)".to_owned()
            }),
            Self::UserNamespace => (!unshares(&["--user", "--mount"])).then(|| {
                "no user namespace can be made here (sysctl user.max_user_namespaces)".to_owned()
            }),
            Self::File(path, how) => {
                (!Path::new(path).exists()).then(|| format!("no {path} ({how})"))
            }
            Self::Built(what, ref folder) => (!folder.is_dir()).then(|| {
                format!("{what}: {} is not there (tests/node/parts builds it)", folder.display())
            }),
        }
    }
}

fn unshares(kinds: &[&str]) -> bool {
    let tried = std::process::Command::new("unshare").args(kinds).arg("true").output();
    tried.is_ok_and(|output| output.status.success())
}
