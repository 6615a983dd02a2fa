//! What kinds of jobs that share runners do to each other.

use super::*;
use crate::spread::Spread;

const GIB: f64 = 1_073_741_824.0;

/// So many jobs that used so many CPUs and so many GiB, under these limits.
fn usage(jobs: u64, cores: f64, gib: f64, limit: (Option<f64>, Option<f64>)) -> Usage {
    let spread = |it: f64| Some(Spread { count: jobs, p50: it, p95: it, max: it });
    Usage {
        jobs,
        hours: 1.0,
        cpu_mean_cores: Some(cores),
        cpu_jobs: jobs,
        cpu_cores: spread(cores),
        memory_bytes: spread(gib * GIB),
        oom_kills: Some(0),
        limit: Resources { cpu_cores: limit.0, memory_bytes: limit.1.map(|gib| gib * GIB) },
        ..Usage::default()
    }
}

/// The one set's request of CPU, and its limits of CPU and of GiB.
fn set(kinds: &[Usage]) -> (Option<f64>, Option<f64>, Option<f64>) {
    let kind = |number: usize| Kind { job: number.to_string(), ..Kind::default() };
    let usages = kinds.iter().enumerate().map(|(number, it)| (kind(number), it.clone())).collect();
    let advice =
        Advice::new(Source::Prometheus, usages, LeftOut::default(), Rule { min_jobs: 10 }, None);
    let [set] = advice.scale_sets.as_slice() else { panic!("{advice:?}") };
    (set.request.cpu_cores, set.limit.cpu_cores, set.limit.memory_bytes.map(|it| it / GIB))
}

#[test]
fn a_set_has_a_quota_only_if_each_kind_has_one_and_never_below_the_request() {
    let quota = |jobs, cores, limit| usage(jobs, cores, 1.0, (limit, None));
    for (kinds, request, limit) in [
        (vec![quota(20, 0.5, Some(1.0))], 0.6, Some(1.0)),
        // Most of the quota is used.
        (vec![quota(20, 0.95, Some(1.0))], 1.2, Some(1.5)),
        // One without a quota needs more than the other's.
        (vec![quota(20, 2.5, None), quota(20, 0.5, Some(1.0))], 3.0, None),
        (vec![quota(20, 0.5, Some(1.0)), quota(20, 0.5, Some(4.0))], 0.6, Some(4.0)),
        // The same of kinds with too few jobs.
        (vec![quota(20, 0.5, Some(1.0)), quota(2, 3.0, Some(4.0))], 0.6, Some(4.0)),
        (vec![quota(20, 0.5, Some(1.0)), quota(2, 3.0, None)], 0.6, None),
    ] {
        let of = set(&kinds);
        assert!((of.0.unwrap() - request).abs() < 1e-9, "{of:?} {kinds:?}");
        assert_eq!(of.1, limit, "{kinds:?}");
    }
}

#[test]
fn a_kind_with_too_few_jobs_keeps_the_memory_that_it_needs() {
    let memory = |jobs, gib, limit| usage(jobs, 0.5, gib, (None, limit));
    let unknown = Usage { jobs: 3, ..Usage::default() };
    let only_limit = Usage { memory_bytes: None, ..memory(3, 0.0, Some(12.0)) };
    for (kinds, expected) in [
        (vec![memory(20, 1.0, Some(16.0))], Some(1.25)),
        // It used 8 GiB once: not less than that and a fifth.
        (vec![memory(20, 1.0, Some(16.0)), memory(1, 8.0, None)], Some(9.625)),
        (vec![memory(20, 1.0, Some(16.0)), memory(1, 8.0, Some(16.0))], Some(16.0)),
        (vec![memory(20, 1.0, Some(16.0)), only_limit], Some(12.0)),
        (vec![memory(20, 1.0, Some(16.0)), unknown], None),
    ] {
        assert_eq!(set(&kinds).2, expected, "{kinds:?}");
    }
}
