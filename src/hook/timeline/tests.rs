//! A small job's journals as Markdown.

use ephemon_contract::{CgroupDelta, End, Phase, ProcessUsage, StepKind};

use super::*;

const BEGAN: u64 = 1_795_933_511_000_000_000;
const HOSTILE: &str = "</script>: ```%%{init}%%;|\u{202e}\u{7}\n# x";

fn seconds(after: u64) -> u64 {
    BEGAN + after * 1_000_000_000
}

/// A call of the hook, from and to so many seconds.
fn call(phase: Phase, from: u64, to: u64, display: Option<&str>, code: u8) -> Record {
    let is_step = matches!(phase, Phase::RunScriptStep | Phase::RunContainerStep);
    Record::HookPhase {
        at_ns: seconds(from),
        phase,
        duration_ns: (to - from) * 1_000_000_000,
        success: code == 0,
        container: is_step.then(|| "job".to_owned()),
        name: is_step.then(|| format!("__run_{from}")),
        display_name: display.map(str::to_owned),
        traceparent: None,
        exit_code: Some(code),
    }
}

fn launched(container: &str, at: u64) -> Record {
    let (container, image) = (container.to_owned(), "secret/image".to_owned());
    Record::HookLaunched { at_ns: seconds(at), container, image, running_at_ns: None }
}

/// A step as init tells of it, of a call at so many seconds.
fn told(step: u64, called: u64) -> Record {
    Record::StepStarted {
        at_ns: seconds(called) + 5_000_000,
        step,
        name: format!("__run_{called}"),
        kind: StepKind::Script,
        id: None,
        called_ns: Some(seconds(called)),
        pid: 7,
    }
}

fn ended(step: u64, at: u64, cancelled: bool) -> Record {
    let cgroup = CgroupDelta {
        cpu_ns: Some(1_250_000_000),
        oom_kills: Some(1),
        written_bytes: Some(2 << 20),
        ..CgroupDelta::default()
    };
    let process = ProcessUsage { max_rss_bytes: 3 << 20, ..ProcessUsage::default() };
    let end = End::Signal(9);
    let at_ns = seconds(at);
    Record::StepEnded { at_ns, step, duration_ns: 1, end, cancelled, process, cgroup }
}

fn journals() -> Journals {
    let hook = vec![
        launched("job", 1),
        launched("redis", 1),
        call(Phase::PrepareJob, 0, 4, None, 0),
        call(Phase::RunScriptStep, 4, 34, Some("Build"), 0),
        call(Phase::RunScriptStep, 34, 60, Some(HOSTILE), 137),
        call(Phase::RunScriptStep, 60, 61, None, 130),
        call(Phase::CleanupJob, 70, 71, None, 0),
    ];
    let job = vec![
        told(1, 4),
        told(2, 34),
        ended(2, 60, false),
        told(3, 60),
        ended(3, 61, true),
        // The hooks of these were killed.
        told(4, 62),
        ended(4, 64, true),
        told(5, 65),
        Record::ContainerEnded { at_ns: seconds(71), exit_code: 0, dropped: 0 },
    ];
    Journals { hook, containers: vec![("job".to_owned(), job), ("redis".to_owned(), Vec::new())] }
}

#[test]
fn a_job_is_a_diagram_and_a_table() {
    let text = markdown(&journals(), seconds(72)).unwrap();
    assert_eq!(
        text,
        "
### Timeline

```mermaid
gantt
  dateFormat x
  axisFormat %H:%M:%S
  todayMarker off
  section Hook
  › prepare_job :done, 1795933511000, 1795933515000
  › cleanup_job :done, 1795933581000, 1795933582000
  section Steps
  › Build :done, 1795933515000, 1795933545000
  › ·/script·· ······init······U+202E···· x :crit, 1795933545000, 1795933571000
  › __run_60 :done, 1795933571000, 1795933572000
  › __run_62 :done, 1795933573005, 1795933575000
  › __run_65 (end not known) :1795933576005, 1795933582000
  section Containers
  › job :done, 1795933512000, 1795933582000
  › redis :done, 1795933512000, 1795933582000
```

### Steps

| Step | Result | Began | Took | CPU time | Throttled | Memory | OOM kills | Read | Written |
|---|---|---|---|---|---|---|---|---|---|
| Build | success | 4.00 s | 30.0 s | - | - | - | - | - | - |
| &#60;/script&#62;&#58; &#96;&#96;&#96;%%&#123;init&#125;%%&#59;&#124;‹U&#43;202E›␇␊&#35; x | failure, exit code 137 | 34.0 s | 26.0 s | 1.25 s | - | 3.0 MiB | 1 | - | 2.0 MiB |
| &#95;&#95;run&#95;60 | cancelled | 1m00s | 1.00 s | 1.25 s | - | 3.0 MiB | 1 | - | 2.0 MiB |
| &#95;&#95;run&#95;62 | cancelled | 1m02s | 2.00 s | 1.25 s | - | 3.0 MiB | 1 | - | 2.0 MiB |
| &#95;&#95;run&#95;65 | end not known | 1m05s | - | - | - | - | - | - | - |
"
    );
}

#[test]
fn a_container_without_an_end_runs_until_the_job_was_cleaned_up() {
    let mut journals = journals();
    let state_of = |journals: &Journals, name: &str| {
        let inits = journals.containers.iter();
        let inits: Vec<_> = inits
            .map(|(name, records)| (name.as_str(), InitJournal::read(unmarked(records))))
            .collect();
        let bars = containers(&HookJournal::read(unmarked(&journals.hook)), &inits);
        bars.iter().find(|bar| bar.name == name).map(|bar| (bar.end_unix_ms, bar.state)).unwrap()
    };
    let cleaned = (Some(ms(seconds(71))), State::Done);
    assert_eq!(state_of(&journals, "redis"), cleaned);
    // It was begun after that.
    journals.hook.push(launched("late", 72));
    assert_eq!(state_of(&journals, "late"), (None, State::Unknown));
    let is_cleanup = |it: &Record| matches!(it, Record::HookPhase { phase: Phase::CleanupJob, .. });
    journals.hook.retain(|record| !is_cleanup(record));
    assert_eq!(state_of(&journals, "redis"), (None, State::Unknown));
}

#[test]
fn a_job_of_which_the_hook_has_recorded_nothing_has_none() {
    assert_eq!(markdown(&Journals::default(), BEGAN), None);
}

#[test]
fn the_largest_journals_of_a_hostile_job_stay_below_what_github_shows() {
    let name: String = "\u{e0001}|".repeat(128);
    let mut journals = journals();
    let step = |number| call(Phase::RunScriptStep, number, number + 1, Some(&name), 1);
    journals.hook.extend((0..5000).map(step));
    journals.hook.push(Record::HookLaunched {
        at_ns: u64::MAX,
        container: name.clone(),
        image: String::new(),
        running_at_ns: None,
    });
    let text = markdown(&journals, 0).unwrap();
    assert!(text.len() < 700 << 10, "{} bytes", text.len());
    assert!(text.contains("bars are left out.") && text.contains("earlier rows are left out."));
}
