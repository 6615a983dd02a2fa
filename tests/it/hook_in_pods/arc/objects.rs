//! ARC's objects, made as its controller, its listener and its container hook make them.
//!
//! Sources: actions-runner-controller, `controllers/actions.github.com/resourcebuilder.go`
//! (`newEphemeralRunnerPod`) and `cmd/ghalistener/scaler/scaler.go`; runner-container-hooks v0.8.1,
//! `packages/k8s/src/k8s/index.ts` (`createJobPod`, `createContainerStepPod`), and v0.7.0, there
//! `createPod` and `createJob`, in `packages/k8s/src/hooks` `prepare-job.ts` and `run-container-step.ts`.

use std::io::Read as _;

use serde_json::{Value, json};

use super::super::site::{PATIENCE, Site};
use crate::support::process::until;
use crate::support::real_node::NODE;
use crate::support::workflow_images::BUSYBOX;

/// The definition of its objects; `README.md` beside it says where it comes from.
const DEFINITION: &[u8] =
    include_bytes!("../../fixtures/actions-runner-controller/ephemeralrunners.yaml.gz");
/// Waits for text to write, and ends when it is told to.
const STAND_IN: &str = "n=1; while :; do \
    if [ -e /lines/$n ]; then cat /lines/$n; n=$((n+1)); \
    elif [ -e /lines/end ]; then exit 0; else sleep 0.1; fi; done";
/// Works for a while, and waits to be ended by force.
const WORK: &str = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exec tail -f /dev/null";

/// How a scale set's runners run containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Default,
    DindSidecar,
    DindClassic,
    /// With hook v0.7 and a volume for the work.
    Kubernetes,
    KubernetesNovolume,
}

// === impl Mode ===

impl Mode {
    /// Where GitHub's image has the mode's container hook.
    fn hook(self) -> Option<&'static str> {
        match self {
            Self::Kubernetes => Some("/home/runner/k8s/index.js"),
            Self::KubernetesNovolume => Some("/home/runner/k8s-novolume/index.js"),
            Self::Default | Self::DindSidecar | Self::DindClassic => None,
        }
    }
}

/// ARC in one namespace.
pub(super) struct Arc<'a> {
    site: &'a Site,
}

// === impl Arc ===

impl<'a> Arc<'a> {
    /// Defines its objects, and takes the namespace from those that our policies guard.
    pub(super) fn new(site: &'a Site) -> Self {
        site.unguard();
        let mut definition = String::new();
        flate2::read::GzDecoder::new(DEFINITION).read_to_string(&mut definition).unwrap();
        // Too large for the annotation of a plain `apply`.
        let words = ["apply", "--server-side", "-f", "-"];
        let done = site.kubectl().try_with(&words, &definition);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        site.kubectl().until_established("ephemeralrunners.actions.github.com");
        Self { site }
    }

