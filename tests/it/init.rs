//! The real `ephemon-init`, as process 1 of its own PID namespace (as root) and without one.

mod client;
mod ending;
mod harness;
mod impostors;
mod in_front;
mod output;
mod records;
mod setup;
mod socket;
mod surroundings;
mod waiting;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ephemon_contract::{Request, Signal, SignalStep};

use self::harness::Start;

/// How often a scenario is played that may come too late.
const ATTEMPTS: usize = 5;

/// Plain, and as process 1 where that can be had.
fn starts() -> Vec<Start> {
    let mut starts = vec![Start::Plain];
    if harness::can_be_pid_1() {
        starts.push(Start::Pid1);
    }
    starts
}

/// Plays a scenario, and again while it comes too late, a few times at most; what the last one came to. For
/// what init gives up early by design, as it may on a busy machine. `is_late` names a sign of lateness, such
/// as init's own count or a clock: "anything but what is expected" is none.
fn again_if<T>(is_late: impl Fn(&T) -> bool, play: impl Fn() -> T) -> T {
    for _ in 1..ATTEMPTS {
        let played = play();
        if !is_late(&played) {
            return played;
        }
    }
    play()
}

fn signal(signal: Signal, kill_after_ms: Option<u32>) -> Request {
    Request::Signal(SignalStep { signal, kill_after_ms })
}

/// Waits until a file has something in it, which a shell writes a moment after it has made the file, or until
/// something else is there.
fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_mins(1);
    let is_there = || fs::metadata(path).is_ok_and(|it| !it.is_file() || it.len() > 0);
    while !is_there() {
        assert!(Instant::now() < deadline, "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there; a zombie is not.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn wait_until_dead(pid: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives");
        std::thread::sleep(Duration::from_millis(5));
    }
}
