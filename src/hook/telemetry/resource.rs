//! The resource of the hook's spans: the job in this pod, with the attributes of the semantic
//! conventions.

use ephemon_contract::env;
use ephemon_otel::conventions::SCHEMA_URL;
use ephemon_otel::conventions::attribute::{
    CICD_PIPELINE_NAME, CICD_PIPELINE_RUN_ID, CICD_PIPELINE_RUN_URL_FULL, CICD_WORKER_ID,
    CICD_WORKER_NAME, K8S_NAMESPACE_NAME, K8S_POD_NAME, SERVICE_NAME, SERVICE_VERSION,
    VCS_OWNER_NAME, VCS_PROVIDER_NAME, VCS_REF_HEAD_NAME, VCS_REF_HEAD_REVISION, VCS_REF_HEAD_TYPE,
    VCS_REPOSITORY_NAME, VCS_REPOSITORY_URL_FULL,
};
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{ResourceDetector as _, TelemetryResourceDetector};

use crate::settings::Settings;

/// The resource of one job's hook. Attributes of `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`
/// take precedence.
pub(super) fn of(settings: &Settings) -> Resource {
    let sdk = TelemetryResourceDetector.detect();
    let sdk = sdk.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let said = settings.telemetry.resource.iter();
    let said = said.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let attributes = sdk.chain(attributes(settings)).chain(said);
    Resource::builder_empty().with_schema_url(attributes, SCHEMA_URL).build()
}

fn attributes(settings: &Settings) -> impl Iterator<Item = KeyValue> {
    let get = |name| settings.identity_of(name);
    let text = |value: Option<&str>| value.map(str::to_owned);
    let repository = get(env::JOB_REPOSITORY);
    let (owner, name) = repository.and_then(|repository| repository.split_once('/')).unzip();
    let repository_url = settings
        .server_url
        .as_deref()
        .zip(repository)
        .map(|(server, repository)| format!("{}/{repository}", server.trim_end_matches('/')));
    let run_url = repository_url
        .as_deref()
        .zip(get(env::JOB_RUN_ID))
        .map(|(url, run)| format!("{url}/actions/runs/{run}"));
    let reference = get(env::JOB_REF);
    let branch = reference.and_then(|name| name.strip_prefix("refs/heads/"));
    let tag = reference.and_then(|name| name.strip_prefix("refs/tags/"));
    let kind = branch.map(|_| "branch").or(tag.map(|_| "tag"));
    [
        (SERVICE_NAME, text(Some("ephemon-hook"))),
        (SERVICE_VERSION, text(Some(env!("CARGO_PKG_VERSION")))),
        (K8S_NAMESPACE_NAME, text(settings.namespace.as_deref())),
        (K8S_POD_NAME, text(settings.pod.as_deref())),
        (CICD_PIPELINE_NAME, text(get(env::JOB_WORKFLOW))),
        (CICD_PIPELINE_RUN_ID, text(get(env::JOB_RUN_ID))),
        (CICD_PIPELINE_RUN_URL_FULL, run_url),
        (CICD_WORKER_ID, text(get(env::JOB_RUNNER))),
        (CICD_WORKER_NAME, text(get(env::JOB_RUNNER))),
        (VCS_PROVIDER_NAME, repository.map(|_| "github".to_owned())),
        (VCS_OWNER_NAME, text(owner)),
        (VCS_REPOSITORY_NAME, text(name)),
        (VCS_REPOSITORY_URL_FULL, repository_url),
        (VCS_REF_HEAD_NAME, text(branch.or(tag).or(reference))),
        (VCS_REF_HEAD_TYPE, text(kind)),
        (VCS_REF_HEAD_REVISION, text(get(env::JOB_SHA))),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(KeyValue::new(key, value?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_is_told_by_the_conventions_and_nothing_secret_is() {
        let settings = Settings::from_env(|name| {
            let value = match name {
                "GITHUB_REPOSITORY" => "o/r",
                "GITHUB_SERVER_URL" => "https://github.example/",
                "GITHUB_RUN_ID" => "7",
                "GITHUB_REF" => "refs/heads/a/b",
                "GITHUB_TOKEN" => "ghs_secret",
                "ACTIONS_RUNNER_POD_NAME" => "runner-1",
                "OTEL_RESOURCE_ATTRIBUTES" => "team=c%2Ci,vcs.owner.name=o",
                _ => return None,
            };
            Some(value.to_owned())
        });
        let resource = of(&settings);
        let get = |name: &'static str| resource.get(&name.into()).map(|value| value.to_string());
        let wanted = [
            ("k8s.pod.name", "runner-1"),
            ("cicd.pipeline.run.url.full", "https://github.example/o/r/actions/runs/7"),
            ("vcs.owner.name", "o"),
            ("vcs.repository.name", "r"),
            ("vcs.ref.head.name", "a/b"),
            ("vcs.ref.head.type", "branch"),
            ("service.name", "ephemon-hook"),
            ("team", "c,i"),
            ("telemetry.sdk.language", "rust"),
        ];
        for (name, value) in wanted {
            assert_eq!(get(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(get("vcs.ref.head.revision"), None);
        assert!(resource.iter().all(|(_, value)| !value.to_string().contains("ghs_")));
    }
}
