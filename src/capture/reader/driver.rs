//! Performs the actions of a container's life, and passes the results back to it.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use ephemon_discovery::cgroups::NestedGroup;
use ephemon_discovery::inventory::Verdict;
use ephemon_model::{ContainerId, PodUid};
use ephemon_self_metrics::{Reason, Signal, Source};

use super::created::creation_time;
use super::held::Held;
use super::poller::Poller;
use super::reports::Reports;
use crate::cadence::{Budget, Cadence};
use crate::container::Reading;
use crate::exit_watch::ExitWatch;
use crate::ledger::Ledger;
use crate::life::{Action, Event, Pace};
use crate::pod::{Beside, Pod};
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

    /// A pod is selected that was not, or containers of it wait for a place: with the first of its own
    /// that has one the pod's accounting starts again.
    fn open_pod(&mut self, uid: &PodUid, now: Instant) {
        let population = &self.held.population;
        let keys = [population.children(uid), population.nested(uid)].concat();
        for key in keys {
            let container = self.held.containers.get(&key);
            if !container.is_some_and(|container| container.life.is_closed()) {
                continue;
            }
            let is_first = !self.held.captures(uid);
            let Some(kind) = self.enter(key, now) else { continue };
            if let Some(pod) = self.held.pods.get_mut(uid).filter(|_| kind == Kind::Own) {
                pod.ledger = Ledger::from_now();
                if is_first {
                    let Beside { is_used, is_unknown, .. } = pod.beside;
                    pod.beside = Beside { is_used, is_unknown, ..Beside::default() };
                }
            }
            self.on(key, Event::Opened, now);
        }
    }

    /// Gives a container a place and opens its files. Without a place it is counted as left out, if it
    /// is one that would be shown.
    fn enter(&mut self, key: u64, now: Instant) -> Option<Kind> {
        let (kind, pod) = self.held.population.of(key)?;
        let pod = pod.clone();
        if self.take_place(key, kind, &pod, now) {
            self.held.open(key);
            self.reports.entered(self.held.containers.get_mut(&key)?);
            return Some(kind);
        }
        let is_shown =
            || matches!(self.reports.inventory.verdict(&pod), Verdict::Wanted | Verdict::Nameless);
        let container = self.held.containers.get_mut(&key)?;
        if self.held.population.captures(kind) && !container.is_left_out && is_shown() {
            container.is_left_out = true;
            self.reports.self_metrics.dropped(Signal::Metrics, Reason::Cap);
            if let Some(pod) = self.held.pods.get_mut(&pod).filter(|_| kind == Kind::Nested) {
                pod.leave_out(1);
            }
        }
        None
    }

    /// A place for a container; for one of a selected pod, if all are taken, that of a container whose
    /// pod is not selected, or not yet.
    fn take_place(&mut self, key: u64, kind: Kind, pod: &PodUid, now: Instant) -> bool {
        let population = &mut self.held.population;
        if population.take_place(key) {
            return true;
        }
        let verdict = |pod: &PodUid| self.reports.inventory.verdict(pod);
        if !population.is_full(kind) || verdict(pod) != Verdict::Wanted {
            return false;
        }
        let others = population.holders(kind).filter_map(|(pod, key)| match verdict(pod) {
            Verdict::Unwanted => Some((0, key)),
            Verdict::Open => Some((1, key)),
            Verdict::Wanted | Verdict::Nameless => None,
        });
        let Some((_, other)) = others.min() else { return false };
        self.on(other, Event::Displaced, now);
        self.held.population.take_place(key)
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

    /// A container's directory was removed.
    pub(super) fn removed(&mut self, id: &ContainerId) {
        let Some(mut container) = self.held.remove(id) else { return };
        self.reports.inventory.ended(id);
        let was_closed = container.life.is_closed();
        match container.life.on(Event::Removed, Instant::now(), &self.pace()) {
            Action::SettleExact(ended) => {
                let over = self.held.close_exact(container, ended);
                self.reports.ended(over);
            }
            // Too short to tell, in a pod whose processes are elsewhere.
            Action::SettleMissed if self.held.is_apart(&container) => {
                self.reports.vacant(&container);
            }
            Action::SettleMissed => {
                let closed = self.held.close_missed(container);
                self.reports.closed(closed);
            }
            // It is in no readings, but what it used is in the counters of pod or directory.
            _ if was_closed && self.held.captures(&container.pod) => {
                if container.nested.is_some() {
                    let closed = self.held.close_missed(container);
                    self.reports.closed(closed);
                } else if let Some(pod) = self.held.pods.get_mut(&container.pod) {
                    pod.ledger = Ledger::from_now();
                }
            }
            // Nor is it in its pod's books, but the directory may be that of other pods too.
            _ if was_closed && container.nested.is_some() => {
                self.held.engines.disturb(&container.path);
            }
            _ => {}
        }
    }

    /// A pod's directory was removed, and with it those of its containers.
    pub(super) fn pod_removed(&mut self, uid: &PodUid) {
        if !self.held.pods.contains_key(uid) {
            return;
        }
        // Those beside the pod are in its books as long as it is held.
        let nested = self.held.population.nested(uid).iter();
        let nested: Vec<_> =
            nested.filter_map(|key| self.held.population.id(*key)).cloned().collect();
        for id in nested {
            self.removed(&id);
        }
        self.held.read_beside(uid);
        let Some(pod) = self.held.pods.remove(uid) else { return };
        let population = &self.held.population;
        let children = population.nested(uid).iter().chain(population.children(uid));
        let ids: Vec<_> =
            children.filter_map(|key| self.held.population.id(*key)).cloned().collect();
        for id in ids {
            self.removed(&id);
        }
        self.reports.readings.enter_pod(pod.record(true));
    }

    /// Balances every pod's accounting.
    pub(super) fn balance_all(&mut self) {
        self.held.balance_directories();
        let uids: Vec<PodUid> = self.held.pods.keys().cloned().collect();
        for uid in uids {
            let closed = self.held.balance(&uid);
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
