//! A container's way through the reader: born, sampled, empty, gone, settled.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ephemon_cgroup::Gone;
use ephemon_discovery::inventory::Verdict;
use ephemon_model::{ContainerId, Ended, PodUid, Quality};
use ephemon_vitals::{Reason, Signal, Source};
use rustix::event::epoll;
use std::os::fd::AsFd as _;

use super::Reader;
use crate::additive::Additive;
use crate::alarm;
use crate::alarm::Alarm;
use crate::books::Record;
use crate::cadence::OVER_AFTER;
use crate::living::{Living, Phase, Reading};
use crate::pod::Pod;

/// The sandbox's process is `runc` first; its name is looked at for this long.
const SANDBOX_TOLD: Duration = Duration::from_mins(1);

/// The longest tick of a kernel's clock (`CONFIG_HZ=100`).
const TICK: Duration = Duration::from_millis(10);
/// News of a birth is at most this old: a group's own time that is older is not believed, for a
/// process in it may have set it.
const LATEST_NEWS: Duration = Duration::from_mins(1);

impl Reader {
    pub(super) fn pod_born(&mut self, uid: PodUid, path: &Path, source: Source) {
        let from_birth = source == Source::Inotify;
        let pod = Pod::new(uid.clone(), path, &self.hierarchy, from_birth);
        self.pods.insert(uid, pod);
    }

    pub(super) fn born(
        &mut self,
        key: u64,
        id: ContainerId,
        pod: &PodUid,
        path: PathBuf,
        source: Source,
    ) {
        if self.living.len() >= self.options.max_containers {
            self.vitals.dropped(Signal::Metrics, Reason::Cap);
            return;
        }
        let now = Instant::now();
        let born = match source {
            Source::Inotify => heard(self.made(&path), SystemTime::now()),
            Source::Startup | Source::Rescan | Source::Residual => self.made(&path),
        };
        let mut container = Living::new(id.clone(), pod.clone(), path, born, now);
        container.wake(&self.hierarchy);
        if let Some(pod) = self.pods.get_mut(pod) {
            pod.containers.push(id.clone());
        }
        self.vitals.discovered(if container.is_open() { source } else { Source::Residual });
        self.inventory.born(pod, &id, born);
        self.inventory.stands_at(&id, &container.path);
        self.keys.insert(id, key);
        self.timers.insert((now, key));
        self.living.insert(key, container);
        self.look(key, now);
        self.sample(key, now);
        self.reset_timer(key, now);
    }

    /// Looks whether a container has processes, and acts on it.
    pub(super) fn look(&mut self, key: u64, now: Instant) {
        let Some(container) = self.living.get_mut(&key) else {
            return;
        };
        match container.populated(&mut self.buffer) {
            Ok(Some(true)) => self.populated(key),
            Ok(Some(false)) => self.emptied(key, now),
            // Its removal is on the way; nothing can be read before it.
            Ok(None) | Err(Gone) => {}
        }
    }

    /// A process is in it: wait for one, and tell the sandbox from a container.
    fn populated(&mut self, key: u64) {
        let Some(container) = self.living.get_mut(&key) else {
            return;
        };
        if let Phase::Empty { told: true, .. } = container.phase {
            let last = Additive::of(&container.usage);
            if let Some(pod) = self.pods.get_mut(&container.pod) {
                pod.ledger.unsettle(&last);
            }
        }
        container.phase = Phase::Running;
        if container.alarm.is_none() {
            let proc = self.options.node.proc();
            let pids = container.pids(&mut self.buffer);
            container.alarm = Alarm::choose(&pids, &proc);
            if let Some(alarm) = &container.alarm {
                self.networks_due.push(container.pod.clone());
                let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
                let data = epoll::EventData::new_u64(key);
                if let Err(error) = epoll::add(&self.epoll, alarm.fd.as_fd(), data, flags) {
                    tracing::debug!(%error, "a process cannot be waited for");
                    container.alarm = None;
                }
            }
        }
    }

