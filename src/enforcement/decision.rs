//! Which limits to set: compares the requested limits with those in force. Pure.
//!
//! A limit is only ever made stricter, never looser.

use ephemon_cgroup::{InForce, Quota, Setting};
use ephemon_contract::Limits;
use ephemon_model::Limit;

/// The kernel's smallest quota (`min_cfs_quota_period` in kernel/sched/core.c).
const LEAST_QUOTA_US: u64 = 1000;
/// The kernel rounds memory limits down to pages, which have up to 64 KiB.
const PAGE_BYTES: u64 = 64 << 10;

/// The result of the comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// Limits to set, memory last, because lowering it may take the kernel some time.
    pub(super) settings: Vec<Setting>,
    /// A requested limit is already in force with a stricter value.
    pub(super) tighter: bool,
    /// Controllers that this cgroup does not have, at least not yet.
    pub(super) missing: Vec<&'static str>,
}

/// Compares the requested limits with those in force.
pub(super) fn decide(asked: &Limits, found: &InForce) -> Decision {
    let mut decision = Decision::default();
    if let Some(millis) = asked.cpu_millis {
        match found.cpu {
            Some(quota) => decision.cpu(millis, quota, found.cpu_ceiling),
            None => decision.missing.push("cpu"),
        }
    }
    if let Some(tasks) = asked.pids {
        match found.pids {
            Some(Limit::At(there)) if there <= tasks => decision.tighter |= there < tasks,
            Some(_) => decision.settings.push(Setting::Pids { tasks }),
            None => decision.missing.push("pids"),
        }
    }
    if let Some(bytes) = asked.memory_bytes {
        match found.memory_bytes {
            Some(memory) => decision.memory(bytes, memory, found.swap_bytes),
            None => decision.missing.push("memory"),
        }
    }
    decision
}

// === impl Decision ===

impl Decision {
    fn cpu(&mut self, millis: u64, found: Quota, ceiling: Option<Quota>) {
        let period_us = found.period_us;
        let asked_us = millis.saturating_mul(period_us) / 1000;
        let ceiling_us = ceiling.and_then(|ceiling| match ceiling.quota_us {
            Limit::Unlimited => None,
            Limit::At(quota_us) => quota_us.checked_mul(period_us)?.checked_div(ceiling.period_us),
        });
        let quota_us = asked_us.min(ceiling_us.unwrap_or(u64::MAX)).max(LEAST_QUOTA_US);
        match found.quota_us {
            Limit::At(there_us) if there_us <= quota_us => self.tighter |= there_us < asked_us,
            _ => self.settings.push(Setting::Cpu { quota_us, period_us }),
        }
    }

