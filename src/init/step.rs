//! One step from start to end: passes its output unchanged to the hook and masked to the
//! container's log, the hook's signals to its process group, and its exit status and usage to the
//! journal.

mod ending;
mod left_open;

use std::{
    io::{ErrorKind, Read},
    os::fd::AsFd,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use ephemon_base::clock::{nanos, now_ns};
use ephemon_contract as contract;
use ephemon_contract::{
    Chunk, DEFAULT_ESCALATION_MS, Exit, Failure, MAX_CHUNK_BYTES, Record, Reply, Request, Run,
    SignalStep, Started, StepKind,
};
use rustix::{
    event::PollFlags,
    fs::{OFlags, fcntl_setfl},
    io::Errno,
    process::Signal,
};

use super::{
    command,
    connection::{Arrival, Connection},
    poll,
    reaper::{Outcome, Process},
    supervisor::{RunningStep, Supervisor},
    tee::{Stream, Tee},
};
use ending::Ending;

/// Time between SIGTERM and SIGKILL after the hook has disconnected.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit for the processes of a group to disappear after SIGKILL: one may wait for a disk.
const GONE_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of output that are passed on at a time. A quarter of a pipe's capacity: each piece is
/// copied four times on its way, and init may use two megabytes.
const READ_BYTES: usize = MAX_CHUNK_BYTES / 4;

/// A running step.
struct Running<'a> {
    supervisor: &'a Supervisor,
    process: Process,
    tee: Tee,
    /// The output is the job's own. What the hook asks of the container itself is not for its log.
    is_logged: bool,
    client: Option<&'a mut Connection>,
    cancelled: bool,
    ending: Ending,
    buffer: Vec<u8>,
}

/// Runs a step to its end. `client` gets its output, if there is a client; if it disconnects or
/// sends invalid data, the step is ended. The container does not end while the returned [`RunningStep`]
/// exists.
pub(super) fn run<'a>(
    supervisor: &'a Arc<Supervisor>,
    run: &Run,
    mut client: Option<&mut Connection>,
) -> Result<(Exit, RunningStep<'a>), Failure> {
    let prepared = &mut command::prepare(run, &supervisor.config.setup.ulimits)?;
    let before = supervisor.cgroup.read();
    let started = Instant::now();
    let (begun, process) = supervisor.start_step(&run.name, || {
        let pipe = |process: &mut std::process::Command| {
            supervisor.reaper.spawn(process.stdout(Stdio::piped()).stderr(Stdio::piped()))
        };
        match pipe(&mut prepared.process) {
            Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                pipe(&mut prepared.by_shell()).map_err(|_| prepared.failure(&error))
            }
            Err(error) => Err(prepared.failure(&error)),
            Ok(process) => Ok(process),
        }
    })?;
    let started_at_ns = now_ns();
    let pid = process.pid.as_raw_nonzero().get().unsigned_abs();
    supervisor.journal.append(&Record::StepStarted {
        at_ns: started_at_ns,
        step: begun.number,
        name: Record::text(&run.name),
        kind: run.kind,
        id: run.id.as_deref().map(Record::text),
        called_ns: run.called_ns,
        pid,
    });
    let hello = Reply::Started(Started { pid, step: begun.number, at_ns: started_at_ns });
    let asked_for = client.is_some();
    client = client.and_then(|client| client.queue(&hello).is_ok().then_some(client));
    let orphan = asked_for && client.is_none();
    let mut running = Running {
        supervisor,
        process,
        tee: Tee::new(supervisor.masks.clone()),
        is_logged: run.kind != StepKind::Internal,
        client,
        cancelled: false,
        ending: Ending::new(Instant::now()),
        buffer: vec![0; READ_BYTES],
    };
    if orphan {
        running.client_is_gone();
    }
    let (outcome, left_open) = running.follow();
    let exit = Exit {
        end: outcome.end,
        cancelled: running.cancelled || begun.was_stopped(),
        left_open,
        started_at_ns,
        ended_at_ns: outcome.at_ns,
        duration_ns: nanos(outcome.at.saturating_duration_since(started)),
        process: outcome.usage,
        cgroup: supervisor.cgroup.read().since(&before),
    };
    supervisor.journal.append(&Record::StepEnded {
        at_ns: exit.ended_at_ns,
        step: begun.number,
        duration_ns: exit.duration_ns,
        end: exit.end,
        cancelled: exit.cancelled,
        process: exit.process,
        cgroup: exit.cgroup,
    });
    if left_open {
        let Running { process, tee, .. } = running;
        left_open::keep(supervisor, process, tee);
    }
    Ok((exit, begun))
}

// === impl Running ===

