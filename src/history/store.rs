//! All series, by pod; how many there may be, and which one makes room.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use ephemon_model::{ContainerId, PodUid};

use super::Sample;
use super::series::{MAX_POINTS_BYTES, MAX_SERIES_BYTES, Series};
use super::view::SeriesView;

/// Most memory of all series, bytes.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Most series at once.
pub const MAX_SERIES: usize = MAX_BYTES / MAX_SERIES_BYTES;
/// Most series of one pod.
pub const MAX_PER_POD: usize = 48;
/// Memory of a view, bytes: its points, and the series from which they are made if readings are added
/// meanwhile.
pub const MAX_VIEW_BYTES: usize = MAX_PER_POD * (MAX_SERIES_BYTES + MAX_POINTS_BYTES);
/// How long the series of a pod's containers are kept after the last of them has ended. They go
/// earlier if others need the room.
const KEPT_MS: u64 = 3_600_000;
/// How often room is looked for in vain, milliseconds: it takes a look at all series.
const RETRY_MS: u64 = 5_000;
/// Most containers without room that are remembered as such.
const MAX_REFUSED: usize = 1024;

/// The series; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Pods>>);

#[derive(Debug, Default)]
struct Pods {
    by_uid: HashMap<PodUid, Pod>,
    count: usize,
    /// Containers for which there was no room.
    refused: HashSet<ContainerId>,
    /// Since when, milliseconds since 1970.
    refused_ms: u64,
}

#[derive(Debug, Default)]
struct Pod {
    /// Shared with those who are reading one: they need no lock while they do.
    series: HashMap<ContainerId, Arc<Series>>,
    /// Rises with each reading.
    generation: u64,
    /// Readings of containers for which there was no room.
    left_out: u64,
}

/// A pod's series at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodView {
    /// In no particular order.
    pub series: Vec<SeriesView>,
    /// Readings that found no room.
    pub left_out: u64,
}

// === impl History ===

impl History {
    /// Adds a reading.
    pub fn add(&self, sample: &Sample<'_>) {
        let mut pods = self.pods();
        let known = pods.by_uid.get_mut(sample.pod);
        if let Some(pod) = known {
            pod.generation = pod.generation.wrapping_add(1);
            if let Some(series) = pod.series.get_mut(sample.id) {
                return Arc::make_mut(series).add(sample);
            }
        }
        pods.begin(sample);
    }

    /// Forgets a container that is not reported.
    pub fn forget(&self, pod: &PodUid, id: &ContainerId) {
        self.pods().remove(pod, id);
    }

    /// What changes whenever a reading of the pod is added; `None` for a pod without series.
    pub fn generation(&self, pod: &PodUid) -> Option<u64> {
        self.pods().by_uid.get(pod).map(|pod| pod.generation)
    }

    /// A pod's containers that `wanted` accepts, with what ends after `since_ms`.
    pub fn view(
        &self,
        pod: &PodUid,
        since_ms: u64,
        wanted: impl Fn(&ContainerId) -> bool,
    ) -> PodView {
        let (series, left_out) = {
            let pods = self.pods();
            let Some(pod) = pods.by_uid.get(pod) else { return PodView::default() };
            let series = pod.series.iter().filter(|(id, _)| wanted(id));
            let series = series.map(|(id, series)| (id.clone(), Arc::clone(series)));
            (series.collect::<Vec<_>>(), pod.left_out)
        };
        // Readings are added meanwhile.
        let series = series.iter().map(|(id, series)| series.view(id, since_ms)).collect();
        PodView { series, left_out }
    }

    /// Memory of all series, bytes, and how many there are.
    pub fn size(&self) -> (usize, usize) {
        let pods = self.pods();
        let all = pods.by_uid.values().flat_map(|pod| pod.series.values());
        (all.map(|series| series.bytes()).sum(), pods.count)
    }

    /// Series are always complete, so a poisoned lock can be used.
    fn pods(&self) -> MutexGuard<'_, Pods> {
        lock(&self.0)
    }
}

// === impl Pods ===

