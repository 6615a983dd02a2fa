//! One process for each container, like containerd's shim: starts the container in its cgroup,
//! writes its log, waits for its end, reads the cgroup's values and removes it.
//!
//! It reads an `Order` and then single words on standard input, and reports events on standard
//! output. When standard input closes, the node has ended, and the container is ended, too.

pub(crate) mod stage;

mod crilog;
mod tree;

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, wait};
use serde::{Deserialize, Serialize};

use super::cgroups::place::{Figures, Limits, Place};
use super::helper;
use crilog::Stream;

/// What to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) command: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) directory: PathBuf,
    /// The file with its view, if it has its own.
    pub(super) view: Option<PathBuf>,
    /// The log; `None` for the sandbox, which has none.
    pub(super) log: Option<PathBuf>,
    pub(super) place: Place,
    pub(super) limits: Limits,
    /// Time from the end of the last process to the removal of the cgroup.
    pub(super) linger: Duration,
}

/// An event, one JSON document per line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Word {
    /// The command has started.
    Started { pid: i32, at: SystemTime },
    /// The command could not be run.
    StartError { why: String },
    /// The first process ended, and with it all others.
    Exited { code: i32, at: SystemTime, oom_killed: bool },
    /// The cgroup was removed; its last values.
    Removed(Account),
}

/// What a container used, as measured by its shim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The cgroup's own files, read just before it was removed.
    pub figures: Figures,
    /// CPU time of every process that was reaped, by `getrusage`.
    pub reaped: Duration,
    /// Lines written to the log.
    pub log_lines: u64,
}

/// The container, shared by the thread that reaps and the one that reads requests.
#[derive(Debug)]
struct Container {
    place: Place,
    init: Option<Pid>,
    over: AtomicBool,
}

/// How often remaining processes are searched for after the first process ended.
const REAP_PAUSE: Duration = Duration::from_millis(1);

