//! One job by its evidence, in every order and with every lie.

mod ci;
mod derived;
mod flood;
mod gitlab;
mod hostile;
mod orders;
mod runners;
mod torn;

use ephemon_contract::trace::RunKey;
use ephemon_contract::{Phase as Call, Record, StepKind};
use ephemon_model::ContainerType;

use super::*;
use crate::story::{CPU_OF_JOB, Story, s};

fn job(story: &Story) -> Job {
    story.job_evidence().job(Some(s(100))).expect("a job")
}

#[test]
fn a_job_has_its_parts_with_their_times_ends_and_figures() {
    let job = job(&Story::whole());
    assert_eq!(job.span.trace_id.to_string(), "731ec8a47fd7450f753a812a4a8aa5a0");
    assert_eq!((job.identity.name(), job.judged_by), ("test", ResultSource::Parts));
    assert_eq!(job.outcome.result, JobResult::Failure);
    assert_eq!((job.window.start.ns, job.window.end.unwrap().ns), (s(10), s(61)));
    let calls: Vec<_> = job.phases.iter().map(|phase| phase.call).collect();
    assert_eq!(calls, [Call::PrepareJob, Call::CleanupJob]);

    let steps: Vec<_> = job.steps.iter().map(|step| (&*step.name, step.kind.unwrap())).collect();
    assert_eq!(
        steps,
        [("__run", StepKind::Script), ("__run_2", StepKind::Script), ("lint", StepKind::Container)]
    );
    let [first, second, lint] = &job.steps[..] else { panic!() };
    assert_eq!(first.outcome, Outcome { exit_code: Some(0), ..Outcome::SUCCESS });
    assert_eq!(second.outcome, Outcome::of_code(42));
    assert_eq!((first.window.start.ns, first.window.duration_ns()), (s(20), Some(s(5))));
    assert_eq!((first.figures.cpu_ns, first.proof), (Some(2_000_000_000), Proof::Confirmed));
    assert_eq!(first.figures.memory_peak_bytes, Some(300 << 20));
    // It did not rise in the second, so nobody knows that step's own.
    assert_eq!(second.figures.memory_peak_bytes, None);
    let context = job.identity.key().step_span("__run", s(20));
    assert_eq!(first.span_id, context.span_id);
    assert_eq!(lint.container.as_deref(), Some("step"));
    assert_eq!(lint.figures.cpu_ns, Some(500_000_000));
    assert_eq!(lint.proof, Proof::Kernel(ephemon_model::Quality::Exact));

    let roles: Vec<_> = job.containers.iter().map(|one| (&*one.name, one.role)).collect();
    let wanted = [
        ("runner", Role::Runner),
        ("job", Role::Job),
        ("redis", Role::Service),
        ("step", Role::Step),
    ];
    assert_eq!(roles, wanted);
    let container = &job.containers[1];
    assert_eq!((container.window.start.ns, container.born_ns), (s(11), Some(s(12))));
    let pull = container.pull.unwrap();
    assert_eq!((pull.start_ns, pull.end_ns), (s(12) - 400_000_000, s(12)));
    assert_eq!((container.started_ns, container.window.end.unwrap().ns), (Some(s(13)), s(60)));
    // Told to stop by the hook.
    assert_eq!(container.outcome.result, JobResult::Success);
    assert_eq!(job.containers[2].window.start.ns, s(11), "one patch asks for all");
    let own = CPU_OF_JOB + 500_000_000 + 100_000_000;
    assert_eq!(job.totals.figures.cpu_ns, Some(own));
    assert_eq!(job.totals.included, [Role::Job, Role::Service, Role::Step]);
    assert_eq!(job.totals.runner.cpu_ns, Some(900_000_000));
}

#[test]
fn a_pull_ahead_of_the_kubelet_takes_the_place_of_the_kubelets_own_and_has_its_times() {
    let tenth = 100_000_000;
    for (told, shown) in [
        ((s(11) + tenth, s(11) + 6 * tenth), (s(11) + tenth, s(11) + 6 * tenth)),
        // The kubelet went on before the runtime had answered the agent.
        ((s(11) + tenth, s(13)), (s(11) + tenth, s(12))),
        // Told of before the container was asked for.
        ((s(9), s(10)), (s(9), s(10))),
    ] {
        let mut story = Story::whole();
        story.pre_pulled("job", told);
        story.pre_pulled("job", (s(2), s(3)));
        story.pre_pulled("none", (s(11), s(12)));
        let job = job(&story);
        let pulls: Vec<_> = job.containers.iter().filter_map(|one| one.pull).collect();
        let [pull] = pulls.as_slice() else { panic!("{pulls:?}") };
        assert_eq!(((pull.start_ns, pull.end_ns), pull.is_ahead), (shown, true));
        assert_eq!(pull.bytes, Some(1_000_000));
    }
}