impl Pods {
    /// Begins a series, if there is room or something ended can make some.
    fn begin(&mut self, sample: &Sample<'_>) {
        if sample.at_ms.abs_diff(self.refused_ms) >= RETRY_MS {
            self.refused.clear();
            self.refused_ms = sample.at_ms;
        }
        if self.refused.contains(sample.id) {
            return self.leave_out(sample);
        }
        self.expire(sample.at_ms);
        let full = self.by_uid.get(sample.pod).is_some_and(|pod| pod.series.len() >= MAX_PER_POD);
        let victim = if full {
            self.oldest_end(|uid| uid == sample.pod)
        } else if self.count >= MAX_SERIES {
            self.oldest_end(|_| true)
        } else {
            None
        };
        let has_room = match victim {
            Some((pod, id)) => {
                self.remove(&pod, &id);
                true
            }
            None => !full && self.count < MAX_SERIES,
        };
        if has_room {
            let pod = self.by_uid.entry(sample.pod.clone()).or_default();
            pod.series.insert(sample.id.clone(), Arc::new(Series::new(sample)));
            self.count += 1;
        } else {
            if self.refused.len() < MAX_REFUSED {
                self.refused.insert(sample.id.clone());
            }
            self.leave_out(sample);
        }
    }

    fn leave_out(&mut self, sample: &Sample<'_>) {
        if let Some(pod) = self.by_uid.get_mut(sample.pod) {
            pod.left_out = pod.left_out.saturating_add(1);
        }
    }

    /// Of the pods that `among` accepts, the container that ended first.
    fn oldest_end(&self, among: impl Fn(&PodUid) -> bool) -> Option<(PodUid, ContainerId)> {
        let pods = self.by_uid.iter().filter(|(uid, _)| among(uid));
        let all = pods.flat_map(|(uid, pod)| pod.series.iter().map(move |one| (uid, one)));
        let ended = all.filter_map(|(uid, (id, series))| Some((series.ended_ms()?, uid, id)));
        ended.min_by_key(|(at, ..)| *at).map(|(_, uid, id)| (uid.clone(), id.clone()))
    }

    /// Forgets pods whose containers have all ended long ago.
    fn expire(&mut self, now_ms: u64) {
        let is_old = |series: &Arc<Series>| {
            series.ended_ms().is_some_and(|at| now_ms.saturating_sub(at) > KEPT_MS)
        };
        self.by_uid.retain(|_, pod| !pod.series.values().all(is_old));
        self.count = self.by_uid.values().map(|pod| pod.series.len()).sum();
    }

