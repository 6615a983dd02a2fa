//! Whose the records are: the resource, encoded once for all of a container's records.

use std::sync::Arc;

use ephemon_model::LogStream;
use ephemon_model::{CiJob, ContainerId, ContainerType, JobEnv, PodRef};

use super::{
    names,
    wire::{self, Value},
};

/// What is known of a container whose log is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its pod.
    pub pod: PodRef,
    /// Its name in the pod; empty where the pod itself is meant.
    pub container: Arc<str>,
    /// Path of the log on the node.
    pub log_file_path: Arc<str>,
    /// The runtime's id.
    pub container_id: Option<ContainerId>,
    /// Which list of the pod's spec it stands in.
    pub container_type: Option<ContainerType>,
    /// Its image as the spec or the runtime calls it.
    pub image: Option<Arc<str>>,
    /// The node.
    pub node: Option<Arc<str>>,
    /// `service.name`, if it is not to be the repository's or, without a job, the container's.
    pub service_name: Option<Arc<str>>,
    /// Further attributes, by the operator's word; those above stay as they are.
    pub attributes: Arc<[(String, String)]>,
    /// The job it runs in.
    pub job: Option<Job>,
}

/// The job of a container, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// `https://github.com` if unknown.
    pub server_url: Option<Arc<str>>,
    /// `OWNER/NAME`.
    pub repository: Option<Arc<str>>,
    /// `github.run_id`.
    pub run_id: Option<Arc<str>>,
    /// `github.run_attempt`.
    pub run_attempt: Option<Arc<str>>,
    /// The workflow's name.
    pub workflow: Option<Arc<str>>,
    /// The job's key or name.
    pub job: Option<Arc<str>>,
    /// The commit.
    pub sha: Option<Arc<str>>,
    /// `refs/heads/main` or `refs/tags/v1` or `refs/pull/1/merge`.
    pub git_ref: Option<Arc<str>>,
    /// `RUNNER_NAME`.
    pub runner: Option<Arc<str>>,
    /// What the pod of another CI system than GitHub Actions says.
    pub ci: Option<Arc<CiJob>>,
}

/// A [`Source`] as it is sent. Hold it as an `Arc`: records of one are sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// A `Resource` message.
    pub(super) message: Vec<u8>,
    /// Attributes of every record of a stream.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    unknown: Vec<u8>,
}

/// Field of a `Resource` that has its attributes.
const RESOURCE_ATTRIBUTES: u32 = 1;
/// Field of a `LogRecord` that has its attributes.
pub(super) const RECORD_ATTRIBUTES: u32 = 6;

// === impl Job ===

impl Job {
    /// What the container's environment says of it.
    pub fn of(env: &JobEnv) -> Self {
        Self {
            repository: env.repository.clone(),
            run_id: env.run_id.clone(),
            run_attempt: env.run_attempt.clone(),
            workflow: env.workflow.clone(),
            job: env.name.clone(),
            sha: env.sha.clone(),
            git_ref: env.git_ref.clone(),
            runner: env.runner.clone(),
            server_url: env.server_url.clone(),
            ci: env.ci.clone(),
        }
    }
}

// === impl Resource ===

impl Resource {
    /// Encodes what is known of the container.
    pub fn new(source: &Source) -> Self {
        let mut message = Vec::new();
        let mut put = |name: &str, value: Option<&str>| {
            let value = value.filter(|value| !value.is_empty());
            let Some(value) = value else { return };
            put_attribute(&mut message, name, Value::Text(value));
        };
        put(names::SERVICE_NAME, Some(&service_name(source)));
        for (name, value) in source.attributes.iter().filter(|(name, _)| !is_ours(name)) {
            put(name, Some(value));
        }
        put(names::K8S_NAMESPACE_NAME, Some(&source.pod.namespace));
        put(names::K8S_POD_NAME, Some(&source.pod.name));
        put(names::K8S_POD_UID, Some(source.pod.uid.as_str()));
        put(names::K8S_CONTAINER_NAME, Some(&source.container));
        put(names::K8S_NODE_NAME, source.node.as_deref());
        put(names::CONTAINER_ID, source.container_id.as_ref().map(ContainerId::as_str));
        put(names::CONTAINER_TYPE, source.container_type.map(ContainerType::as_str));
        if let Some(job) = &source.job {
            put_job(job, &mut put);
        }
        if let Some(image) = source.image.as_deref() {
            put_image(image, &mut message);
        }
        let common = |stream: Option<LogStream>| {
            let mut out = Vec::new();
            let mut put = |name, value| {
                wire::attribute(&mut out, RECORD_ATTRIBUTES, name, Value::Text(value));
            };
            if let Some(stream) = stream {
                put(names::LOG_IOSTREAM, stream.as_str());
            }
            put(names::LOG_FILE_PATH, &source.log_file_path);
            out
        };
        Self {
            message,
            stdout: common(Some(LogStream::Stdout)),
            stderr: common(Some(LogStream::Stderr)),
            unknown: common(None),
        }
    }

    /// What every record of the stream has.
    pub(super) fn common(&self, stream: LogStream) -> &[u8] {
        match stream {
            LogStream::Stdout => &self.stdout,
            LogStream::Stderr => &self.stderr,
            LogStream::Unknown => &self.unknown,
        }
    }
}

