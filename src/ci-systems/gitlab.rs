//! GitLab Runner's Kubernetes executor: a pod for each job.
//!
//! Source: gitlab-runner 19.4, `executors/kubernetes/kubernetes.go`: `buildLabels`,
//! `buildPodAnnotations`, `buildContainer` (only the container `build` has the job's variables, and of
//! them only those that are public or internal), `preparePodConfig`, `getServiceDefinition` (a service
//! is called by its alias, or `svc-N`). Annotations have the runner's word; the variables add the
//! pipeline, and whether a ref is a tag. A job's definition may set any of those variables to what it
//! likes, so server and project are those of the annotation with the job's URL, the run's key holds them,
//! and a URL of another project is left out. The pipeline's id and name remain the job's word: it can
//! name another pipeline of its own project. A runner may let jobs set annotations
//! (`pod_annotations_overwrite_allowed`); then the URL is the job's word too.
//!
//! The runner attaches to `build` and `helper`, whose shells run until it deletes the pod: their exit
//! codes say nothing of the job. Their logs do: `gitlab_stage`.
//!
//! How long the job may take is in `CI_JOB_TIMEOUT` of `build` (`common/build.go`, `getPredefinedEnv`), from
//! `CI_JOB_STARTED_AT` on, which the server sets when it gives the job to the runner.

use std::sync::Arc;

use super::part::Part;
use super::pod_facts::PodFacts;
use super::said::{Said, run_key};
use super::text::{short, url};

/// On every pod of a job, and on no pause pod of the autoscaler.
pub(super) const POD: &str = "job.runner.gitlab.com/pod";

const MANAGER: &str = "manager.runner.gitlab.com/name";
const NAMESPACE: &str = "project.runner.gitlab.com/namespace";
const PROJECT: &str = "project.runner.gitlab.com/name";
const JOB_NAME: &str = "job.runner.gitlab.com/name";
const JOB_URL: &str = "job.runner.gitlab.com/url";
/// Between a project's URL and a job's id in it.
const JOBS: &str = "/-/jobs/";
const SHA: &str = "job.runner.gitlab.com/sha";
const REF: &str = "job.runner.gitlab.com/ref";

/// The container that the job's script runs in.
pub(super) const BUILD: &str = "build";
/// The container of the runner's own work: clone, cache, artifacts.
pub(super) const HELPER: &str = "helper";

pub(super) fn job(pod: PodFacts<'_>) -> Option<Said> {
    pod.label(POD)?;
    let variable = |name: &str| pod.env(BUILD, name);
    let told = pod.annotation(JOB_URL).and_then(url);
    let told_project = told.as_deref().and_then(|url| url.rsplit_once(JOBS)).map(|(it, _)| it);
    let project_url =
        told_project.map_or_else(|| variable("CI_PROJECT_URL").and_then(url), |it| Some(it.into()));
    let pipeline_id = variable("CI_PIPELINE_ID");
    let in_project = |it: &Arc<str>| {
        let rest = project_url.as_deref().and_then(|project| it.strip_prefix(project));
        rest.is_some_and(|rest| rest.starts_with("/-/"))
    };
    let job_url = told.clone().or_else(|| variable("CI_JOB_URL").and_then(url).filter(in_project));
    // Another server may count its pipelines alike.
    let server = variable("CI_SERVER_URL").and_then(url);
    let place = project_url.as_deref().or(server.as_deref());
    let path = told_project.and_then(path).or_else(|| variable("CI_PROJECT_PATH"));
    let repository = path.map(str::to_owned).or_else(|| {
        // Labels hold no slash: of a subgroup the path cannot be had back.
        let (namespace, name) = (pod.label(NAMESPACE)?, pod.label(PROJECT)?);
        Some(format!("{namespace}/{name}"))
    });
    let reference = pod.annotation(REF).or_else(|| variable("CI_COMMIT_REF_NAME"));
    let git_ref = reference.map(|name| match variable("CI_COMMIT_TAG") {
        Some(_) => format!("refs/tags/{name}"),
        // A pipeline of a merge request has neither.
        None if variable("CI_COMMIT_BRANCH").is_some() => format!("refs/heads/{name}"),
        None => name.to_owned(),
    });
    Some(Said {
        repository: repository.as_deref().and_then(short),
        repository_url: project_url.clone(),
        provider: short("gitlab"),
        pipeline: variable("CI_PIPELINE_NAME").and_then(short),
        run: pipeline_id.and_then(short),
        run_key: run_key([Some("gitlab"), place, pipeline_id]),
        run_url: variable("CI_PIPELINE_URL").and_then(url).filter(in_project),
        job: pod.annotation(JOB_NAME).or_else(|| variable("CI_JOB_NAME")).and_then(short),
        display_name: None,
        job_url,
        commit: pod.annotation(SHA).or_else(|| variable("CI_COMMIT_SHA")).and_then(short),
        git_ref: git_ref.as_deref().and_then(short),
        runner: pod.label(MANAGER).and_then(short),
        deadline_ns: deadline_ns(variable("CI_JOB_STARTED_AT"), variable("CI_JOB_TIMEOUT")),
    })
}

/// When the runner ends the job, in nanoseconds since 1970: so many seconds after it was given to it.
fn deadline_ns(started: Option<&str>, timeout: Option<&str>) -> Option<u64> {
    let started: jiff::Timestamp = started?.parse().ok()?;
    let timeout_s: u32 = timeout?.parse().ok()?;
    let started_ns = u64::try_from(started.as_nanosecond()).ok()?;
    started_ns.checked_add(u64::from(timeout_s) * 1_000_000_000)
}

pub(super) fn part(container: &str) -> Part {
    match container {
        BUILD => Part::Job,
        HELPER => Part::System,
        _ => Part::Service,
    }
}

/// The path of a project's URL. Of a server that is not at its host's root it begins with the server's.
fn path(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split_once('/').map(|(_, path)| path)
}
