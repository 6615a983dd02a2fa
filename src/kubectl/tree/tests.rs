//! A job that has everything: its lines in order, its figures, its hidden characters.

use ephemon_client::{ContainerSamples, JobSummary, Phase, Pull, UsageColumns};

use super::*;

fn span(from: u64, to: Option<u64>) -> Span {
    Span { start_unix_ms: from, end_unix_ms: to, ..Span::default() }
}

fn ended(result: &str, code: i32) -> Ending {
    Ending { result: result.into(), fault: None, exit_code: Some(code) }
}

fn job() -> Job {
    let usage = Usage {
        cpu_seconds: Some(1.5),
        cpu_throttled_seconds: Some(0.5),
        memory_peak_bytes: Some(12 << 20),
        oom_kills: Some(1),
        ..Usage::default()
    };
    let summary = JobSummary {
        name: "Build \u{202e}\u{1b}[2J".into(),
        repository: Some("octo/app".into()),
        run_id: Some("70".into()),
        run_attempt: Some("2".into()),
        namespace: "ci".into(),
        pod: "runner-1".into(),
        span: span(1000, Some(11_000)),
        ending: ended("failure", 1),
        usage,
        ..JobSummary::default()
    };
    let container = |name: &str, role: &str, from, to| Container {
        name: name.into(),
        role: role.into(),
        id: Some(format!("id-{name}")),
        span: span(from, Some(to)),
        ending: ended("success", 0),
        ..Container::default()
    };
    let step = |name: &str, container: &str, from, to, ending| Step {
        name: name.into(),
        container: Some(container.into()),
        span: span(from, Some(to)),
        ending,
        ..Step::default()
    };
    Job {
        node: "n1".into(),
        now_unix_ms: 20_000,
        phases: vec![Phase {
            name: "prepare_job".into(),
            span: span(1000, Some(2000)),
            ..Phase::default()
        }],
        steps: vec![
            Step { usage, ..step("__run_1", "job", 3000, 5000, ended("success", 0)) },
            step("scan", "step-1", 6000, 10_000, ended("failure", 1)),
        ],
        containers: vec![
            Container {
                pull: Some(Pull { start_unix_ms: 6000, end_unix_ms: 7500, bytes: None }),
                ..container("step-1", "step", 7500, 10_000)
            },
            container("job", "job", 1500, 11_000),
        ],
        summary,
        ..Job::default()
    }
}

fn samples() -> Samples {
    let usage = UsageColumns {
        from: vec![0, 1000, 2000, 3000],
        to: vec![1000, 2000, 3000, 4000],
        cpu_millicores: vec![Some(0), Some(500), Some(1000), Some(250)],
        ..UsageColumns::default()
    };
    let of = ContainerSamples {
        id: "id-job".into(),
        base_unix_ms: 1500,
        usage,
        ..ContainerSamples::default()
    };
    Samples { containers: vec![of], ..Samples::default() }
}

#[test]
fn parts_are_in_the_order_of_their_beginnings_with_a_line_of_their_use() {
    let text = text(&job(), &samples(), Screen::plain());
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    let expected = [
        "Build ‹U+202E›␛[2J  ✕ failure, exit code 1",
        "octo/app · run 70, attempt 2",
        "pod ci/runner-1 on n1 · took 10.0s · CPU 1.50s · peak memory 12.0Mi",
        "",
    ];
    assert_eq!(lines[..4], expected);
    let names: Vec<_> =
        lines[5..].iter().map(|line| line.trim_start().split("  ").next().unwrap()).collect();
    assert_eq!(
        names,
        ["├ prepare_job", "├ container job", "├ __run_1", "└ scan", "└ container step-1"]
    );
    assert!(
        lines[7].contains("1.50s  12.0Mi")
            && lines[7].ends_with("✓ success, 1 OOM kill, throttled 25%"),
        "{}",
        lines[7]
    );
    assert!(lines[9].ends_with("✓ success, pull 1.50s"), "{}", lines[9]);
    assert!(lines[7].contains('█'), "{text}");
}
