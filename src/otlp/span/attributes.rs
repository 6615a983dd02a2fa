//! Attributes of spans and of the job's resource. Pure.

use ephemon_contract::StepKind;
use ephemon_contract::trace::SpanId;
use ephemon_jobs::{
    Container, Fault, Figures, Identity, Job, JobResult, Outcome, Proof, Role, RunnerStart, Step,
    StepSource, Totals, Window,
};
use ephemon_model::ContainerId;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::Options;
use super::names;
use crate::source::{is_ours, owner_and_name};

/// Attributes under way; what is not known is left out.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

// === impl Attributes ===

impl Attributes {
    pub(super) fn into_list(self) -> Vec<KeyValue> {
        self.0
    }

    pub(super) fn text(&mut self, key: &str, value: Option<impl Into<String>>) {
        self.put(key, value.map(|value| Value::StringValue(value.into())));
    }

    pub(super) fn int(&mut self, key: &str, value: Option<u64>) {
        self.put(key, value.map(|value| Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX))));
    }

    /// Present only if it is so.
    pub(super) fn flag(&mut self, key: &str, is: bool) {
        self.put(key, is.then_some(Value::BoolValue(true)));
    }

    fn double(&mut self, key: &str, value: Option<f64>) {
        self.put(key, value.map(Value::DoubleValue));
    }

    fn put(&mut self, key: &str, value: Option<Value>) {
        if let Some(value) = value {
            let value = Some(AnyValue { value: Some(value) });
            self.0.push(KeyValue { key: key.to_owned(), value, ..KeyValue::default() });
        }
    }

    /// What every task of a pipeline has by the conventions.
    pub(super) fn task(&mut self, name: &str, span_id: SpanId, url: Option<&str>) {
        self.text(names::TASK_NAME, Some(name));
        self.text(names::TASK_RUN_ID, Some(span_id.to_string()));
        self.text(names::TASK_RUN_URL, url);
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        let result = Some(outcome.result).filter(|result| *result != JobResult::Unknown);
        self.text(names::TASK_RUN_RESULT, result.map(JobResult::as_str));
        self.text(names::ERROR_TYPE, outcome.fault.map(Fault::as_str));
        let code = outcome.exit_code.map(|code| Value::IntValue(code.into()));
        self.put(names::PROCESS_EXIT_CODE, code);
    }

    pub(super) fn figures(&mut self, figures: &Figures, proof: Option<Proof>) {
        self.double(names::CPU_SECONDS, figures.cpu_ns.map(seconds));
        self.double(names::THROTTLED_SECONDS, figures.throttled_ns.map(seconds));
        self.int(names::MEMORY_PEAK, figures.memory_peak_bytes);
        let byte_seconds = figures.memory_byte_ms.map(|ms| ms as f64 / 1000.0);
        self.double(names::MEMORY_BYTE_SECONDS, byte_seconds);
        self.int(names::OOM_KILLS, figures.oom_kills);
        self.int(names::IO_READ, figures.read_bytes);
        self.int(names::IO_WRITE, figures.written_bytes);
        self.text(names::USAGE_QUALITY, proof.and_then(Proof::as_str));
    }

    /// A job's figures, whose they are, and what the pod used beside them.
    pub(super) fn totals(&mut self, totals: &Totals) {
        let Totals { figures, included, runner, init } = totals;
        self.figures(figures, None);
        self.texts(names::USAGE_ROLES, included.iter().map(|role| Role::as_str(*role)));
        self.double(names::RUNNER_CPU_SECONDS, runner.cpu_ns.map(seconds));
        self.int(names::RUNNER_MEMORY_PEAK, runner.memory_peak_bytes);
        self.double(names::INIT_CPU_SECONDS, init.cpu_ns.map(seconds));
        self.int(names::INIT_MEMORY_PEAK, init.memory_peak_bytes);
    }

    pub(super) fn runner_start(&mut self, start: Option<RunnerStart>) {
        self.double(names::RUNNER_STARTUP_SECONDS, start.map(|start| seconds(start.startup_ns)));
        self.double(names::RUNNER_IDLE_SECONDS, start.map(|start| seconds(start.idle_ns)));
    }

    /// A list of texts; none where it is empty.
    fn texts<'a>(&mut self, key: &str, texts: impl Iterator<Item = &'a str>) {
        let value = |text: &str| AnyValue { value: Some(Value::StringValue(text.to_owned())) };
        let values: Vec<AnyValue> = texts.map(value).collect();
        let list = (!values.is_empty()).then_some(Value::ArrayValue(ArrayValue { values }));
        self.put(key, list);
    }

    pub(super) fn times(&mut self, window: &Window) {
        self.text(names::START_SOURCE, Some(window.start.source.as_str()));
        self.text(names::END_SOURCE, window.end.map(|end| end.source.as_str()));
        self.flag(names::TIME_SKEWED, window.skewed);
    }

    pub(super) fn step(&mut self, step: &Step) {
        let kind = step.kind.map(|kind| match kind {
            StepKind::Script => "script",
            StepKind::Container => "container",
            StepKind::Service => "service",
            StepKind::Internal => "internal",
        });
        // The runner's log has names and no ids.
        let id = Some(&*step.name).filter(|_| step.source != StepSource::RunnerLog);
        self.text(names::STEP_ID, id);
        self.text(names::STEP_KIND, kind);
        self.text(names::STEP_SOURCE, Some(step.source.as_str()));
        self.text(names::K8S_CONTAINER, step.container.as_deref());
        self.figures(&step.figures, Some(step.proof));
        self.int(names::MEMORY_MAX_RSS, step.max_rss_bytes);
    }

    pub(super) fn container(&mut self, container: &Container) {
        let nested = container.name.split_once('/').filter(|_| container.role == Role::Nested);
        let (outer, name) = nested.unzip();
        self.text(names::K8S_CONTAINER, Some(outer.unwrap_or(&container.name)));
        self.text(names::CONTAINER_NAME, name);
        // The resource has the job's pod.
        let pod = container.pod.as_deref();
        self.text(names::K8S_POD, pod.map(|pod| &*pod.name));
        self.text(names::K8S_POD_UID, pod.map(|pod| pod.uid.as_str()));
        // Of a nested one it is the agent's own.
        let id = container.id.as_ref().filter(|_| name.is_none());
        self.text(names::CONTAINER_ID, id.map(ContainerId::as_str));
        self.image(container);
        self.text(names::CONTAINER_ROLE, Some(container.role.as_str()));
        self.text(names::CONTAINER_TYPE, Some(container.container_type.as_str()));
        self.figures(&container.figures, Some(container.proof));
        self.int(names::LOG_LINES, container.log.map(|log| log.lines));
        self.int(names::LOG_BYTES, container.log.map(|log| log.bytes));
    }

    /// A container's image.
    pub(super) fn image(&mut self, container: &Container) {
        let (image, tag) = container.image.as_deref().map(image).unzip();
        self.text(names::CONTAINER_IMAGE, image);
        self.texts(names::CONTAINER_IMAGE_TAGS, tag.flatten().into_iter());
    }
}

