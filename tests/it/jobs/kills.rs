//! The agent is killed at every stage of a job and started anew on what it left: one trace, each
//! span once, everything counted once, and the results are right.

use std::collections::BTreeMap;
use std::thread;

use ephemon_base::clock::now_ns;
use ephemon_contract::{Phase, StepKind};
use ephemon_journal::HOOK;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::sink::{Sink, attributes};
use super::{PATIENCE, counted, until_counted};
use crate::support::agent::{Agent, OPEN_METRICS};
use crate::support::process::until;
use crate::support::site::container::CPU_SECONDS;
use crate::support::site::journal::call;
use crate::support::site::{Pod, Site};

/// What happens, in order.
const STAGES: [&str; 11] = [
    "before the container's birth",
    "after its birth",
    "after prepare",
    "inside a step",
    "after the step's end, before the hook's word",
    "between steps",
    "inside a container step",
    "after that container's end",
    "after a step that failed",
    "after cleanup",
    "after the pod's end",
];
/// At this one the container of a step is over.
const CONTAINER_OVER: usize = 7;
/// From this one to the next nothing is left to be read anew.
const CLEANED: usize = 9;
/// The runs at a time: agents mostly wait.
const AT_ONCE: usize = 6;

/// When the agent is killed.
#[derive(Debug, Clone, Copy)]
struct Kill {
    /// After this stage; after all of them where there is none.
    after: Option<usize>,
    /// Only when it has taken in what was to be seen there.
    taken: bool,
    /// When its spans are sent: `whole` or `eager`.
    mode: &'static str,
}

/// A job that is played in a pod.
struct Play<'a> {
    pod: &'a Pod,
    since_ns: u64,
    /// Records in the journals so far.
    records: usize,
}

impl Play<'_> {
    fn act(&mut self, stage: usize) {
        let pod = self.pod;
        self.records += match stage {
            1 => {
                pod.start("job");
                pod.init_started("job");
                1
            }
            2 => {
                pod.launched("job");
                pod.called(Phase::PrepareJob, None, now_ns(), 0);
                2
            }
            3 => {
                self.since_ns = now_ns();
                pod.step_started("job", 1, "__run", StepKind::Script);
                1
            }
            4 => {
                pod.step_ended("job", 1, 0);
                1
            }
            5 => {
                pod.called(Phase::RunScriptStep, Some("__run"), self.since_ns, 0);
                1
            }
            6 => {
                self.since_ns = now_ns();
                pod.start("lint");
                pod.init_started("lint");
                pod.step_started("lint", 1, "lint", StepKind::Container);
                2
            }
            7 => {
                pod.step_ended("lint", 1, 0);
                pod.init_ended("lint", 0);
                pod.end("lint");
                pod.called(Phase::RunContainerStep, Some("lint"), self.since_ns, 0);
                3
            }
            8 => {
                let since_ns = now_ns();
                pod.step_started("job", 2, "__run_2", StepKind::Script);
                pod.step_ended("job", 2, 42);
                pod.called(Phase::RunScriptStep, Some("__run_2"), since_ns, 42);
                3
            }
            CLEANED => {
                pod.called(Phase::CleanupJob, None, now_ns(), 0);
                1
            }
            10 => {
                pod.init_ended("job", 143);
                pod.end("job");
                pod.delete();
                0
            }
            _ => 0,
        };
    }

    /// Waits until the agent knows what was played, as what it keeps on disk tells.
    fn taken(&self, stage: usize, agent: &Agent) {
        let known = || {
            let kept = self.pod.kept();
            let records = kept.matches("{\"journal\":").count() >= self.records;
            let over = stage < CONTAINER_OVER || quality(&kept).is_some();
            let gone = stage <= CLEANED || kept.contains("{\"gone\":");
            (records && over && gone).then_some(())
        };
        until(PATIENCE, known)
            .unwrap_or_else(|| panic!("{}: {}\n{}", STAGES[stage], self.pod.kept(), agent.log()));
    }
}

/// How sure the figures of the step's container are, once they are final.
fn quality(kept: &str) -> Option<&str> {
    let mut lint =
        kept.lines().filter(|line| line.contains("\"name\":\"lint\",\"container_type\""));
    lint.find_map(|line| line.split_once("\"quality\":\"")?.1.split('"').next())
}

