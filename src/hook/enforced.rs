//! Checks whether a container's limits are in force. The API cannot set them; the agent sets them
//! where it runs. The hook's own program runs in the container and reads the limits from the
//! container's cgroup.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ephemon_contract::{Command, Limits, Reply, Request, Run, StepKind, Volume, mount};

use super::socket::Line;

/// The argument with which this program prints the limits that apply to it.
pub(super) const ARGUMENT: &str = "--limits";
/// Pauses between checks. An agent sets the limits some milliseconds after the container's start,
/// before this program can check; on a busy node, or if its watch of pods is behind the kubelet's,
/// it takes longer. Without an agent the checks delay the job once by their sum, two and a half
/// seconds, part of which passes while services start.
const PAUSES_MS: [u64; 8] = [10, 20, 40, 80, 160, 320, 640, 1280];

/// The limits that apply to this process, in the grammar of `EPHEMON_LIMITS`.
pub(super) fn shown() -> String {
    of(Path::new("/sys/fs/cgroup")).to_string()
}

/// Whether every requested limit is in force in the container.
pub(super) async fn holds(asked: &Limits, line: &mut Line) -> bool {
    let mut pauses = PAUSES_MS.into_iter().map(Duration::from_millis);
    loop {
        match (look(line).await, pauses.next()) {
            (Some(found), _) if covers(&found, asked) => return true,
            (Some(_), Some(pause)) => tokio::time::sleep(pause).await,
            (Some(_), None) | (None, _) => return false,
        }
    }
}

async fn look(line: &mut Line) -> Option<Limits> {
    let program = Volume::new(mount::EPHEMON).bin().join("ephemon-hook");
    let run = Run {
        command: Command::Argv(vec![program.to_str()?.to_owned(), ARGUMENT.to_owned()]),
        env: Vec::new(),
        prepend_path: Vec::new(),
        cwd: None,
        user: None,
        name: "limits".to_owned(),
        kind: StepKind::Internal,
        id: None,
        called_ns: None,
        ends_container: false,
    };
    line.send(&Request::Run(run)).await.ok()?;
    let mut text = Vec::new();
    loop {
        match line.next().await.ok()? {
            Reply::Stdout(chunk) if text.len() < 1024 => text.extend(chunk.0),
            Reply::Exit(_) => return std::str::from_utf8(&text).ok()?.trim().parse().ok(),
            Reply::Error(_) => return None,
            _ => {}
        }
    }
}

/// Whether the limits in force are at least as strict as the requested ones.
fn covers(found: &Limits, asked: &Limits) -> bool {
    let tight = |found: Option<u64>, asked: Option<u64>| match (found, asked) {
        (_, None) => true,
        (Some(found), Some(asked)) => found <= asked,
        (None, Some(_)) => false,
    };
    tight(found.cpu_millis, asked.cpu_millis)
        && tight(found.memory_bytes, asked.memory_bytes)
        && tight(found.pids, asked.pids)
}

/// Reads the limits from a cgroup of version 1 or 2, mounted as in containers.
fn of(root: &Path) -> Limits {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(root.join(name)).ok()?.trim().parse().ok().filter(|value| *value > 0)
    };
    let cpu_v2 = || {
        let text = fs::read_to_string(root.join("cpu.max")).ok()?;
        let mut words = text.split_whitespace().map(str::parse::<u64>);
        let (quota, period) = (words.next()?.ok()?, words.next()?.ok()?);
        quota.checked_mul(1000)?.checked_div(period)
    };
    let cpu_v1 = || {
        let quota = number("cpu/cpu.cfs_quota_us")?;
        quota.checked_mul(1000)?.checked_div(number("cpu/cpu.cfs_period_us")?)
    };
    Limits {
        cpu_millis: cpu_v2().or_else(cpu_v1).filter(|millis| *millis > 0),
        memory_bytes: number("memory.max").or_else(|| number("memory/memory.limit_in_bytes")),
        pids: number("pids.max").or_else(|| number("pids/pids.max")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> String {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        of(root.path()).to_string()
    }

    #[test]
    fn both_versions_of_cgroups_are_read() {
        let v2 = [("cpu.max", "150000 100000\n"), ("memory.max", "1024\n"), ("pids.max", "max\n")];
        assert_eq!(written(&v2), "cpus=1500m,memory=1024");
        let v1 = [
            ("cpu/cpu.cfs_quota_us", "50000\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("pids/pids.max", "10\n"),
        ];
        assert_eq!(written(&v1), "cpus=500m,pids=10");
        assert_eq!(written(&[("cpu.max", "max 100000\n"), ("cpu/cpu.cfs_quota_us", "-1\n")]), "");
    }

    #[test]
    fn limits_hold_only_where_they_are_as_tight_as_asked_for() {
        let limits = |text: &str| -> Limits { text.parse().unwrap() };
        assert!(covers(&limits("cpus=1,memory=100"), &limits("memory=100")));
        assert!(!covers(&limits("memory=101"), &limits("memory=100")));
        assert!(!covers(&limits(""), &limits("pids=5")));
        assert!(covers(&limits(""), &limits("")));
    }
}
