//! Real cgroups, version 2: below the root as root, or below a cgroup delegated to this user.

use std::fs;
use std::path::{Path, PathBuf};

use super::kernel::{self, can_enter, failed, make, mounts, remove_tree, write};
use super::{Error, Qos};

/// Controllers that are enabled if possible.
const WANTED: [&str; 4] = ["cpu", "memory", "pids", "io"];

/// The hierarchy, and the changes that were made in it.
#[derive(Debug)]
pub(super) struct Tree {
    mount: PathBuf,
    /// The parent cgroup, relative to the mount.
    base: String,
    controllers: Vec<&'static str>,
    /// The cgroup of this process before it moved into a leaf, and the leaf: a cgroup with enabled
    /// controllers must not contain processes.
    moved: Option<(PathBuf, PathBuf)>,
    /// Controllers that were enabled in the parent of the base, to be disabled again.
    enabled: Vec<&'static str>,
}

// === impl Tree ===

impl Tree {
    pub(super) fn open(binary: &Path, name: &str) -> Result<Self, Error> {
        let mount = mounts()
            .into_iter()
            .find(|mount| mount.kind == "cgroup2")
            .ok_or(Error::NotMounted("version 2"))?
            .point;
        let mut best: Option<Self> = None;
        let mut first_error = None;
        for parent in candidates(&mount) {
            match Self::open_below(binary, &mount, &parent, name) {
                Ok(tree) if tree.controllers.contains(&"memory") => {
                    if let Some(worse) = best.take() {
                        worse.close();
                    }
                    return Ok(tree);
                }
                Ok(tree) => match &best {
                    Some(known) if known.controllers.len() >= tree.controllers.len() => {
                        tree.close();
                    }
                    _ => {
                        if let Some(worse) = best.replace(tree) {
                            worse.close();
                        }
                    }
                },
                Err(e) => {
                    first_error.get_or_insert(e);
                }
            }
        }
        best.ok_or_else(|| first_error.unwrap_or(Error::NotMounted("version 2")))
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    pub(super) fn controllers(&self) -> String {
        if self.controllers.is_empty() {
            "CPU time only: no controller can be enabled".to_owned()
        } else {
            self.controllers.join(", ")
        }
    }

    pub(super) fn mount(&self) -> &Path {
        &self.mount
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn directory(&self, relative: &str) -> PathBuf {
        self.mount.join(relative)
    }

    pub(super) fn close(&self) {
        let base = self.mount.join(&self.base);
        remove_tree(&base);
        let parent = base.parent().unwrap_or(&self.mount);
        for controller in &self.enabled {
            drop(write(&parent.join("cgroup.subtree_control"), &format!("-{controller}")));
        }
        if let Some((home, leaf)) = &self.moved {
            drop(write(&home.join("cgroup.procs"), "0"));
            drop(kernel::remove(leaf));
        }
    }

    fn open_below(binary: &Path, mount: &Path, parent: &Path, name: &str) -> Result<Self, Error> {
        let base = parent.join(name);
        make(&base)?;
        let relative = base.strip_prefix(mount).unwrap_or(&base);
        let mut tree = Self {
            mount: mount.to_owned(),
            base: relative.to_string_lossy().into_owned(),
            controllers: Vec::new(),
            moved: None,
            enabled: Vec::new(),
        };
        tree.fill(binary, parent, &base, name).inspect_err(|_| tree.close())?;
        Ok(tree)
    }

    fn fill(&mut self, binary: &Path, parent: &Path, base: &Path, name: &str) -> Result<(), Error> {
        self.enable_in(parent, name);
        self.controllers = words(&base.join("cgroup.controllers"))
            .iter()
            .filter_map(|word| WANTED.into_iter().find(|wanted| wanted == word))
            .collect();
        let kubepods = base.join("kubepods");
        delegate(base);
        make(&kubepods)?;
        // No process may be in a cgroup with delegated controllers, so entering is tried with a
        // leaf.
        let probe = base.join("probe");
        make(&probe)?;
        let entered = can_enter(binary, &probe);
        kernel::remove(&probe)?;
        if !entered {
            return Err(Error::NoEntry(base.to_owned()));
        }
        delegate(&kubepods);
        for qos in [Qos::Burstable, Qos::BestEffort] {
            let dir = kubepods.join(qos.directory());
            make(&dir)?;
            delegate(&dir);
        }
        Ok(())
    }

    /// Enables what is missing for the parent's children; moves this process out of the parent if
    /// the kernel requires it (EBUSY), and back if that did not help.
    fn enable_in(&mut self, parent: &Path, name: &str) {
        let control = parent.join("cgroup.subtree_control");
        let available = words(&parent.join("cgroup.controllers"));
        let on = words(&control);
        let missing: Vec<_> = WANTED
            .into_iter()
            .filter(|c| available.iter().any(|a| a == c) && !on.iter().any(|o| o == c))
            .collect();
        let enable = |controllers: &[&'static str]| -> Vec<&'static str> {
            let try_one = |c: &&&'static str| write(&control, &format!("+{c}")).is_ok();
            controllers.iter().filter(try_one).copied().collect()
        };
        self.enabled = enable(&missing);
        if self.enabled.len() == missing.len()
            || own_cgroup().as_deref() != relative(&self.mount, parent)
        {
            return;
        }
        let leaf = parent.join(format!("{name}-self"));
        let stepped = make(&leaf).is_ok() && write(&leaf.join("cgroup.procs"), "0").is_ok();
        if stepped {
            self.enabled = enable(&missing);
        }
        if self.enabled.is_empty() {
            drop(write(&parent.join("cgroup.procs"), "0"));
            drop(kernel::remove(&leaf));
        } else {
            self.moved = Some((parent.to_owned(), leaf));
        }
    }
}

/// Enables for a cgroup's children the controllers that it has itself.
pub(super) fn delegate(dir: &Path) {
    for controller in words(&dir.join("cgroup.controllers")) {
        if WANTED.contains(&controller.as_str()) {
            drop(write(&dir.join("cgroup.subtree_control"), &format!("+{controller}")));
        }
    }
}

/// The hierarchy's root, then this process's own cgroup and those above it.
fn candidates(mount: &Path) -> Vec<PathBuf> {
    let mut all = vec![mount.to_owned()];
    if let Some(own) = own_cgroup() {
        let own = mount.join(own.trim_start_matches('/'));
        let above = own.ancestors().take_while(|dir| *dir != mount);
        all.extend(above.map(Path::to_owned));
    }
    all
}

/// This process's cgroup: `/proc/self/cgroup`, the line of hierarchy 0.
fn own_cgroup() -> Option<String> {
    let table = fs::read_to_string("/proc/self/cgroup").ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(line.trim_start_matches('/').to_owned())
}

fn relative<'a>(mount: &Path, dir: &'a Path) -> Option<&'a str> {
    dir.strip_prefix(mount).ok()?.to_str()
}

fn words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).map_err(|e| failed("read", path, e));
    let text = text.unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}
