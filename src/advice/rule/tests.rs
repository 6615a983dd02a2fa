//! The rule, case by case.

use super::*;
use crate::spread::Spread;

const GI: f64 = 1024.0;

/// Of twenty jobs: CPU p95, working set p95 and max in MiB.
fn usage(cpu: f64, p95: f64, max: f64) -> Usage {
    Usage {
        jobs: 20,
        hours: 10.0,
        cpu_mean_cores: Some(cpu / 2.0),
        cpu_jobs: 20,
        cpu_cores: Some(Spread { count: 20, p50: cpu / 2.0, p95: cpu, max: cpu * 2.0 }),
        memory_bytes: Some(Spread {
            count: 20,
            p50: p95 * MIB / 2.0,
            p95: p95 * MIB,
            max: max * MIB,
        }),
        oom_kills: Some(0),
        ..Usage::default()
    }
}

fn with(cpu: Option<f64>, mib: Option<f64>) -> Resources {
    Resources { cpu_cores: cpu, memory_bytes: mib.map(|mib| mib * MIB) }
}

fn verdict(usage: &Usage) -> Verdict {
    Rule { min_jobs: 10 }.verdict(usage)
}

#[track_caller]
fn assert_near(a: Option<f64>, b: Option<f64>) {
    let near = match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-6,
        (a, b) => a.is_none() && b.is_none(),
    };
    assert!(near, "{a:?} is not {b:?}");
}

#[test]
fn a_request_is_a_fifth_above_what_nearly_all_jobs_used() {
    for (cpu, p95, expected_cpu, expected_mib) in [
        (0.01, 10.0, 0.1, 256.0),
        (0.5, 300.0, 0.6, 384.0),
        (1.0, 1000.0, 1.2, 1280.0),
        (3.33, 6.0 * GI, 4.0, 7424.0),
    ] {
        let request = verdict(&usage(cpu, p95, p95)).request.unwrap();
        assert_near(request.cpu_cores, Some(expected_cpu));
        assert_near(request.memory_bytes.map(|it| it / MIB), Some(expected_mib));
    }
}

#[test]
fn a_limit_of_memory_is_above_all_that_was_seen() {
    // working set p95 and max, the kernel's peak, kills, the limit now: the limit then. All in MiB.
    for (p95, max, peak, kills, now, expected) in [
        (500.0, 800.0, 900.0, 0, None, 1152.0),
        (500.0, 800.0, 0.0, 0, None, 1024.0),
        // Never below the request.
        (800.0, 800.0, 0.0, 0, None, 1024.0),
        // Page cache filled a limit that is enough: it stays, however often one asks.
        (500.0, 800.0, 2048.0, 0, Some(2048.0), 2048.0),
        // A limit that is far too large gets smaller.
        (500.0, 800.0, 900.0, 0, Some(8192.0), 1152.0),
        // Near the limit: more.
        (500.0, 1000.0, 1024.0, 0, Some(1024.0), 1280.0),
        // Killed: what was seen ends at the limit, so by half at least.
        (500.0, 1000.0, 1024.0, 3, Some(1024.0), 1536.0),
        (500.0, 4000.0, 4096.0, 1, Some(1024.0), 4992.0),
    ] {
        let mut usage = usage(1.0, p95, max);
        usage.memory_peak_bytes = Some(peak * MIB);
        usage.oom_kills = Some(kills);
        usage.limit = with(None, now);
        usage.killed_limit_bytes = usage.limit.memory_bytes.filter(|_| kills > 0);
        let limit = verdict(&usage).limit.unwrap();
        assert_near(limit.memory_bytes.map(|it| it / MIB), Some(expected));
        assert_eq!(limit.cpu_cores, None, "no quota where there is none");
    }
}

#[test]
fn a_quota_grows_only_if_it_throttles() {
    for (now, throttled, expected) in [
        (None, Some(0.9), None),
        (Some(2.0), None, Some(2.0)),
        (Some(2.0), Some(0.05), Some(2.0)),
        (Some(2.0), Some(0.06), Some(3.0)),
        (Some(0.5), Some(0.5), Some(1.0)),
    ] {
        let mut usage = usage(0.4, 100.0, 100.0);
        usage.limit = with(now, None);
        usage.throttled = throttled;
        assert_near(verdict(&usage).limit.unwrap().cpu_cores, expected);
    }
}

