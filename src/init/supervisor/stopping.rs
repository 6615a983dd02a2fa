//! How a container ends: why, with which signals, until when, and with which exit code.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Supervisor;
use crate::reaper::signal_group;
use crate::signals;

/// Time between the stop signal and SIGKILL when the kubelet stops the container; by default it waits 30 s.
const KUBELET_TIMEOUT: Duration = Duration::from_secs(25);
/// Time limit for informing the hooks after SIGKILL.
const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);
/// Exit code of a container that no hook used: that of a shell for a terminated process.
const EXIT_ABANDONED: u8 = 143;

/// The container is ending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopping {
    kill_at: Instant,
    killed: bool,
    exit_code: Option<u8>,
}

impl Supervisor {
    /// Records that a hook has disconnected. If it was to run the container's only step and did
    /// not, the container ends.
    pub(crate) fn part(&self) {
        let steps = self.lock();
        let is_left = self.config.awaits_step && steps.begun == 0 && steps.stopping.is_none();
        drop(steps);
        if is_left {
            self.log.note("the hook disconnected before it ran a command; this container ends");
            self.finish(EXIT_ABANDONED, Duration::ZERO);
        }
    }

    /// Ends every step with SIGTERM, then the container. The exit code of an unused one that did not
    /// stand by is not 0.
    pub(crate) fn stop(&self, grace: Duration) {
        self.stop_by(Signal::TERM, grace);
    }

    /// Handles a signal to init. A container's own process gets it, because the image says which one
    /// stops it; the steps of a job container get SIGTERM instead, and none that may ask for a reload.
    pub(super) fn signalled(&self, signal: Signal) {
        let steps = self.lock();
        let config = &self.config;
        let is_images = !config.awaits_hook || config.awaits_step;
        if signals::may_reload(signal) {
            if is_images {
                steps.running.values().for_each(|step| signal_group(step.group, signal));
            }
            return;
        }
        drop(steps);
        self.stop_by(if is_images { signal } else { Signal::TERM }, KUBELET_TIMEOUT);
    }

    fn stop_by(&self, signal: Signal, grace: Duration) {
        let steps = self.lock();
        let config = &self.config;
        let is_unused =
            (config.awaits_hook && !steps.met) || (config.awaits_step && steps.begun == 0);
        drop(steps);
        let exit_code = (is_unused && !config.is_standby).then_some(EXIT_ABANDONED);
        self.begin_stop(signal, grace, exit_code);
    }

    /// The container's own step has ended, so the container ends with its exit code.
    pub(crate) fn finish(&self, exit_code: u8, grace: Duration) {
        self.begin_stop(Signal::TERM, grace, Some(exit_code));
    }

    fn begin_stop(&self, signal: Signal, grace: Duration, exit_code: Option<u8>) {
        let mut steps = self.lock();
        let kill_at = Instant::now() + grace;
        let stopping = match steps.stopping {
            // The earliest deadline and the first exit code are kept.
            Some(earlier) => Stopping {
                kill_at: earlier.kill_at.min(kill_at),
                exit_code: earlier.exit_code.or(exit_code),
                ..earlier
            },
            None => Stopping { kill_at, killed: false, exit_code },
        };
        steps.stopping = Some(stopping);
        for step in steps.running.values_mut() {
            step.stopped = true;
            signal_group(step.group, signal);
        }
        drop(steps);
        self.wake();
    }

    /// Until when to wait for a hook, if none has connected yet.
    pub(super) fn awaited_until(&self) -> Option<Instant> {
        let steps = self.lock();
        let is_awaited = self.config.awaits_hook && !steps.met && steps.stopping.is_none();
        is_awaited.then(|| self.started + self.config.patience)
    }

    pub(super) fn give_up(&self) {
        self.log.note(&format!(
            "no hook connected within {} s; this container ends",
            self.config.patience.as_secs_f64()
        ));
        self.finish(if self.config.is_standby { 0 } else { EXIT_ABANDONED }, Duration::ZERO);
    }

    /// The exit code, once there is nothing left to wait for.
    pub(super) fn is_over(&self) -> Option<u8> {
        let mut steps = self.lock();
        let mut stopping = steps.stopping?;
        let now = Instant::now();
        if !stopping.killed && stopping.kill_at <= now {
            stopping.killed = true;
            stopping.kill_at = now + LAST_OUTPUT_TIMEOUT;
            steps.stopping = Some(stopping);
            for step in steps.running.values() {
                signal_group(step.group, Signal::KILL);
            }
        }
        let patient = !stopping.killed || now < stopping.kill_at;
        (steps.running.is_empty() || !patient).then_some(stopping.exit_code.unwrap_or(0))
    }

    pub(super) fn patience(&self) -> Option<Duration> {
        let stopping = self.lock().stopping.map(|stopping| stopping.kill_at);
        let until = stopping.or_else(|| self.awaited_until())?;
        Some(until.saturating_duration_since(Instant::now()))
    }
}