/// Runs the shim until its container has ended.
pub(super) fn run() -> ExitCode {
    let mut line = String::new();
    let order = match io::stdin().lock().read_line(&mut line) {
        Ok(_) => serde_json::from_str::<Order>(&line),
        Err(e) => Err(serde_json::Error::io(e)),
    };
    match order {
        Ok(order) => {
            if let Err(e) = shepherd(&order) {
                say(&Word::StartError { why: e.to_string() });
                remove(&order);
                say(&Word::Removed(Account::default()));
            }
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::from(2),
    }
}

fn shepherd(order: &Order) -> Result<(), Box<dyn std::error::Error>> {
    set_child_subreaper(Pid::from_raw(1))?;
    order.place.make(&order.limits)?;
    let log = match &order.log {
        Some(path) => File::options().create(true).append(true).mode(0o640).open(path)?,
        None => File::options().write(true).open("/dev/null")?,
    };
    let log = Arc::new(Mutex::new(log));
    let cgroup_writer = tree::Keeping::start(&order.place);
    let (from_stage, to_shim) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut child = Command::new("/proc/self/exe")
        .args([helper::NAME, "enter"])
        .args(order.place.entrances())
        .arg("--")
        .arg(order.view.as_deref().unwrap_or(Path::new(stage::NO_VIEW)))
        .args(&order.command)
        .env_clear()
        .envs(order.env.iter().map(|(key, value)| (key, value)))
        .current_dir(&order.directory)
        .stdin(Stdio::from(to_shim))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let copies = [
        child.stdout.take().map(|pipe| copy(pipe, Stream::Stdout, &log)),
        child.stderr.take().map(|pipe| copy(pipe, Stream::Stderr, &log)),
    ];
    let mut told = String::new();
    // Ends when the command runs, or cannot be run.
    File::from(from_stage).read_to_string(&mut told)?;
    let init = told.lines().find_map(|line| line.strip_prefix("pid "));
    let init = init.and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    let error = told.lines().find_map(|line| line.strip_prefix("error "));
    match (init, error) {
        (Some(init), None) => {
            say(&Word::Started { pid: init.as_raw_nonzero().get(), at: SystemTime::now() });
        }
        (_, why) => say(&Word::StartError {
            why: why.unwrap_or("the first process ended early").to_owned(),
        }),
    }
    let container = Arc::new(Container {
        place: order.place.clone(),
        init,
        over: AtomicBool::new(init.is_none()),
    });
    let listener = Arc::clone(&container);
    thread::spawn(move || listener.listen());
    let status = container.reap();
    let ended = Instant::now();
    let at = SystemTime::now();
    cgroup_writer.finish();
    let oom_kills = order.place.figures().oom_kills.unwrap_or(0);
    let code = status.map_or(i32::from(stage::START_ERROR), exit_code);
    say(&Word::Exited { code, at, oom_killed: code == 137 && oom_kills > 0 });
    let log_lines = copies.into_iter().flatten().filter_map(|copy| copy.join().ok()).sum();
    thread::sleep(order.linger.saturating_sub(ended.elapsed()));
    let account = Account {
        figures: order.place.figures(),
        reaped: tree::reaped().map(|reaped| reaped.cpu()).unwrap_or_default(),
        log_lines,
    };
    remove(order);
    say(&Word::Removed(account));
    Ok(())
}

// === impl Container ===

impl Container {
    /// Waits for the first process, then ends the remaining ones, as the end of a PID namespace
    /// does.
    fn reap(&self) -> Option<ExitStatus> {
        let mut status = None;
        loop {
            let over = self.over.load(Ordering::Relaxed);
            let options = if over { WaitOptions::NOHANG } else { WaitOptions::empty() };
            match wait(options) {
                Ok(Some((pid, how))) if Some(pid) == self.init => {
                    status = Some(ExitStatus::from_raw(how.as_raw()));
                    self.over.store(true, Ordering::Relaxed);
                    self.kill_all();
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => {
                    self.kill_all();
                    thread::sleep(REAP_PAUSE);
                }
                Err(_) => return status,
            }
        }
    }

    fn kill_all(&self) {
        self.place.kill();
        for pid in tree::descendants() {
            kill_process(pid, Signal::KILL).ok();
        }
    }

    /// Handles `term` and `kill`; the end of the input counts as `kill`.
    fn listen(&self) {
        for line in io::stdin().lock().lines() {
            match line.as_deref() {
                Ok("term") => self.terminate(),
                Ok("kill") | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.signal(Signal::KILL);
    }

    /// The first process of a PID namespace receives only signals for which it has a handler. There
    /// is no such namespace here, so the rule is applied by hand.
    fn terminate(&self) {
        let Some(init) = self.init else {
            return;
        };
        let path = format!("/proc/{}/status", init.as_raw_nonzero());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let term = Signal::TERM.as_raw().saturating_sub(1);
        let bit = u32::try_from(term).ok().and_then(|bit| 1_u64.checked_shl(bit));
        if caught.unwrap_or(0) & bit.unwrap_or(0) != 0 {
            self.signal(Signal::TERM);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(init) = self.init
            && !self.over.load(Ordering::Relaxed)
        {
            kill_process(init, signal).ok();
        }
    }
}

fn copy(
    from: impl Read + Send + 'static,
    stream: Stream,
    log: &Arc<Mutex<File>>,
) -> thread::JoinHandle<u64> {
    let log = Arc::clone(log);
    thread::spawn(move || crilog::copy(from, stream, &log))
}

fn remove(order: &Order) {
    // What remains is removed together with the node.
    if order.place.remove().is_err() {
        order.place.remove_tree();
    }
}

/// As in a shell: 128 plus the signal number.
fn exit_code(status: ExitStatus) -> i32 {
    let signal = || status.signal().map(|signal| signal.saturating_add(128));
    status.code().or_else(signal).unwrap_or(255)
}

fn say(word: &Word) {
    let Ok(mut line) = serde_json::to_vec(word) else {
        return;
    };
    line.push(b'\n');
    let mut out = io::stdout().lock();
    // If the node has ended, there is no reader.
    drop(out.write_all(&line).and_then(|()| out.flush()));
}