fn run(kill: Kill) {
    let (site, sink) = (Site::new(), Sink::start());
    let pod = site.runner(1);
    let mut play = Play { pod: &pod, since_ns: 0, records: 0 };
    let start = || sink.agent(&site, &["--trace-mode", kill.mode]);
    let mut agent = start();
    let mut kept = String::new();
    for stage in 0..STAGES.len() {
        play.act(stage);
        let killed = kill.after.is_none_or(|after| after == stage);
        if kill.taken && stage > 0 {
            play.taken(stage, &agent);
        }
        if killed {
            drop(agent);
            agent = start();
        }
        if stage == CLEANED {
            // What neither an agent nor a file has seen, nobody can know.
            play.taken(0, &agent);
            kept = pod.kept();
        }
    }
    until_counted(&agent, "ephemon_job_completed_total", 1);
    until(PATIENCE, || (!sink.spans().is_empty()).then_some(())).expect("the trace");
    let open = agent.get("/metrics", OPEN_METRICS).body;
    let exemplar = open.split("# {trace_id=\"").nth(1).expect("an exemplar").split('"').next();
    drop(agent);

    // A job that comes later shows that nothing more comes of this one.
    let agent = start();
    let later = site.runner(2);
    later.start("job");
    later.init_started("job");
    until_counted(&agent, "ephemon_job_started_total", 2);
    later.end("job");
    later.delete();
    until_counted(&agent, "ephemon_job_completed_total", 2);
    until(PATIENCE, || (sink.traces() >= 2).then_some(())).expect("the later trace");
    agent.stop();
    check(&sink, kill, exemplar.expect("its end"), quality(&kept));
    assert!(pod.kept().is_empty(), "{kill:?}: what is sent is kept no longer");
}

fn check(sink: &Sink, kill: Kill, trace_id: &str, quality: Option<&str>) {
    let mut spans: BTreeMap<Vec<u8>, Span> = BTreeMap::new();
    for span in sink.spans() {
        let bytes = span.trace_id.iter();
        let hex = bytes.fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        if hex != trace_id {
            assert!(span.name == "runner-2" || !span.parent_span_id.is_empty(), "{span:?}");
            continue;
        }
        // What is sent again is what was sent.
        let before = spans.insert(span.span_id.clone(), span.clone());
        if let Some(before) = before {
            assert_eq!(before, span, "{kill:?}");
        }
    }
    assert_eq!(sink.traces(), 2, "{kill:?}");
    let result = |span: &Span| {
        let attributes = attributes(span);
        let result = attributes.get("cicd.pipeline.task.run.result").cloned().unwrap_or_default();
        let code = attributes.get("process.exit.code").cloned().unwrap_or_default();
        (span.name.clone(), result, code)
    };
    let top = spans.values().find(|span| span.parent_span_id.is_empty()).expect("the job's span");
    let children = spans.values().filter(|span| span.parent_span_id == top.span_id);
    let tasks = children.map(result).filter(|(name, ..)| name != "job");
    let mut tasks: Vec<_> = tasks.collect();
    tasks.sort();
    let wanted = [
        ("__run", "success", "0"),
        ("__run_2", "failure", "42"),
        ("cleanup", "success", ""),
        ("lint", "success", "0"),
        ("prepare", "success", ""),
    ];
    let wanted =
        wanted.map(|(name, result, code)| (name.to_owned(), result.to_owned(), code.to_owned()));
    assert_eq!(tasks, wanted, "{kill:?}");
    assert_eq!(result(top).1, "failure", "{kill:?}");
    for span in spans.values() {
        let inside = span.start_time_unix_nano >= top.start_time_unix_nano
            && span.end_time_unix_nano <= top.end_time_unix_nano
            && span.start_time_unix_nano <= span.end_time_unix_nano;
        assert!(inside, "{kill:?}: {span:?} is not in {top:?}");
    }
    // What the agent saw of a container that was over, it shows, killed or not.
    assert!(quality.is_some() || !kill.taken, "{kill:?}");
    for span in spans.values().filter(|span| kill.taken && span.name == "lint") {
        let attributes = attributes(span);
        let shown = attributes.get("ephemon.usage.quality").map(String::as_str);
        assert_eq!(shown, quality, "{kill:?}: {span:?}");
        if quality == Some("exact") {
            assert_eq!(attributes["ephemon.cpu.seconds"], CPU_SECONDS.to_string(), "{kill:?}");
        }
    }
}

