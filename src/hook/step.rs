//! Runs one process in a container with init: shows its output, forwards signals, and returns how
//! it ended.

use std::io;
use std::time::Duration;

use ephemon_contract::{Exit, Failure, Reply, Request, Run, Signal, SignalStep};
use ephemon_otel::conventions::attribute::{PROCESS_EXIT_CODE, PROCESS_PID};
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tracing::field::Empty;
use tracing::{Span, instrument};

use super::console::Console;
use super::socket::{self, Line};

/// After SIGINT the runner sends SIGTERM 7.5 s later, and SIGKILL 2.5 s after that (actions/runner,
/// `ProcessInvoker.cs`). The step must have ended before.
const KILL_AFTER_INTERRUPT: Duration = Duration::from_millis(8_500);
/// After SIGTERM.
const KILL_AFTER_TERMINATE: Duration = Duration::from_millis(1_200);
/// Time between SIGKILL to the step and the report that it ended.
pub(super) const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_millis(700);
/// Further time until the end of a call that waits for something other than its step.
const LAST_READ_TIMEOUT: Duration = Duration::from_millis(100);

/// Signals of the runner to stop.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Listener,
    terminate: Listener,
}

/// Why there is no exit code.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// Contains the exit code that a shell would have returned.
    #[error("cannot run the step: {}", super::console::quote(&.0.text))]
    NotRun(Failure),
    #[error("the step was cancelled but did not end in time; closing the connection kills it")]
    TimedOut(Signal),
    #[error("cannot write the step's output to the runner: {0}")]
    Unread(io::Error),
}

// === impl Signals ===

impl Signals {
    /// Installs the handlers; from now on the signals no longer end the process.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }

    /// Waits for a signal, and then until shortly before the runner kills the hook. By then a call
    /// must end, whatever it waits for, for example an API server that does not respond.
    pub(super) async fn overdue(mut self) -> Signal {
        let mut asked: Option<(Signal, Instant)> = None;
        loop {
            let until = asked.map(|(_, at)| at);
            tokio::select! {
                signal = self.next() => {
                    let by = Instant::now() + kill_after(signal) + LAST_OUTPUT_TIMEOUT + LAST_READ_TIMEOUT;
                    asked = Some((signal, until.map_or(by, |earlier| earlier.min(by))));
                }
                () = at(until) => return asked.map_or(Signal::Terminate, |(signal, _)| signal),
            }
        }
    }
}

/// Runs a step and shows its output as it arrives.
#[instrument(skip_all, fields(otel.name = "run", process.pid = Empty, process.exit.code = Empty))]
pub(super) async fn run(
    line: &mut Line,
    run: Run,
    console: &Console,
    signals: &mut Signals,
) -> Result<Exit, Error> {
    line.send(&Request::Run(run)).await?;
    let mut asked: Option<(Signal, Instant)> = None;
    loop {
        let give_up = asked.map(|(_, at)| at);
        tokio::select! {
            reply = line.next() => match reply? {
                Reply::Stdout(chunk) => console.stdout(&chunk.0).map_err(Error::Unread)?,
                Reply::Stderr(chunk) => console.stderr(&chunk.0).map_err(Error::Unread)?,
                Reply::Started(started) => {
                    Span::current().record(PROCESS_PID, started.pid);
                }
                Reply::Exit(exit) => {
                    Span::current().record(PROCESS_EXIT_CODE, exit.end.exit_code());
                    return Ok(exit);
                }
                Reply::Error(failure) => return Err(Error::NotRun(failure)),
                _ => return Err(socket::Error::Unexpected.into()),
            },
            signal = signals.next() => {
                let kill_after = kill_after(signal);
                let deadline = Instant::now() + kill_after + LAST_OUTPUT_TIMEOUT;
                let deadline = give_up.map_or(deadline, |earlier| earlier.min(deadline));
                asked = Some((signal, deadline));
                let kill_after_ms = u32::try_from(kill_after.as_millis()).ok();
                line.send(&Request::Signal(SignalStep { signal, kill_after_ms })).await?;
            }
            () = at(give_up) => {
                let signal = asked.map_or(Signal::Terminate, |(signal, _)| signal);
                return Err(Error::TimedOut(signal));
            }
        }
    }
}

/// Waits until a moment, or forever.
pub(super) async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Time from a signal to SIGKILL.
pub(super) fn kill_after(signal: Signal) -> Duration {
    match signal {
        Signal::Interrupt => KILL_AFTER_INTERRUPT,
        _ => KILL_AFTER_TERMINATE,
    }
}

/// The exit code of a process that a signal ended, for a call that was cancelled.
pub(super) fn cancelled_code(signal: Signal) -> u8 {
    match signal {
        Signal::Interrupt => 130,
        _ => 143,
    }
}
