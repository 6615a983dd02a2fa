//! Limits of version 1: `cpu.cfs_quota_us` in its period, `memory.limit_in_bytes` and, with swap,
//! `memory.memsw.limit_in_bytes`, `pids.max`.
//!
//! Source: Documentation/admin-guide/cgroup-v1/memory.rst, Documentation/scheduler/sched-bwc.rst.

use std::path::{Path, PathBuf};

use ephemon_model::Limit;

use super::Directories;
use crate::Controller;
use crate::files::Gone;
use crate::format::{Quota, cfs, limit, v1_limit};
use crate::limits::{InForce, Refused, Setting, write, write_if_there};

/// The limits in force.
pub(crate) fn read(directories: &Directories) -> Result<InForce, Gone> {
    if !directories.values().any(|directory| directory.is_dir()) {
        return Err(Gone);
    }
    let text = |controller: Controller, name: &str| {
        std::fs::read_to_string(directories.get(&controller)?.join(name)).ok()
    };
    let bytes = |name| text(Controller::Memory, name).and_then(|text| v1_limit(&text));
    let memory_bytes = bytes("memory.limit_in_bytes");
    let cpu = directories.get(&Controller::Cpu);
    Ok(InForce {
        cpu: cpu.and_then(|directory| quota(directory)),
        cpu_ceiling: cpu.and_then(|directory| quota(directory.parent()?)),
        memory_bytes,
        swap_bytes: memory_bytes.zip(bytes("memory.memsw.limit_in_bytes")).map(beside),
        pids: text(Controller::Pids, "pids.max").and_then(|text| limit(&text)),
    })
}

fn quota(directory: &Path) -> Option<Quota> {
    let text = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
    cfs(&text("cpu.cfs_quota_us")?, &text("cpu.cfs_period_us")?)
}

/// Swap in addition to memory, if the kernel limits the sum of both.
fn beside((memory, both): (Limit<u64>, Limit<u64>)) -> Limit<u64> {
    match (memory, both) {
        (Limit::At(memory), Limit::At(both)) => Limit::At(both.saturating_sub(memory)),
        (Limit::Unlimited, Limit::At(both)) => Limit::At(both),
        (_, Limit::Unlimited) => Limit::Unlimited,
    }
}

/// Every file that [`set`] writes.
pub(crate) fn files(directories: &Directories) -> Vec<PathBuf> {
    let files = [
        (Controller::Cpu, "cpu.cfs_quota_us"),
        (Controller::Memory, "memory.limit_in_bytes"),
        (Controller::Memory, "memory.memsw.limit_in_bytes"),
        (Controller::Pids, "pids.max"),
    ];
    let path = |(controller, name)| Some(directories.get(&controller)?.join(name));
    files.into_iter().filter_map(path).collect()
}

/// Sets one limit.
pub(crate) fn set(directories: &Directories, setting: Setting) -> Result<(), Refused> {
    let file = |controller: Controller, name: &str| {
        directories.get(&controller).map(|directory| directory.join(name)).unwrap_or_default()
    };
    match setting {
        // The period is the present one.
        Setting::Cpu { quota_us, .. } => {
            write(file(Controller::Cpu, "cpu.cfs_quota_us"), &quota_us.to_string())
        }
        Setting::Memory { bytes } => {
            // Memory first: the limit of memory and swap must never be less than that of memory.
            let bytes = bytes.to_string();
            write(file(Controller::Memory, "memory.limit_in_bytes"), &bytes)?;
            write_if_there(file(Controller::Memory, "memory.memsw.limit_in_bytes"), &bytes)
        }
        Setting::Pids { tasks } => write(file(Controller::Pids, "pids.max"), &tasks.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_limit_is_set_in_its_own_controllers_tree() {
        let root = tempfile::tempdir().unwrap();
        let mut directories = Directories::new();
        for (controller, name, files) in [
            (Controller::Cpu, "cpu/pod/c", &["cpu.cfs_quota_us", "cpu.cfs_period_us"][..]),
            (Controller::Memory, "memory/pod/c", &["memory.limit_in_bytes"]),
            (Controller::Pids, "pids/pod/c", &["pids.max"]),
        ] {
            let directory = root.path().join(name);
            fs::create_dir_all(&directory).unwrap();
            for file in files {
                fs::write(directory.join(file), "").unwrap();
            }
            directories.insert(controller, directory);
        }
        fs::write(root.path().join("cpu/pod/cpu.cfs_quota_us"), "200000\n").unwrap();
        for group in ["cpu/pod", "cpu/pod/c"] {
            fs::write(root.path().join(group).join("cpu.cfs_period_us"), "100000\n").unwrap();
        }
        set(&directories, Setting::Cpu { quota_us: 150_000, period_us: 100_000 }).unwrap();
        set(&directories, Setting::Memory { bytes: 4096 }).unwrap();
        set(&directories, Setting::Pids { tasks: 7 }).unwrap();
        let quota = |quota_us| Some(Quota { quota_us: Limit::At(quota_us), period_us: 100_000 });
        let expected = InForce {
            cpu: quota(150_000),
            cpu_ceiling: quota(200_000),
            memory_bytes: Some(Limit::At(4096)),
            swap_bytes: None,
            pids: Some(Limit::At(7)),
        };
        assert_eq!(read(&directories), Ok(expected));
        directories.clear();
        assert_eq!(read(&directories), Err(Gone));
    }

    #[test]
    fn swap_is_what_both_may_be_less_memory() {
        assert_eq!(beside((Limit::At(10), Limit::At(15))), Limit::At(5));
        assert_eq!(beside((Limit::At(10), Limit::Unlimited)), Limit::Unlimited);
        assert_eq!(beside((Limit::Unlimited, Limit::At(15))), Limit::At(15));
    }
}