#[test]
fn an_agent_killed_at_any_stage_of_a_job_sends_one_whole_trace_and_counts_once() {
    let at = |after, taken| Kill { after, taken, mode: "whole" };
    let stages = (0..STAGES.len()).map(Some);
    let mut kills: Vec<Kill> = stages.clone().map(|stage| at(stage, false)).collect();
    kills.extend(stages.skip(CONTAINER_OVER).map(|stage| at(stage, true)));
    let always = [at(None, false), at(None, true)];
    kills.extend(always);
    kills.extend(always.map(|kill| Kill { mode: "eager", ..kill }));
    for kills in kills.chunks(AT_ONCE) {
        thread::scope(|scope| {
            for kill in kills {
                scope.spawn(|| run(*kill));
            }
        });
    }
}

#[test]
fn jobs_whose_hook_was_killed_have_traces_with_the_results_that_are_known() {
    let (site, sink) = (Site::new(), Sink::start());
    let agent = sink.agent(&site, &[]);
    let pods: Vec<Pod> = (1..=4).map(|number| site.runner(number)).collect();
    for pod in &pods {
        pod.start("job");
        pod.init_started("job");
    }
    let [in_prepare, silent, lost, torn] = &pods[..] else { panic!("four pods") };
    let half = |pod: &Pod, record: &ephemon_contract::Record| {
        let line = record.to_line().unwrap();
        pod.write_journal(HOOK, &line[..line.len() / 2]);
    };
    let mut records = [0; 4];
    // A call that is killed leaves nothing, or half a record; the next begins a line of its own.
    half(in_prepare, &call(Phase::PrepareJob, None, now_ns(), 0));
    in_prepare.write_journal(HOOK, b"\n");
    in_prepare.called(Phase::CleanupJob, None, now_ns(), 0);
    records[0] = 2;
    for pod in [silent, lost, torn] {
        pod.called(Phase::PrepareJob, None, now_ns(), 0);
        pod.step_started("job", 1, "__run", StepKind::Script);
    }
    silent.step_ended("job", 1, 7);
    silent.called(Phase::CleanupJob, None, now_ns(), 0);
    (records[1], records[2]) = (5, 3);
    torn.step_ended("job", 1, 0);
    half(torn, &call(Phase::RunScriptStep, Some("__run"), now_ns(), 0));
    torn.write_journal(HOOK, b"\n");
    torn.called(Phase::CleanupJob, None, now_ns(), 0);
    records[3] = 5;
    for (pod, records) in pods.iter().zip(records) {
        until(PATIENCE, || (pod.kept().matches("{\"journal\":").count() >= records).then_some(()))
            .unwrap_or_else(|| panic!("{}\n{}", pod.kept(), agent.log()));
        pod.end("job");
        pod.delete();
    }
    until_counted(&agent, "ephemon_job_completed_total", 4);
    let wanted = [
        ("runner-1", "success", &[("cleanup", "success")][..]),
        (
            "runner-2",
            "failure",
            &[("__run", "failure"), ("cleanup", "success"), ("prepare", "success")],
        ),
        ("runner-3", "error", &[("__run", "error"), ("prepare", "success")]),
        (
            "runner-4",
            "success",
            &[("__run", "success"), ("cleanup", "success"), ("prepare", "success")],
        ),
    ];
    until(PATIENCE, || (sink.traces() >= 4).then_some(())).expect("four traces");
    let spans = sink.spans();
    let result = |span: &Span| {
        let result = attributes(span).remove("cicd.pipeline.task.run.result");
        (span.name.clone(), result.unwrap_or_default())
    };
    for (name, outcome, tasks) in wanted {
        let top = spans.iter().find(|span| span.name == name).expect(name);
        assert_eq!(result(top).1, outcome, "{name}");
        let children = spans.iter().filter(|span| span.parent_span_id == top.span_id);
        let mut children: Vec<_> = children.map(result).filter(|(name, _)| name != "job").collect();
        children.sort();
        let tasks: Vec<_> =
            tasks.iter().map(|(name, result)| ((*name).to_owned(), (*result).to_owned())).collect();
        assert_eq!(children, tasks, "{name}");
    }
    assert!(counted(&agent, "ephemon_job_started_total") >= 4);
    agent.stop();
}
