//! A node of plain files with one container, whose log a benchmark writes.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";
/// Bytes of a line's text.
pub(crate) const TEXT: usize = 100;

/// Removed when dropped.
pub(crate) struct PlainNode(TempDir);

// === impl PlainNode ===

impl PlainNode {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |path: &str| directory.path().join(path);
        let id = "a".repeat(64);
        let cgroup = at(&format!("sys/fs/cgroup/kubepods/burstable/pod{UID}/{id}"));
        for path in ["var/log/containers", "proc", &format!("var/log/pods/ci_r_{UID}/job")] {
            fs::create_dir_all(at(path)).expect("a node");
        }
        fs::create_dir_all(&cgroup).expect("a cgroup");
        fs::write(at("sys/fs/cgroup/cgroup.controllers"), "cpu\n").expect("a hierarchy");
        fs::write(cgroup.join("cpu.stat"), "usage_usec 1\n").expect("a cgroup");
        fs::write(cgroup.join("cgroup.events"), "populated 1\n").expect("a cgroup");
        let link = at(&format!("var/log/containers/r_ci_job-{id}.log"));
        let node = Self(directory);
        File::create(node.log()).expect("a log");
        symlink(node.log(), link).expect("a link");
        node
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    fn log(&self) -> PathBuf {
        self.root().join(format!("var/log/pods/ci_r_{UID}/job/0.log"))
    }

    /// Appends so many lines as the runtime writes them.
    pub(crate) fn write(&self, lines: usize) {
        let text =
            "a line of a compiler about a file and what it thinks of it, and how long it took; "
                .repeat(2);
        let record = format!("2026-11-25T12:00:00.123456789Z stdout F {}\n", &text[..TEXT]);
        let mut log = OpenOptions::new().append(true).open(self.log()).expect("the log");
        let block = record.repeat(1000.min(lines));
        for _ in 0..lines / 1000 {
            log.write_all(block.as_bytes()).expect("room for the log");
        }
        log.write_all(record.repeat(lines % 1000).as_bytes()).expect("room for the log");
    }
}
