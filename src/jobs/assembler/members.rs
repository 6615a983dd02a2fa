//! Joins pods that a runner has created to the runner's job. No I/O.

use std::collections::HashSet;
use std::sync::Arc;

use ephemon_discovery::pod_view::Purpose;
use ephemon_model::{PodRef, PodUid};

use super::followed::Followed;
use super::{Assembler, MAX_JOBS, PodSnapshot};
use crate::evidence::Evidence;
use crate::members::MAX_MEMBERS;

/// A pod whose evidence is part of another's job.
#[derive(Debug, Clone)]
pub(super) struct MemberOf {
    /// The runner's pod.
    pub(super) runner: PodUid,
    /// Whether this agent has seen it: another may have left its evidence.
    seen: bool,
}

impl Assembler {
    /// The runner whose job a pod is part of; `None` of a pod that is a job of its own.
    pub(super) fn runner_of(&self, snapshot: &PodSnapshot) -> Option<PodUid> {
        let uid = &snapshot.pod.uid;
        let known = || self.members.get(uid).map(|of| of.runner.clone());
        let told = snapshot.runner.pod.clone().filter(|_| snapshot.runner.purpose.is_some());
        told.or_else(known).filter(|runner| runner != uid)
    }

    /// An earlier agent had joined this pod to the runner's.
    pub(super) fn recall_member(&mut self, runner: &PodUid, member: &PodUid) {
        if self.members.len() < MAX_JOBS {
            let of = MemberOf { runner: runner.clone(), seen: false };
            self.members.entry(member.clone()).or_insert(of);
        }
    }

    /// A pod that the runner has created, as it is known now.
    pub(super) fn join(&mut self, runner: &PodUid, snapshot: PodSnapshot, now_ns: u64) {
        let uid = snapshot.pod.uid.clone();
        if self.memory.is_done(runner) {
            // It outlives its job, and is no other.
            self.leave(&uid, now_ns);
            return;
        }
        // Without its runner, which comes with another look, it is nobody's.
        if !self.pods.contains_key(runner) {
            return;
        }
        // One runner's pods leave room for those of others.
        let own = || self.members.values().filter(|of| of.runner == *runner).count();
        let is_full = || self.members.len() >= MAX_JOBS || own() >= MAX_MEMBERS;
        if !self.members.contains_key(&uid) && is_full() {
            self.newly_refused += u64::from(self.refused.insert(uid));
            return;
        }
        // It was there before its runner was known.
        if let Some(alone) = self.pods.remove(&uid) {
            self.bytes = self.bytes.saturating_sub(alone.job_evidence.bytes());
            self.given_up.push(uid.clone());
        }
        self.members.insert(uid, MemberOf { runner: runner.clone(), seen: true });
        let runner = runner.clone();
        self.with(&runner, |followed| enter(followed, snapshot, now_ns));
    }

    /// Pods that have no snapshot among `named` though they should.
    pub(super) fn members_gone(&mut self, which: impl Fn(&PodUid, bool) -> bool, now_ns: u64) {
        let gone = self.members.iter().filter(|(uid, of)| which(uid, of.seen));
        let gone: Vec<_> = gone.map(|(uid, of)| (uid.clone(), of.runner.clone())).collect();
        for (uid, runner) in gone {
            self.with(&runner, |followed| {
                let Some(member) = followed.job_evidence.members.get(&uid) else { return };
                let (pod, purpose) = (Arc::clone(&member.pod), member.purpose);
                if let Some(purpose) = purpose.filter(|_| member.gone_ns.is_none()) {
                    take(followed, &pod, purpose, Evidence::Gone { at_ns: now_ns });
                }
            });
        }
    }

    /// Pods of these runners.
    pub(super) fn members_of(
        &self,
        is_due: impl Fn(&Followed) -> bool,
    ) -> impl Iterator<Item = &PodUid> {
        let is_of_due = move |of: &MemberOf| self.pods.get(&of.runner).is_some_and(&is_due);
        self.members.iter().filter(move |(_, of)| is_of_due(of)).map(|(uid, _)| uid)
    }

    /// The job is over, and what was created for it is no other.
    pub(super) fn part(&mut self, runner: &PodUid, now_ns: u64) {
        let members = self.members.iter().filter(|(_, of)| of.runner == *runner);
        let members: HashSet<PodUid> = members.map(|(uid, _)| uid.clone()).collect();
        for uid in &members {
            self.leave(uid, now_ns);
        }
    }

    fn leave(&mut self, uid: &PodUid, now_ns: u64) {
        self.members.remove(uid);
        self.memory.meet(uid, now_ns);
        self.memory.finish(uid);
        if let Some(alone) = self.pods.remove(uid) {
            self.bytes = self.bytes.saturating_sub(alone.job_evidence.bytes());
            self.given_up.push(uid.clone());
        }
    }
}

fn enter(followed: &mut Followed, snapshot: PodSnapshot, now_ns: u64) {
    let PodSnapshot { pod, there, spec, containers, runner } = snapshot;
    let Some(purpose) = runner.purpose.or_else(|| {
        let known = followed.job_evidence.members.get(&pod.uid);
        known.and_then(|member| member.purpose)
    }) else {
        return;
    };
    let all_over = containers.iter().all(crate::evidence::Sighted::is_over);
    // Most looks show what the one before has shown: that costs a comparison and no copies.
    for entry in spec {
        let known = followed.job_evidence.members.get(&pod.uid);
        if known.and_then(|member| member.spec.get(&entry.name)) != Some(&entry) {
            take(followed, &pod, purpose, Evidence::Spec(entry));
        }
    }
    for sighted in containers {
        let known = followed.job_evidence.members.get(&pod.uid);
        if known.and_then(|member| member.containers.get(&sighted.id)) != Some(&sighted) {
            take(followed, &pod, purpose, Evidence::Container(Box::new(sighted)));
        }
    }
    if !there && all_over {
        take(followed, &pod, purpose, Evidence::Gone { at_ns: now_ns });
    }
}

fn take(followed: &mut Followed, pod: &Arc<PodRef>, purpose: Purpose, piece: Evidence) {
    followed.take(Evidence::Member { pod: Arc::clone(pod), purpose, piece: Box::new(piece) });
}