    fn remove(&mut self, uid: &PodUid, id: &ContainerId) {
        let Some(pod) = self.by_uid.get_mut(uid) else { return };
        if pod.series.remove(id).is_some() {
            self.count = self.count.saturating_sub(1);
            self.refused.clear();
        }
        if pod.series.is_empty() {
            self.by_uid.remove(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use ephemon_model::Usage;

    use super::*;

    fn pod(number: usize) -> PodUid {
        PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap()
    }

    fn id(number: usize) -> ContainerId {
        ContainerId::parse(&format!("{number:064x}")).unwrap()
    }

    fn add(history: &History, in_pod: usize, container: usize, at_ms: u64, last: bool) {
        let usage = Usage::default();
        let (pod, id) = (pod(in_pod), id(container));
        let created_ms = at_ms.saturating_sub(100);
        let sample =
            Sample { pod: &pod, id: &id, created_ms, at_ms, usage: &usage, complete: true, last };
        history.add(&sample);
    }

    fn ids(history: &History, of: usize) -> Vec<ContainerId> {
        let mut ids: Vec<_> =
            history.view(&pod(of), 0, |_| true).series.into_iter().map(|one| one.id).collect();
        ids.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        ids
    }

    #[test]
    fn a_pod_with_too_many_gives_up_its_own_ended_ones_and_no_others() {
        let history = History::default();
        add(&history, 1, 1000, 500, true);
        for number in 0..MAX_PER_POD {
            add(&history, 2, number, 1000 + number as u64, number == 3 || number == 5);
        }
        add(&history, 2, 500, 2000, false);
        assert!(!ids(&history, 2).contains(&id(3)), "its end was first");
        assert!(ids(&history, 2).contains(&id(500)));
        add(&history, 2, 501, 2001, false);
        add(&history, 2, 502, 2002, false);
        assert!(!ids(&history, 2).contains(&id(502)), "nothing has ended that could make room");
        assert_eq!(history.view(&pod(2), 0, |_| true).left_out, 1);
        assert_eq!((ids(&history, 1), ids(&history, 2).len()), (vec![id(1000)], MAX_PER_POD));
    }

    #[test]
    fn room_is_looked_for_now_and_then() {
        let history = History::default();
        for number in 0..MAX_PER_POD {
            add(&history, 1, number, 10_000, false);
        }
        add(&history, 1, 100, 11_000, false);
        let left_out = || history.view(&pod(1), 0, |_| true).left_out;
        assert!(left_out() == 1 && history.pods().refused.contains(&id(100)));
        add(&history, 1, 0, 11_500, true);
        add(&history, 1, 100, 12_000, false);
        assert_eq!(left_out(), 2, "not looked for");
        add(&history, 1, 100, 11_000 + RETRY_MS, false);
        assert!(left_out() == 2 && ids(&history, 1).contains(&id(100)));
    }

    #[test]
    fn a_view_does_not_change_with_readings_added_meanwhile() {
        let history = History::default();
        add(&history, 1, 1, 10_000, false);
        let held = Arc::clone(&history.pods().by_uid[&pod(1)].series[&id(1)]);
        add(&history, 1, 1, 11_000, true);
        assert_eq!(held.ended_ms(), None);
        assert!(history.view(&pod(1), 0, |_| true).series[0].ended);
    }

    #[test]
    fn all_series_together_are_bounded() {
        let history = History::default();
        for number in 0..MAX_SERIES + 20 {
            add(&history, number, number, 1000 + number as u64, number < 10);
        }
        let (bytes, count) = history.size();
        assert!(bytes <= MAX_BYTES && count == MAX_SERIES, "{bytes} {count}");
        assert_eq!(history.generation(&pod(0)), None, "it had ended and made room");
        assert_eq!(history.generation(&pod(MAX_SERIES + 19)), None, "nothing else had");
        assert!(history.generation(&pod(20)).is_some());
    }

    /// A node full of pods, sampled for half an hour: all rings are full then.
    #[test]
    fn a_hundred_and_ten_containers_take_two_megabytes() {
        let history = History::default();
        let mut usage = Usage::default();
        for second in 0..1900_u64 {
            usage.cpu.usage_ns = Some(second * 1_000_000);
            usage.memory.working_set_bytes = Some(second);
            usage.pressure.io.waiting_us = Some(second);
            for number in 0..110 {
                let (pod, id) = (pod(number), id(number));
                let (created_ms, at_ms) = (1000, 1000 + second * 1000);
                let complete = second < 30 || second % 5 == 0;
                let (usage, last) = (&usage, false);
                history.add(&Sample {
                    pod: &pod,
                    id: &id,
                    created_ms,
                    at_ms,
                    usage,
                    complete,
                    last,
                });
            }
        }
        let (bytes, count) = history.size();
        assert_eq!(count, 110);
        assert!(bytes > 1_500_000 && bytes < 2_100_000, "{bytes}");
    }

    #[test]
    fn what_ended_long_ago_goes_with_its_pod_and_stays_while_the_pod_runs() {
        let history = History::default();
        add(&history, 1, 1, 1000, true);
        add(&history, 2, 2, 1000, true);
        add(&history, 2, 3, 1000, false);
        add(&history, 3, 4, 1000 + KEPT_MS + 1, false);
        assert_eq!(history.generation(&pod(1)), None);
        assert_eq!(ids(&history, 2), [id(2), id(3)]);
        let before = history.generation(&pod(2));
        add(&history, 2, 3, 2000 + KEPT_MS, false);
        assert_ne!(history.generation(&pod(2)), before);
        history.forget(&pod(3), &id(4));
        assert_eq!(history.generation(&pod(3)), None);
    }
}
