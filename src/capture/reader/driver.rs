//! Performs the actions of a container's life, and passes the results back to it.

mod places;
mod removal;

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use ephemon_discovery::cgroups::NestedGroup;
use ephemon_model::{ContainerId, PodUid};
use ephemon_self_metrics::{Reason, Signal, Source};

use super::created::creation_time;
use super::held::Held;
use super::poller::Poller;
use super::reports::Reports;
use crate::cadence::{Budget, Cadence};
use crate::container::Reading;
use crate::exit_watch::ExitWatch;
use crate::life::{Action, Event, Pace};
use crate::pod::Pod;
use crate::population::{Admission, Kind};

/// Handles one event at a time.
pub(super) struct Driver {
    pub(super) held: Held,
    pub(super) reports: Reports,
    pub(super) poller: Poller,
    pub(super) cadence: Cadence,
    pub(super) budget: Budget,
    pub(super) epoch: Instant,
    /// `/proc` of the node.
    pub(super) proc: PathBuf,
    /// Pods with running containers whose network is to be opened.
    pub(super) networks_due: Vec<PodUid>,
}

// === impl Driver ===

impl Driver {
    /// Passes an event to a container's life, and performs its actions until it waits.
    pub(super) fn on(&mut self, key: u64, event: Event, now: Instant) {
        // Before anything that is read is taken for its own.
        if self.held.stands_for_pod(key) {
            self.correct_stand_in(key, now);
        }
        let mut event = Some(event);
        while let Some(happened) = event {
            let pace = self.pace();
            let Some(container) = self.held.containers.get_mut(&key) else { return };
            let action = container.life.on(happened, now, &pace);
            event = self.perform(key, action, now);
        }
    }

    /// A group's events have changed. For a closed container nothing is read, and its next check
    /// keeps its time, which constant changes must not postpone.
    pub(super) fn changed(&mut self, key: u64, now: Instant) {
        let container = self.held.containers.get(&key);
        if container.is_some_and(|container| !container.life.is_closed()) {
            self.on(key, Event::Changed, now);
        }
    }

    fn pace(&self) -> Pace {
        Pace {
            cadence: self.cadence,
            credit_wait: self.budget.wait(),
            has_events: self.held.hierarchy.has_events(),
            epoch: self.epoch,
        }
    }

    /// Performs an action; returns its result, or `None` if the container waits or has ended.
    fn perform(&mut self, key: u64, action: Action, now: Instant) -> Option<Event> {
        let Self { held, reports, .. } = self;
        let container = held.containers.get_mut(&key)?;
        let event = match action {
            Action::Look => {
                let populated = container.populated(&mut held.buffer);
                if populated == Some(true) {
                    reports.begun(container);
                }
                Event::Looked(populated)
            }
            Action::AskVacant => self.ask_vacant(key)?,
            Action::Sample => self.sample(key, now)?,
            Action::WatchExit => self.watch_exit(key)?,
            Action::ReadCpu => {
                container.read_cpu(&mut held.buffer);
                Event::CpuRead(container.usage.cpu.usage_ns)
            }
            Action::ReadFinal => match container.read_final(now, &mut held.buffer) {
                Reading::Gone => Event::FinalRead(None),
                Reading::Read(_) => {
                    reports.begun(container);
                    container.exit_watch = None;
                    Event::FinalRead(Some(SystemTime::now()))
                }
            },
            Action::AskVerdict => Event::Verdict(reports.is_wanted(&container.pod)),
            Action::AskSandbox => Event::IsSandbox(held.is_sandbox(key, &self.proc)),
            Action::AskNested => Event::Nested(container.nested_processes(&held.hierarchy)),
            Action::Unsettle => {
                held.unsettle(key);
                Event::Unsettled
            }
            Action::Show => {
                reports.show(container);
                Event::Done
            }
            Action::HideSandbox => {
                reports.hide_sandbox(container);
                Event::Done
            }
            Action::ReportEnd(ended) => {
                reports.ended(held.settle(key, ended)?);
                Event::Done
            }
            Action::Close { was_reported } => {
                if was_reported {
                    held.unsettle(key);
                }
                let container = held.containers.get_mut(&key)?;
                container.close();
                held.population.leave_place(key);
                reports.unselected(container);
                Event::Done
            }
            Action::OpenPod => {
                let uid = container.pod.clone();
                self.open_pod(&uid, now);
                Event::Done
            }
            Action::Wait(until) => {
                held.population.set_timer(key, until);
                return None;
            }
            // For a container that is no longer held: see `removed`.
            Action::SettleExact(_) | Action::SettleMissed | Action::Forget => return None,
        };
        Some(event)
    }

