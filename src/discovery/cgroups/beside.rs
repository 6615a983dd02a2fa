//! Groups of containers beside the kubelet's tree: which container of a pod made each of them.
//!
//! Nothing of such a group says whose it is. But the engine's process that started it (a shim,
//! `conmon`) is a process of the container that the engine runs in, so the answer is in the chain of
//! parents of a process in the group. A new group has no process yet, so that it is looked at again
//! after growing pauses, for 8 s at most.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_cgroup::nested_name::Engine;

use super::ancestry::{Owner, namespace_depth, owner, processes};
use super::foreign::is_foreign;
use super::{CgroupEvent, CgroupTree};

/// Most groups that wait for an answer; further ones are not captured.
const MAX_PENDING: usize = 256;
/// Most groups that are remembered as not belonging to any pod.
const MAX_FOREIGN: usize = 1024;
/// The first pause. Each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// How often a group is looked at.
const MAX_TRIES: u32 = 12;

/// A group that is about to be captured.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    pub(super) path: PathBuf,
    pub(super) engine: Engine,
    pub(super) id: Arc<str>,
}

/// Groups whose container is not known.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: BTreeMap<PathBuf, Waiting>,
    foreign: HashSet<PathBuf>,
    unattributed: u64,
}

#[derive(Debug)]
struct Waiting {
    group: Admitted,
    due: Instant,
    tries: u32,
}

// === impl Pending ===

impl Pending {
    /// Adds a group; returns whether there was room.
    pub(super) fn add(&mut self, group: Admitted) -> bool {
        if self.foreign.contains(&group.path) || self.waiting.contains_key(&group.path) {
            return true;
        }
        if self.waiting.len() >= MAX_PENDING {
            return false;
        }
        let waiting = Waiting { due: Instant::now(), tries: 0, group };
        self.waiting.insert(waiting.group.path.clone(), waiting);
        true
    }

    /// A group was removed. One that was still waiting may have been a pod's.
    pub(super) fn remove(&mut self, path: &Path) {
        let was_waiting = self.waiting.remove(path).is_some();
        self.unattributed += u64::from(was_waiting);
        self.foreign.remove(path);
    }

    /// Removes all groups that are not there any more; returns them.
    pub(super) fn retain(&mut self, is_there: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let waiting = self.waiting.keys().filter(|path| !is_there(path)).cloned();
        let mut gone: Vec<PathBuf> = waiting.collect();
        for path in &gone {
            self.waiting.remove(path);
        }
        self.unattributed += gone.len() as u64;
        gone.extend(self.foreign.extract_if(|path| !is_there(path)));
        gone
    }

    fn take_due(&mut self, now: Instant) -> Vec<Waiting> {
        let due: Vec<PathBuf> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.due <= now)
            .map(|(path, _)| path.clone())
            .collect();
        due.iter().filter_map(|path| self.waiting.remove(path)).collect()
    }

    /// No process of the group could be read yet.
    /// Returns whether it is looked at again.
    fn again(&mut self, mut waiting: Waiting, now: Instant) -> bool {
        if waiting.tries + 1 >= MAX_TRIES {
            self.is_foreign(waiting.group.path);
            return false;
        }
        waiting.due = now + FIRST_PAUSE * 2_u32.saturating_pow(waiting.tries);
        waiting.tries += 1;
        self.waiting.insert(waiting.group.path.clone(), waiting);
        true
    }

    fn is_foreign(&mut self, path: PathBuf) {
        if self.foreign.len() < MAX_FOREIGN {
            self.foreign.insert(path);
        }
    }
}

impl CgroupTree {
    /// When [`Self::check`] has something to do.
    pub fn next_check(&self) -> Option<Instant> {
        self.nested.pending.waiting.values().map(|waiting| waiting.due).min()
    }

    /// Groups beside the kubelet's tree for which [`Self::check`] is still to find a container.
    pub fn pending(&self) -> Vec<PathBuf> {
        self.nested.pending.waiting.keys().cloned().collect()
    }

    /// Groups beside the kubelet's tree that were removed before it was known whose they were, since
    /// the last call.
    pub fn take_unattributed(&mut self) -> u64 {
        std::mem::take(&mut self.nested.pending.unattributed)
    }

    /// Looks at the groups beside the kubelet's tree for which it is time. `proc`: the node's.
    pub fn check(&mut self, proc: &Path, now: Instant, events: &mut Vec<CgroupEvent>) {
        let due = self.nested.pending.take_due(now);
        let depth = if due.is_empty() { 0 } else { namespace_depth(proc) };
        for waiting in due {
            let path = waiting.group.path.clone();
            let process = processes(&self.root.join(&path)).first().copied();
            let found = process.map_or(Owner::Unknown, |process| {
                let find = |shown: &str| self.nested.container_at(shown, depth);
                owner(proc, process, |shown| shown.iter().find_map(|shown| find(shown)))
            });
            let is_settled = match found {
                Owner::Container((outer, pod, at), _) => {
                    self.admit_nested(waiting.group, &outer, &pod, at, events);
                    true
                }
                Owner::Foreign => {
                    self.nested.pending.is_foreign(waiting.group.path);
                    false
                }
                Owner::Unknown => self.nested.pending.again(waiting, now),
            };
            if !is_settled {
                is_foreign(&path, events);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> Admitted {
        Admitted { path: name.into(), engine: Engine::Docker, id: "a".into() }
    }

    #[test]
    fn a_group_is_looked_at_after_growing_pauses_and_then_left_alone() {
        let mut pending = Pending::default();
        assert!(pending.add(group("docker/a")));
        let start = Instant::now();
        let mut now = start;
        let mut looks = 0;
        while let Some(due) = pending.waiting.values().map(|waiting| waiting.due).min() {
            now = now.max(due);
            for waiting in pending.take_due(now) {
                looks += 1;
                pending.again(waiting, now);
            }
        }
        assert_eq!(looks, MAX_TRIES);
        assert!(now - start < Duration::from_secs(9), "{:?}", now - start);
        assert!(pending.add(group("docker/a")));
        assert!(pending.waiting.is_empty(), "it is remembered");
        pending.remove(Path::new("docker/a"));
        assert_eq!(pending.unattributed, 0);
        pending.add(group("docker/a"));
        assert_eq!(pending.waiting.len(), 1, "another group of that name is another one");
    }

    #[test]
    fn groups_beyond_the_limit_are_counted_and_so_are_those_that_are_gone_too_soon() {
        let mut pending = Pending::default();
        let mut added = |number| pending.add(group(&format!("d/{number}")));
        assert_eq!((0..MAX_PENDING + 3).filter_map(|n| (!added(n)).then_some(())).count(), 3);
        pending.remove(Path::new("d/0"));
        let gone = pending.retain(|path| path != Path::new("d/1"));
        assert_eq!((pending.unattributed, gone), (2, vec![PathBuf::from("d/1")]));
    }
}
