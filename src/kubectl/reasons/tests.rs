//! A calm job, and what is said when one thing of it is changed.

use ephemon_client::{Activity, Ending, JobSummary, Pull, Span, Usage, UsageColumns};

use super::*;

fn span(from: u64, to: u64) -> Span {
    Span { start_unix_ms: from, end_unix_ms: Some(to), ..Span::default() }
}

/// A job of 100 s with one container that lives as long and that nothing is the matter with.
fn calm() -> (Job, Samples) {
    let container = Container {
        name: "job".into(),
        id: Some("id".into()),
        image: Some("node:24".into()),
        span: span(0, 100_000),
        started_unix_ms: Some(500),
        usage: Usage {
            cpu_seconds: Some(10.0),
            cpu_throttled_seconds: Some(1.0),
            memory_peak_bytes: Some(43 << 20),
            oom_kills: Some(0),
            read_bytes: Some(1 << 20),
            written_bytes: None,
        },
        ..Container::default()
    };
    let step = Step { name: "npm \u{7}ci".into(), span: span(1000, 62_000), ..Step::default() };
    let summary = JobSummary { span: span(0, 100_000), ..JobSummary::default() };
    let steps = vec![Step { name: "short".into(), span: span(0, 10), ..Step::default() }, step];
    let job = Job { summary, containers: vec![container], steps, ..Job::default() };
    let activity = Activity {
        from: vec![0, 50_000],
        to: vec![50_000, 100_000],
        cpu_waiting_permille: vec![Some(10), Some(20)],
        memory_waiting_permille: vec![Some(0), None],
        io_waiting_permille: vec![Some(5), Some(5)],
        ..Activity::default()
    };
    let of = ContainerSamples {
        id: "id".into(),
        limits_known: true,
        cpu_limit_millicores: Some(500),
        memory_limit_bytes: Some(100 << 20),
        usage: UsageColumns {
            from: vec![0, 50_000],
            to: vec![50_000, 100_000],
            cpu_millicores: vec![Some(100), Some(100)],
            memory_kibibytes: vec![Some(20 << 10), Some(43 << 10)],
        },
        activity,
        ..ContainerSamples::default()
    };
    (job, Samples { containers: vec![of], ..Samples::default() })
}

#[test]
fn of_a_calm_job_it_is_said_that_nothing_stands_out() {
    let (job, samples) = calm();
    let findings = Findings::of(&job, &samples);
    assert_eq!(findings.reasons, []);
    assert!(findings.clean.contains("memory at most 43% of a limit"), "{}", findings.clean);
    assert_eq!(findings.unknown, [""; 0]);
    // Files that were written fill the cache up to the limit, and the kernel's peak with it.
    let (mut job, samples) = calm();
    job.containers[0].usage.memory_peak_bytes = Some(100 << 20);
    assert_eq!(Findings::of(&job, &samples).reasons, []);
    let longest = findings.longest_step.unwrap();
    assert_eq!(longest, "The longest step is \"npm ␇ci\": 1m01s, 61% of the job.");
}