    fn sample(&mut self, key: u64, now: Instant) -> Option<Event> {
        let container = self.held.containers.get_mut(&key)?;
        let reading = container.sample(now, &mut self.held.buffer);
        let took = now.elapsed();
        self.budget.spend(took);
        self.reports.self_metrics.sampled(took);
        let Reading::Read(unreadable) = reading else {
            return Some(Event::Sampled(false));
        };
        for _ in 0..unreadable {
            self.reports.self_metrics.dropped(Signal::Metrics, Reason::Unreadable);
        }
        Some(Event::Sampled(true))
    }

    fn watch_exit(&mut self, key: u64) -> Option<Event> {
        let container = self.held.containers.get_mut(&key)?;
        let pids = container.pids(&mut self.held.buffer);
        container.exit_watch = ExitWatch::choose(&pids, &self.proc).filter(|watch| {
            let added = self.poller.add_once(&watch.fd, key);
            if let Err(error) = &added {
                tracing::debug!(%error, "cannot watch a process for its exit");
            }
            added.is_ok()
        });
        let is_watched = container.exit_watch.is_some();
        if is_watched {
            self.networks_due.push(container.pod.clone());
        }
        Some(Event::ExitWatched(is_watched))
    }

    /// The exit watch of a container has fired.
    pub(super) fn exit_watch_fired(&mut self, key: u64) {
        let now = Instant::now();
        if let Some(container) = self.held.containers.get_mut(&key) {
            container.exit_watch = None;
        }
        self.on(key, Event::ExitWatchFired, now);
    }

    pub(super) fn pod_created(&mut self, uid: PodUid, path: &Path, source: Source) {
        let from_birth = source == Source::Inotify;
        let pod = Pod::new(uid.clone(), path, &self.held.hierarchy, from_birth);
        self.held.pods.insert(uid, pod);
    }

    pub(super) fn created(&mut self, id: &ContainerId, pod: &PodUid, path: &Path, source: Source) {
        let now = Instant::now();
        let made = self.held.made(path);
        let created = match source {
            Source::Inotify => creation_time(made, SystemTime::now()),
            Source::Startup | Source::Rescan | Source::Residual => made,
        };
        let mut admission = self.held.admit(id, pod, path, created, now);
        if admission == Admission::Known {
            self.removed(id);
            admission = self.held.admit(id, pod, path, created, now);
        }
        let Admission::Admitted(key) = admission else {
            if let Some(pod) = self.held.pods.get_mut(pod) {
                pod.has_refused = true;
            }
            self.reports.self_metrics.dropped(Signal::Metrics, Reason::Cap);
            return;
        };
        if let Some(container) = self.held.containers.get_mut(&key) {
            container.is_birth_seen = source == Source::Inotify;
        }
        let has_entered = self.enter(key, now).is_some();
        if let Some(container) = self.held.containers.get(&key) {
            self.reports.created(container, source);
        }
        self.on(key, if has_entered { Event::Opened } else { Event::Due }, now);
    }

    /// The group of a nested container was found.
    pub(super) fn nested(&mut self, group: &NestedGroup, source: Source) {
        let now = Instant::now();
        let made = self.held.made(&group.path);
        let created = match source {
            Source::Inotify => creation_time(made, SystemTime::now()),
            Source::Startup | Source::Rescan | Source::Residual => made,
        };
        let Admission::Admitted(key) = self.held.admit_nested(group, created, now) else { return };
        if let Some(container) = self.held.containers.get_mut(&key) {
            // One beside the pod may have been there for long until it is known whose it is.
            container.is_birth_seen = source == Source::Inotify && !group.beside;
        }
        let has_entered = self.enter(key, now).is_some();
        if let Some(container) = self.held.containers.get(&key) {
            self.reports.discovered(container, source);
        }
        self.on(key, if has_entered { Event::Opened } else { Event::Due }, now);
    }

    /// So many groups of nested containers of a pod were found and are not followed. What those beside
    /// the pod use is then not known.
    pub(super) fn nested_left_out(&mut self, uid: &PodUid, count: u64, beside: bool) {
        let captures = self.held.population.captures(Kind::Nested);
        let Some(pod) = self.held.pods.get_mut(uid) else { return };
        pod.beside.is_unknown |= beside;
        if captures && self.reports.is_wanted(uid) {
            pod.leave_out(count);
            self.reports.self_metrics.dropped_by(Signal::Metrics, Reason::Cap, count);
        }
    }

    /// Balances every pod's accounting.
    pub(super) fn balance_all(&mut self) {
        self.settle_all_missed();
        self.held.count_monitors();
        self.held.balance_directories();
        let uids: Vec<PodUid> = self.held.pods.keys().cloned().collect();
        for uid in uids {
            let closed = self.held.balance(&uid, &self.reports.inventory);
            self.reports.closed(closed);
        }
    }

    /// Opens the network files of pods that have none yet.
    pub(super) fn adopt_networks(&mut self) {
        for uid in std::mem::take(&mut self.networks_due) {
            self.held.adopt_network(&uid, &self.proc);
        }
    }
}

#[cfg(test)]
mod tests;
