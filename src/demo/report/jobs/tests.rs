//! Correct traces, and every fault that is reported.

use std::time::UNIX_EPOCH;

use super::*;
use crate::kubelet::Account;
use crate::sink::samples;
use crate::sink::samples::{Span, pairs};

/// For run 14460881260, attempt 13, from the receiver's own function.
const TRACE: &str = "731ec8a47fd7450f753a812a4a8aa5a0";

fn trace_bytes() -> Vec<u8> {
    let number = u128::from_str_radix(TRACE, 16).unwrap();
    number.to_be_bytes().to_vec()
}

fn span(id: u8, parent: u8, name: &str, times: (u64, u64), attributes: &[(&str, &str)]) -> Span {
    Span {
        trace_id: trace_bytes(),
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: name.to_owned(),
        start_time_unix_nano: times.0 * 1_000_000_000,
        end_time_unix_nano: times.1 * 1_000_000_000,
        attributes: pairs(attributes),
        ..Span::default()
    }
}

/// A job with two steps, the second in its own container.
fn spans() -> Vec<Span> {
    let script = [(RESULT, "success"), (STEP, "script"), (CPU, "0.5"), (MEMORY, "1500000")];
    let container = [(RESULT, "failure"), (STEP, "container")];
    vec![
        span(1, 0, "build", (10, 20), &[(RESULT, "failure")]),
        span(2, 1, "echo", (11, 12), &script),
        span(3, 1, "action", (13, 18), &container),
        span(4, 3, "c-0", (14, 17), &[(RESULT, "failure")]),
        span(5, 4, "run", (15, 17), &[]),
    ]
}

fn truth() -> JobTruth {
    JobTruth {
        pod: "runner".to_owned(),
        repository: "o/r".to_owned(),
        run_id: 14_460_881_260,
        run_attempt: 13,
        name: "build",
        result: "failure",
        steps: vec![("echo".to_owned(), "success"), ("action".to_owned(), "failure")],
    }
}

fn resource(pod: &str) -> [(&str, &str); 7] {
    [
        ("vcs.owner.name", "o"),
        ("vcs.repository.name", "r"),
        ("cicd.pipeline.run.id", "14460881260"),
        ("github.run.attempt", "13"),
        (POD, pod),
        ("k8s.namespace.name", "default"),
        ("k8s.container.name", "c"),
    ]
}

fn seen(pod: &str, spans: Vec<Span>) -> Seen {
    let mut seen = Seen::new("x");
    samples::spans(&mut seen, &resource(pod), spans);
    seen
}

fn ran(pod: &str) -> Truth {
    Truth {
        namespace: "default".to_owned(),
        pod: pod.to_owned(),
        pod_uid: String::new(),
        container: "c".to_owned(),
        kind: Kind::Ephemeral,
        id: String::new(),
        started_at: Some(UNIX_EPOCH),
        ended_at: UNIX_EPOCH,
        exit_code: 0,
        reason: "Completed",
        account: Account::default(),
    }
}

fn jobs(spans: Vec<Span>) -> Jobs {
    Jobs::new(&[ran("runner")], &["runner"], Some(&truth()), &seen("runner", spans))
}

#[test]
fn a_whole_trace_is_a_job_and_a_tree() {
    let jobs = jobs(spans());
    assert_eq!(jobs.faults(), <&[String]>::default());
    let json = serde_json::to_value(&jobs).unwrap();
    assert_eq!(json[0]["trace_id"], TRACE);
    assert_eq!(json[0]["spans"], 5);
    let echo = serde_json::json!({
        "name": "echo", "result": "success", "duration_s": 1.0, "cpu_s": 0.5,
        "memory_peak_bytes": 1_500_000.0,
    });
    assert_eq!(json[0]["steps"][0], echo);
    let text = jobs.to_string();
    let lines: Vec<&str> = text.lines().skip(2).collect();
    assert_eq!(
        lines[..5],
        [
            "SPAN           FROM       TOOK        CPU       PEAK  RESULT",
            "build       0.000 s   10.000 s          -          -  failure",
            "├ echo      1.000 s    1.000 s    0.500 s     1.5 MB  success",
            "└ action    3.000 s    5.000 s          -          -  failure",
            "  └ c-0     4.000 s    3.000 s          -          -  failure, run 2.000 s",
        ]
    );
    assert_eq!(lines.last(), Some(&"jobs     1 of a workflow, 0 of other pods"));
}

#[test]
fn everything_that_is_wrong_with_a_trace_is_said() {
    let says = |change: fn(&mut Vec<Span>), what: &str| {
        let mut spans = spans();
        change(&mut spans);
        let jobs = jobs(spans);
        assert!(jobs.faults().iter().any(|fault| fault.contains(what)), "{:?}", jobs.faults());
    };
    says(Vec::clear, "has 0 traces, not one");
    says(|all| drop(all.remove(0)), "has 2 traces, not one");
    says(|all| drop(all.remove(1)), "2 steps ran, but the trace has 1");
    says(|all| all.push(all[3].clone()), "1 spans arrived more than once");
    says(|all| all[3].end_time_unix_nano += 2_000_000_000, "\"c-0\" is not within \"action\"");
    says(
        |all| "1f".clone_into(&mut all[0].name),
        "the job's name of the workflow's trace is \"1f\"",
    );
    says(
        |all| all[0].attributes = pairs(&[(RESULT, "cancellation")]),
        "the job's result of the workflow's trace is \"cancellation\", not \"failure\"",
    );
    says(|all| all[1].attributes[0] = pairs(&[(RESULT, "failure")])[0].clone(), "step \"echo\"");
    says(|all| all.iter_mut().for_each(|one| one.trace_id = vec![1; 16]), "the id of the workflow");
}

#[test]
fn a_pod_without_the_hook_is_one_job_that_is_only_counted() {
    let of_pod = |spans| {
        let truths = [ran("bare"), ran("bare"), ran("stranger")];
        Jobs::new(&truths, &["bare"], None, &seen("bare", spans))
    };
    let whole = of_pod(spans());
    assert_eq!((whole.faults().len(), whole.others, whole.of_workflow.len()), (0, 1, 0));
    assert_eq!(serde_json::to_value(&whole).unwrap(), serde_json::json!([]));
    assert_eq!(of_pod(Vec::new()).faults(), ["bare has 0 traces, not 1"]);
    let other = Jobs::new(&[], &["bare"], None, &seen("stranger", spans()));
    assert_eq!(other.faults(), ["stranger has 1 traces, not 0"]);
}

#[test]
fn lines_that_name_another_trace_are_told() {
    let mut seen = seen("runner", spans());
    for (uid, trace_id) in [("1", trace_bytes()), ("2", Vec::new())] {
        samples::record(&mut seen, &resource("runner"), uid, trace_id);
    }
    let jobs = Jobs::new(&[ran("runner")], &["runner"], Some(&truth()), &seen);
    assert_eq!(jobs.faults(), ["1 of 2 lines of c do not have the workflow's trace id"]);
}
