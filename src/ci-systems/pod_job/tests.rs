//! Pods as each system makes them, and as somebody else may.

use ephemon_model::ContainerType::{Container, Init, Sidecar};
use serde_json::{Value, json};

use super::*;

const GITLAB: &str = include_str!("../../../tests/it/fixtures/ci-systems/gitlab.yaml");
const BUILDKITE: &str = include_str!("../../../tests/it/fixtures/ci-systems/buildkite.yaml");
const TEKTON: &str = include_str!("../../../tests/it/fixtures/ci-systems/tekton.yaml");
const JENKINS: &str = include_str!("../../../tests/it/fixtures/ci-systems/jenkins.yaml");
const ARGO: &str = include_str!("../../../tests/it/fixtures/ci-systems/argo.yaml");

fn manifest(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn job_of(pod: Value) -> Option<PodJob> {
    CiSystems::default().job(&serde_json::from_value(pod).unwrap())
}

/// Every field that a pod tells, by name.
fn told(job: &PodJob) -> Vec<(&'static str, String)> {
    let JobEnv { repository, run_id, run_attempt, name, workflow, sha, git_ref, runner, .. } =
        &job.job;
    let JobEnv { display_name, ci, .. } = &job.job;
    let ci = ci.as_ref().unwrap();
    let fields = [
        ("repository", repository),
        ("repository_url", &ci.repository_url),
        ("provider", &ci.provider),
        ("pipeline", workflow),
        ("run", run_id),
        ("attempt", run_attempt),
        ("run_key", &ci.run_key),
        ("run_url", &ci.run_url),
        ("job", name),
        ("title", display_name),
        ("job_url", &ci.job_url),
        ("commit", sha),
        ("ref", git_ref),
        ("worker", runner),
    ];
    let told =
        fields.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?.into())));
    std::iter::once(("system", ci.system.to_string())).chain(told).collect()
}

fn parts(job: &PodJob, containers: &[(&str, ContainerType)]) -> Vec<&'static str> {
    containers.iter().map(|(name, list)| job.part(name, *list).as_str()).collect()
}

