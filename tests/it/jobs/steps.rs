//! A job of 300 steps is one trace.

use ephemon_base::clock::now_ns;
use ephemon_contract::{Phase, StepKind};

use super::sink::Sink;
use super::{PATIENCE, until_counted};
use crate::support::process::until;
use crate::support::site::Site;

const STEPS: u64 = 300;

#[test]
fn a_job_of_three_hundred_steps_is_one_trace_with_its_steps_in_order() {
    let (site, sink) = (Site::new(), Sink::start());
    let agent = sink.agent(&site, &[]);
    let pod = site.runner(1);
    pod.start("job");
    // Where the agent is late its birth is told to a tick only, and steps within that are moved.
    until_counted(&agent, "ephemon_agent_containers_discovered_total", 1);
    pod.init_started("job");
    pod.launched("job");
    pod.called(Phase::PrepareJob, None, now_ns(), 0);
    let mut since_ns = now_ns();
    for step in 1..=STEPS {
        let name = format!("__run_{step}");
        pod.step_started("job", step, &name, StepKind::Script);
        pod.step_ended("job", step, 0);
        pod.called(Phase::RunScriptStep, Some(&name), since_ns, 0);
        since_ns = now_ns();
    }
    pod.called(Phase::CleanupJob, None, now_ns(), 0);
    let records = usize::try_from(3 * STEPS + 4).unwrap();
    let taken = || pod.kept().matches("{\"journal\":").count() == records;
    until(PATIENCE, || taken().then_some(())).unwrap_or_else(|| panic!("{}", agent.log()));
    pod.end("job");
    pod.delete();
    until_counted(&agent, "ephemon_job_completed_total", 1);
    until_counted(&agent, "ephemon_job_steps_total", 300);
    let whole = || sink.spans().iter().filter(|span| span.name.starts_with("__run_")).count();
    until(PATIENCE, || (whole() >= 300).then_some(())).expect("all steps");
    // Ended, the agent has sent whatever it had to send.
    agent.stop();

    let spans = sink.spans();
    assert_eq!(sink.traces(), 1);
    let mut ids: Vec<_> = spans.iter().map(|span| &span.span_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len(), "each span once");
    let top = spans.iter().find(|span| span.parent_span_id.is_empty()).expect("the job's span");
    let mut steps: Vec<_> = spans.iter().filter(|span| span.name.starts_with("__run_")).collect();
    assert!(steps.iter().all(|step| step.parent_span_id == top.span_id));
    let inside = |at: u64| (top.start_time_unix_nano..=top.end_time_unix_nano).contains(&at);
    let fits = |from, to| inside(from) && inside(to) && from <= to;
    assert!(spans.iter().all(|span| fits(span.start_time_unix_nano, span.end_time_unix_nano)));
    steps.sort_by_key(|step| step.start_time_unix_nano);
    let names: Vec<_> = steps.iter().map(|step| step.name.clone()).collect();
    let wanted: Vec<_> = (1..=STEPS).map(|step| format!("__run_{step}")).collect();
    assert_eq!(names, wanted);
    let requests = sink.requests();
    let resources = requests.iter().flat_map(|request| &request.resource_spans);
    let mut resources: Vec<_> = resources.map(|spans| &spans.resource).collect();
    resources.dedup();
    assert_eq!(resources.len(), 1, "one resource, however many requests");
}
