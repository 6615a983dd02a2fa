//! A message as the runner writes it, and what a job may write in its place.

use proptest::prelude::*;

use super::*;

/// A message as the runner writes it, without headers.
const MESSAGE: &str = r#"Job message:
 {
  "fileTable": [
    ".github/workflows/ci.yml"
  ],
  "variables": {
    "system.culture": {
      "value": "en-US"
    },
    "system.github.job": {
      "value": "build"
    },
    "system.github.token": {
      "value": "***",
      "isSecret": true
    }
  },
  "jobDisplayName": "build (1)",
  "contextData": {
    "inputs": {
      "t": 2,
      "d": [
        {
          "k": "run_attempt",
          "v": "99"
        }
      ]
    },
    "github": {
      "t": 2,
      "d": [
        {
          "k": "ref",
          "v": "refs/heads/main"
        },
        {
          "k": "event",
          "v": {
            "t": 2,
            "d": [
              {
                "k": "run_id",
                "v": "666"
              }
            ]
          }
        },
        {
          "k": "repository",
          "v": "o/r"
        },
        {
          "k": "run_id",
          "v": "14460881260"
        },
        {
          "k": "run_attempt",
          "v": "13"
        },
        {
          "k": "workflow",
          "v": "CI \"nightly\""
        },
        {
          "k": "sha",
          "v": "***"
        },
        {
          "k": "server_url",
          "v": "https://github.com"
        }
      ]
    },
    "needs": {
      "t": 2
    }
  },
  "steps": []
}"#;

fn pod(n: usize) -> PodUid {
    PodUid::parse(&format!("0e269fa4-f505-4963-9096-{n:012}")).unwrap()
}

fn with_header(line: &str) -> String {
    format!("[WORKER 2026-11-23 12:19:10Z INFO Worker] {line}")
}

const LISTENS: &[u8] = b"[RUNNER 2026-11-23 12:19:01Z INFO Listener] Listening";
const RUNS: &[u8] = b"2026-11-23 12:19:09Z: Running job: build (1)";

/// Of runners whose logs have shown these lines.
fn after(pods: std::ops::Range<usize>, lines: &[&[u8]]) -> JobMessages {
    let mut messages = JobMessages::default();
    for n in pods {
        messages.begin(&pod(n));
        for line in lines {
            assert_eq!(messages.read(&pod(n), line), None);
        }
    }
    messages
}

fn read(messages: &mut JobMessages, pod: &PodUid, text: &str) -> Option<Arc<JobEnv>> {
    let mut found = None;
    for line in text.lines() {
        let read = messages.read(pod, with_header(line).as_bytes());
        assert!(found.is_none() || read.is_none(), "once");
        found = found.or(read);
        // Of other classes, in between.
        messages.read(pod, b"[WORKER 2026-11-23 12:19:10Z INFO HostContext] Well known: }");
        messages.read(pod, b"}");
    }
    found
}

#[test]
fn the_message_names_run_attempt_and_job() {
    let job = read(&mut after(1..2, &[LISTENS, RUNS]), &pod(1), MESSAGE).unwrap();
    let text = |text: &str| Some(Arc::from(text));
    let expected = JobEnv {
        repository: text("o/r"),
        run_id: text("14460881260"),
        run_attempt: text("13"),
        name: text("build"),
        workflow: text("CI \"nightly\""),
        git_ref: text("refs/heads/main"),
        server_url: text("https://github.com"),
        display_name: text("build (1)"),
        ..JobEnv::default()
    };
    assert_eq!(*job, expected);
}

#[test]
fn of_a_runner_the_first_message_counts() {
    let mut messages = after(1..3, &[LISTENS, RUNS]);
    assert!(read(&mut messages, &pod(1), MESSAGE).is_some());
    assert_eq!(read(&mut messages, &pod(1), &MESSAGE.replace("o/r", "x/y")), None);
    assert!(read(&mut messages, &pod(2), MESSAGE).is_some());
}

#[test]
fn a_message_without_a_run_or_an_end_is_none() {
    let mut messages = after(1..4, &[LISTENS, RUNS]);
    assert_eq!(read(&mut messages, &pod(1), "Job message:\n {\n}"), None);
    let torn = MESSAGE.rsplit_once('\n').unwrap().0;
    assert_eq!(read(&mut messages, &pod(2), torn), None);
    // Without a title it is another's.
    assert_eq!(read(&mut messages, &pod(3), MESSAGE.split_once('\n').unwrap().1), None);
}

/// A job can write all of it, the listener's lines too, but not before it runs.
#[test]
fn only_where_the_worker_writes_its_own_the_first_message_is_the_services() {
    for lines in [&[RUNS] as &[&[u8]], &[RUNS, LISTENS], &[]] {
        assert_eq!(read(&mut after(1..2, lines), &pod(1), MESSAGE), None);
    }
    // Read from the middle on, as after a restart.
    let mut messages = JobMessages::default();
    messages.read(&pod(1), LISTENS);
    assert_eq!(read(&mut messages, &pod(1), MESSAGE), None);
    // Without headers before all its lines.
    let mut messages = after(1..2, &[LISTENS, RUNS]);
    messages.read(&pod(1), with_header(TITLE).as_bytes());
    messages.read(&pod(1), BARE);
    assert_eq!(read(&mut messages, &pod(1), MESSAGE), None);
}

#[test]
fn what_is_held_is_bounded() {
    let mut messages = after(0..MAX_AWAITED + 9, &[LISTENS]);
    assert_eq!(messages.awaited.len(), MAX_AWAITED);
    for n in 9..MAX_AWAITED + 9 {
        read(&mut messages, &pod(n), "Job message:\n {");
    }
    assert_eq!((messages.awaited.len(), messages.open.len()), (0, MAX_OPEN));
}

proptest! {
    #[test]
    fn any_lines_are_read_without_panic(lines in prop::collection::vec(any::<String>(), 0..20)) {
        let mut messages = after(1..2, &[LISTENS]);
        messages.read(&pod(1), with_header(TITLE).as_bytes());
        for line in &lines {
            messages.read(&pod(1), line.as_bytes());
            messages.read(&pod(1), with_header(line).as_bytes());
        }
    }
}
