//! A container of a node of plain files: its control group, and its log as containerd writes it.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What the kernel counts for each container at first, seconds of CPU time.
pub(crate) const CPU_SECONDS: f64 = 1.5;

/// The files of its control group at first, as the kernel makes them.
const COUNTERS: [(&str, &str); 5] = [
    ("cpu.stat", "usage_usec 1500000\n"),
    ("cgroup.events", "populated 1\nfrozen 0\n"),
    ("memory.current", "4194304\n"),
    ("memory.peak", "4194304\n"),
    ("memory.events", "oom 0\noom_kill 0\n"),
];

/// One container, and the end of its log that is written to.
pub(crate) struct Container {
    /// The runtime's id.
    pub(crate) id: String,
    place: Place,
    log: File,
    second: u32,
}

/// Where a container's files are: the directory of its log, and its group.
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) cgroup: PathBuf,
}

/// Puts a text in the place of a file's, in one step: an agent that reads it meanwhile must not find it
/// empty. Of a longer one before there remain empty lines, which say nothing.
pub(crate) fn write_over(path: &Path, text: &str) {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
    let before = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let rest = "\n".repeat(before.saturating_sub(text.len()));
    file.write_all_at(format!("{text}{rest}").as_bytes(), 0).unwrap();
}

// === impl Place ===

impl Place {
    fn log(&self) -> PathBuf {
        self.directory.join("0.log")
    }

    /// What a file of its group says from now on.
    fn count(&self, file: &str, text: &str) {
        write_over(&self.cgroup.join(file), text);
    }

    /// Its last process is gone, and the runtime removes its group.
    pub(super) fn end(&self) {
        self.count("cgroup.events", "populated 0\nfrozen 0\n");
        fs::remove_dir_all(&self.cgroup).unwrap();
    }
}

// === impl Container ===

impl Container {
    /// Starts one: its log first, then its group, then the link with its id. `root` is the node's, in
    /// whose file system the group is made before it has its name; `missing` is a file that it lacks.
    pub(super) fn start(
        id: String,
        place: Place,
        (root, link): (&Path, &Path),
        missing: &str,
    ) -> Self {
        fs::create_dir_all(&place.directory).unwrap();
        let path = place.log();
        // A link of another runtime is by the node's own paths.
        let file = fs::read_link(&path)
            .map_or_else(|_| path.clone(), |to| root.join(to.strip_prefix("/").unwrap()));
        let log = OpenOptions::new().create(true).append(true).open(file).unwrap();
        // With all its files at once, as the kernel makes it.
        let made = root.join(&id);
        fs::create_dir_all(&made).unwrap();
        for (file, text) in COUNTERS.into_iter().filter(|(file, _)| *file != missing) {
            fs::write(made.join(file), text).unwrap();
        }
        // The file system's own time is of the last tick, which may be before what asked for it.
        File::open(&made).unwrap().set_modified(SystemTime::now()).unwrap();
        fs::rename(&made, &place.cgroup).unwrap();
        symlink(&path, link).unwrap();
        Self { id, place, log, second: 0 }
    }

    /// Another writer to a log that is there.
    pub(super) fn again(place: Place) -> Self {
        let log = OpenOptions::new().append(true).open(place.log()).unwrap();
        Self { id: String::new(), place, log, second: 100 }
    }

    /// A whole line of standard output.
    pub(crate) fn say(&mut self, line: &str) {
        self.record("stdout F", line.as_bytes());
    }

    /// The same, now: other lines have times of their own.
    pub(crate) fn say_now(&mut self, line: &str) {
        self.stamped(jiff::Timestamp::now(), "stdout F", line.as_bytes());
    }

    /// A record with this stream and tag.
    pub(crate) fn record(&mut self, stream_and_tag: &str, text: &[u8]) {
        self.second += 1;
        let at = 1_795_000_000 + i64::from(self.second);
        self.stamped(jiff::Timestamp::from_second(at).unwrap(), stream_and_tag, text);
    }

    /// A whole line of standard output, with this second for its time.
    pub(crate) fn say_at(&mut self, second: i64, line: &str) {
        let at = jiff::Timestamp::from_second(1_795_000_000 + second).unwrap();
        self.stamped(at, "stdout F", line.as_bytes());
    }

    /// The same, with this time, nanoseconds since 1970.
    pub(crate) fn say_at_ns(&mut self, ns: u64, line: &str) {
        let at = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap();
        self.stamped(at, "stdout F", line.as_bytes());
    }

    fn stamped(&mut self, stamp: jiff::Timestamp, stream_and_tag: &str, text: &[u8]) {
        let mut record = format!("{stamp} {stream_and_tag} ").into_bytes();
        record.extend_from_slice(text);
        record.push(b'\n');
        self.log.write_all(&record).unwrap();
    }

    /// What a file of its cgroup says from now on.
    pub(crate) fn count(&self, file: &str, text: &str) {
        self.place.count(file, text);
    }

    /// Rotation as the kubelet does it: rename, then the runtime opens the file anew.
    pub(crate) fn rotate(&mut self, suffix: &str) {
        let path = self.place.log();
        fs::rename(&path, self.place.directory.join(format!("0.log.{suffix}"))).unwrap();
        self.log = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    }

    /// Its last process is gone, and the runtime removes its cgroup.
    pub(crate) fn end(self) {
        self.place.end();
    }
}
