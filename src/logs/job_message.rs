//! Which job a runner has, by the message that the service has sent it: the worker writes it to its own
//! log before the first step, and GitHub's runner image has that log on the container's standard output
//! (`ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT=1`), a header before each line. Pure.
//!
//! It is the only place outside the job where the attempt of the run stands. A job runs as the
//! runner's user and can write such lines as well, but not before the worker has: of each runner the
//! first message counts.
//!
//! Source: actions/runner v2.336.0, `images/Dockerfile`; `src/Runner.Worker/Worker.cs` ("Job message"),
//! `ExecutionContext.cs` (`system.github.job`); `src/Runner.Common/StdoutTraceListener.cs`;
//! `src/Sdk/DTPipelines/Pipelines/ContextData/PipelineContextDataJsonConverter.cs`.

use std::collections::VecDeque;
use std::sync::Arc;

use ephemon_crilog::Line;
use ephemon_discovery::inventory::{Evidence, Inventory};
use ephemon_discovery::pod_view::{job_text, server_url};
use ephemon_model::{JobEnv, PodUid};

/// Most runners whose messages are being read at once; one that began earlier is given up.
const MAX_OPEN: usize = 32;
/// Most runners of which it is known that their message was read: as many as the node may have had
/// within minutes.
const MAX_DONE: usize = 1024;
/// Memory of all that, bytes.
pub const JOB_MESSAGES_BYTES: usize = MAX_OPEN * 16 * 1024 + MAX_DONE * 96;
/// A longer line has none of the fields.
const MAX_LINE: usize = 2048;
/// What the header of the worker's class begins and ends with, and the time and the level in it.
const HOST: &[u8] = b"[WORKER ";
const CLASS: &[u8] = b" Worker] ";
const STAMP_AND_LEVEL: usize = "2026-11-23 12:19:10Z INFO".len();
/// Ahead of the message.
const TITLE: &str = "Job message:";

/// The messages of all runners of the node.
#[derive(Debug, Default)]
pub(super) struct JobMessages {
    open: VecDeque<(PodUid, Message)>,
    done: VecDeque<PodUid>,
}

/// A message that is being read. Its lines are those of indented JSON: the indentation says where in
/// it a line stands, and no text of the job's has one of its own.
#[derive(Debug, Default)]
struct Message {
    place: Place,
    /// The pair's key of which the value comes next.
    key: Option<&'static str>,
    job: JobEnv,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    Variables,
    JobVariable,
    Contexts,
    GitHub,
}

// === impl JobMessages ===

impl JobMessages {
    /// Takes in one line of a runner's log, and tells the inventory of a job when it is known.
    pub(super) fn hear(&mut self, line: &Line<'_>, inventory: &Inventory) {
        // A line that is too long comes in parts, and has none of the fields.
        if line.part > 0 {
            return;
        }
        let pod = &line.log.pod.uid;
        if let Some(job) = self.read(pod, line.text) {
            inventory.learn(Evidence::Job { pod: pod.clone(), job });
        }
    }

    /// Reads one line of a runner's log; the job, when the message is complete.
    fn read(&mut self, pod: &PodUid, line: &[u8]) -> Option<Arc<JobEnv>> {
        let text = message_line(line)?;
        if text == TITLE {
            if !self.done.contains(pod) && !self.open.iter().any(|(open, _)| open == pod) {
                self.open.push_back((pod.clone(), Message::default()));
                if self.open.len() > MAX_OPEN {
                    self.open.pop_front();
                }
            }
            return None;
        }
        let at = self.open.iter().position(|(open, _)| open == pod)?;
        if !self.open.get_mut(at)?.1.line(text) {
            return None;
        }
        let (pod, message) = self.open.remove(at)?;
        self.done.push_back(pod);
        if self.done.len() > MAX_DONE {
            self.done.pop_front();
        }
        let job = message.job;
        // Without a run it says nothing that others do not.
        job.run_id.is_some().then(|| Arc::new(job))
    }
}

// === impl Message ===

