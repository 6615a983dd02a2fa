//! A small job in both forms.

use ephemon_client::Line;

use super::*;

const HOSTILE: &str = "</script><img src=x onerror=alert(1)>: ```%%{init}%%;|\u{202e}\u{7}\n# x";

fn record() -> Record {
    let job = serde_json::json!({
        "apiVersion": "v1", "nowUnixMs": 1_795_933_600_000_u64, "node": "node-1", "id": "u",
        "name": HOSTILE, "repository": "octo/hello", "workflow": "CI", "namespace": "ci",
        "pod": "runner-1", "startUnixMs": 1_795_933_511_250_u64, "endUnixMs": 1_795_933_571_250_u64,
        "result": "failure", "exitCode": 1, "traceId": "t", "newField": {"a": 1},
        "usage": {"cpuSeconds": 12.5, "memoryPeakBytes": 104_857_600, "oomKills": 1},
        "links": [{"rel": "run", "href": "https://github.com/octo/hello/actions/runs/1"},
                  {"rel": "trace", "href": "javascript:alert(1)"}],
        "phases": [{"name": "prepare_job", "startUnixMs": 1_795_933_511_250_u64, "endUnixMs": 1_795_933_513_250_u64, "result": "success"}],
        "steps": [{"name": "x", "displayName": HOSTILE, "startUnixMs": 1_795_933_513_250_u64, "endUnixMs": 1_795_933_561_250_u64, "result": "failure", "quality": "confirmed", "usage": {"cpuSeconds": 12.0}}],
        "containers": [{"name": "job", "role": "job", "image": "alpine:3", "startUnixMs": 1_795_933_512_000_u64, "createdUnixMs": 1_795_933_512_500_u64, "result": "running"}]
    });
    let samples = serde_json::json!({"containers": [{
        "name": HOSTILE, "cpuLimitMillicores": 500, "memoryLimitBytes": 104_857_600,
        "oomKillsUnixMs": [1_795_933_540_000_u64], "baseUnixMs": 1_795_933_512_500_u64,
        "usage": {"from": [0, 1000, 5000], "to": [1000, 2000, 6000], "cpuMillicores": [100, null, 400], "memoryKibibytes": [1000, 2000, null]},
        "activity": {"from": [0], "to": [6000], "throttledPermille": [300]}}]});
    let log = serde_json::json!({"served": true, "lines": [
        {"container": "job", "atUnixMs": 1_795_933_520_000_u64, "text": HOSTILE},
        {"container": "job", "atUnixMs": 1_795_933_521_000_u64, "text": "````", "severity": "error"}]});
    Record::new(
        serde_json::from_value(job).unwrap(),
        serde_json::from_value(samples).unwrap(),
        serde_json::from_value(log).unwrap(),
    )
}

#[test]
fn the_markdown_is_as_recorded() {
    let text = markdown(&record());
    let expected = "\
\n```mermaid
gantt
  dateFormat x
  axisFormat %H:%M:%S
  todayMarker off
  section Hook
  › prepare_job :done, 1795933511250, 1795933513250
  section Steps
  › ·/script··img src·x onerror·alert(1)·· ······init·····… :crit, 1795933513250, 1795933561250
  section Containers
  › job (end not known) :1795933512000, 1795933571250
```

### Steps

| Step | Result | Began | Took | CPU time | Throttled | Memory | OOM kills | Read | Written | Quality |
|---|---|---|---|---|---|---|---|---|---|---|
| prepare&#95;job | success | 0.00 s | 2.00 s | - | - | - | - | - | - | - |
";
    assert!(text.contains(expected), "{text}");
    assert!(
        text.starts_with("## &#60;/script&#62;&#60;img src=x onerror=alert(1)&#62;&#58; &#96;")
    );
    assert!(text.contains("- [run](<https://github.com/octo/hello/actions/runs/1>)"));
    assert!(!text.contains("javascript:"), "{text}");
    assert!(text.contains("`````text\n"), "the fence is longer than what is in it: {text}");
    assert!(!text.contains('\u{202e}') && !text.contains('\u{7}'));
}

#[test]
fn the_page_needs_nothing_else_and_no_name_is_markup() {
    let page = crate::html(&record());
    for never in [
        "<script",
        "<img",
        "<link",
        "@import",
        "url(",
        "javascript:",
        "src=\"",
        "style=\"",
        "\u{202e}",
        "\u{7}",
    ] {
        assert!(!page.contains(never), "{never}: {page}");
    }
    let outside = page.replace("https://github.com/octo/hello/actions/runs/1", "");
    assert!(!outside.contains("://"), "{outside}");
    assert!(
        page.contains("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';")
    );
    for part in [
        "class=\"curve s0\"",
        "class=\"limit s0\"",
        "class=\"throttled\"",
        "class=\"kill\"",
        "class=\"wait\"",
        "exit code 1",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_job_of_which_nothing_is_known_is_a_page_too() {
    let bare = Record::default();
    assert!(crate::html(&bare).contains("There are none."));
    assert!(markdown(&bare).contains("gantt"));
}

#[test]
fn absurd_times_and_columns_draw_something_bounded() {
    let mut record = record();
    record.job.summary.span.start_unix_ms = 1;
    record.job.phases[0].span.start_unix_ms = u64::MAX;
    record.job.summary.span.end_unix_ms = Some(u64::MAX);
    record.job.steps[0].span.end_unix_ms = Some(0);
    record.samples.containers[0].base_unix_ms = u64::MAX;
    record.samples.containers[0].usage.to = vec![u64::MAX; 3];
    record.samples.containers[0].usage.cpu_millicores = vec![Some(u64::MAX); 9];
    record.log.lines = vec![Line::default(); 10];
    let page = crate::html(&record);
    assert!(page.len() < 100_000 && !page.contains("NaN") && !page.contains("inf"), "{page}");
    assert!(markdown(&record).len() < 10_000);
}

#[test]
fn a_summary_is_never_larger_than_what_github_shows() {
    let long = "\u{e0001}".repeat(5000);
    for name in ["x", long.as_str(), "</script>||||````"] {
        let mut record = record();
        record.job.steps[0].display_name = Some(name.to_owned());
        record.job.containers[0].name = name.to_owned();
        record.job.steps = vec![record.job.steps[0].clone(); 2000];
        record.job.containers = vec![record.job.containers[0].clone(); 2000];
        record.log.lines = vec![Line { text: name.repeat(10), ..Line::default() }; 2000];
        record.job.summary.workflow = Some(long.clone());
        let text = markdown(&record);
        assert!(text.len() < 1 << 20, "{} bytes", text.len());
        assert!(text.contains(" earlier rows are left out.") && text.contains("bars are left out"));
        assert!(text.contains("<summary>Last log lines, ") && text.ends_with("</details>\n"));
    }
}
