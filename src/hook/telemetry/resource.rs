//! Whose spans these are: the job on this pod, by the semantic conventions (1.44).

use ephemon_contract::env;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

use crate::settings::Settings;

/// The resource of one job's hook. What `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say is
/// laid over it.
pub(super) fn of(settings: &Settings) -> Resource {
    let detectors = Resource::builder().build();
    let named = detectors.get(&"service.name".into()).map(|name| name.to_string());
    let named = named.filter(|name| !name.starts_with("unknown_service"));
    let mut attributes = attributes(settings);
    attributes.push(KeyValue::new("service.name", named.unwrap_or("ephemon-hook".to_owned())));
    let said = detectors.iter().filter(|(key, _)| key.as_str() != "service.name");
    attributes.extend(said.map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    Resource::builder_empty().with_attributes(attributes).build()
}

fn attributes(settings: &Settings) -> Vec<KeyValue> {
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
        ("service.version", text(Some(env!("CARGO_PKG_VERSION")))),
        ("k8s.namespace.name", text(settings.namespace.as_deref())),
        ("k8s.pod.name", text(settings.pod.as_deref())),
        ("cicd.pipeline.name", text(get(env::JOB_WORKFLOW))),
        ("cicd.pipeline.run.id", text(get(env::JOB_RUN_ID))),
        ("cicd.pipeline.run.url.full", run_url),
        ("cicd.worker.id", text(get(env::JOB_RUNNER))),
        ("cicd.worker.name", text(get(env::JOB_RUNNER))),
        ("vcs.provider.name", repository.map(|_| "github".to_owned())),
        ("vcs.owner.name", text(owner)),
        ("vcs.repository.name", text(name)),
        ("vcs.repository.url.full", repository_url),
        ("vcs.ref.head.name", text(branch.or(tag).or(reference))),
        ("vcs.ref.head.type", text(kind)),
        ("vcs.ref.head.revision", text(get(env::JOB_SHA))),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(KeyValue::new(key, value?)))
    .collect()
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
        ];
        for (name, value) in wanted {
            assert_eq!(get(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(get("vcs.ref.head.revision"), None);
        assert!(resource.iter().all(|(_, value)| !value.to_string().contains("ghs_")));
    }
}
