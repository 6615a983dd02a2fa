//! Cgroups and directories that a killed demo left behind.

use std::fs;
use std::path::Path;

use super::PREFIX;
use super::kernel::{mounts, remove_tree};

/// Removes the parent cgroups of demos whose process has ended. Those of running processes are
/// kept, and those that cannot be removed are harmless.
pub(super) fn sweep() {
    for mount in mounts() {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let mut dirs = vec![mount.point.clone()];
        if mount.kind == "cgroup2" {
            let own = mount.point.join(own.unwrap_or_default());
            let above = own.ancestors().take_while(|dir| *dir != mount.point);
            dirs.extend(above.map(Path::to_owned));
        }
        for dir in dirs {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(|name| is_dead(PREFIX, name)) {
                    remove_tree(&entry.path());
                }
            }
        }
    }
}

/// Whether a name is `PREFIX` followed by the id of a process that no longer exists, and possibly
/// more text.
pub(crate) fn is_dead(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix)
        .and_then(|rest| rest.split('-').next())
        .and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_processes_are_leftovers() {
        let own = std::process::id();
        assert!(!is_dead(PREFIX, &format!("{PREFIX}{own}")));
        assert!(!is_dead(PREFIX, &format!("{PREFIX}{own}-3")));
        // Above the highest possible process id.
        assert!(is_dead(PREFIX, &format!("{PREFIX}4194999")));
        assert!(is_dead(PREFIX, &format!("{PREFIX}4194999-self")));
        for other in ["kubepods", PREFIX, "ephemon-demo-x", "ephemon-demo-1x"] {
            assert!(!is_dead(PREFIX, other), "{other}");
        }
    }
}
