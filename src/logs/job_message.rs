//! Which job a runner has, by the message that the service has sent it: the worker writes it to its own
//! log before the first step, and GitHub's runner image has that log on the container's standard output
//! (`ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT=1`), a header before each line. Pure.
//!
//! It is the only place outside the job where the attempt of the run stands. A job runs as the
//! runner's user and can write such lines as well, but not before the worker has: the first message of a
//! log counts, where the log shows that the worker writes one. The variable holds for the listener too,
//! so its lines stand before the line that a job runs; of a log without them there, and of one that is not
//! read from its first line on, no message is taken.
//!
//! Source: actions/runner v2.336.0, `images/Dockerfile`; `src/Runner.Worker/Worker.cs` ("Job message"),
//! `ExecutionContext.cs` (`system.github.job`); `src/Runner.Common/StdoutTraceListener.cs`,
//! `HostContext.cs`; `src/Runner.Listener/JobDispatcher.cs` ("Running job", before the worker is started);
//! `src/Sdk/DTPipelines/Pipelines/ContextData/PipelineContextDataJsonConverter.cs`.

use std::collections::VecDeque;
use std::sync::Arc;

use ephemon_crilog::Line;
use ephemon_discovery::inventory::{Evidence, Inventory};
use ephemon_discovery::pod_view::{job_text, server_url};
use ephemon_model::{JobEnv, PodUid};
use memchr::memmem;

/// Most runners whose messages are being read at once; one that began earlier is given up.
const MAX_OPEN: usize = 32;
/// Most runners whose message is awaited; that of one whose log began earlier is not read.
const MAX_AWAITED: usize = 1024;
/// Memory of all that, bytes.
pub const JOB_MESSAGES_BYTES: usize = MAX_OPEN * 16 * 1024 + MAX_AWAITED * 96;
/// A longer line has none of the fields.
const MAX_LINE: usize = 2048;
/// What the listener's lines begin with where the log is on the standard output.
const LISTENER: &[u8] = b"[RUNNER ";
/// In the listener's line that a job begins.
const RUNNING: &[u8] = b": Running job: ";
/// The message's first line where only the first line of several has a header: then none is read.
const BARE: &[u8] = b" {";
/// What the header of the worker's class begins and ends with, and the time and the level in it.
const HOST: &[u8] = b"[WORKER ";
const CLASS: &[u8] = b" Worker] ";
const STAMP_AND_LEVEL: usize = "2026-11-23 12:19:10Z INFO".len();
/// Ahead of the message.
const TITLE: &str = "Job message:";

/// The messages of all runners of the node.
#[derive(Debug, Default)]
pub(super) struct JobMessages {
    /// Runners whose logs are read from their first line on, and have shown no job; whether they have
    /// shown a line of the listener's.
    awaited: VecDeque<(PodUid, bool)>,
    open: VecDeque<(PodUid, Message)>,
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
        if line.number == 1 {
            self.begin(pod);
        }
        if let Some(job) = self.read(pod, line.text) {
            inventory.learn(Evidence::Message { pod: pod.clone(), job });
        }
    }

    /// A runner's log begins.
    fn begin(&mut self, pod: &PodUid) {
        self.awaited.retain(|(awaited, _)| awaited != pod);
        self.awaited.push_back((pod.clone(), false));
        if self.awaited.len() > MAX_AWAITED {
            self.awaited.pop_front();
        }
    }

    /// Reads one line of a runner's log; the job, when the message is complete.
    fn read(&mut self, pod: &PodUid, line: &[u8]) -> Option<Arc<JobEnv>> {
        self.listener(pod, line);
        if line == BARE {
            self.open.retain(|(open, _)| open != pod);
        }
        let text = message_line(line)?;
        if text == TITLE {
            let awaited = self.awaited.iter().position(|(awaited, _)| awaited == pod);
            if let Some((_, true)) = awaited.and_then(|at| self.awaited.remove(at)) {
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
        let (_, message) = self.open.remove(at)?;
        let job = message.job;
        // Without a run it says nothing that others do not.
        job.run_id.is_some().then(|| Arc::new(job))
    }

    /// Enters whether the listener's lines are in the log before a job's are.
    fn listener(&mut self, pod: &PodUid, line: &[u8]) {
        let is_header = line.starts_with(LISTENER);
        let is_job = line.len() <= MAX_LINE && memmem::find(line, RUNNING).is_some();
        if !is_header && !is_job {
            return;
        }
        let of = |(awaited, _): &(PodUid, bool)| awaited == pod;
        let Some(at) = self.awaited.iter().position(of) else { return };
        match self.awaited.get_mut(at) {
            Some((_, shown)) if is_header => *shown = true,
            Some((_, false)) => drop(self.awaited.remove(at)),
            _ => {}
        }
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
mod tests;
