//! Child processes that never outlive a test.

use std::fmt::Display;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Waits between two questions: a tenth of the time since the first one, in these bounds.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(100);

/// Longest wait for the process that is started in other namespaces.
const CHILD_WITHIN: Duration = Duration::from_mins(2);

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    what: String,
    /// Where the child only waits for another process, as `nsenter` does: that one.
    within: Option<i32>,
}

impl Running {
    /// Starts it with no standard input.
    pub(crate) fn start(command: &mut Command) -> Self {
        let what = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{what} cannot be started: {error}"));
        Self { child, what, within: None }
    }

    /// Starts what enters other process namespaces and so has a child of its own, which is the one
    /// that is meant. If it is over at once there is none, and it tells how it ended.
    ///
    /// # Panics
    /// If it goes on and has no child.
    pub(crate) fn start_inside(command: &mut Command) -> Self {
        let mut running = Self::start(command);
        let pid = running.pid();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let child = || -> Option<i32> {
            fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()
        };
        let begun = until(CHILD_WITHIN, || {
            child().map(Some).or_else(|| running.ended().map(|_status| None))
        });
        let Some(within) = begun else {
            panic!("{} ({pid}) has started no process within {CHILD_WITHIN:?}", running.what)
        };
        running.within = within;
        running
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.within.unwrap_or_else(|| self.child.id().cast_signed())
    }

    /// Its standard error, if piped and not yet taken.
    pub(crate) fn take_stderr(&mut self) -> impl Read + Send + use<> {
        self.child.stderr.take().expect("stderr must be piped")
    }

    /// Its standard output, if piped and not yet taken.
    pub(crate) fn take_stdout(&mut self) -> impl Read + Send + use<> {
        self.child.stdout.take().expect("stdout must be piped")
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        until(limit, || self.ended())
    }

    /// SIGTERM; it may be gone already.
    pub(crate) fn signal_term(&self) {
        terminate(self.pid());
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// If it has not ended within the limit.
    pub(crate) fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal_term();
        let what = self.what.clone();
        self.wait(limit).unwrap_or_else(|| panic!("{what} did not end within {limit:?} of SIGTERM"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(pid), Ok(None)) = (self.within, self.child.try_wait()) {
            kill(pid);
            // The child waits for it, and so tells when its files, sockets and locks are free.
            until(Duration::from_secs(20), || self.ended());
        }
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }
}

/// What a program writes to a pipe after these words, to the end of the line. What follows is read and
/// dropped: a program whose pipe is full waits.
///
/// # Panics
/// If its output ends without the words.
pub(crate) fn said_after(words: &str, pipe: impl Read + Send + 'static) -> String {
    let mut lines = BufReader::new(pipe).lines().map_while(Result::ok);
    let mut others = Vec::new();
    let said = lines.by_ref().find_map(|line| {
        let said = line.split_once(words).map(|(_, said)| said.to_owned());
        others.push(line);
        said
    });
    thread::spawn(move || lines.for_each(drop));
    said.unwrap_or_else(|| panic!("{words:?} is not in {others:?}"))
}

/// A figure of a process's memory in bytes, by its name in `/proc/PID/status`, while the process is there.
pub(crate) fn memory(pid: impl Display, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    let (_, figure) = lines.find(|(field, _)| *field == name)?;
    let kib: u64 = figure.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Runs a program to its end and returns its standard output.
///
/// # Panics
/// If it fails.
pub(crate) fn output(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}: {}\n{text}{errors}", output.status);
    text
}

/// Asks until there is an answer, or the limit has passed; the less often the longer it takes, for what is
/// asked has work to do.
pub(crate) fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > limit {
            return None;
        }
        thread::sleep((start.elapsed() / 10).clamp(SHORTEST, LONGEST));
    }
}

/// SIGTERM to one process; it may be gone already.
pub(crate) fn terminate(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        kill_process(pid, Signal::TERM).unwrap_or_default();
    }
}

/// SIGKILL to one process; it may be gone already.
pub(crate) fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        kill_process(pid, Signal::KILL).unwrap_or_default();
    }
}

/// Kills every process that has `directory` on its command line: shims outlive their containerd.
pub(crate) fn kill_all_naming(directory: &Path) {
    let own = std::process::id().cast_signed();
    let needle = directory.to_string_lossy();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if pid != own && String::from_utf8_lossy(&line).contains(&*needle) {
            kill(pid);
        }
    }
}