/// The job's resource. What the operator says (`OTEL_RESOURCE_ATTRIBUTES`) is laid over it.
pub(super) fn resource(job: &Job, options: &Options) -> Resource {
    let identity = &job.identity;
    let mut attributes = Attributes::default();
    let repository = identity.repository.as_deref();
    let (owner, name) = repository.map(owner_and_name).unzip();
    // As the Collector's GitHub receiver names the service.
    let service = name.map(|name| name.to_lowercase().replace('_', "-"));
    let ci = identity.ci.as_deref();
    let pipeline = identity.workflow.as_deref().filter(|_| ci.is_some()).map(str::to_owned);
    let service = service.or(pipeline).unwrap_or_else(|| "ephemon".to_owned());
    attributes.text(names::SERVICE_NAME, Some(service));
    attributes.text(names::K8S_NODE, options.node_name.as_deref());
    attributes.text(names::K8S_NAMESPACE, Some(&*job.pod.namespace));
    attributes.text(names::K8S_POD, Some(&*job.pod.name));
    attributes.text(names::K8S_POD_UID, Some(job.pod.uid.as_str()));
    attributes.text(names::CI_SYSTEM, ci.map(|ci| &*ci.system));
    attributes.text(names::PIPELINE_NAME, identity.workflow.as_deref());
    attributes.text(names::PIPELINE_RUN_ID, identity.run_id.as_deref());
    attributes.text(names::PIPELINE_RUN_URL, run_url(identity));
    let attempt = identity.run.as_ref().map(|(_, attempt)| &**attempt);
    attributes.text(names::RUN_ATTEMPT, attempt.filter(|attempt| !attempt.is_empty()));
    attributes.text(names::WORKFLOW_REF, identity.workflow_ref.as_deref());
    attributes.text(names::EVENT_NAME, identity.event.as_deref());
    attributes.text(names::WORKER_ID, identity.runner.as_deref());
    attributes.text(names::WORKER_NAME, identity.runner.as_deref());
    let (provider, url) = match ci {
        Some(ci) => (ci.provider.as_deref(), ci.repository_url.as_deref().map(str::to_owned)),
        None => (
            repository.map(|_| "github"),
            repository.map(|repository| format!("{}/{repository}", server(identity))),
        ),
    };
    attributes.text(names::VCS_PROVIDER, provider);
    attributes.text(names::VCS_OWNER, owner.flatten());
    attributes.text(names::VCS_REPOSITORY, name);
    attributes.text(names::VCS_REPOSITORY_URL, url);
    let reference = identity.git_ref.as_deref();
    let branch = reference.and_then(|name| name.strip_prefix("refs/heads/"));
    let tag = reference.and_then(|name| name.strip_prefix("refs/tags/"));
    attributes.text(names::VCS_REF_NAME, branch.or(tag).or(reference));
    let kind = branch.map(|_| "branch").or(tag.map(|_| "tag"));
    attributes.text(names::VCS_REF_TYPE, kind);
    attributes.text(names::VCS_REF_REVISION, identity.sha.as_deref());
    let said = options.resource.iter();
    for (key, value) in said.filter(|(key, _)| key == names::SERVICE_NAME || !is_ours(key)) {
        attributes.0.retain(|known| known.key != *key);
        attributes.text(key, Some(value.as_str()));
    }
    Resource { attributes: attributes.into_list(), ..Resource::default() }
}

