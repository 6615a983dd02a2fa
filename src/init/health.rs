//! Health checks: repeats a command or a TCP connection until it succeeds or has failed too often.

use std::{
    io,
    io::Read,
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, OwnedFd},
    process,
    time::{Duration, Instant},
};

use ephemon_contract::{Command, End, Health, HealthReport, Probe, Run, StepKind};
use rustix::{event::PollFlags, process::Signal};

use super::{
    command,
    connection::{Arrival, Connection, Gone},
    poll,
    reaper::{Process, Reaper},
    supervisor::Supervisor,
};

/// Most bytes of a probe's output that are reported.
const MAX_TEXT_BYTES: usize = 4096;
/// Shortest time between two probes.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// Shortest time limit of a probe.
const MIN_TIMEOUT: Duration = Duration::from_millis(10);

/// The state after the probes so far. Pure.
#[derive(Debug)]
struct Tally {
    retries: u32,
    start_period: Duration,
    failures: u32,
    probes: u32,
}

/// Probes until the result is known. Stops if the hook disconnects.
pub(super) fn check(
    supervisor: &Supervisor,
    health: &Health,
    client: &mut Connection,
) -> Result<HealthReport, Gone> {
    let millis = |millis: u32| Duration::from_millis(millis.into());
    let started = Instant::now();
    let timeout = millis(health.timeout_ms).max(MIN_TIMEOUT);
    let mut tally = Tally {
        retries: health.retries,
        start_period: millis(health.start_period_ms),
        failures: 0,
        probes: 0,
    };
    let mut text = String::new();
    loop {
        let result = match &health.probe {
            Probe::Tcp(address) => connect(address, timeout),
            Probe::Command(command) => execute(supervisor, command, timeout),
        };
        let healthy = result.is_ok();
        if let Err(why) = result {
            text = why;
        }
        if let Some(healthy) = tally.count(healthy, started.elapsed()) {
            return Ok(HealthReport { healthy, probes: tally.probes, text });
        }
        // A request is not expected now; neither is unlimited silence.
        match client.wait_request(Some(millis(health.interval_ms).max(MIN_INTERVAL)))? {
            Arrival::Nothing => {}
            Arrival::Request(_) | Arrival::Invalid => return Err(Gone),
        }
    }
}

// === impl Tally ===

impl Tally {
    /// Counts a probe; returns the result if it is known.
    fn count(&mut self, healthy: bool, elapsed: Duration) -> Option<bool> {
        self.probes = self.probes.saturating_add(1);
        if healthy {
            return Some(true);
        }
        if elapsed >= self.start_period {
            self.failures += 1;
        }
        (self.failures >= self.retries.max(1)).then_some(false)
    }
}

fn connect(address: &str, timeout: Duration) -> Result<(), String> {
    let address: SocketAddr =
        address.parse().map_err(|_| format!("{address:?} is not ADDRESS:PORT"))?;
    match TcpStream::connect_timeout(&address, timeout) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{address}: {error}")),
    }
}

fn execute(supervisor: &Supervisor, command: &Command, timeout: Duration) -> Result<(), String> {
    let run = Run {
        command: command.clone(),
        env: Vec::new(),
        prepend_path: Vec::new(),
        cwd: None,
        // As with Docker, the health command runs as the container's user.
        user: supervisor.config.setup.user.clone(),
        name: String::new(),
        kind: StepKind::Internal,
        id: None,
        called_ns: None,
        ends_container: false,
    };
    let limits = &supervisor.config.setup.ulimits;
    let mut prepared = command::prepare(&run, limits).map_err(|failure| failure.text)?;
    let mut process = both_streams(&supervisor.reaper, &mut prepared.process)
        .map_err(|error| prepared.failure(&error).text)?;
    let output = read_to_end(&mut process, Instant::now() + timeout);
    let end = process.outcome().map(|outcome| outcome.end);
    match end {
        Some(End::Code(0)) => Ok(()),
        Some(End::Code(code)) => Err(format!("exit code {code}: {output}")),
        Some(End::Signal(number)) => Err(format!("killed by signal {number}: {output}")),
        None => {
            process.signal(Signal::KILL);
            Err(format!("no answer within {timeout:?}: {output}"))
        }
    }
}

/// Starts a probe whose two streams are one, as Docker records them (moby, `daemon/health.go`): most
/// programs say on standard error why they fail.
fn both_streams(reaper: &Reaper, probe: &mut process::Command) -> io::Result<Process> {
    let (read, write) = io::pipe()?;
    probe.stdout(write.try_clone()?).stderr(write);
    let mut process = reaper.spawn(probe)?;
    process.stdout = Some(OwnedFd::from(read).into());
    Ok(process)
}

/// Reads the probe's output until it ended or timed out, and keeps the beginning. Output from
/// before its end is always read; later output of its child processes is not awaited.
fn read_to_end(process: &mut Process, deadline: Instant) -> String {
    let mut output = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let ended = process.outcome().is_some();
        let left = deadline.saturating_duration_since(Instant::now());
        if (left.is_zero() && !ended) || (output.len() >= MAX_TEXT_BYTES && ended) {
            break;
        }
        let ready = poll::wait(
            &[
                process.stdout.as_ref().map(|out| (out.as_fd(), PollFlags::IN)),
                Some((process.ended_rx.as_fd(), PollFlags::IN)),
            ],
            Some(if ended { Duration::ZERO } else { left }),
        );
        if ready.first().is_some_and(|flags| !flags.is_empty()) {
            match process.stdout.as_mut().map(|out| out.read(&mut buffer)) {
                Some(Ok(count)) if count > 0 => {
                    output.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    output.truncate(MAX_TEXT_BYTES);
                }
                _ => process.stdout = None,
            }
        } else if ended {
            break;
        }
    }
    String::from_utf8_lossy(&output).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    fn tally(retries: u32, start_period_ms: u64) -> Tally {
        let start_period = Duration::from_millis(start_period_ms);
        Tally { retries, start_period, failures: 0, probes: 0 }
    }

    #[test]
    fn one_success_is_healthy_and_enough_failures_are_not() {
        let mut tally = tally(3, 0);
        let now = Duration::from_secs(1);
        assert_eq!(tally.count(false, now), None);
        assert_eq!(tally.count(false, now), None);
        assert_eq!(tally.count(false, now), Some(false));
        assert_eq!(tally.probes, 3);
        assert_eq!(tally.count(true, now), Some(true));
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        let mut tally = tally(1, 5000);
        assert_eq!(tally.count(false, Duration::from_secs(4)), None);
        assert_eq!(tally.count(false, Duration::from_secs(5)), Some(false));
    }

    #[test]
    fn what_a_probe_wrote_before_its_end_is_read_after_it() {
        let reaper = Reaper::default();
        // The process that continues keeps the output open.
        let line = "sleep 1000 & echo not yet; echo no server >&2; exit 4";
        let mut probe = process::Command::new("sh");
        let mut process = both_streams(&reaper, probe.args(["-c", line])).unwrap();
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(process.pid), ended).unwrap();
        reaper.reap_one(process.pid);
        let text = read_to_end(&mut process, Instant::now());
        process.signal(Signal::KILL);
        assert_eq!(text, "not yet\nno server");
        assert_eq!(process.outcome().unwrap().end, End::Code(4));
    }

    #[test]
    fn no_retries_means_one() {
        assert_eq!(tally(0, 0).count(false, Duration::ZERO), Some(false));
    }
}