#[test]
fn actions_at_one_time_are_each_in_the_container_that_their_call_names() {
    let job = job(&Story::at_once());
    let mut steps: Vec<_> =
        job.steps.iter().map(|step| (&*step.name, step.container.as_deref())).collect();
    steps.sort_unstable();
    assert_eq!(steps, [("one", Some("step")), ("two", Some("step-2"))]);
}

#[test]
fn a_container_that_stood_by_is_the_steps_that_took_it_and_no_part_of_its_time() {
    let job = job(&Story::stood_by(true));
    let one = job.containers.iter().find(|one| &*one.name == "standby").unwrap();
    let pull = one.pull.unwrap();
    assert_eq!((one.role, one.window.start.ns, one.started_ns), (Role::Step, s(16), Some(s(18))));
    assert_eq!((pull.start_ns, pull.end_ns), (s(17) - 500_000_000, s(17)));
    assert_eq!(one.taken_ns, Some(s(46) + 100_000_000));
    let step = job.steps.iter().find(|step| &*step.name == "tidy").unwrap();
    assert_eq!(step.container.as_deref(), Some("standby"));
    assert_eq!((step.window.start.ns, step.window.end.unwrap().ns), (s(46), s(50)));
    assert_eq!(step.figures.cpu_ns, Some(20_000_000));
}

#[test]
fn a_container_that_no_step_took_is_no_step_no_failure_and_no_usage_of_the_job() {
    let (without, job) = (job(&Story::whole()), job(&Story::stood_by(false)));
    let one = job.containers.iter().find(|one| &*one.name == "standby").unwrap();
    assert_eq!(
        (one.role, one.taken_ns, one.outcome.result),
        (Role::Standby, None, JobResult::Success)
    );
    assert_eq!((job.steps.len(), job.totals), (without.steps.len(), without.totals));
    assert_eq!(job.outcome, without.outcome);
    // Whatever it ended with: the job did not need it.
    let mut story = Story::stood_by(false);
    story.end("standby", 30, 137, "OOMKilled");
    let killed = self::job(&story);
    assert_eq!(killed.outcome, without.outcome);
}

#[test]
fn a_step_container_that_no_hook_came_to_is_no_success() {
    let mut story = Story::whole();
    story.container("step-2", ContainerType::Ephemeral, Some("step"), (46, 57), 143, 5);
    story.init("step-2", 46, (57, 143));
    let job = job(&story);
    let left = job.containers.iter().find(|one| &*one.name == "step-2").unwrap();
    assert_eq!(left.outcome, Outcome::of_code(143));
}

#[test]
fn the_runners_word_on_a_job_goes_before_that_of_its_parts() {
    let mut story = Story::whole();
    story.runner(9, "Running job: test (1.23)");
    story.runner(62, "Job test (1.23) completed with result: Succeeded");
    let job = job(&story);
    assert_eq!((job.outcome, job.judged_by), (Outcome::SUCCESS, ResultSource::Runner));
    assert_eq!(job.identity.name(), "test (1.23)");
    assert_eq!((job.window.start.ns, job.window.end.unwrap().ns), (s(9), s(62)));
}

#[test]
fn an_oom_kill_is_named_on_the_step_it_hit() {
    let mut story = Story::whole();
    story.kill("job", 1, Some("__run_2"));
    let by_delta = job(&story);
    assert_eq!(by_delta.steps[1].outcome, Outcome::error(Fault::OomKilled, Some(42)));
    assert_eq!(by_delta.steps[0].outcome.result, JobResult::Success);
    assert_eq!(by_delta.outcome.result, JobResult::Error);

    // Init was among the dead: the step has no end, and its container has one.
    let mut story = Story::whole();
    story.forget_end_of("__run_2");
    story.forget_call("__run_2");
    story.end("job", 31, 137, "OOMKilled");
    story.kill("job", 1, None);
    let silent = job(&story);
    let step = silent.steps.iter().find(|step| &*step.name == "__run_2").unwrap();
    assert_eq!((step.outcome.fault, step.figures.oom_kills), (Some(Fault::OomKilled), Some(1)));
    assert_eq!(step.window.end.unwrap().ns, s(31));
    assert_eq!(silent.containers[1].outcome.fault, Some(Fault::OomKilled));
}