    /// The object of one runner; its UID.
    pub(super) fn object(&self, name: &str) -> String {
        let object = json!({
            "apiVersion": "actions.github.com/v1alpha1", "kind": "EphemeralRunner",
            "metadata": {"name": name, "namespace": self.site.namespace()},
            "spec": {
                "githubConfigUrl": "https://github.com/octo-org/widgets",
                "githubConfigSecret": "github", "runnerScaleSetId": 1,
                "spec": {"containers": [{"name": "runner", "image": BUSYBOX}]},
            },
        });
        self.site.api().create(&object);
        self.patch(name, &json!({"runnerName": name, "runnerId": 5, "ready": true}));
        let found = self.site.api().get(self.site.namespace(), "ephemeralrunner", name);
        found.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// A runner that waits for a job.
    pub(super) fn runner(&self, name: &str, mode: Mode) {
        let uid = self.object(name);
        let hook = |path| json!({"name": "ACTIONS_RUNNER_CONTAINER_HOOKS", "value": path});
        let env = json!(mode.hook().map(hook).into_iter().collect::<Vec<_>>());
        let container = |name: &str, script: &str| {
            json!({
                "name": name, "image": BUSYBOX, "command": ["sh", "-c", script],
                "volumeMounts": [{"name": "lines", "mountPath": "/lines"}],
                "resources": {"requests": {"cpu": "10m"}},
            })
        };
        let mut runner = container("runner", STAND_IN);
        runner["env"] = env;
        let mut containers = vec![runner];
        let mut init = Vec::new();
        let docker = "trap 'exit 0' TERM; while [ ! -e /lines/end ]; do sleep 0.1; done";
        match mode {
            Mode::DindSidecar => {
                let mut dind = container("dind", docker);
                dind["restartPolicy"] = json!("Always");
                init.push(dind);
            }
            Mode::DindClassic => containers.push(container("dind", docker)),
            Mode::Default | Mode::Kubernetes | Mode::KubernetesNovolume => {}
        }
        let owner = json!({
            "apiVersion": "actions.github.com/v1alpha1", "kind": "EphemeralRunner", "name": name,
            "uid": uid, "controller": true, "blockOwnerDeletion": true,
        });
        let labels = json!({
            "actions-ephemeral-runner": "True",
            "actions.github.com/organization": "octo-org",
            "actions.github.com/repository": "widgets",
            "actions.github.com/scale-set-name": "linux",
            "actions.github.com/scale-set-namespace": self.site.namespace(),
            "app.kubernetes.io/component": "runner",
        });
        self.pod(
            json!({"name": name, "labels": labels, "ownerReferences": [owner]}),
            json!({"containers": containers, "initContainers": init}),
        );
    }

    /// The runner's stand-in writes a line, with the time before it.
    pub(super) fn says(&self, name: &str, line: &str) {
        let script = format!("$(date -u '+%Y-%m-%d %H:%M:%SZ'): {line}\n");
        self.writes(name, &script);
    }

    /// The runner's stand-in writes text as it is, but for `$(…)`.
    pub(super) fn writes(&self, name: &str, text: &str) {
        let script = format!(
            "n=1; while [ -e /lines/$n ]; do n=$((n+1)); done; cat > /lines/new << END\n{text}END\n\
             mv /lines/new /lines/$n"
        );
        self.inside(name, &script);
    }

    /// The runner ends when it has written all its lines.
    pub(super) fn ends(&self, name: &str) {
        let words = ["exec", name, "-n", self.site.namespace(), "-c", "runner", "--"];
        let done =
            self.site.kubectl().try_with(&[&words[..], &["touch", "/lines/end"]].concat(), "");
        // The container may end before the process in it, and takes it along.
        let is_done = done.status.success() || done.status.code() == Some(137);
        assert!(is_done, "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// ARC's listener writes down the job that a runner has taken.
    pub(super) fn takes_job(&self, name: &str, job: &str, run: usize) {
        self.patch(
            name,
            &json!({
                "jobRequestId": 9, "jobId": "0f4d1f6e", "jobRepositoryName": "octo-org/widgets",
                "workflowRunId": run, "jobDisplayName": job,
                "jobWorkflowRef": "octo-org/widgets/.github/workflows/ci.yml@refs/heads/main",
            }),
        );
    }

    /// A pod that hook v0.7 creates for the container of a runner's job and a service of it; its name. The
    /// volume is the runner's claim, for which the node has no storage. Its work is done.
    pub(super) fn pod_of_job(&self, runner: &str) -> String {
        let name = format!("{runner}-workflow");
        let containers = json!([
            hooks_container("job", WORK),
            hooks_container("redis", "exec tail -f /dev/null"),
        ]);
        let metadata = json!({"name": name, "labels": {"runner-pod": runner}, "annotations": {}});
        self.pod(metadata, json!({"containers": containers}));
        self.has_worked(&name);
        name
    }

    /// A `Job` that hook v0.7 creates for a container action that ends with this code; the name of its
    /// pod, once that is over.
    pub(super) fn action(&self, runner: &str, code: u8) -> String {
        let name = format!("{runner}-step-0a1b2c3d");
        let script = format!("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit {code}");
        let spec = json!({
            "containers": [hooks_container("job", &script)], "restartPolicy": "Never",
            "nodeName": NODE, "volumes": [],
        });
        let template = json!({"metadata": {"labels": {}, "annotations": {}}, "spec": spec});
        let object = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": name, "namespace": self.site.namespace(),
                "labels": {"runner-pod": runner}, "annotations": {},
            },
            "spec": {"ttlSecondsAfterFinished": 300, "backoffLimit": 0, "template": template},
        });
        self.site.api().create(&object);
        let pods =
            || self.site.api().list(self.site.namespace(), "pod", &format!("job-name={name}"));
        let over = || {
            let pods = pods();
            let pod = pods.first()?;
            let phase = pod["status"]["phase"].as_str()?;
            let is_over = ["Succeeded", "Failed"].contains(&phase);
            is_over.then(|| pod["metadata"]["name"].as_str().unwrap().to_owned())
        };
        until(PATIENCE, over).unwrap_or_else(|| panic!("{:?}", pods()))
    }

