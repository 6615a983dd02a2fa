//! Journals that lie: about everything, in every field.

use ephemon_contract::{CgroupDelta, End, Phase, ProcessUsage, Record, StepKind};
use ephemon_journal::HOOK;
use proptest::prelude::*;

use crate::story::{CPU_OF_JOB, Story, s};
use crate::{Job, Proof, Window};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("__run".to_owned()),
        Just(String::new()),
        Just("job".to_owned()),
        "[\\x00-\\x7f]{0,20}",
        Just("x".repeat(3000)),
    ]
}

fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), (0_u64..100).prop_map(s), any::<u64>()]
}

fn context() -> impl Strategy<Value = Option<String>> {
    let job = Story::whole().job_evidence().job(None).unwrap();
    prop_oneof![
        Just(None),
        Just(Some("nonsense".to_owned())),
        // To pass for the job itself.
        Just(Some(job.span.to_string())),
        any::<([u8; 8],)>().prop_map(move |(id,)| {
            let span_id = ephemon_contract::trace::SpanId(id);
            Some(ephemon_contract::trace::Traceparent { span_id, ..job.span }.to_string())
        }),
    ]
}

fn delta() -> impl Strategy<Value = CgroupDelta> {
    let figure = || any::<Option<u64>>();
    (figure(), figure(), figure(), figure(), figure(), figure(), any::<Option<bool>>()).prop_map(
        |(cpu_ns, throttled_ns, memory_peak_bytes, oom_kills, read_bytes, written_bytes, rose)| {
            CgroupDelta {
                cpu_ns,
                throttled_ns,
                memory_bytes: None,
                memory_peak_bytes,
                memory_peak_rose: rose,
                oom_kills,
                read_bytes,
                written_bytes,
            }
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let phase = prop_oneof![
        Just(Phase::PrepareJob),
        Just(Phase::RunScriptStep),
        Just(Phase::RunContainerStep),
        Just(Phase::CleanupJob),
    ];
    let kind =
        prop_oneof![Just(StepKind::Script), Just(StepKind::Container), Just(StepKind::Service),];
    prop_oneof![
        (moment(), 0_u64..4, text(), kind, proptest::option::of(moment())).prop_map(
            |(at_ns, step, name, kind, called_ns)| Record::StepStarted {
                at_ns,
                step,
                id: Some(name.clone()),
                name,
                kind,
                called_ns,
                pid: 1,
            }
        ),
        (moment(), 0_u64..4, any::<u64>(), any::<u8>(), any::<bool>(), any::<[u64; 3]>(), delta())
            .prop_map(|(at_ns, step, duration_ns, code, cancelled, process, cgroup)| {
                Record::StepEnded {
                    at_ns,
                    step,
                    duration_ns,
                    end: End::Code(code),
                    cancelled,
                    process: ProcessUsage {
                        user_us: process[0],
                        system_us: process[1],
                        max_rss_bytes: process[2],
                    },
                    cgroup,
                }
            }),
        (moment(), any::<u64>(), phase, any::<bool>(), text(), context()).prop_map(
            |(at_ns, duration_ns, phase, success, name, traceparent)| Record::HookPhase {
                at_ns,
                phase,
                duration_ns,
                success,
                container: None,
                name: Some(name),
                display_name: None,
                traceparent,
                exit_code: None,
            }
        ),
        (moment(), text()).prop_map(|(at_ns, container)| Record::HookLaunched {
            at_ns,
            container,
            image: String::new(),
            running_at_ns: Some(0),
        }),
        (moment(), any::<u8>()).prop_map(|(at_ns, exit_code)| Record::ContainerEnded {
            at_ns,
            exit_code,
            dropped: 0
        }),
    ]
}

fn file() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(HOOK), Just("job"), Just("step"), Just("redis"), Just("nobody")]
}

fn check(job: &Job) {
    let inside = |window: &Window| {
        let (outer, end) = (&job.window, window.end.expect("all is over"));
        assert!(window.start.ns <= end.ns && end.ns <= outer.end.unwrap().ns, "{window:?}");
        assert!(outer.start.ns <= window.start.ns, "{window:?} in {outer:?}");
    };
    // The pod's life, by the kernel, and the moment the last lie was read.
    assert!(job.window.start.ns >= s(1) && job.window.end.unwrap().ns <= s(100));
    job.phases.iter().for_each(|phase| inside(&phase.window));
    job.steps.iter().for_each(|step| inside(&step.window));
    job.containers.iter().for_each(|one| inside(&one.window));
    let mut ids: Vec<_> = job.steps.iter().map(|step| step.span_id.0).collect();
    ids.extend(job.containers.iter().map(|one| one.span_id.0));
    ids.extend(job.phases.iter().map(|phase| phase.span_id.0));
    ids.push(job.span.span_id.0);
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "every span has an id of its own");
    let of_job = || job.steps.iter().filter(|step| step.container.as_deref() == Some("job"));
    let cpu: u128 = of_job().filter_map(|step| step.figures.cpu_ns).map(u128::from).sum();
    assert!(cpu <= u128::from(CPU_OF_JOB), "{cpu}");
    assert_eq!(of_job().filter_map(|step| step.figures.oom_kills).sum::<u64>(), 0);
    assert!(of_job().all(|step| step.proof != Proof::Unconfirmed));
    assert!(job.steps.iter().all(|step| step.name.chars().count() <= 256));
    let container = job.containers.iter().find(|one| &*one.name == "job").unwrap();
    assert_eq!(container.figures.cpu_ns, Some(CPU_OF_JOB));
    assert_eq!(container.born_ns, Some(s(12)));
    assert_eq!(job.span.trace_id.to_string(), "731ec8a47fd7450f753a812a4a8aa5a0");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_a_journal_says_the_record_holds_together(
        lies in proptest::collection::vec((file(), record()), 0..40),
    ) {
        let mut story = Story::whole();
        for (file, record) in lies {
            story.heard(file, s(90), record);
        }
        check(&story.job_evidence().job(Some(s(100))).unwrap());
    }
}

#[test]
fn a_claim_beyond_the_kernels_count_is_cut_down_and_flagged() {
    let mut story = Story::whole();
    story.claim("__run", |cgroup| cgroup.cpu_ns = Some(u64::MAX));
    let job = story.job_evidence().job(Some(s(100))).unwrap();
    let cpu: Vec<_> = job.steps[..2].iter().map(|step| step.figures.cpu_ns.unwrap()).collect();
    assert!(cpu.iter().sum::<u64>() <= CPU_OF_JOB);
    assert_eq!(job.steps[0].proof, Proof::Clamped);
}
