//! Groups in which podman has its monitors (`conmon`) beside the pods: what these use is divided among the
//! pods whose containers they watch. Pure.
//!
//! A directory of podman's has one such group for all its containers, and two pods with podman have one
//! directory: the kernel does not say for whom a monitor works. Each uses most when its container starts and
//! when it ends, as it calls podman to clean up; so the containers of a pod are its share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ephemon_model::PodUid;

/// Most groups; podman makes one for each of its pods, and one more.
const MAX_GROUPS: usize = 8;
/// Most pods that share one group; of further ones nobody knows what theirs use.
const MAX_PODS: usize = 16;

/// Memory of all of them, in bytes: paths, and the pods of each group twice.
pub const MONITORS_BYTES: usize = MAX_GROUPS * (1024 + 2 * MAX_PODS * 128);

/// Containers by pod; `None`: of no pod, as the node's own podman makes them.
pub(crate) type Shares = BTreeMap<Option<PodUid>, u64>;

/// The groups, by their paths below the watched root.
#[derive(Debug, Default)]
pub(crate) struct Monitors(BTreeMap<PathBuf, Group>);

#[derive(Debug)]
struct Group {
    /// CPU time that is accounted for, nanoseconds. `None`: it was found, and what it had used before is
    /// nobody's.
    counted_ns: Option<u64>,
    /// Whose containers were there when it was read last. They may be over, and their monitors not.
    last: Shares,
    /// Whose containers have been removed since.
    ended: Shares,
}

// === impl Monitors ===

impl Monitors {
    /// A group was found. `from_birth`: its creation was seen.
    pub(crate) fn add(&mut self, path: PathBuf, from_birth: bool) {
        if self.0.len() < MAX_GROUPS || self.0.contains_key(&path) {
            let counted_ns = from_birth.then_some(0);
            let group = Group { counted_ns, last: Shares::new(), ended: Shares::new() };
            self.0.entry(path).or_insert(group);
        }
    }

    /// A group was removed: one of these, or that of a container of which no pod is known.
    pub(crate) fn is_gone(&mut self, path: &Path) {
        if self.0.remove(path).is_none() {
            self.ended(path, None);
        }
    }

    /// All groups.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.0.keys().cloned().collect()
    }

    /// A container's group was removed.
    pub(crate) fn ended(&mut self, container: &Path, pod: Option<&PodUid>) {
        let beside = self.0.iter_mut().filter(|(path, _)| path.parent() == container.parent());
        for (_, group) in beside {
            add(&mut group.ended, pod.cloned(), 1);
        }
    }

    /// A group has used so much CPU time, nanoseconds, and these containers are in its directory: returns
    /// what each pod has used since the last time.
    pub(crate) fn count(
        &mut self,
        path: &Path,
        cpu_ns: u64,
        present: Shares,
    ) -> Vec<(PodUid, u64)> {
        let Some(group) = self.0.get_mut(path) else { return Vec::new() };
        let mut shares = std::mem::take(&mut group.ended);
        for (pod, count) in present {
            add(&mut shares, pod, count);
        }
        if !shares.is_empty() {
            group.last = shares;
        }
        let counted_ns = *group.counted_ns.get_or_insert(cpu_ns);
        let whole: u64 = group.last.values().sum();
        // Without a container nobody knows whose it is, and it waits for the first.
        if whole == 0 {
            return Vec::new();
        }
        group.counted_ns = Some(cpu_ns);
        // Less than before: it was removed and made again.
        let used_ns = cpu_ns.checked_sub(counted_ns).unwrap_or(cpu_ns);
        let share_ns = |count: u64| {
            let ns = u128::from(used_ns) * u128::from(count) / u128::from(whole);
            u64::try_from(ns).unwrap_or(u64::MAX)
        };
        let of_pods = group.last.iter().filter_map(|(pod, count)| Some((pod.clone()?, *count)));
        of_pods.map(|(pod, count)| (pod, share_ns(count))).collect()
    }
}

fn add(shares: &mut Shares, pod: Option<PodUid>, count: u64) {
    let has_room = shares.len() < MAX_PODS || shares.contains_key(&pod);
    let held = shares.entry(pod.filter(|_| has_room)).or_default();
    *held = held.saturating_add(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "libpod_parent/conmon";

    fn uid(digit: char) -> PodUid {
        PodUid::parse(&format!("{digit}e269fa4-f505-4963-9096-958063077203")).unwrap()
    }

    fn of(counts: &[(Option<char>, u64)]) -> Shares {
        counts.iter().map(|(pod, count)| (pod.map(uid), *count)).collect()
    }

    fn monitors(from_birth: bool) -> Monitors {
        let mut monitors = Monitors::default();
        monitors.add(GROUP.into(), from_birth);
        monitors
    }

    fn count(monitors: &mut Monitors, cpu_ns: u64, present: &Shares) -> Vec<(PodUid, u64)> {
        monitors.count(Path::new(GROUP), cpu_ns, present.clone())
    }

    #[test]
    fn each_pod_has_what_its_containers_monitors_use() {
        let mut monitors = monitors(true);
        assert_eq!(count(&mut monitors, 10, &of(&[])), [], "it is not known whose it is");
        assert_eq!(count(&mut monitors, 100, &of(&[(Some('a'), 2)])), [(uid('a'), 100)]);
        // A container that came and went between two readings.
        monitors.ended(Path::new("libpod_parent/libpod-x"), Some(&uid('b')));
        monitors.ended(Path::new("other/libpod-y"), Some(&uid('c')));
        let shared = count(&mut monitors, 400, &of(&[(Some('a'), 2)]));
        assert_eq!(shared, [(uid('a'), 200), (uid('b'), 100)]);
        // The last monitors clean up after the last container.
        count(&mut monitors, 400, &of(&[(Some('a'), 1), (None, 3)]));
        assert_eq!(count(&mut monitors, 500, &of(&[])), [(uid('a'), 25)], "the rest is the node's");
        // Short ones of the node's own podman are not the pod's either.
        for number in 0..9 {
            monitors.is_gone(Path::new(&format!("libpod_parent/libpod-{number}")));
        }
        assert_eq!(count(&mut monitors, 600, &of(&[(Some('a'), 1)])), [(uid('a'), 10)]);
        monitors.is_gone(Path::new(GROUP));
        assert_eq!(count(&mut monitors, 900, &of(&[(Some('a'), 1)])), []);
    }

    #[test]
    fn what_a_group_had_used_when_it_was_found_is_nobodys_and_one_made_again_begins_at_nothing() {
        let mut monitors = monitors(false);
        assert_eq!(count(&mut monitors, 700, &of(&[(Some('a'), 1)])), [(uid('a'), 0)]);
        monitors.add(GROUP.into(), true);
        assert_eq!(count(&mut monitors, 750, &of(&[])), [(uid('a'), 50)], "it was known");
        assert_eq!(count(&mut monitors, 30, &of(&[])), [(uid('a'), 30)]);
    }

    #[test]
    fn groups_and_pods_are_bounded() {
        let mut monitors = Monitors::default();
        for number in 0..1000 {
            monitors.add(format!("libpod_parent/{number}/conmon").into(), true);
        }
        assert_eq!(monitors.paths().len(), MAX_GROUPS);
        let mut shares = Shares::new();
        for number in 0..1000 {
            let uid = PodUid::parse(&format!("{number:08x}-f505-4963-9096-958063077203")).unwrap();
            add(&mut shares, Some(uid), 1);
        }
        assert_eq!((shares.len(), shares[&None]), (MAX_PODS + 1, 1000 - MAX_PODS as u64));
    }
}
