//! Which limits the runtime sets at a container's creation: those that [`decide`] finds, except those
//! with which the container might not start. Pure.
//!
//! What is left out is for the enforcement after the start.

use ephemon_cgroup::{InForce, Quota, Setting};
use ephemon_contract::Limits;
use ephemon_model::Limit;
use ephemon_nri::{Adjustment, InRequest};

use super::decision::decide;

/// The smallest limits that are set before the container's own program runs: its last stage is a
/// process of runc in the container's cgroup, with the threads and the memory of a Go program. With
/// less it fails, and so does the container.
const LEAST_MEMORY_BYTES: u64 = 32 << 20;
const LEAST_PIDS: u64 = 32;
/// With less, that process takes seconds.
const LEAST_CPU_MILLIS: u64 = 100;
/// The kernel's default period, which the kubelet sets, too.
const PERIOD_US: u64 = 100_000;

/// What the runtime is to set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AtCreation {
    pub(super) adjustment: Adjustment,
    /// A limit is left out.
    pub(super) left: bool,
}

/// What is known of the pod in whose cgroup the container will be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PodLimits {
    /// The pod's own.
    pub(super) pod: InForce,
    /// Those of a container of it, which show the controllers that there are.
    pub(super) beside: InForce,
}

/// Decides what of the requested limits the runtime sets. `there`: what its request limits already.
///
/// The kubelet gives a container without limits those of its pod, where the pod has some. Any other
/// limit is another plugin's, and is left alone: two plugins that set one are a conflict, and then
/// the runtime does not create the container.
pub(super) fn at_creation(asked: &Limits, there: &InRequest, node: &PodLimits) -> AtCreation {
    let PodLimits { pod, beside } = node;
    let period_us = there.cpu_period_us.unwrap_or(PERIOD_US);
    let quota = |quota_us| Quota { quota_us, period_us };
    let free_cpu = there
        .cpu_quota_us
        .is_none_or(|quota_us| pod.cpu.is_some_and(|pod| is_same(quota(Limit::At(quota_us)), pod)));
    let free_memory =
        there.memory_bytes.is_none_or(|bytes| pod.memory_bytes == Some(Limit::At(bytes)));
    // The runtime's part of NRI limits swap with memory, and where the kernel has no limit of swap runc
    // does not start the container.
    let has_swap = beside.swap_bytes.is_some();
    let free_cpu = free_cpu && !there.cpu_is_written;
    let free_memory = free_memory && !there.memory_is_written;
    let free_pids = there.pids.is_none() && !there.pids_are_fixed;
    let can =
        |free: bool, limit: Option<u64>, least: u64| limit.filter(|limit| free && *limit >= least);
    let possible = Limits {
        cpu_millis: can(free_cpu, asked.cpu_millis, LEAST_CPU_MILLIS),
        memory_bytes: can(free_memory && has_swap, asked.memory_bytes, LEAST_MEMORY_BYTES),
        pids: can(free_pids, asked.pids, LEAST_PIDS),
    };
    let limit = |there: Option<u64>| there.map_or(Limit::Unlimited, Limit::At);
    let swap = there.both_bytes.zip(there.memory_bytes);
    let swap = swap.map(|(both, memory)| both.saturating_sub(memory));
    let unlimited = InForce {
        cpu: beside.cpu.map(|_| quota(limit(there.cpu_quota_us))),
        cpu_ceiling: beside.cpu_ceiling,
        memory_bytes: beside.memory_bytes.map(|_| limit(there.memory_bytes)),
        swap_bytes: beside.swap_bytes.map(|_| limit(swap)),
        pids: beside.pids.map(|_| Limit::Unlimited),
    };
    let decision = decide(&possible, &unlimited);
    let mut adjustment = Adjustment::default();
    for setting in &decision.settings {
        match *setting {
            Setting::Cpu { quota_us, period_us } => {
                adjustment.cpu_quota_us = Some(quota_us);
                // Set by another, it is not to be claimed: two plugins that do are a conflict.
                adjustment.cpu_period_us = there.cpu_period_us.is_none().then_some(period_us);
            }
            Setting::Memory { bytes } => adjustment.memory_bytes = Some(bytes),
            Setting::Pids { tasks } => adjustment.pids = Some(tasks),
        }
    }
    let left = possible != *asked || !decision.missing.is_empty();
    AtCreation { adjustment, left }
}

