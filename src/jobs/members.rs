//! Pods that the runner has created for its job: their evidence is part of the job's, each piece under
//! its own pod. Pure.

use std::sync::Arc;

use ephemon_discovery::pod_view::Purpose;
use ephemon_model::{ContainerType, PodRef, PodUid};

use super::evidence::{Evidence, Place, Sighted, weight};
use super::job::Role;
use super::job_evidence::{JobEvidence, MAX_FACT_BYTES};

/// Most pods of one job, besides the runner's: each container action has one.
pub(crate) const MAX_MEMBERS: usize = 256;

/// The job's own container in a pod that the reference hook creates.
///
/// Source: runner-container-hooks, `packages/k8s/src/hooks/constants.ts`.
const JOB_CONTAINER: &str = "job";

// === impl JobEvidence ===

impl JobEvidence {
    /// Takes in a piece about a pod that the runner has created.
    pub(super) fn member(&mut self, pod: Arc<PodRef>, purpose: Purpose, piece: Evidence) -> bool {
        let is_known = self.members.contains_key(&pod.uid);
        if !is_known && self.members.len() >= MAX_MEMBERS {
            return self.close();
        }
        let member = self.members.get(&pod.uid);
        let bytes = match &piece {
            Evidence::Spec(entry) if member.is_none_or(|it| !it.spec.contains_key(&entry.name)) => {
                weight::spec(entry)
            }
            Evidence::Container(one)
                if member.is_none_or(|it| !it.containers.contains_key(&one.id)) =>
            {
                weight::container(one)
            }
            Evidence::Spec(_)
            | Evidence::Container(_)
            | Evidence::Gone { .. }
            | Evidence::Log { .. } => 0,
            // Of these the runner's own pod tells.
            Evidence::Journal(_)
            | Evidence::Step(_)
            | Evidence::Runner { .. }
            | Evidence::Job(_)
            | Evidence::PrePulled(_)
            | Evidence::Member { .. } => return false,
        };
        let pod_bytes = if is_known { 0 } else { size_of::<Self>() };
        let held = self.bytes().saturating_sub(self.record_bytes());
        if bytes > 0 && held.saturating_add(bytes).saturating_add(pod_bytes) > MAX_FACT_BYTES {
            return self.close();
        }
        let uid = pod.uid.clone();
        let member = self.members.entry(uid).or_insert_with(|| Self::new(pod));
        member.purpose = Some(purpose);
        member.take(piece)
    }

    /// Memory of the evidence about those pods.
    pub(super) fn member_bytes(&self) -> usize {
        let held = |member: &Self| member.bytes().saturating_add(size_of::<Self>());
        self.members.values().map(held).sum()
    }

    /// Gives up the pod of which most is held; whether there was one.
    pub(super) fn shed_member(&mut self) -> bool {
        let largest = self.members.iter().max_by_key(|(_, member)| member.bytes());
        let Some(uid) = largest.map(|(uid, _)| uid.clone()) else { return false };
        self.members.remove(&uid);
        self.close();
        true
    }

    /// Places of all that is to outlive the agent.
    pub(super) fn member_places(&self) -> impl Iterator<Item = Place> {
        self.members.iter().flat_map(|(uid, member)| {
            member.places().map(move |place| Place::Member(uid.clone(), Box::new(place)))
        })
    }

    pub(super) fn member_piece(&self, uid: &PodUid, place: &Place) -> Option<Evidence> {
        let member = self.members.get(uid)?;
        let (pod, purpose) = (Arc::clone(&member.pod), member.purpose?);
        Some(Evidence::Member { pod, purpose, piece: Box::new(member.piece(place)?) })
    }

    /// Whether the containers of all those pods are over.
    pub(super) fn members_over(&self) -> bool {
        self.members.values().all(|member| {
            member.gone_ns.is_some() || member.containers.values().all(Sighted::is_over)
        })
    }

    /// Whether nothing more is to come of those pods. The reference hook deletes them without a grace
    /// period: nobody may ever say how their containers ended.
    pub(super) fn members_settled(&self) -> bool {
        let is_final = |one: &Sighted| one.reading.is_none_or(|reading| reading.quality.is_some());
        self.members.values().all(|member| {
            let mut containers = member.containers.values();
            containers.all(|one| is_final(one) && (member.gone_ns.is_some() || one.exit.is_some()))
        })
    }
}

/// What a container of such a pod is for.
pub(super) fn role(purpose: Purpose, name: &str, container_type: ContainerType) -> Role {
    match (container_type, purpose) {
        (ContainerType::Init, _) => Role::Runner,
        (ContainerType::Ephemeral, _) => Role::Debug,
        (_, Purpose::Action | Purpose::OwnProgram) => Role::Step,
        (_, Purpose::Job) if name == JOB_CONTAINER => Role::Job,
        (_, Purpose::Job) => Role::Service,
    }
}

/// Whether the reference hook ends such a container by force when it has no more use for it.
pub(super) fn is_stopped(purpose: Purpose) -> bool {
    match purpose {
        Purpose::Job | Purpose::Action => true,
        Purpose::OwnProgram => false,
    }
}