/// Whether an attribute says what the agent itself knows of a pod, a container or a job: what an operator
/// says of the agent's own pod is not true of those.
pub(super) fn is_ours(name: &str) -> bool {
    name == names::SERVICE_NAME
        || [
            "k8s.namespace.",
            "k8s.pod.",
            "k8s.container.",
            "k8s.node.",
            "container.",
            "cicd.",
            "vcs.",
            "github.",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// The repository as the Collector's GitHub receiver calls it, so that logs and spans agree.
fn service_name(source: &Source) -> String {
    if let Some(name) = source.service_name.as_deref().filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    match source.job.as_ref().and_then(|job| job.repository.as_deref()?.rsplit('/').next()) {
        Some(repository) if !repository.is_empty() => repository.to_lowercase().replace('_', "-"),
        _ if source.container.is_empty() => source.pod.name.to_string(),
        _ => (*source.container).to_owned(),
    }
}

fn put_job(job: &Job, put: &mut impl FnMut(&str, Option<&str>)) {
    put(names::CICD_PIPELINE_NAME, job.workflow.as_deref());
    put(names::CICD_PIPELINE_RUN_ID, job.run_id.as_deref());
    put(names::GITHUB_RUN_ATTEMPT, job.run_attempt.as_deref());
    put(names::CICD_PIPELINE_TASK_NAME, job.job.as_deref());
    put(names::CICD_WORKER_NAME, job.runner.as_deref());
    put(names::VCS_REF_HEAD_REVISION, job.sha.as_deref());
    if let Some(name) = job.git_ref.as_deref() {
        let name = name.strip_prefix("refs/").unwrap_or(name);
        let (name, kind) = match (name.strip_prefix("heads/"), name.strip_prefix("tags/")) {
            (Some(branch), _) => (branch, Some("branch")),
            (_, Some(tag)) => (tag, Some("tag")),
            _ => (name, None),
        };
        put(names::VCS_REF_HEAD_NAME, Some(name));
        put(names::VCS_REF_HEAD_TYPE, kind);
    }
    if let Some(ci) = &job.ci {
        put_ci(ci, job.repository.as_deref(), put);
        return;
    }
    let Some(repository) = job.repository.as_deref() else { return };
    let server = job.server_url.as_deref().unwrap_or(names::GITHUB);
    let url = format!("{server}/{repository}");
    put(names::VCS_PROVIDER_NAME, Some("github"));
    put(names::VCS_REPOSITORY_URL_FULL, Some(&url));
    if let Some((owner, name)) = repository.split_once('/') {
        put(names::VCS_OWNER_NAME, Some(owner));
        put(names::VCS_REPOSITORY_NAME, Some(name));
    }
    if let Some(run) = job.run_id.as_deref() {
        let run = format!("{url}/actions/runs/{run}");
        let run = job.run_attempt.as_deref().map_or(run.clone(), |n| format!("{run}/attempts/{n}"));
        put(names::CICD_PIPELINE_RUN_URL_FULL, Some(&run));
    }
}

/// What only the pod of another CI system says. Its URLs are its own: none is made up.
fn put_ci(ci: &CiJob, repository: Option<&str>, put: &mut impl FnMut(&str, Option<&str>)) {
    put(names::CI_SYSTEM, Some(&ci.system));
    put(names::CICD_PIPELINE_RUN_URL_FULL, ci.run_url.as_deref());
    put(names::CICD_PIPELINE_TASK_RUN_URL_FULL, ci.job_url.as_deref());
    put(names::VCS_PROVIDER_NAME, ci.provider.as_deref());
    put(names::VCS_REPOSITORY_URL_FULL, ci.repository_url.as_deref());
    let (owner, name) = repository.map(owner_and_name).unzip();
    put(names::VCS_OWNER_NAME, owner.flatten());
    put(names::VCS_REPOSITORY_NAME, name);
}

/// `OWNER/NAME`, where the owner may be a group of groups; a name alone has none.
pub(super) fn owner_and_name(repository: &str) -> (Option<&str>, &str) {
    repository.rsplit_once('/').map_or((None, repository), |(owner, name)| (Some(owner), name))
}

/// `[REGISTRY/]NAME[:TAG][@DIGEST]`.
fn put_image(image: &str, message: &mut Vec<u8>) {
    let (named, digest) = image.split_once('@').map_or((image, None), |(a, b)| (a, Some(b)));
    // A colon before a slash is a registry's port.
    let (name, tag) = match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    };
    put_attribute(message, names::CONTAINER_IMAGE_NAME, Value::Text(name));
    if let Some(tag) = tag {
        put_attribute(message, names::CONTAINER_IMAGE_TAGS, Value::Texts(&[tag]));
    }
    if let Some(digest) = digest {
        let digest = format!("{name}@{digest}");
        put_attribute(message, names::CONTAINER_IMAGE_REPO_DIGESTS, Value::Texts(&[&digest]));
    }
}

fn put_attribute(message: &mut Vec<u8>, name: &str, value: Value<'_>) {
    wire::attribute(message, RESOURCE_ATTRIBUTES, name, value);
}