/// Whether both allow the same part of the time, to the kernel's rounding.
fn is_same(one: Quota, other: Quota) -> bool {
    let part = |quota: Quota| match quota.quota_us {
        Limit::Unlimited => None,
        Limit::At(us) => us.checked_mul(1000)?.checked_div(quota.period_us),
    };
    part(one).is_some() && part(one) == part(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside() -> InForce {
        InForce {
            cpu: Some(Quota { quota_us: Limit::At(1), period_us: 7 }),
            cpu_ceiling: None,
            memory_bytes: Some(Limit::At(1)),
            swap_bytes: Some(Limit::At(1)),
            pids: Some(Limit::At(1)),
        }
    }

    fn decided(asked: &str, there: InRequest, beside: InForce) -> (Adjustment, bool) {
        // A pod with 2 CPUs and 1 GiB.
        let cpu = Some(Quota { quota_us: Limit::At(200_000), period_us: 100_000 });
        let memory_bytes = Some(Limit::At(1 << 30));
        let pod = InForce { cpu, memory_bytes, ..InForce::default() };
        let node = PodLimits { pod, beside };
        let AtCreation { adjustment, left } = at_creation(&asked.parse().unwrap(), &there, &node);
        (adjustment, left)
    }

    const ALL: &str = "cpus=1.5,memory=512Mi,pids=100";

    fn all() -> Adjustment {
        Adjustment {
            cpu_quota_us: Some(150_000),
            cpu_period_us: Some(100_000),
            memory_bytes: Some(512 << 20),
            pids: Some(100),
            args: Vec::new(),
        }
    }

    #[test]
    fn what_is_asked_for_is_set_whatever_the_others_of_the_pod_have() {
        let none = InRequest::default();
        assert_eq!(decided(ALL, none, beside()), (all(), false));
        let only = Adjustment { pids: Some(100), ..Adjustment::default() };
        assert_eq!(decided("pids=100", none, beside()), (only, false));
        assert_eq!(decided("", none, beside()), (Adjustment::default(), false));
    }

    #[test]
    fn the_period_of_the_request_is_kept_and_the_pods_quota_is_the_most() {
        let there = InRequest { cpu_period_us: Some(50_000), ..InRequest::default() };
        let quota = |quota_us| Adjustment { cpu_quota_us: Some(quota_us), ..Adjustment::default() };
        assert_eq!(decided("cpus=2", there, beside()), (quota(100_000), false));
        let ceiling = Some(Quota { quota_us: Limit::At(100_000), period_us: 100_000 });
        let pod = InForce { cpu_ceiling: ceiling, ..beside() };
        assert_eq!(decided("cpus=2", there, pod), (quota(50_000), false));
    }

    #[test]
    fn what_another_has_set_is_left_to_it() {
        let none = InRequest::default();
        let cases = [
            (
                InRequest { cpu_quota_us: Some(90_000), ..none },
                Adjustment { cpu_quota_us: None, cpu_period_us: None, ..all() },
            ),
            (
                InRequest { memory_bytes: Some(2 << 30), ..none },
                Adjustment { memory_bytes: None, ..all() },
            ),
            (InRequest { pids: Some(9), ..none }, Adjustment { pids: None, ..all() }),
            (
                InRequest { cpu_is_written: true, ..none },
                Adjustment { cpu_quota_us: None, cpu_period_us: None, ..all() },
            ),
            (
                InRequest { memory_is_written: true, ..none },
                Adjustment { memory_bytes: None, ..all() },
            ),
            (InRequest { pids_are_fixed: true, ..none }, Adjustment { pids: None, ..all() }),
        ];
        for (there, expected) in cases {
            assert_eq!(decided(ALL, there, beside()), (expected, true), "{there:?}");
        }
    }

    #[test]
    fn what_the_kubelet_takes_from_the_pod_is_made_stricter_and_never_looser() {
        let there = InRequest {
            cpu_quota_us: Some(100_000),
            cpu_period_us: Some(50_000),
            memory_bytes: Some(1 << 30),
            both_bytes: Some(1 << 30),
            ..InRequest::default()
        };
        let stricter = Adjustment { cpu_quota_us: Some(75_000), cpu_period_us: None, ..all() };
        assert_eq!(decided(ALL, there, beside()), (stricter, false));
        let looser = decided("cpus=3,memory=2Gi", there, beside());
        assert_eq!(looser, (Adjustment::default(), false));
        // Swap beside it is taken away.
        let swap = InRequest { both_bytes: Some(3 << 30), ..there };
        let memory = Adjustment { memory_bytes: Some(1 << 30), ..Adjustment::default() };
        assert_eq!(decided("memory=2Gi", swap, beside()), (memory, false));
    }

    #[test]
    fn limits_with_which_runc_might_not_start_are_left_out() {
        let none = InRequest::default();
        for small in ["memory=31Mi", "pids=31", "cpus=99m"] {
            let expected = (Adjustment::default(), true);
            assert_eq!(decided(small, none, beside()), expected, "{small}");
        }
        let set = decided("memory=32Mi,pids=32,cpus=100m", none, beside()).0;
        assert_eq!(
            (set.memory_bytes, set.pids, set.cpu_quota_us),
            (Some(32 << 20), Some(32), Some(10_000))
        );
    }

    #[test]
    fn a_controller_that_is_not_there_is_not_asked_for() {
        let none = InRequest::default();
        let missing = InForce { cpu: None, pids: None, ..beside() };
        let memory = Adjustment { memory_bytes: Some(512 << 20), ..Adjustment::default() };
        assert_eq!(decided(ALL, none, missing), (memory, true));
        let without_swap = InForce { swap_bytes: None, ..beside() };
        let rest = Adjustment { memory_bytes: None, ..all() };
        assert_eq!(decided(ALL, none, without_swap), (rest, true));
    }
}
