//! What the API server refuses a runner's account, each rule by a real attempt, and what it allows.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::runner::Runner;
use super::site::{PATIENCE, Site};
use crate::support::process::until;
use crate::support::real_node::NODE;
use crate::support::real_node::api::client_of;
use crate::support::workflow_images::BUSYBOX;

/// The account of a runner, with the token of one of its pods.
pub(super) struct Account<'a> {
    site: &'a Site,
    token: String,
}

// === impl Account ===

impl<'a> Account<'a> {
    pub(super) fn of(site: &'a Site, pod: &str) -> Self {
        let bound = ["--bound-object-kind", "Pod", "--bound-object-name", pod];
        let words = ["create", "token", "ephemon-runner", "-n", site.namespace()];
        let token = site.kubectl().run(&[&words[..], &bound[..]].concat());
        Self { site, token: token.trim().to_owned() }
    }

    /// Adds an ephemeral container; the API server's refusal, if it refuses.
    pub(super) fn adds(&self, pod: &str, container: &Value) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let patch = json!({"spec": {"ephemeralContainers": [container]}});
        runtime.block_on(async {
            let pods: Api<Pod> = Api::namespaced(self.client().await, self.site.namespace());
            let dry = PatchParams { dry_run: true, ..PatchParams::default() };
            let answer =
                pods.patch_ephemeral_containers(pod, &dry, &Patch::Strategic(&patch)).await;
            answer.map(drop).map_err(|error| error.to_string())
        })
    }

    async fn client(&self) -> Client {
        let mut kubeconfig = Kubeconfig::read_from(self.site.kubectl().kubeconfig()).unwrap();
        for user in &mut kubeconfig.auth_infos {
            let info = user.auth_info.get_or_insert_default();
            *info = kube::config::AuthInfo {
                token: Some(self.token.clone().into()),
                ..Default::default()
            };
        }
        client_of(kubeconfig).await
    }

    /// Runs kubectl as this account; what it says on failure.
    fn runs(&self, words: &[&str], input: &str) -> Result<(), String> {
        let own = ["--token", &self.token, "-n", self.site.namespace()];
        let done = self.site.kubectl().without_user().try_with(&[words, &own[..]].concat(), input);
        if done.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }
}

/// A job's container with something more.
pub(super) fn with(more: &Value) -> Value {
    let mut container = json!({"name": "tried", "image": BUSYBOX});
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    container
}

#[test]
fn a_runner_adds_no_container_that_the_policy_forbids() {
    let Some(site) = Site::start() else { return };
    let own = site.runner("runner-1");
    // Its name begins as the other's does.
    let other = site.runner("runner-1-2");
    let account = Account::of(&site, &own.name);
    let plain = with(&json!({}));
    // A policy holds once the API server has read it.
    let privileged = with(&json!({"securityContext": {"privileged": true}}));
    let held = |said: &String| said.contains("privileged or have capabilities added");
    until(PATIENCE, || account.adds(&own.name, &privileged).err().filter(held))
        .expect("the policy holds");
    assert_eq!(account.adds(&own.name, &plain), Ok(()));

    let volumes = &site.pod(&own.name)["spec"]["volumes"];
    let token = volumes.as_array().unwrap().iter().find(|volume| volume["projected"].is_object());
    let token = token.expect("the kubelet's volume of the token")["name"].clone();
    let mount = |name: &str, read_only: bool| json!({"volumeMounts": [{"name": name, "mountPath": "/t", "readOnly": read_only}]});
    let context = |context: &Value| json!({"securityContext": context});
    let of = |pod: &Runner, container: &str| json!({"secretRef": {"name": format!("ephemon-{}-{container}-0a-env", pod.place.uid)}});
    let foreign = of(&other, "job");
    for allowed in [
        mount("ephemon-bin", true),
        mount("work", false),
        context(&json!({"seccompProfile": {"type": "RuntimeDefault"}})),
        json!({"envFrom": [of(&own, "job")]}),
    ] {
        assert_eq!(account.adds(&own.name, &with(&allowed)), Ok(()), "{allowed}");
    }
    let cases = [
        ("own pod only", "runner-1-2", json!({})),
        ("targetContainerName", "runner-1", json!({"targetContainerName": "runner"})),
        (
            "privileged or have capabilities added",
            "runner-1",
            json!({"securityContext": {"privileged": true}}),
        ),
        (
            "privileged or have capabilities added",
            "runner-1",
            json!({"securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}),
        ),
        ("may mount", "runner-1", json!({"volumeMounts": [{"name": token, "mountPath": "/t"}]})),
        ("read only", "runner-1", mount("ephemon-bin", false)),
        ("read only", "runner-1", mount("externals", false)),
        ("unconfined", "runner-1", context(&json!({"seccompProfile": {"type": "Unconfined"}}))),
        ("unconfined", "runner-1", context(&json!({"appArmorProfile": {"type": "Unconfined"}}))),
        (
            "unconfined",
            "runner-1",
            context(
                &json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "chrome"}}),
            ),
        ),
        ("unconfined", "runner-1", context(&json!({"seLinuxOptions": {"type": "spc_t"}}))),
        ("unconfined", "runner-1", context(&json!({"windowsOptions": {"runAsUserName": "x"}}))),
        (
            "Secrets of its own pod only",
            "runner-1",
            json!({"envFrom": [{"secretRef": {"name": "runner-1-2-env"}}]}),
        ),
        ("Secrets of its own pod only", "runner-1", json!({"envFrom": [foreign]})),
        (
            "Secrets of its own pod only",
            "runner-1",
            json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "any", "key": "k"}}}]}),
        ),
        (
            "Secrets of its own pod only",
            "runner-1",
            json!({"envFrom": [{"configMapRef": {"name": "kube-root-ca.crt"}}]}),
        ),
    ];
    for (message, pod, more) in cases {
        let refused = account.adds(pod, &with(&more));
        assert!(
            refused.as_ref().is_err_and(|text| text.contains(message)),
            "{more} in {pod} must be refused with {message:?}: {refused:?}"
        );
    }
}