/// What is changed of the calm job, and what is said then.
type Case = (fn(&mut Container, &mut ContainerSamples), &'static str);

#[test]
fn each_reason_is_said_with_its_figures() {
    let cases: [Case; 10] = [
        (
            |one, _| one.usage.oom_kills = Some(2),
            "2 processes were killed for want of memory at its memory limit of 100Mi",
        ),
        (
            |one, _| one.ending = Ending { fault: Some("oom_killed".into()), ..Ending::default() },
            "1 process was killed",
        ),
        (
            |_, of| of.usage.memory_kibibytes = vec![Some(95 << 10), Some(1)],
            "memory in use was up to 95.0Mi, 95% of its limit of 100Mi",
        ),
        (
            |one, _| one.usage.cpu_throttled_seconds = Some(34.0),
            "throttled for 34.0s in 1m40s, 34% of its time, by its CPU limit of 500m",
        ),
        (
            |one, _| one.usage.cpu_throttled_seconds = Some(900.0),
            "throttled for 15m00s in 1m40s, added up over its tasks, by its CPU limit of 500m",
        ),
        (
            |one, _| {
                one.pull =
                    Some(Pull { start_unix_ms: 0, end_unix_ms: 21_000, bytes: Some(1 << 30) });
            },
            "the pull of node:24 (1.0Gi) took 21.0s, 21% of the job",
        ),
        (|one, _| one.started_unix_ms = Some(8000), "waited 8.00s before its program ran"),
        (
            |_, of| of.activity.cpu_waiting_permille = vec![Some(400), Some(600)],
            "waited for a CPU 50% of the time",
        ),
        (
            |_, of| of.activity.io_waiting_permille = vec![Some(0), Some(600)],
            "waited for I/O 30% of the time",
        ),
        (
            |one, _| one.usage.written_bytes = Some(10 << 30),
            "read 1.0Mi and wrote 10.0Gi, 102Mi/s on average",
        ),
    ];
    for (change, said) in cases {
        let (mut job, mut samples) = calm();
        change(&mut job.containers[0], &mut samples.containers[0]);
        let findings = Findings::of(&job, &samples);
        let facts: Vec<_> = findings.reasons.iter().map(|reason| &*reason.fact).collect();
        assert_eq!(facts.len(), 1, "{facts:?}");
        assert!(facts[0].starts_with("container job: ") && facts[0].contains(said), "{facts:?}");
    }
}

#[test]
fn nothing_waits_for_a_container_that_stands_by() {
    let (mut job, samples) = calm();
    let one = &mut job.containers[0];
    one.role = "standby".into();
    one.started_unix_ms = Some(40_000);
    one.pull = Some(Pull { start_unix_ms: 0, end_unix_ms: 30_000, bytes: None });
    assert_eq!(Findings::of(&job, &samples).reasons, []);
}

#[test]
fn nothing_waits_for_an_image_that_was_pulled_before_its_container_was_asked_for() {
    let (mut job, samples) = calm();
    let one = &mut job.containers[0];
    let asked = 20_000;
    one.span.start_unix_ms = asked;
    let pull = |start_unix_ms, end_unix_ms| Some(Pull { start_unix_ms, end_unix_ms, bytes: None });
    one.started_unix_ms = Some(asked + 8000);
    one.pull = pull(0, asked);
    let facts = |job: &_| -> Vec<String> {
        let reasons = Findings::of(job, &samples).reasons;
        reasons.into_iter().map(|reason| reason.fact).collect()
    };
    let found = facts(&job);
    assert!(found.len() == 1 && found[0].contains("waited 8.00s"), "{found:?}");
    // Of one that ended after that only the rest was waited for.
    job.containers[0].pull = pull(0, asked + 1000);
    let found = facts(&job);
    assert!(found.len() == 1 && found[0].contains("waited 7.00s"), "{found:?}");
    job.containers[0].pull = pull(0, asked + 7000);
    let found = facts(&job);
    assert!(found.len() == 1 && found[0].contains("took 7.00s, 7% of the job"), "{found:?}");
}

#[test]
fn the_most_severe_comes_first() {
    let (mut job, samples) = calm();
    job.runner_startup_ms = Some(4000);
    let one = &mut job.containers[0];
    // More than its whole time, of many tasks, and still below what was killed.
    one.usage.cpu_throttled_seconds = Some(90_000.0);
    one.usage.oom_kills = Some(1);
    one.pull = Some(Pull { start_unix_ms: 0, end_unix_ms: 30_000, bytes: None });
    let findings = Findings::of(&job, &samples);
    let order = ["killed", "throttled", "pull", "runner took"];
    assert_eq!(findings.reasons.len(), order.len(), "{findings:?}");
    for (reason, word) in findings.reasons.iter().zip(order) {
        assert!(reason.fact.contains(word), "{findings:?}");
    }
}

#[test]
fn what_is_not_known_is_said_and_hostile_figures_do_no_harm() {
    let (mut job, mut samples) = calm();
    let without = Findings::of(&job, &Samples { left_out: 2, ..Samples::default() });
    let missing = "limits, memory over time, waiting for a CPU, waiting for memory, \
                   waiting for I/O, 2 parts for which the agent has no room";
    assert_eq!(without.unknown.join(", "), missing);
    assert_eq!(without.clean, "no OOM kill, little throttling, no long pull or wait");
    job.containers[0].usage = Usage::default();
    let without = Findings::of(&job, &samples);
    assert_eq!(without.unknown, ["OOM kills", "throttling"]);
    assert!(!without.clean.contains("OOM") && !without.clean.contains("thrott"), "{without:?}");
    samples.containers[0].activity = Activity::default();
    samples.containers[0].limits_known = false;
    assert_eq!(Findings::of(&job, &samples).unknown.len(), 6);
    samples.containers[0].memory_limit_bytes = Some(0);
    job.containers[0].span = span(u64::MAX, 0);
    job.containers[0].usage.cpu_throttled_seconds = Some(f64::MAX);
    job.containers[0].usage.read_bytes = Some(u64::MAX);
    job.summary.span = span(5, 0);
    Findings::of(&job, &samples);
}