    /// No process is in it. Before the first one that is nothing; after the last it is the end.
    fn emptied(&mut self, key: u64, now: Instant) {
        let Some(container) = self.living.get_mut(&key) else {
            return;
        };
        if container.phase == Phase::Fresh {
            // A life too short to be seen leaves CPU time behind.
            container.read_cpu(&mut self.buffer);
            if container.usage.cpu.usage_ns.is_none_or(|used| used == 0) {
                return;
            }
        }
        let Reading::Read(_) = container.read_final(now, &mut self.buffer) else {
            return;
        };
        container.alarm = None;
        container.phase = match container.phase {
            Phase::Empty { since, at, rechecks, told } => {
                Phase::Empty { since, at, rechecks: rechecks + 1, told }
            }
            Phase::Fresh | Phase::Running => {
                Phase::Empty { since: now, at: SystemTime::now(), rechecks: 0, told: false }
            }
        };
        self.reset_timer(key, now);
    }

    /// The process waited for has ended.
    pub(super) fn rung(&mut self, key: u64) {
        let now = Instant::now();
        if let Some(container) = self.living.get_mut(&key) {
            container.alarm = None;
            container.rung_at = Some(now);
        }
        self.look(key, now);
        self.reset_timer(key, now);
    }

    /// A container's timer: sleep on, sample, look, or settle.
    pub(super) fn on_timer(&mut self, key: u64, now: Instant) {
        self.judge(key, now);
        match self.living.get(&key).map(|container| (container.asleep(), container.phase)) {
            None | Some((true, _)) => {}
            Some((false, Phase::Empty { since, told, .. })) => {
                self.look(key, now);
                if !told && now.duration_since(since) >= OVER_AFTER {
                    self.tell_over(key);
                }
            }
            Some((false, Phase::Fresh | Phase::Running)) => {
                self.look_if_blind(key, now);
                self.sample_if_due(key, now);
            }
        }
        self.reset_timer(key, now);
    }

    /// Looks whether it has processes where no alarm would tell of the last one's end.
    fn look_if_blind(&mut self, key: u64, now: Instant) {
        let alarmed = self.living.get(&key).is_some_and(|container| container.alarm.is_some());
        if !alarmed {
            self.look(key, now);
        }
    }

    fn sample_if_due(&mut self, key: u64, now: Instant) {
        let Some(container) = self.living.get(&key) else {
            return;
        };
        if matches!(container.phase, Phase::Empty { .. }) || self.budget.wait() > Duration::ZERO {
            return;
        }
        let age = now.duration_since(container.born_at);
        if self.cadence.is_due(age, now.duration_since(container.sampled_at)) {
            self.sample(key, now);
        }
    }

    pub(super) fn sample(&mut self, key: u64, now: Instant) {
        let Some(container) = self.living.get_mut(&key) else {
            return;
        };
        if matches!(container.phase, Phase::Empty { .. }) {
            return;
        }
        let reading = container.sample(now, &mut self.buffer);
        let took = now.elapsed();
        self.budget.spend(took);
        self.vitals.sampled(took);
        if let Reading::Read(unreadable) = reading {
            for _ in 0..unreadable {
                self.vitals.dropped(Signal::Metrics, Reason::Unreadable);
            }
        }
        self.tell_sandbox(key, now);
        self.show(key);
    }

    /// The pod's first container whose process is called `pause` is its sandbox. Only the first:
    /// a job that takes the name hides nothing.
    fn tell_sandbox(&mut self, key: u64, now: Instant) {
        let Some(container) = self.living.get(&key) else { return };
        let young = now.duration_since(container.born_at) < SANDBOX_TOLD;
        if container.sandbox || !young || !self.is_first(key, container) {
            return;
        }
        let Some(container) = self.living.get_mut(&key) else { return };
        let pids = container.pids(&mut self.buffer);
        let proc = self.options.node.proc();
        if pids.first().and_then(|pid| alarm::comm(*pid, &proc)).as_deref() == Some("pause") {
            container.sandbox = true;
            self.inventory.is_sandbox(&container.id);
            self.books.forget(&container.id);
        }
    }