    /// Limits memory and swap together, as if there were no swap.
    fn memory(&mut self, asked: u64, memory: Limit<u64>, swap: Option<Limit<u64>>) {
        let there = match memory {
            Limit::Unlimited => u64::MAX,
            Limit::At(bytes) => bytes,
        };
        let both = match swap {
            None => there,
            Some(Limit::Unlimited) => u64::MAX,
            Some(Limit::At(swap)) => there.saturating_add(swap),
        };
        if both <= asked {
            self.tighter |= asked - both >= PAGE_BYTES;
        } else {
            self.settings.push(Setting::Memory { bytes: asked.min(there) });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(text: &str) -> Limits {
        text.parse().unwrap()
    }

    fn quota(quota_us: Limit<u64>) -> Quota {
        Quota { quota_us, period_us: 100_000 }
    }

    fn unlimited() -> InForce {
        InForce {
            cpu: Some(quota(Limit::Unlimited)),
            cpu_ceiling: None,
            memory_bytes: Some(Limit::Unlimited),
            swap_bytes: Some(Limit::Unlimited),
            pids: Some(Limit::Unlimited),
        }
    }

    #[test]
    fn what_is_unlimited_gets_what_was_asked_for_and_memory_comes_last() {
        let decision = decide(&limits("memory=512Mi,cpus=1.5,pids=100"), &unlimited());
        let expected = [
            Setting::Cpu { quota_us: 150_000, period_us: 100_000 },
            Setting::Pids { tasks: 100 },
            Setting::Memory { bytes: 512 << 20 },
        ];
        assert_eq!(decision.settings, expected);
        assert_eq!((decision.tighter, decision.missing.len()), (false, 0));
        assert_eq!(decide(&Limits::default(), &unlimited()), Decision::default());
    }

    #[test]
    fn what_is_tighter_already_stays() {
        let found = InForce {
            cpu: Some(quota(Limit::At(50_000))),
            memory_bytes: Some(Limit::At(8 << 20)),
            swap_bytes: Some(Limit::At(0)),
            pids: Some(Limit::At(9)),
            ..unlimited()
        };
        for asked in ["cpus=1", "memory=16Mi", "pids=10"] {
            let expected = Decision { tighter: true, ..Decision::default() };
            assert_eq!(decide(&limits(asked), &found), expected, "{asked}");
        }
    }

    #[test]
    fn equal_limits_are_left_alone_though_the_kernel_rounds_them() {
        let found = InForce {
            cpu: Some(quota(Limit::At(12_300))),
            memory_bytes: Some(Limit::At(16 << 20)),
            swap_bytes: None,
            pids: Some(Limit::At(10)),
            ..unlimited()
        };
        let asked =
            Limits { cpu_millis: Some(123), memory_bytes: Some((16 << 20) + 4095), pids: Some(10) };
        assert_eq!(decide(&asked, &found), Decision::default());
    }

    #[test]
    fn swap_beside_the_memory_is_taken_away_without_loosening_the_memory() {
        let found = |memory: u64, swap| InForce {
            memory_bytes: Some(Limit::At(memory << 20)),
            swap_bytes: Some(swap),
            ..unlimited()
        };
        let set = |found: InForce| decide(&limits("memory=16Mi"), &found).settings;
        let memory = |bytes: u64| vec![Setting::Memory { bytes: bytes << 20 }];
        assert_eq!(set(found(16, Limit::Unlimited)), memory(16));
        assert_eq!(set(found(12, Limit::At(8 << 20))), memory(12));
        assert_eq!(set(found(12, Limit::At(2 << 20))), vec![]);
    }

    #[test]
    fn a_quota_is_at_most_the_parents_where_the_kernel_demands_it() {
        let ceiling = Some(Quota { quota_us: Limit::At(25_000), period_us: 50_000 });
        let found = InForce { cpu_ceiling: ceiling, ..unlimited() };
        let expected = [Setting::Cpu { quota_us: 50_000, period_us: 100_000 }];
        assert_eq!(decide(&limits("cpus=2"), &found).settings, expected);
        let found = InForce { cpu: Some(quota(Limit::At(50_000))), ..found };
        assert_eq!(
            decide(&limits("cpus=2"), &found),
            Decision { tighter: true, ..Decision::default() }
        );
    }

    #[test]
    fn a_controller_that_is_not_there_is_named() {
        let decision = decide(&limits("cpus=1,memory=16Mi,pids=5"), &InForce::default());
        assert_eq!(decision.missing, ["cpu", "pids", "memory"]);
    }

    #[test]
    fn limits_that_stop_a_container_or_limit_nothing_are_refused_by_name() {
        for (text, words) in [
            ("memory=1", "memory=1 is less"),
            ("cpus=9m", "cpus=9m is less"),
            ("memory=4194304Ti", "more than any node"),
            ("cpus=9000", "more than any node"),
            ("pids=4194305", "more than any node"),
        ] {
            let why = limits(text).check().unwrap_err().to_string();
            assert!(why.contains(words), "{text}: {why}");
        }
        assert_eq!(limits("cpus=0.01,memory=6Mi,pids=1").check(), Ok(()));
    }

    fn any_limit() -> impl Strategy<Value = Limit<u64>> {
        prop_oneof![Just(Limit::Unlimited), any::<u64>().prop_map(Limit::At)]
    }

    /// What the kernel would report after the settings.
    fn after(found: &InForce, settings: &[Setting]) -> InForce {
        let mut found = *found;
        for setting in settings {
            match *setting {
                Setting::Cpu { quota_us, period_us } => {
                    found.cpu = Some(Quota { quota_us: Limit::At(quota_us), period_us });
                }
                Setting::Memory { bytes } => {
                    found.memory_bytes = Some(Limit::At(bytes));
                    found.swap_bytes = found.swap_bytes.map(|_| Limit::At(0));
                }
                Setting::Pids { tasks } => found.pids = Some(Limit::At(tasks)),
            }
        }
        found
    }

    fn at(limit: Limit<u64>) -> u64 {
        match limit {
            Limit::Unlimited => u64::MAX,
            Limit::At(value) => value,
        }
    }

    proptest! {
        #[test]
        fn nothing_is_loosened_and_a_second_look_finds_nothing_to_do(
            cpu_millis in proptest::option::of(any::<u64>()),
            memory_bytes in proptest::option::of(any::<u64>()),
            pids in proptest::option::of(any::<u64>()),
            quota_us in any_limit(),
            ceiling_us in any_limit(),
            memory in any_limit(),
            swap in proptest::option::of(any_limit()),
            tasks in any_limit(),
        ) {
            let asked = Limits { cpu_millis, memory_bytes, pids };
            let found = InForce {
                cpu: Some(quota(quota_us)),
                cpu_ceiling: Some(quota(ceiling_us)),
                memory_bytes: Some(memory),
                swap_bytes: swap,
                pids: Some(tasks),
            };
            let after = after(&found, &decide(&asked, &found).settings);
            let cpu_us = at(after.cpu.unwrap().quota_us);
            prop_assert!(cpu_us <= at(quota_us));
            prop_assert!(at(after.memory_bytes.unwrap()) <= at(memory));
            prop_assert!(at(after.pids.unwrap()) <= at(tasks));
            prop_assert_eq!(decide(&asked, &after).settings, vec![]);
        }
    }
}