#[test]
fn a_runner_makes_and_removes_secrets_of_its_own_pod_only() {
    let Some(site) = Site::start() else { return };
    let own = site.runner("runner-1");
    let other = site.runner("runner-1-2");
    let account = Account::of(&site, &own.name);
    let [named, foreign_name] =
        [&own, &other].map(|pod| format!("ephemon-{}-job-0a-env", pod.place.uid));
    let secret = |name: &str, pod: &str, kind: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {
                "name": name, "labels": {"runner-pod": pod},
                "annotations": {"kubernetes.io/service-account.name": "default"},
            },
        })
        .to_string()
    };
    let create = ["create", "-f", "-"];
    let foreign = secret(&foreign_name, "runner-1-2", "Opaque");
    let held = |said: &String| said.contains("of its own pod only");
    until(PATIENCE, || account.runs(&create, &foreign).err().filter(held))
        .expect("the policy holds");
    for (text, message) in [
        (foreign.clone(), "of its own pod only"),
        (secret(&named, "runner-1-2", "Opaque"), "of its own pod only"),
        (secret(&foreign_name, "runner-1", "Opaque"), "of its own pod only"),
        (secret("runner-1-2-job-0a-env", "runner-1", "Opaque"), "of its own pod only"),
        (secret("other", "runner-1", "Opaque"), "of its own pod only"),
        (secret(&named, "runner-1", "kubernetes.io/service-account-token"), "type Opaque only"),
    ] {
        let refused = account.runs(&create, &text);
        assert!(refused.as_ref().is_err_and(|said| said.contains(message)), "{text}: {refused:?}");
    }
    assert_eq!(account.runs(&create, &secret(&named, "runner-1", "Opaque")), Ok(()));
    // Made by somebody else, for somebody else.
    site.kubectl().run(&["create", "secret", "generic", "foreign", "-n", site.namespace()]);
    let removed = |name: &str| account.runs(&["delete", "secret", name], "");
    assert!(removed("foreign").is_err_and(|said| said.contains("of its own pod only")));
    let others = Account::of(&site, &other.name);
    assert_eq!(others.runs(&create, &foreign), Ok(()));
    assert!(removed(&foreign_name).is_err_and(|said| said.contains("of its own pod only")));
    assert_eq!(removed(&named), Ok(()));
}

#[test]
fn a_runner_runs_commands_in_the_job_containers_of_its_own_pod_only() {
    let Some(site) = Site::start() else { return };
    let own = site.runner("runner-1");
    let other = site.runner("runner-2");
    let state = own.prepare(&super::runner::job(BUSYBOX, ""), &[]);
    other.prepare(&super::runner::job(BUSYBOX, ""), &[]);
    let account = Account::of(&site, &own.name);
    // Admission comes before the connection is made one of another protocol, which this one does
    // not ask for.
    let exec = |pod: &str, container: &str| {
        let namespace = site.namespace();
        let path = format!(
            "/api/v1/namespaces/{namespace}/pods/{pod}/exec?command=true&stdout=true&container={container}"
        );
        account.runs(&["create", "--raw", &path, "-f", "-"], "{}")
    };
    let rule = "in the other containers of its own pod only";
    let holds = || exec("runner-1", "runner").err().filter(|said| said.contains(rule));
    until(PATIENCE, holds).expect("the policy holds");
    for (pod, container) in [("runner-1", "runner"), ("runner-2", "job"), ("runner-2", "runner")] {
        let refused = exec(pod, container);
        assert!(refused.as_ref().is_err_and(|said| said.contains(rule)), "{pod}: {refused:?}");
    }
    let allowed = exec("runner-1", "job");
    assert!(allowed.as_ref().is_err_and(|said| said.contains("pgrade")), "{allowed:?}");
    assert_eq!(own.script(&state, "echo on").stdout, "on\n");
}

#[test]
fn a_runner_does_nothing_else() {
    let Some(site) = Site::start() else { return };
    let own = site.runner("runner-1");
    let account = Account::of(&site, &own.name);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "more"},
        "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": BUSYBOX}]},
    });
    for (words, input) in [
        (&["get", "secrets"][..], String::new()),
        (&["create", "-f", "-"], pod.to_string()),
        (&["delete", "pod", "runner-1"], String::new()),
        (&["get", "nodes"], String::new()),
        (&["get", "pods", "-A"], String::new()),
        (&["create", "token", "ephemon-runner"], String::new()),
    ] {
        let refused = account.runs(words, &input);
        assert!(
            refused.as_ref().is_err_and(|said| said.contains("forbidden")),
            "{words:?}: {refused:?}"
        );
    }
}