#[test]
fn the_risk_is_the_kernels_word_first_then_the_distance_to_the_limit() {
    for (max, kills, limit, expected) in [
        (100.0, Some(1), None, Risk::Killed),
        (100.0, Some(1), Some(9999.0), Risk::Killed),
        (100.0, Some(0), None, Risk::Unknown),
        (100.0, Some(0), Some(0.0), Risk::Unknown),
        (899.0, Some(0), Some(1000.0), Risk::Low),
        (900.0, Some(0), Some(1000.0), Risk::High),
        // Nobody counted kills.
        (899.0, None, Some(1000.0), Risk::Unknown),
        (900.0, None, Some(1000.0), Risk::High),
    ] {
        let mut usage = usage(1.0, 100.0, max);
        usage.oom_kills = kills;
        usage.limit = with(None, limit);
        assert_eq!(verdict(&usage).risk, expected, "{max} {kills:?} {limit:?}");
    }
}

#[test]
fn waste_is_what_is_requested_above_the_95th_percentile() {
    let mut usage = usage(0.5, GI, GI);
    assert_eq!(verdict(&usage).waste_core_hours, None, "no request is known");
    usage.request = with(Some(2.0), Some(4.0 * GI));
    assert_near(verdict(&usage).waste_core_hours, Some(15.0));
    assert_near(verdict(&usage).waste_gib_hours, Some(30.0));
    usage.request = with(Some(0.1), Some(1.0));
    assert_near(verdict(&usage).waste_core_hours, Some(0.0));
}

#[test]
fn nothing_follows_from_few_jobs_or_from_none_of_the_figures() {
    let mut few = Usage { jobs: 9, cpu_jobs: 9, ..usage(1.0, 100.0, 100.0) };
    few.memory_bytes = few.memory_bytes.map(|it| Spread { count: 9, ..it });
    assert_eq!((verdict(&few).request, verdict(&few).limit), (None, None));
    let bare = Usage { jobs: 50, ..Usage::default() };
    assert_eq!((verdict(&bare).request, verdict(&bare).limit), (None, None));
}

#[test]
fn where_only_the_mean_is_known_the_headroom_is_larger() {
    let usage = Usage { cpu_cores: None, ..usage(2.0, 100.0, 100.0) };
    assert_near(verdict(&usage).request.unwrap().cpu_cores, Some(1.5));
}

#[test]
fn a_quota_is_not_below_the_request_and_grows_where_jobs_come_near() {
    // CPU p95, max, the quota now: the quota then.
    for (p95, max, now, expected) in [
        (0.95, 0.95, 1.0, 1.5),
        (0.5, 0.89, 1.0, 1.0),
        (0.5, 0.9, 1.0, 1.5),
        // The latest job has a smaller one than those before it.
        (3.0, 3.0, 1.0, 4.0),
    ] {
        let mut usage = usage(1.0, 100.0, 100.0);
        usage.cpu_cores = Some(Spread { count: 20, p50: p95, p95, max });
        usage.limit = with(Some(now), None);
        assert_near(verdict(&usage).limit.unwrap().cpu_cores, Some(expected));
    }
}

#[test]
fn each_figure_needs_enough_jobs_of_its_own() {
    let mut usage = usage(1.0, 100.0, 100.0);
    usage.limit = with(Some(2.0), None);
    usage.memory_bytes = usage.memory_bytes.map(|it| Spread { count: 9, ..it });
    let of = verdict(&usage);
    assert_eq!(of.request, Some(Resources { memory_bytes: None, ..of.request.unwrap() }));
    assert_eq!(of.limit.unwrap().memory_bytes, None);
    usage.cpu_jobs = 9;
    assert_eq!((verdict(&usage).request, verdict(&usage).limit), (None, None));
}

#[test]
fn a_limit_of_memory_is_the_same_however_often_one_asks() {
    // The limit now, that of the killed jobs, kills: the limit then. All in MiB; 400 MiB are used.
    for (now, killed, kills, expected) in [
        (1024.0, Some(1024.0), Some(2), 1536.0),
        // Raised since.
        (1536.0, Some(1024.0), Some(2), 1536.0),
        (8192.0, Some(1024.0), Some(2), 1536.0),
        // Nobody knows which limit killed, or whether any did: none gets smaller.
        (1024.0, None, Some(2), 1024.0),
        (8192.0, None, None, 8192.0),
        (256.0, None, None, 512.0),
        (8192.0, None, Some(0), 512.0),
    ] {
        let mut usage = usage(1.0, 400.0, 400.0);
        usage.limit = with(None, Some(now));
        usage.killed_limit_bytes = killed.map(|mib| mib * MIB);
        usage.oom_kills = kills;
        let limit = verdict(&usage).limit.unwrap();
        assert_near(limit.memory_bytes.map(|it| it / MIB), Some(expected));
    }
}
