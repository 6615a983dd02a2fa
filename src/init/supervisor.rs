//! The state that all steps of a container share, and the main loop: reap processes, restore the
//! hosts file, stop.

mod stopping;

use std::{
    collections::BTreeMap,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicUsize},
    time::Instant,
};

use ephemon_base::{
    clock::{nanos, now_ns},
    lock,
};
use ephemon_contract::{ErrorCode, Failure, Status, StepStatus};
use ephemon_mask::Masks;
use rustix::{
    event::PollFlags,
    process::{Pid, getegid, geteuid},
};

use super::{
    cgroup::Cgroup,
    config::Config,
    container_log::ContainerLog,
    forward::{Forwards, Slot},
    hosts::Hosts,
    journal::Journal,
    others::OtherMasks,
    poll,
    reaper::{Process, Reaper},
    signals::Signals,
};
use stopping::Stopping;

/// Most steps whose remaining processes have their output read.
const MAX_LEFT: usize = 32;

/// The state that a container's steps share.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub config: Config,
    pub reaper: Reaper,
    pub masks: Masks,
    pub others: OtherMasks,
    pub log: ContainerLog,
    pub journal: Journal,
    pub hosts: Hosts,
    pub forwards: Forwards,
    pub cgroup: Cgroup,
    pub uid: u32,
    pub gid: u32,
    pub started_at_ns: u64,
    /// Inode number of the socket.
    pub socket_inode: u64,
    /// Differences between the setup and the request.
    pub notes: Vec<String>,
    started: Instant,
    steps: Mutex<Steps>,
    left: Arc<AtomicUsize>,
    /// from whoever ends the container or a step --a byte--> to the main loop
    wake_tx: PipeWriter,
    wake_rx: PipeReader,
}

#[derive(Debug, Default)]
struct Steps {
    running: BTreeMap<u64, Step>,
    begun: u64,
    ended: u64,
    /// An authenticated hook has connected.
    met: bool,
    stopping: Option<Stopping>,
}

#[derive(Debug)]
struct Step {
    group: Pid,
    name: String,
    started_at_ns: u64,
    /// It was ended because the container ends.
    stopped: bool,
}

/// A step that the container waits for. Dropped when its end has been reported, because the
/// container may end right after.
#[derive(Debug)]
pub(super) struct RunningStep<'a> {
    supervisor: &'a Supervisor,
    /// Its number, starting at 1.
    pub number: u64,
}

// === impl RunningStep ===

impl RunningStep<'_> {
    /// Whether it was ended because the container ends.
    pub(super) fn was_stopped(&self) -> bool {
        self.supervisor.lock().running.get(&self.number).is_some_and(|step| step.stopped)
    }
}

impl Drop for RunningStep<'_> {
    fn drop(&mut self) {
        let mut steps = self.supervisor.lock();
        steps.ended += 1;
        steps.running.remove(&self.number);
        drop(steps);
        self.supervisor.wake();
    }
}

// === impl Supervisor ===

impl Supervisor {
    pub(super) fn new(
        config: Config,
        log: ContainerLog,
        journal: Journal,
        socket_inode: u64,
        notes: Vec<String>,
    ) -> io::Result<Self> {
        let (wake_rx, wake_tx) = io::pipe()?;
        Ok(Self {
            reaper: Reaper::default(),
            masks: Masks::default(),
            others: OtherMasks::of(&config),
            log,
            journal,
            hosts: Hosts::new(config.hosts.clone()),
            forwards: Forwards::default(),
            cgroup: Cgroup::new(config.cgroup.clone()),
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            started_at_ns: now_ns(),
            socket_inode,
            notes,
            started: Instant::now(),
            steps: Mutex::default(),
            left: Arc::default(),
            wake_tx,
            wake_rx,
            config,
        })
    }

    /// Registers a new step and gives it its number, unless the container is ending.
    pub(super) fn start_step(
        &self,
        name: &str,
        spawn: impl FnOnce() -> Result<Process, Failure>,
    ) -> Result<(RunningStep<'_>, Process), Failure> {
        let mut steps = self.lock();
        if steps.stopping.is_some() {
            return Err(Failure::new(ErrorCode::Stopping, "the container is ending"));
        }
        let process = spawn()?;
        steps.begun += 1;
        let number = steps.begun;
        let step = Step {
            group: process.pid,
            name: ephemon_contract::Record::text(name),
            started_at_ns: now_ns(),
            stopped: false,
        };
        steps.running.insert(number, step);
        Ok((RunningStep { supervisor: self, number }, process))
    }

    /// A permit to read the output of processes that a step left behind.
    pub(super) fn leave_behind(&self) -> Option<Slot> {
        Slot::take(&self.left, MAX_LEFT)
    }

    /// Records that an authenticated hook has connected.
    pub(super) fn meet(&self) {
        self.lock().met = true;
    }

    /// The status of init.
    pub(super) fn status(&self) -> Status {
        let steps = self.lock();
        Status {
            uptime_ns: nanos(self.started.elapsed()),
            steps: steps
                .running
                .iter()
                .map(|(number, step)| StepStatus {
                    step: *number,
                    pid: step.group.as_raw_nonzero().get().unsigned_abs(),
                    name: step.name.clone(),
                    started_at_ns: step.started_at_ns,
                })
                .collect(),
            steps_ended: steps.ended,
            masks: u32::try_from(self.masks.count()).unwrap_or(u32::MAX),
            log_dropped_bytes: self.log.dropped_bytes(),
            journal_dropped: self.journal.dropped(),
        }
    }

    /// Runs until the container is to end; returns its exit code.
    pub(super) fn supervise(&self, signals: &Signals) -> u8 {
        loop {
            // At the start, for processes that ended before the handlers were installed.
            self.reaper.reap();
            if self.awaited_until().is_some_and(|until| until <= Instant::now()) {
                self.give_up();
            }
            if let Some(exit_code) = self.is_over() {
                return exit_code;
            }
            let read = |fd| Some((fd, PollFlags::IN));
            let ready = poll::wait(
                &[
                    read(signals.child()),
                    read(signals.stop()),
                    read(self.wake_rx.as_fd()),
                    self.hosts.watch().and_then(read),
                ],
                self.patience(),
            );
            let is_ready = |at: usize| ready.get(at).is_some_and(|flags| !flags.is_empty());
            if is_ready(0) {
                signals.take_child();
            }
            if is_ready(1) {
                self.signalled(signals.take_stop());
            }
            if is_ready(2) {
                // Ready, so this does not wait.
                drop((&self.wake_rx).read(&mut [0; 256]));
            }
            if is_ready(3)
                && let Err(error) = self.hosts.reapply()
            {
                self.log.note(&error.to_string());
            }
        }
    }

    fn wake(&self) {
        // Cannot be full, because the main loop empties it. If it were, the loop would be awake.
        drop((&self.wake_tx).write(&[1]));
    }

    fn lock(&self) -> MutexGuard<'_, Steps> {
        lock(&self.steps)
    }
}