    /// Whether none of the pod's containers was born before this one.
    fn is_first(&self, key: u64, container: &Living) -> bool {
        let siblings = self.pods.get(&container.pod).map(|pod| pod.containers.as_slice());
        siblings.unwrap_or_default().iter().filter_map(|id| self.keys.get(id)).all(|other| {
            let sibling = self.living.get(other);
            sibling.is_none_or(|sibling| (container.born, key) <= (sibling.born, *other))
        })
    }

    fn show(&self, key: u64) {
        if let Some(container) = self.living.get(&key)
            && !container.sandbox
            && !container.asleep()
        {
            self.books.enter(container.record(None));
        }
    }

    /// Empty for long, and its directory still there: over, and shown as such.
    fn tell_over(&mut self, key: u64) {
        let Some(container) = self.living.get_mut(&key) else {
            return;
        };
        if container.nested_processes(&self.hierarchy) {
            container.phase = Phase::Running;
            return;
        }
        let Some(ended) = container.exact_end() else {
            return;
        };
        if let Phase::Empty { told, .. } = &mut container.phase {
            *told = true;
        }
        let record = container.record(Some(ended));
        let sandbox = container.sandbox;
        self.finish(record, Quality::Exact, sandbox);
    }

    /// Its directory is gone.
    pub(super) fn died(&mut self, id: &ContainerId) {
        let Some(container) = self.bury(id) else { return };
        if container.asleep() {
            return;
        }
        match (container.phase, container.exact_end()) {
            (Phase::Empty { told: true, .. }, _) => {}
            (_, Some(ended)) => self.close_exact(container, ended),
            (_, None) => self.close(container),
        }
    }

    /// Takes a container out of the reader.
    pub(super) fn bury(&mut self, id: &ContainerId) -> Option<Living> {
        let key = self.keys.remove(id)?;
        let container = self.living.remove(&key)?;
        self.inventory.ended(id);
        self.timers.remove(&(container.due, key));
        if let Some(pod) = self.pods.get_mut(&container.pod) {
            pod.containers.retain(|other| other != id);
        }
        Some(container)
    }

    /// Enters a final into the pod's books, and shows it if its pod is wanted.
    pub(super) fn finish(&mut self, record: Record, quality: Quality, sandbox: bool) {
        if let Some(pod) = self.pods.get_mut(&record.pod) {
            pod.ledger.settle(&Additive::of(&record.usage));
        }
        if sandbox {
            return;
        }
        if self.inventory.verdict(&record.pod) == Verdict::Unwanted {
            self.vitals.dropped(Signal::Metrics, Reason::Unselected);
            self.books.forget(&record.id);
        } else {
            self.vitals.final_settled(quality);
            self.books.enter(record);
        }
    }

    pub(super) fn pod_died(&mut self, uid: &PodUid) {
        let Some(pod) = self.pods.remove(uid) else {
            return;
        };
        for id in pod.containers.clone() {
            self.died(&id);
        }
        self.books.enter_pod(pod.record(true));
    }
}

/// How a container ended whose last process was not seen going.
pub(super) fn ended_unseen(born: SystemTime, quality: Quality) -> Ended {
    Ended { at: SystemTime::now().max(born), quality }
}

/// When a group was born of which an event has just told. On a busy node the event waits to be read
/// while the container's processes already work; the kernel keeps a group's time from when somebody
/// first looked it up, which is the runtime. That time is of the last tick: of an event that did not
/// wait for one, now is truer.
///
/// Source: Linux, `fs/kernfs/inode.c`, `kernfs_init_inode`.
fn heard(made: SystemTime, now: SystemTime) -> SystemTime {
    match now.duration_since(made) {
        Ok(age) if (TICK..=LATEST_NEWS).contains(&age) => made,
        _ => now,
    }
}