    /// A pod that hook v0.8 creates for a runner's job, its work done; its name.
    pub(super) fn workflow_pod(&self, runner: &str, suffix: &str) -> String {
        let name = format!("{runner}-{suffix}");
        let container = hooks_container;
        let mut containers = vec![container("job", WORK)];
        let mut init = Vec::new();
        if suffix == "workflow" {
            containers.push(container("redis", "exec tail -f /dev/null"));
            init.push(container("fs-init", "true"));
        }
        self.pod(
            json!({"name": name, "labels": {"runner-pod": runner}}),
            json!({"containers": containers, "initContainers": init}),
        );
        self.has_worked(&name);
        name
    }

    /// Waits for the end of [`WORK`]: a pod that is deleted earlier has used nothing on a busy machine.
    fn has_worked(&self, pod: &str) {
        self.run_in(pod, "job", "until pidof tail; do sleep 0.1; done");
    }

    /// The container hook deletes such a pod at once.
    pub(super) fn delete(&self, pod: &str) {
        let words =
            ["delete", "pod", pod, "-n", self.site.namespace(), "--grace-period=0", "--force"];
        self.site.kubectl().run(&words);
    }

    /// Creates a pod on the node, and waits until it runs.
    fn pod(&self, mut metadata: Value, mut spec: Value) {
        let name = metadata["name"].as_str().unwrap().to_owned();
        metadata["namespace"] = json!(self.site.namespace());
        spec["nodeName"] = json!(NODE);
        spec["restartPolicy"] = json!("Never");
        spec["terminationGracePeriodSeconds"] = json!(1);
        spec["volumes"] = json!([{"name": "lines", "emptyDir": {}}]);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        self.site.api().create(&pod);
        let runs = || (self.site.pod(&name)["status"]["phase"] == "Running").then_some(());
        until(PATIENCE, runs).unwrap_or_else(|| panic!("{}", self.site.pod(&name)["status"]));
    }

    fn inside(&self, pod: &str, script: &str) {
        self.run_in(pod, "runner", script);
    }

    fn run_in(&self, pod: &str, container: &str, script: &str) {
        let words = ["exec", pod, "-n", self.site.namespace(), "-c", container, "--"];
        self.site.kubectl().run(&[&words[..], &["sh", "-c", script]].concat());
    }

    fn patch(&self, name: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        let words = ["patch", "ephemeralrunner", name, "-n", self.site.namespace()];
        let more = ["--subresource=status", "--type=merge", "-p", &patch];
        self.site.kubectl().run(&[&words[..], &more[..]].concat());
    }
}

/// A container of a pod that the container hook creates.
fn hooks_container(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": BUSYBOX, "command": ["sh", "-c", script],
        "resources": {"requests": {"cpu": "10m"}},
    })
}
