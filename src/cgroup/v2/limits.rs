//! Limits of version 2: `cpu.max`, `memory.max`, `memory.swap.max`, `pids.max`.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst.

use std::path::{Path, PathBuf};

use crate::files::Gone;
use crate::format::{cpu_quota, limit};
use crate::limits::{InForce, Refused, Setting, write, write_if_there};

/// The limits in force.
pub(crate) fn read(directory: &Path) -> Result<InForce, Gone> {
    if !directory.is_dir() {
        return Err(Gone);
    }
    let text = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
    Ok(InForce {
        cpu: text("cpu.max").and_then(|text| cpu_quota(&text)),
        cpu_ceiling: None,
        memory_bytes: text("memory.max").and_then(|text| limit(&text)),
        swap_bytes: text("memory.swap.max").and_then(|text| limit(&text)),
        pids: text("pids.max").and_then(|text| limit(&text)),
    })
}

/// Every file that [`set`] writes.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let names = ["cpu.max", "memory.max", "memory.swap.max", "pids.max"];
    names.map(|name| directory.join(name)).into()
}

/// Sets one limit.
pub(crate) fn set(directory: &Path, setting: Setting) -> Result<(), Refused> {
    match setting {
        Setting::Cpu { quota_us, period_us } => {
            write(directory.join("cpu.max"), &format!("{quota_us} {period_us}"))
        }
        Setting::Memory { bytes } => {
            // Swap first, so that memory reclaimed by the lower limit is not swapped out.
            write_if_there(directory.join("memory.swap.max"), "0")?;
            write(directory.join("memory.max"), &bytes.to_string())
        }
        Setting::Pids { tasks } => write(directory.join("pids.max"), &tasks.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use ephemon_model::Limit;

    use super::*;
    use crate::format::Quota;

    #[test]
    fn limits_are_set_where_the_kernel_has_them_and_read_back() {
        let group = tempfile::tempdir().unwrap();
        for (name, text) in [("cpu.max", "max 100000\n"), ("memory.max", "max\n")] {
            std::fs::write(group.path().join(name), text).unwrap();
        }
        let unlimited = Quota { quota_us: Limit::Unlimited, period_us: 100_000 };
        let found = read(group.path()).unwrap();
        assert_eq!((found.cpu, found.memory_bytes), (Some(unlimited), Some(Limit::Unlimited)));
        assert_eq!((found.swap_bytes, found.pids), (None, None));

        set(group.path(), Setting::Cpu { quota_us: 50_000, period_us: 100_000 }).unwrap();
        std::fs::write(group.path().join("memory.max"), "").unwrap();
        set(group.path(), Setting::Memory { bytes: 1024 }).unwrap();
        assert!(!group.path().join("memory.swap.max").exists(), "no file is made");
        let found = read(group.path()).unwrap();
        assert_eq!(found.cpu.unwrap().quota_us, Limit::At(50_000));
        assert_eq!(found.memory_bytes, Some(Limit::At(1024)));

        let refused = set(group.path(), Setting::Pids { tasks: 1 }).unwrap_err();
        assert!(refused.path.ends_with("pids.max"));
        assert_eq!(read(&group.path().join("gone")), Err(Gone));
    }
}