#[track_caller]
fn check(text: &str, expected: &[(&'static str, &str)]) -> PodJob {
    let job = job_of(manifest(text)).unwrap();
    let expected: Vec<_> =
        expected.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    assert_eq!(told(&job), expected);
    job
}

#[test]
fn gitlab() {
    let job = check(
        GITLAB,
        &[
            ("system", "gitlab"),
            ("repository", "web/team/shop"),
            ("repository_url", "https://gitlab.example.com/web/team/shop"),
            ("provider", "gitlab"),
            ("pipeline", "Merge checks"),
            ("run", "977"),
            ("run_key", "gitlab https://gitlab.example.com/web/team/shop 977"),
            ("run_url", "https://gitlab.example.com/web/team/shop/-/pipelines/977"),
            ("job", "unit tests"),
            ("job_url", "https://gitlab.example.com/web/team/shop/-/jobs/8412"),
            ("commit", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
            ("ref", "refs/heads/feature/cart"),
            ("worker", "linux-large"),
        ],
    );
    let containers = [
        ("init-permissions", Init),
        ("build", Container),
        ("helper", Container),
        ("postgres", Container),
    ];
    assert_eq!(parts(&job, &containers), ["system", "job", "system", "service"]);
}

#[test]
fn a_gitlab_job_says_when_its_time_is_over() {
    let deadline_ns = |started: &str, timeout: &str| {
        let mut pod = manifest(GITLAB);
        let env = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
        env.push(json!({"name": "CI_JOB_STARTED_AT", "value": started}));
        env.push(json!({"name": "CI_JOB_TIMEOUT", "value": timeout}));
        job_of(pod).unwrap().job.ci.unwrap().deadline_ns
    };
    let expected = Some(1_795_172_400_000_000_000);
    assert_eq!(deadline_ns("2026-11-20T10:00:00Z", "3600"), expected);
    assert_eq!(deadline_ns("2026-11-20T12:00:00+01:00", "0"), expected);
    for (started, timeout) in [
        ("now", "3600"),
        ("2026-11-20T10:00:00Z", "1h"),
        ("2026-11-20T10:00:00Z", "-1"),
        ("1900-01-01T00:00:00Z", "3600"),
        ("2026-11-20T10:00:00Z", "99999999999"),
    ] {
        assert_eq!(deadline_ns(started, timeout), None, "{started} {timeout}");
    }
    let ci = job_of(manifest(GITLAB)).unwrap().job.ci.unwrap();
    assert_eq!(ci.deadline_ns, expected);
}

/// Without variables of the job there are the annotations; labels hold no path of a subgroup.
#[test]
fn a_gitlab_pod_without_the_jobs_variables_says_less() {
    let mut pod = manifest(GITLAB);
    pod["spec"]["containers"][0]["env"] = json!([]);
    let told = told(&job_of(pod).unwrap());
    let value =
        |name: &str| told.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value);
    assert_eq!(value("repository"), Some("web/team/shop"));
    assert_eq!(value("job"), Some("unit tests"));
    assert_eq!(value("ref"), Some("feature/cart"), "nothing says whether it is a branch");
    assert_eq!((value("run"), value("run_key"), value("run_url")), (None, None, None));
}

/// A job's definition can set each of them.
#[test]
fn a_gitlab_jobs_variables_name_no_other_project() {
    let mut pod = manifest(GITLAB);
    let forged = [
        ("CI_SERVER_URL", "https://gitlab.com"),
        ("CI_PROJECT_PATH", "web/prod"),
        ("CI_PROJECT_URL", "https://gitlab.example.com/web/prod"),
        ("CI_PIPELINE_URL", "https://gitlab.example.com/web/prod/-/pipelines/1"),
        ("CI_JOB_URL", "https://gitlab.example.com/web/prod/-/jobs/1"),
    ];
    let env = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    env.extend(forged.map(|(name, value)| json!({"name": name, "value": value})));
    let told = told(&job_of(pod).unwrap());
    let value =
        |name: &str| told.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value);
    let project = "https://gitlab.example.com/web/team/shop";
    assert_eq!(value("repository"), Some("web/team/shop"));
    assert_eq!(value("repository_url"), Some(project));
    assert_eq!(value("run_key").unwrap(), format!("gitlab {project} 977"));
    assert_eq!(
        (value("run_url"), value("job_url").unwrap()),
        (None, &*format!("{project}/-/jobs/8412"))
    );
}

#[test]
fn a_gitlab_tag_is_no_branch() {
    let mut pod = manifest(GITLAB);
    pod["metadata"]["annotations"]["job.runner.gitlab.com/ref"] = json!("v1.2");
    pod["spec"]["containers"][0]["env"][0] = json!({"name": "CI_COMMIT_TAG", "value": "v1.2"});
    assert_eq!(job_of(pod).unwrap().job.git_ref.as_deref(), Some("refs/tags/v1.2"));
}

#[test]
fn buildkite() {
    let job = check(
        BUILDKITE,
        &[
            ("system", "buildkite"),
            ("repository", "acme/shop"),
            ("repository_url", "https://github.com/acme/shop"),
            ("provider", "github"),
            ("pipeline", "shop"),
            ("run", "318"),
            ("run_key", "buildkite https://buildkite.com/acme/shop/builds/318"),
            ("run_url", "https://buildkite.com/acme/shop/builds/318"),
            ("job", "unit-tests"),
            (
                "job_url",
                "https://buildkite.com/acme/shop/builds/318#019ac3f4-8a1e-4c59-8c3f-2f5b6f0a1d22",
            ),
            ("ref", "refs/heads/main"),
            ("worker", "kubernetes"),
        ],
    );
    let containers = [
        ("copy-agent", Init),
        ("docker", Sidecar),
        ("checkout", Container),
        ("container-0", Container),
        ("agent", Container),
    ];
    assert_eq!(parts(&job, &containers), ["system", "service", "step", "step", "system"]);
}

#[test]
fn credentials_in_a_buildkite_repository_are_not_told() {
    let mut pod = manifest(BUILDKITE);
    pod["metadata"]["annotations"]["buildkite.com/build-repo"] =
        json!("https://x-token:hunter2@git.example.com/acme/shop.git");
    let told = format!("{:?}", told(&job_of(pod).unwrap()));
    assert!(
        told.contains("https://git.example.com/acme/shop") && !told.contains("hunter2"),
        "{told}"
    );
}

#[test]
fn tekton() {
    let job = check(
        TEKTON,
        &[
            ("system", "tekton"),
            ("pipeline", "release"),
            ("run", "release-x7k2p"),
            ("run_key", "tekton ci 5b1c6a7e-0f1d-4a53-9d6f-0c1f2b3a4d5e"),
            ("job", "compile"),
        ],
    );
    let containers = [
        ("prepare", Init),
        ("step-fetch", Container),
        ("sidecar-cache", Container),
        ("sidecar-native", Sidecar),
    ];
    assert_eq!(parts(&job, &containers), ["system", "step", "service", "service"]);
    let began = r#"[{"key":"StartedAt","value":"1970-01-01T00:00:07.000Z","type":3}]"#;
    let step = |name, message| job.of_container(name, Container, message).ci.clone().unwrap();
    assert_eq!(step("step-fetch", None).step_name.as_deref(), Some("fetch"));
    assert_eq!(step("step-fetch", Some(began)).step.clone().unwrap().started_ns, 7_000_000_000);
    assert_eq!(step("sidecar-cache", Some(began)).step, None);
}

#[test]
fn a_tekton_task_run_of_no_pipeline_is_a_run_of_one_job() {
    let mut pod = manifest(TEKTON);
    pod["metadata"]["labels"] = json!({
        "tekton.dev/taskRun": "adhoc-b7w5d", "tekton.dev/taskRunUID": "uid-of-the-run",
    });
    let told = told(&job_of(pod).unwrap());
    let expected = [
        ("system", "tekton"),
        ("run", "adhoc-b7w5d"),
        ("run_key", "tekton ci uid-of-the-run"),
        ("title", "adhoc-b7w5d"),
    ];
    assert_eq!(told, expected.map(|(name, value)| (name, value.to_owned())));
}

#[test]
fn jenkins() {
    let job = check(
        JENKINS,
        &[
            ("system", "jenkins"),
            ("pipeline", "team/shop"),
            ("run", "12"),
            (
                "run_key",
                "jenkins http://jenkins.example.com:8080/job/team/job/shop/12 job/team/job/shop/12/",
            ),
            ("run_url", "http://jenkins.example.com:8080/job/team/job/shop/12"),
            ("title", "team/shop #12"),
        ],
    );
    assert_eq!(parts(&job, &[("jnlp", Container), ("maven", Container)]), ["system", "job"]);
    let mut idle = manifest(JENKINS);
    idle["metadata"]["annotations"] = json!({});
    assert_eq!(job_of(idle), None, "an agent of no build");
}

#[test]
fn argo() {
    let job = check(
        ARGO,
        &[
            ("system", "argo"),
            ("pipeline", "nightly"),
            ("run", "nightly-x7k2p"),
            ("run_key", "argo ci 7d3e8c90-2b3f-4c75-9f8b-2e3b4d5c6f70"),
            ("job", "compile"),
            ("title", "nightly-x7k2p.compile(0:amd64)"),
        ],
    );
    let containers = [
        ("init", Init),
        ("wait", Container),
        ("supervisor", Container),
        ("main", Container),
        ("redis", Container),
        ("artifact-plugin-s3", Container),
    ];
    let expected = ["system", "system", "system", "step", "service", "system"];
    assert_eq!(parts(&job, &containers), expected);
    let mut agent = manifest(ARGO);
    agent["metadata"]["annotations"] = json!({});
    assert_eq!(job_of(agent), None, "the agent of HTTP templates");
}

#[test]
fn a_container_set_without_main_has_a_step_for_each_container() {
    let mut pod = manifest(ARGO);
    pod["spec"]["containers"][1]["name"] = json!("compile");
    let job = job_of(pod).unwrap();
    assert_eq!(parts(&job, &[("wait", Container), ("compile", Container)]), ["system", "step"]);
}

#[test]
fn every_system_is_known_by_the_label_that_selects_its_pods() {
    for (system, text) in CiSystem::ALL.into_iter().zip([GITLAB, BUILDKITE, TEKTON, JENKINS, ARGO])
    {
        let mut pod = manifest(text);
        let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
        assert!(labels.remove(system.selector()).is_some(), "{system}");
        assert_eq!(job_of(pod), None, "{system}");
    }
}

#[test]
fn an_own_mapping_describes_a_pod_and_goes_before_a_system() {
    let mappings =
        ["pipeline=label:example.com/flow", "run=annotation:example.com/run", "job=env:JOB"];
    let own = CiSystems::new(mappings.iter().map(|text| text.parse().unwrap()).collect());
    let metadata = json!({
        "name": "p", "namespace": "ci", "uid": "66666666-6666-4666-8666-666666666666",
        "labels": {"example.com/flow": "deploy"}, "annotations": {"example.com/run": "r-7"},
    });
    let spec = json!({"containers": [
        {"name": "a"}, {"name": "b", "env": [
            {"name": "JOB", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ]},
        {"name": "c", "env": [{"name": "JOB", "value": "x"}, {"name": "JOB", "value": "rollout"}]},
    ]});
    let pod = json!({"metadata": metadata, "spec": spec});
    let job = own.job(&serde_json::from_value(pod.clone()).unwrap()).unwrap();
    let expected = [
        ("system", "custom"),
        ("pipeline", "deploy"),
        ("run", "r-7"),
        ("run_key", "custom ci r-7"),
        ("job", "rollout"),
    ];
    assert_eq!(told(&job), expected.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(
        parts(&job, &[("a", Container), ("i", Init), ("s", Sidecar)]),
        ["step", "system", "service"]
    );

    let mut tekton = manifest(TEKTON);
    tekton["metadata"]["labels"]["example.com/flow"] = json!("mine");
    let job = own.job(&serde_json::from_value(tekton).unwrap()).unwrap();
    let told_of = told(&job);
    assert_eq!(told_of[0].1, "tekton");
    assert_eq!(job.job.workflow.as_deref(), Some("mine"));
    assert_eq!(job.job.name.as_deref(), Some("compile"));

    let mut runner = pod;
    runner["spec"]["containers"][0]["name"] = json!("runner");
    assert_eq!(own.job(&serde_json::from_value(runner).unwrap()), None, "a runner of GitHub's");
    let bare = json!({"metadata": {"name": "p"}, "spec": {"containers": []}});
    assert_eq!(own.job(&serde_json::from_value(bare).unwrap()), None);
}

/// The pod's own text can be as long as the API takes it.
#[test]
fn long_and_odd_texts_are_cut_and_cleaned() {
    let mut pod = manifest(JENKINS);
    let name = "x".repeat(10_000);
    pod["metadata"]["annotations"]["runUrl"] = json!(format!("job/{name}%0A%1b/7/"));
    pod["metadata"]["annotations"]["buildUrl"] = json!("javascript://x/7/");
    let job = job_of(pod).unwrap().job;
    let ci = job.ci.unwrap();
    assert_eq!(job.workflow.unwrap().chars().count(), super::super::text::MAX_TEXT);
    assert_eq!(ci.run_url, None);
    let key = ci.run_key.as_deref().unwrap();
    assert!(key.len() <= super::super::text::MAX_TEXT && key.ends_with("/7/"), "{key}");
}