impl Message {
    /// Reads a line; whether it was the last one.
    fn line(&mut self, text: &str) -> bool {
        let body = text.trim_start_matches(' ');
        let depth = text.len().saturating_sub(body.len());
        if depth == 0 && body.starts_with('}') {
            return true;
        }
        match (depth, self.place) {
            (2, _) => {
                self.place = match body {
                    "\"variables\": {" => Place::Variables,
                    "\"contextData\": {" => Place::Contexts,
                    _ => Place::Elsewhere,
                };
                if let Some(name) = value(body, "jobDisplayName") {
                    self.job.display_name = job_text(&name);
                }
            }
            (4, Place::Variables | Place::JobVariable) => {
                let is_job = body == "\"system.github.job\": {";
                self.place = if is_job { Place::JobVariable } else { Place::Variables };
            }
            (6, Place::JobVariable) => {
                if let Some(name) = value(body, "value") {
                    self.job.name = job_text(&name);
                }
            }
            (4, Place::Contexts | Place::GitHub) => {
                let is_github = body == "\"github\": {";
                self.place = if is_github { Place::GitHub } else { Place::Contexts };
            }
            (10, Place::GitHub) => self.pair(body),
            _ => {}
        }
        false
    }

    /// A pair of `github`.
    fn pair(&mut self, body: &str) {
        const KEYS: [&str; 9] = [
            "repository",
            "run_id",
            "run_attempt",
            "workflow",
            "workflow_ref",
            "sha",
            "ref",
            "event_name",
            "server_url",
        ];
        if let Some(key) = value(body, "k") {
            self.key = KEYS.into_iter().find(|known| **known == *key);
            return;
        }
        let Some(key) = self.key.take() else { return };
        let Some(said) = value(body, "v") else { return };
        let job = &mut self.job;
        let place = match key {
            "repository" => &mut job.repository,
            "run_id" => &mut job.run_id,
            "run_attempt" => &mut job.run_attempt,
            "workflow" => &mut job.workflow,
            "workflow_ref" => &mut job.workflow_ref,
            "sha" => &mut job.sha,
            "ref" => &mut job.git_ref,
            "event_name" => &mut job.event,
            _ => {
                job.server_url = server_url(&said);
                return;
            }
        };
        *place = job_text(&said);
    }
}

/// What stands after the header of a line of the worker's.
fn message_line(line: &[u8]) -> Option<&str> {
    let rest = line.strip_prefix(HOST).filter(|rest| rest.len() <= MAX_LINE)?;
    let (_, rest) = rest.split_at_checked(STAMP_AND_LEVEL)?;
    let text = rest.strip_prefix(CLASS)?;
    std::str::from_utf8(text).ok().map(|text| text.trim_end_matches(['\r', ' ']))
}

/// The value of `"KEY": "VALUE"`, with or without a comma after it. A text that the runner has masked
/// is not it.
fn value(body: &str, key: &str) -> Option<String> {
    let rest = body.strip_prefix('"')?.strip_prefix(key)?.strip_prefix("\": ")?;
    let text: String = serde_json::from_str(rest.trim_end_matches(',')).ok()?;
    (!text.contains("***")).then_some(text)
}

#[cfg(test)]
mod tests {
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
        let job = read(&mut JobMessages::default(), &pod(1), MESSAGE).unwrap();
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
        let mut messages = JobMessages::default();
        assert!(read(&mut messages, &pod(1), MESSAGE).is_some());
        assert_eq!(read(&mut messages, &pod(1), &MESSAGE.replace("o/r", "x/y")), None);
        assert!(read(&mut messages, &pod(2), MESSAGE).is_some());
    }

    #[test]
    fn a_message_without_a_run_or_an_end_is_none() {
        let mut messages = JobMessages::default();
        assert_eq!(read(&mut messages, &pod(1), "Job message:\n {\n}"), None);
        let torn = MESSAGE.rsplit_once('\n').unwrap().0;
        assert_eq!(read(&mut messages, &pod(2), torn), None);
        // Without a title it is another's.
        assert_eq!(read(&mut messages, &pod(3), MESSAGE.split_once('\n').unwrap().1), None);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut messages = JobMessages::default();
        for n in 0..MAX_DONE + 9 {
            read(&mut messages, &pod(n), "Job message:\n {\n}");
        }
        for n in 0..MAX_OPEN + 9 {
            read(&mut messages, &pod(MAX_DONE + 100 + n), "Job message:\n {");
        }
        assert_eq!((messages.done.len(), messages.open.len()), (MAX_DONE, MAX_OPEN));
    }

    proptest! {
        #[test]
        fn any_lines_are_read_without_panic(lines in prop::collection::vec(any::<String>(), 0..20)) {
            let mut messages = JobMessages::default();
            messages.read(&pod(1), with_header(TITLE).as_bytes());
            for line in &lines {
                messages.read(&pod(1), line.as_bytes());
                messages.read(&pod(1), with_header(line).as_bytes());
            }
        }
    }
}
