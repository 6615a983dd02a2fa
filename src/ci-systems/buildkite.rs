//! Buildkite's agent-stack-k8s: a Kubernetes Job with one pod for each job.
//!
//! Source: buildkite/agent-stack-k8s, `internal/controller/config/config.go` (the names of labels and
//! annotations), `internal/controller/scheduler/scheduler.go`: `Build` puts the same on Job and pod,
//! `ParseJob` takes them from the job's `BUILDKITE_…` variables, `jobURL` is the build's URL with the
//! job's UUID behind it.
//!
//! `agent` speaks with Buildkite; `checkout` and each command's container wait for their turn and end
//! with their phase. All start together, and nothing in the pod says when a turn began: a step begins
//! when the one before it ended. The exit code of `agent` is that of the job with one of its options
//! only.

use super::part::Part;
use super::pod_facts::PodFacts;
use super::said::{Said, run_key};
use super::text::{provider, remote, short, url};

pub(super) const JOB_UUID: &str = "buildkite.com/job-uuid";

const BUILD_URL: &str = "buildkite.com/build-url";
const BRANCH: &str = "buildkite.com/build-branch";
const REPO: &str = "buildkite.com/build-repo";
const JOB_URL: &str = "buildkite.com/job-url";
const PIPELINE: &str = "buildkite.com/pipeline-slug";
const STEP_KEY: &str = "buildkite.com/step-key";
/// An agent's tag is a label below this.
const QUEUE: &str = "tag.buildkite.com/queue";

/// The container that speaks with Buildkite.
const AGENT: &str = "agent";

pub(super) fn job(pod: PodFacts<'_>) -> Option<Said> {
    pod.label(JOB_UUID)?;
    let build_url = pod.annotation(BUILD_URL).and_then(url);
    let number = build_url.as_deref().and_then(|url| url.rsplit_once("/builds/"));
    let remote = pod.annotation(REPO).and_then(remote);
    let remote_url = remote.map(|(host, path)| format!("https://{host}/{path}"));
    let branch = pod.annotation(BRANCH).map(|name| format!("refs/heads/{name}"));
    Some(Said {
        repository: remote.and_then(|(_, path)| short(path)),
        repository_url: remote_url.as_deref().and_then(url),
        provider: remote.and_then(|(host, _)| provider(host)).and_then(short),
        pipeline: pod.annotation(PIPELINE).and_then(short),
        run: number.and_then(|(_, number)| short(number)),
        run_key: run_key([Some("buildkite"), build_url.as_deref()]),
        job: pod.annotation(STEP_KEY).and_then(short),
        job_url: pod.annotation(JOB_URL).and_then(url),
        git_ref: branch.as_deref().and_then(short),
        runner: pod.label(QUEUE).and_then(short),
        run_url: build_url,
        ..Said::default()
    })
}

pub(super) fn part(container: &str) -> Part {
    match container {
        AGENT => Part::System,
        _ => Part::Step,
    }
}
