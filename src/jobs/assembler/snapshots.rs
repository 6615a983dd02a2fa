//! Takes in what node and API show of pods: of all, or of some.

use std::collections::HashSet;

use ephemon_model::PodUid;

use super::followed::Followed;
use super::{Assembler, MAX_JOBS, PodSnapshot, TraceMode};
use crate::evidence::Evidence;

impl Assembler {
    /// All pods as they are known now. One that was among them before and is not is gone from the
    /// node; one that an earlier agent left is, if `all` of the node was looked at and nobody has
    /// shown a container of it.
    pub fn snapshots(&mut self, snapshots: Vec<PodSnapshot>, all: bool, now_ns: u64) {
        let named: HashSet<PodUid> =
            snapshots.iter().map(|snapshot| snapshot.pod.uid.clone()).collect();
        let lives = |snapshot: &&PodSnapshot| !snapshot.containers.is_empty();
        let shown: HashSet<PodUid> =
            snapshots.iter().filter(lives).map(|snapshot| snapshot.pod.uid.clone()).collect();
        for (uid, followed) in &mut self.pods {
            let there = if followed.seen { &named } else { &shown };
            if !there.contains(uid) && (followed.seen || all) {
                followed.there = false;
                followed.take(Evidence::Gone { at_ns: now_ns });
            }
        }
        self.members_gone(|uid, seen| !named.contains(uid) && (seen || all), now_ns);
        self.refused.retain(|uid| named.contains(uid));
        for snapshot in snapshots {
            self.snapshot(snapshot, now_ns);
        }
    }

    /// These pods as they are known now, and no others. One of them that was seen before and has no
    /// snapshot is gone from the node.
    pub fn snapshots_of(
        &mut self,
        pods: &HashSet<PodUid>,
        snapshots: Vec<PodSnapshot>,
        now_ns: u64,
    ) {
        let named: HashSet<PodUid> =
            snapshots.iter().map(|snapshot| snapshot.pod.uid.clone()).collect();
        self.members_gone(|uid, seen| seen && pods.contains(uid) && !named.contains(uid), now_ns);
        for uid in pods.difference(&named) {
            self.refused.remove(uid);
            if let Some(followed) = self.pods.get_mut(uid).filter(|followed| followed.seen) {
                followed.there = false;
                followed.take(Evidence::Gone { at_ns: now_ns });
            }
        }
        for snapshot in snapshots {
            self.snapshot(snapshot, now_ns);
        }
    }

    /// Pods that are to be looked at though nothing has changed: what is sent of their jobs has the
    /// figures of containers that live.
    pub fn due(&self) -> impl Iterator<Item = &PodUid> {
        let is_eager = self.options.mode == TraceMode::Eager;
        let is_due = move |followed: &Followed| {
            followed.closing() || followed.changed || (is_eager && followed.job.is_some())
        };
        let due =
            self.pods.iter().filter(move |(_, followed)| is_due(followed)).map(|(uid, _)| uid);
        // There is room again for those that were refused.
        let room = if self.pods.len() < MAX_JOBS { usize::MAX } else { 0 };
        due.chain(self.refused.iter().take(room)).chain(self.members_of(is_due))
    }

    fn snapshot(&mut self, snapshot: PodSnapshot, now_ns: u64) {
        let uid = &snapshot.pod.uid;
        if self.memory.is_done(uid) {
            return;
        }
        if let Some(runner) = self.runner_of(&snapshot) {
            return self.join(&runner, snapshot, now_ns);
        }
        if !self.pods.contains_key(uid) {
            if self.pods.len() >= MAX_JOBS {
                self.newly_refused += u64::from(self.refused.insert(uid.clone()));
                return;
            }
            let followed = Followed::new(&snapshot.pod, self.memory.sent(uid));
            self.pods.insert(uid.clone(), followed);
        }
        let uid = uid.clone();
        self.with(&uid, |followed| Self::enter(followed, snapshot, now_ns));
    }

    fn enter(followed: &mut Followed, snapshot: PodSnapshot, now_ns: u64) {
        followed.seen |= !snapshot.containers.is_empty();
        followed.job_evidence.purpose = snapshot.runner.purpose;
        followed.has_own_hook = snapshot.runner.has_own_hook;
        if let Some(job) = snapshot.runner.job
            && followed.job_evidence.told.as_ref() != Some(&job)
        {
            followed.take(Evidence::Job(job));
        }
        // Most looks show what the one before has shown: that costs a comparison and no copies.
        for entry in snapshot.spec {
            if followed.job_evidence.spec.get(&entry.name) != Some(&entry) {
                followed.take(Evidence::Spec(entry));
            }
        }
        followed.forgotten(&snapshot.containers, now_ns);
        for sighted in snapshot.containers {
            if followed.job_evidence.containers.get(&sighted.id) != Some(&sighted) {
                followed.take(Evidence::Container(Box::new(sighted)));
            }
        }
        followed.changed |= followed.there != snapshot.there;
        followed.there = snapshot.there;
        if !snapshot.there && followed.all_ended(|_| true) {
            followed.take(Evidence::Gone { at_ns: now_ns });
        }
    }
}