/// Where the run is shown.
fn server(identity: &Identity) -> &str {
    identity.server_url.as_deref().unwrap_or(crate::names::GITHUB)
}

/// The address of the job's page, or its run's; nothing of a job whose run is not known.
pub fn job_url(identity: &Identity) -> Option<String> {
    let own = identity.ci.as_ref().and_then(|ci| ci.job_url.as_deref());
    own.map(str::to_owned).or_else(|| run_url(identity))
}

/// The run's page.
fn run_url(identity: &Identity) -> Option<String> {
    if let Some(ci) = &identity.ci {
        return ci.run_url.as_deref().map(str::to_owned);
    }
    let (repository, run) = identity.repository.as_deref().zip(identity.run_id.as_deref())?;
    Some(format!("{}/{repository}/actions/runs/{run}", server(identity)))
}

/// An image's name and its tag; a digest is neither.
fn image(image: &str) -> (&str, Option<&str>) {
    let (named, _) = image.split_once('@').unwrap_or((image, ""));
    match named.rsplit_once(':') {
        // A colon before the last slash is a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_tag_is_what_stands_after_the_last_slash() {
        for (whole, name, tag) in [
            ("node:22", "node", Some("22")),
            ("node", "node", None),
            ("localhost:5000/a/b", "localhost:5000/a/b", None),
            ("localhost:5000/a/b:1", "localhost:5000/a/b", Some("1")),
            ("a/b:1@sha256:00", "a/b", Some("1")),
        ] {
            assert_eq!(image(whole), (name, tag));
        }
    }
}