#[test]
fn a_claim_of_a_kill_that_the_kernel_did_not_count_is_dropped() {
    let mut story = Story::whole();
    story.claim("__run_2", |cgroup| cgroup.oom_kills = Some(7));
    let job = job(&story);
    assert_eq!(job.steps[1].outcome, Outcome::of_code(42));
    assert_eq!((job.steps[1].figures.oom_kills, job.steps[1].proof), (Some(0), Proof::Clamped));
}

#[test]
fn a_cancelled_step_is_a_cancellation() {
    let mut story = Story::whole();
    story.cancel("__run_2");
    let job = job(&story);
    assert_eq!(job.steps[1].outcome.result, JobResult::Cancellation);
    assert_eq!(job.outcome.result, JobResult::Cancellation);
}

#[test]
fn without_the_hook_the_pod_is_the_job_and_its_ephemeral_containers_are_steps() {
    let story = Story::debugged();
    let job = job(&story);
    assert_eq!(job.identity.name(), "runner-1");
    let uid = job.pod.uid.as_str();
    assert_eq!(job.span.trace_id, RunKey { run_id: uid, run_attempt: "" }.trace_id());
    let steps: Vec<_> = job.steps.iter().map(|step| &*step.name).collect();
    assert_eq!(steps, ["debugger-abc"]);
    assert_eq!(job.steps[0].figures.cpu_ns, Some(500_000_000));
    assert_eq!(job.steps[0].outcome, Outcome::of_code(3));
}

#[test]
fn a_runner_that_waits_for_a_job_is_none() {
    assert_eq!(Story::idle().job_evidence().job(Some(s(100))), None);
}

#[test]
fn a_job_that_goes_on_has_no_end() {
    let mut story = Story::whole();
    story.until(25);
    let job = story.job_evidence().job(None).unwrap();
    assert_eq!(job.window.end, None);
    let open = job.steps.iter().find(|step| step.window.end.is_none());
    assert_eq!(open.map(|step| &*step.name), None);
}

#[test]
fn a_job_of_more_than_three_hundred_steps_is_whole() {
    let mut story = Story::whole();
    story.many_steps(400);
    let job = job(&story);
    assert_eq!((job.steps.len(), job.left_out), (403, 0));
    assert!(job.steps.iter().all(|step| step.container.is_some()));
}

#[test]
fn steps_without_a_word_of_the_hook_are_known_by_when_they_were_called() {
    let mut story = Story::whole();
    story.forget_call("__run_2");
    let job = job(&story);
    let step = job.steps.iter().find(|step| &*step.name == "__run_2").unwrap();
    let context = job.identity.key().step_span("__run_2", s(30));
    assert_eq!(step.span_id, context.span_id);
    assert_eq!(step.outcome, Outcome::of_code(42));
}

/// What a job can write to its own journal: an id, and any time of a call.
#[test]
fn no_record_gives_a_step_the_id_of_something_else() {
    let mut story = Story::whole();
    story.forget_call("__run_2");
    for piece in &mut story.pieces {
        if let Evidence::Journal(heard) = piece
            && let Record::StepStarted { name, id, called_ns, .. } = &mut heard.record
            && name == "__run_2"
        {
            // Another step's.
            (*id, *called_ns) = (Some("__run".to_owned()), Some(s(20)));
        }
    }
    let job = job(&story);
    let key = job.identity.key();
    let [first, second, _] = &job.steps[..] else { panic!("{:?}", job.steps) };
    assert_eq!(first.span_id, key.step_span("__run", s(20)).span_id);
    assert_ne!(second.span_id, first.span_id);
    assert_eq!(first.outcome.exit_code, Some(0), "it is the hook's call that counts");
}

/// As after an agent's restart: the kernel shows nothing of what was over before.
#[test]
fn what_is_derived_anew_after_a_restart_has_the_same_ids_and_steps() {
    let before = job(&Story::whole());
    let mut story = Story::whole();
    story.forget_kernel();
    let after = job(&story);
    assert_eq!(after.span, before.span);
    let ids = |job: &Job| job.steps.iter().map(|step| step.span_id).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&before));
    assert_eq!(after.steps[0].proof, Proof::Unconfirmed);
    let names = |job: &Job| job.containers.iter().map(|one| one.span_id).collect::<Vec<_>>();
    assert_eq!(names(&after).len(), names(&before).len());
}