impl Running<'_> {
    /// Passes on output and signals until the step has ended. Returns how it ended, and whether its
    /// output is still held open.
    fn follow(&mut self) -> (Outcome, bool) {
        self.make_nonblocking();
        loop {
            let outcome = self.process.outcome();
            if let Some(outcome) = outcome
                && let Some(left_open) = self.is_over(&outcome)
            {
                self.finish(left_open);
                return (outcome, left_open);
            }
            let ended = outcome.as_ref().map(|outcome| outcome.at);
            let patience = self.ending.patience(ended, Instant::now());
            let reading = !self.client.as_ref().is_some_and(|client| client.is_full());
            let read = |fd| reading.then_some((fd, PollFlags::IN));
            let ready = poll::wait(
                &[
                    self.process.stdout.as_ref().and_then(|out| read(out.as_fd())),
                    self.process.stderr.as_ref().and_then(|err| read(err.as_fd())),
                    // Once closed it stays readable.
                    outcome.is_none().then(|| (self.process.ended_rx.as_fd(), PollFlags::IN)),
                    self.client.as_ref().map(|client| client.interest()),
                ],
                patience,
            );
            let is_ready = |at: usize| ready.get(at).is_some_and(|flags| !flags.is_empty());
            if is_ready(3) {
                self.serve_client();
            }
            if is_ready(0) {
                self.read(Stream::Out);
            }
            if is_ready(1) {
                self.read(Stream::Err);
            }
            if !reading {
                self.ending.not_quiet(Instant::now());
            } else if outcome.is_some() && !is_ready(0) && !is_ready(1) {
                self.ending.drained();
            }
            if self.ending.kills(Instant::now()) {
                self.process.signal(Signal::KILL);
            }
        }
    }

    /// Whether a step whose process has ended is complete, and if so, whether its output is still
    /// held open.
    fn is_over(&self, outcome: &Outcome) -> Option<bool> {
        if self.process.stdout.is_none() && self.process.stderr.is_none() {
            return Some(false);
        }
        let is_blocked = self.client.as_ref().is_some_and(|client| client.is_full());
        self.ending.is_complete(outcome.at, is_blocked, Instant::now()).then_some(true)
    }

    /// Handles the rest of the output and of the step's group.
    fn finish(&mut self, left_open: bool) {
        if self.cancelled {
            // No process of a cancelled step may continue to run.
            self.process.end_group(GONE_TIMEOUT);
        }
        for stream in [Stream::Out, Stream::Err] {
            if !left_open && self.is_logged {
                let rest = self.tee.finish(stream);
                self.supervisor.log.write(stream, rest);
            }
        }
    }

    fn make_nonblocking(&self) {
        let pipes = [
            self.process.stdout.as_ref().map(AsFd::as_fd),
            self.process.stderr.as_ref().map(AsFd::as_fd),
        ];
        for pipe in pipes.into_iter().flatten() {
            // Cannot fail for a pipe; if it did, reads would still follow readiness and not block.
            fcntl_setfl(pipe, OFlags::NONBLOCK).ok();
        }
    }

    /// Passes on one chunk of output.
    fn read(&mut self, stream: Stream) {
        let read = match (stream, &mut self.process.stdout, &mut self.process.stderr) {
            (Stream::Out, Some(pipe), _) => pipe.read(&mut self.buffer),
            (Stream::Err, _, Some(pipe)) => pipe.read(&mut self.buffer),
            _ => return,
        };
        match read {
            Ok(count) if count > 0 => {
                self.ending.not_quiet(Instant::now());
                let bytes = self.buffer.get(..count).unwrap_or_default();
                self.supervisor.others.learn_again(&self.supervisor.masks);
                let shown = self.tee.feed(stream, bytes);
                if self.is_logged {
                    self.supervisor.log.write(stream, shown);
                }
                let chunk = Chunk(bytes.to_vec());
                let reply = match stream {
                    Stream::Out => Reply::Stdout(chunk),
                    Stream::Err => Reply::Stderr(chunk),
                };
                self.tell(&reply);
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            _ => match stream {
                Stream::Out => self.process.stdout = None,
                Stream::Err => self.process.stderr = None,
            },
        }
    }

    fn tell(&mut self, reply: &Reply) {
        if self.client.as_mut().is_some_and(|client| client.queue(reply).is_err()) {
            self.client_is_gone();
        }
    }

    fn serve_client(&mut self) {
        let Some(client) = &mut self.client else { return };
        if client.send().is_err() || client.receive().is_err() {
            self.client_is_gone();
            return;
        }
        while let Some(client) = &mut self.client {
            match client.next_request() {
                Arrival::Nothing => return,
                Arrival::Request(request) => match *request {
                    Request::Signal(signal) => self.signal(signal),
                    _ => self.client_is_gone(),
                },
                Arrival::Invalid => self.client_is_gone(),
            }
        }
    }

    fn signal(&mut self, asked: SignalStep) {
        self.cancelled = true;
        self.process.signal(signal_of(asked.signal));
        if asked.signal != contract::Signal::Kill {
            let millis = asked.kill_after_ms.unwrap_or(DEFAULT_ESCALATION_MS);
            self.ending.kill_after(Duration::from_millis(millis.into()), Instant::now());
        }
    }

    fn client_is_gone(&mut self) {
        self.client = None;
        self.cancelled = true;
        self.process.signal(Signal::TERM);
        self.ending.kill_after(ORPHAN_TIMEOUT, Instant::now());
    }
}

fn signal_of(signal: contract::Signal) -> Signal {
    match signal {
        contract::Signal::Interrupt => Signal::INT,
        contract::Signal::Terminate => Signal::TERM,
        contract::Signal::Kill => Signal::KILL,
        contract::Signal::Quit => Signal::QUIT,
        contract::Signal::Hangup => Signal::HUP,
    }
}
