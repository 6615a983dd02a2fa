//! What a job used in all, and what the pod used beside it. Pure.

use ephemon_model::ContainerType;

use super::figures::Figures;
use super::job::{Container, Proof, Role, Totals};

// === impl Totals ===

impl Totals {
    /// Of a job's containers, its pod's own among them.
    pub(super) fn of(containers: &[Container]) -> Self {
        let counted = |one: &&Container| one.proof != Proof::None;
        let sum = |which: &dyn Fn(&Container) -> bool| {
            let some = containers.iter().filter(counted).filter(|one| which(one));
            some.map(|one| one.figures).reduce(Figures::and).unwrap_or_default()
        };
        let is_init = |one: &Container| one.container_type == ContainerType::Init;
        // What an engine made below a container of the pod is in that container's figures.
        let is_beside = |one: &Container| one.container_type == ContainerType::NestedBeside;
        let is_runners =
            |one: &Container| is_beside(one) || (one.role == Role::Runner && !is_init(one));
        let of_job = |one: &Container| one.role.is_of_job();
        let has_own = containers.iter().filter(counted).any(of_job);
        let is_included = |one: &Container| if has_own { of_job(one) } else { is_runners(one) };
        let mut included: Vec<Role> = containers
            .iter()
            .filter(counted)
            .filter(|one| is_included(one))
            .map(|one| one.role)
            .collect();
        included.sort_unstable();
        included.dedup();
        Self {
            figures: sum(&is_included),
            included,
            runner: if has_own { sum(&is_runners) } else { Figures::default() },
            init: sum(&is_init),
        }
    }
}
