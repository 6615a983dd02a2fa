//! One pod that is followed: what is known of it, and whether its job is over. No I/O.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use ephemon_contract::trace::SpanId;
use ephemon_model::{ContainerType, PodRef};

use super::{PATIENCE_NS, SETTLING_NS};
use crate::evidence::{Evidence, Place, Sighted};
use crate::job::Job;
use crate::job_evidence::JobEvidence;

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, in any combination")]
pub(super) struct Followed {
    pub(super) job_evidence: JobEvidence,
    pub(super) there: bool,
    /// Whether this agent has seen it live: another may have left its evidence.
    pub(super) seen: bool,
    /// Where the evidence stands that is to be kept over a restart, and was not yet.
    pub(super) news: BTreeSet<Place>,
    /// Whether evidence is kept: the job was counted as started.
    pub(super) kept: bool,
    /// Something was learnt since the last review.
    pub(super) changed: bool,
    pub(super) reviewed_ns: u64,
    /// When it was first found to be over.
    pub(super) over_ns: Option<u64>,
    /// The job as of the last review, without its parts.
    pub(super) job: Option<Arc<Job>>,
    /// Whether the runner calls a hook whose containers may say more of the job.
    pub(super) has_own_hook: bool,
    pub(super) sent: HashSet<SpanId>,
    /// Pieces that found no room, and were told of.
    pub(super) told_left_out: u64,
}

// === impl Followed ===

impl Followed {
    pub(super) fn new(pod: &Arc<PodRef>, sent: HashSet<SpanId>) -> Self {
        Self {
            job_evidence: JobEvidence::new(Arc::clone(pod)),
            there: true,
            seen: true,
            news: BTreeSet::new(),
            kept: false,
            changed: false,
            reviewed_ns: 0,
            over_ns: None,
            job: None,
            has_own_hook: false,
            sent,
            told_left_out: 0,
        }
    }

    /// Of a pod whose evidence an earlier agent has kept.
    pub(super) fn recalled(pod: &Arc<PodRef>, sent: HashSet<SpanId>) -> Self {
        Self { seen: false, kept: true, ..Self::new(pod, sent) }
    }

    /// Takes in what an earlier agent had learnt; it is kept already.
    pub(super) fn recall(&mut self, piece: Evidence) {
        self.changed |= self.job_evidence.take(piece);
    }

    pub(super) fn take(&mut self, evidence: Evidence) {
        let place = evidence.lasting_place().filter(|_| self.kept);
        if self.job_evidence.take(evidence) {
            self.changed = true;
            self.news.extend(place);
        }
    }

    /// From now on evidence is kept, with all that there is already.
    pub(super) fn keep(&mut self) {
        self.kept = true;
        self.news.extend(self.job_evidence.places());
    }

    /// Pieces that found no room since the last call.
    pub(super) fn newly_left_out(&mut self) -> u64 {
        let all = self.job_evidence.left_out();
        all.saturating_sub(std::mem::replace(&mut self.told_left_out, all))
    }

    /// A container that the inventory holds no more was over and was shown for long enough: it ended
    /// between two looks.
    pub(super) fn forgotten(&mut self, known: &[Sighted], now_ns: u64) {
        let known: HashSet<_> = known.iter().map(|one| &one.id).collect();
        let lost = self.job_evidence.containers.values().filter(|one| {
            let open = one.ended_ns.is_none() && one.finished_ns.is_none();
            open && !known.contains(&one.id)
        });
        let lost: Vec<Sighted> =
            lost.map(|one| Sighted { finished_ns: Some(now_ns), ..one.clone() }).collect();
        for one in lost {
            self.take(Evidence::Container(Box::new(one)));
        }
    }

    /// Whether it is known which job this is, or nobody will say it. The runner tells that it runs
    /// one, and the journals that the hook was called; which it is, the hook's containers say in the
    /// spec. A job that were counted and sent before that would be another one afterwards.
    pub(super) fn is_named(&self, job: &Job, has_specs: bool) -> bool {
        if self.job_evidence.has_hooks_spec() {
            return true;
        }
        // Its runner may be to come, whose job it is part of.
        if job.is_part {
            return false;
        }
        if job.identity.run_id.is_some() && !self.has_own_hook {
            return true;
        }
        let has_own = job.containers.iter().any(|one| one.role.is_of_job());
        let is_announced = self.job_evidence.running.is_some() && !has_own;
        let may_be_named = has_specs && self.job_evidence.has_runner();
        !is_announced && !may_be_named
    }

    /// Whether something says that the job is at its end.
    pub(super) fn closing(&self) -> bool {
        let job_evidence = &self.job_evidence;
        !self.there
            || job_evidence.gone_ns.is_some()
            || job_evidence.completed.is_some()
            || self.runner_ended()
            || job_evidence.cleaned
    }

    /// Whether the pod's own containers are over.
    fn runner_ended(&self) -> bool {
        let own = |one: &Sighted| one.container_type == ContainerType::Container;
        self.job_evidence.containers.values().any(own) && self.all_ended(own)
    }

    pub(super) fn all_ended(&self, which: impl Fn(&Sighted) -> bool) -> bool {
        self.job_evidence.containers.values().filter(|one| which(one)).all(Sighted::is_over)
    }

    /// Whether the job is over and all that can be known of it has had time to come.
    pub(super) fn is_ripe(&mut self, now_ns: u64) -> bool {
        // Somebody who looks around in the pod does not hold up the job's end.
        let own = |one: &Sighted| {
            let is_ephemeral =
                matches!(one.container_type, ContainerType::Ephemeral | ContainerType::Unknown);
            (is_ephemeral && !self.job_evidence.is_debug(&one.name))
                || self.job_evidence.is_ci_part(&one.name)
        };
        let gone = self.job_evidence.gone_ns.is_some();
        if !self.seen && !gone {
            // Whether its containers live is not known yet.
            return false;
        }
        // The reference hook deletes what it has created at once: the API forgets such a pod while its
        // containers still run.
        let is_deleted = !self.there && self.job_evidence.purpose.is_none();
        let last_resort = self.runner_ended() || is_deleted;
        let all_ended = self.all_ended(own) && self.job_evidence.members_over();
        if !all_ended && !gone && !last_resort {
            self.over_ns = None;
            return false;
        }
        let over_ns = *self.over_ns.get_or_insert(now_ns);
        let waited = now_ns.saturating_sub(over_ns);
        let settled = self.job_evidence.containers.values().filter(|one| own(one)).all(|one| {
            let last = one.reading.is_some_and(|reading| reading.quality.is_some());
            last && one.exit.is_some()
        });
        // How a runner ended can be how its job did, where it has not told of that; where it has, its own
        // span needs its exit code, of which nothing more is told once the pod is gone.
        let is_runner = |one: &Sighted| one.container_type == ContainerType::Container;
        let mut runners = self.job_evidence.containers.values().filter(|one| is_runner(one));
        let settled = settled
            && self.job_evidence.members_settled()
            && (gone && self.job_evidence.completed.is_some()
                || runners.all(|one| !one.is_over() || one.exit.is_some()));
        // A runner that has said what it runs says how that ended, too, once all of it is reported.
        let told = self.job_evidence.running.is_none() || self.job_evidence.completed.is_some();
        let told = told && !self.job_evidence.has_open_stage();
        (settled && told && waited >= SETTLING_NS) || waited >= PATIENCE_NS
    }
}
