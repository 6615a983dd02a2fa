//! systemd's slices, for nodes whose cgroup driver is systemd.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::process::output;

/// Starts the slice a path ends with, and so those above it, as the kubelet does for a pod.
pub(crate) fn start(path: &str) {
    let unit = Path::new("/run/systemd/system").join(name(path));
    // An empty unit is a slice with systemd's own defaults.
    fs::write(unit, "[Unit]\nDescription=a pod of the tests\n").unwrap();
    output(Command::new("systemctl").arg("daemon-reload"));
    output(Command::new("systemctl").args(["start", name(path)]));
}

/// Stops the slice and with it all it holds.
pub(crate) fn stop(path: &str) {
    output(Command::new("systemctl").args(["stop", name(path)]));
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
