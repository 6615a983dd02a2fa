//! A runner's pod with an engine in it: as ARC's chart makes one for Docker, or with podman in the
//! runner's own container.
//!
//! Source: actions-runner-controller 0.14, `charts/gha-runner-scale-set/templates/_helpers.tpl`
//! (`dind-container`, `dind-init-container`, `dind-runner-container`, `dind-volume`) and
//! `autoscalingrunnerset.yaml`.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::site::{PATIENCE, Site, id_of};
use crate::support::cgroups::CpuCounter;
use crate::support::engine_image::{ENGINES, NESTED_ARCHIVE, USR};
use crate::support::process::until;
use crate::support::real_node::NODE;
use crate::support::real_node_images;

/// The name of every pod; each site has one.
pub(super) const POD: &str = "linux-runner-engines";

/// How a pod has its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Docker in an init container that goes on, from Kubernetes 1.29 on.
    Sidecar,
    /// Docker in a second container.
    Classic,
    /// A sidecar that mounts the node's whole cgroup tree, as some do for kind.
    SidecarWithNodesCgroups,
    /// Podman, called in the runner's container.
    Podman,
}

/// The pod, once its engine answers.
pub(super) struct EnginePod<'a> {
    site: &'a Site,
    form: Form,
    uid: String,
}

// === impl Form ===

impl Form {
    /// The container that the engine's containers are in.
    pub(super) fn outer(self) -> &'static str {
        if self == Self::Podman { "runner" } else { "dind" }
    }

    /// The command of the engine in the runner's container.
    pub(super) fn engine(self) -> &'static str {
        if self == Self::Podman { "podman" } else { "docker" }
    }
}

// === impl EnginePod ===

impl<'a> EnginePod<'a> {
    /// Creates the pod and waits until the engine has the image of nested containers.
    pub(super) fn create(site: &'a Site, form: Form) -> Self {
        real_node_images::import_engines(&site.node);
        // Privileged containers are what the policies of our hook's namespaces refuse.
        site.unguard();
        site.api().create(&manifest(site.namespace(), form));
        site.until_status(POD, "runner", |status| status.pointer("/state/running").cloned());
        let uid = site.pod(POD)["metadata"]["uid"].as_str().unwrap().to_owned();
        let pod = Self { site, form, uid };
        pod.load();
        pod
    }

    /// How it has its engine.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Waits for the engine and gives it the image of nested containers.
    fn load(&self) {
        let load = format!("{} load -q -i {NESTED_ARCHIVE}", self.form.engine());
        until(PATIENCE, || self.try_run(&load).status.success().then_some(())).unwrap_or_else(
            || panic!("{:?}: {:#}", self.try_run(&load), self.site.pod(POD)["status"]),
        );
    }

    /// What a script prints in the runner's container.
    pub(super) fn run(&self, script: &str) -> String {
        let done = self.try_run(script);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(done.status.success(), "{script}: {}\n{}", text(&done.stdout), text(&done.stderr));
        text(&done.stdout)
    }

    /// Has the `BuildKit` in Docker's daemon build an image of one file. Its own clients are in no package:
    /// the daemon is asked by its API, and fetches the file from the runner's container.
    pub(super) fn build_with_buildkit(&self, file: &str) {
        let serve = "busybox httpd -p 127.0.0.1:8000 -h /tmp/www";
        self.run(&format!(
            "mkdir /tmp/www; cat > /tmp/www/Dockerfile << 'END'\n{file}END\n{serve}"
        ));
        let runner = self.site.until_status(POD, "runner", id_of);
        let runner = self.site.host_pid_of(&runner);
        let socket = format!("/proc/{runner}/root/run/docker.sock");
        let mut socket = UnixStream::connect(socket).unwrap();
        let remote = "http%3A%2F%2F127.0.0.1%3A8000%2FDockerfile";
        write!(
            socket,
            "POST /v1.41/build?version=2&networkmode=none&remote={remote} HTTP/1.1\r\n\
             Host: docker\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("moby.image.id"), "{answer}");
    }

    fn try_run(&self, script: &str) -> Output {
        let words = ["exec", POD, "-n", self.site.namespace(), "-c", "runner", "--"];
        let words = [&words[..], &["sh", "-c", script]].concat();
        self.site.kubectl().command(&words).output().unwrap()
    }

    /// The runtime's id of the container that the engine's containers are in, while it runs.
    pub(super) fn outer_id(&self) -> String {
        self.site.until_status(POD, self.form.outer(), |status| {
            status.pointer("/state/running")?;
            id_of(status)
        })
    }

    /// CPU time in seconds that a group of the node has counted. `path`: below the outer container's
    /// own group.
    pub(super) fn counted_below(&self, outer: &str, path: &str) -> f64 {
        let classes = ["", "burstable/", "besteffort/"];
        let groups = classes.map(|class| {
            self.cpu_hierarchy().join(format!("kubepods/{class}pod{}/{outer}/{path}", self.uid))
        });
        let group = groups.iter().find(|group| group.is_dir());
        let group = group.unwrap_or_else(|| panic!("none of {groups:?}"));
        let ns = CpuCounter::open(group).unwrap().read_ns().unwrap();
        Duration::from_nanos(ns).as_secs_f64()
    }

    /// Where the node mounts the hierarchy that counts CPU time.
    fn cpu_hierarchy(&self) -> PathBuf {
        let mount = self.site.node.path("/sys/fs/cgroup");
        let names = ["cpuacct", "cpu,cpuacct"].map(|name| mount.join(name));
        names.into_iter().find(|name| name.is_dir()).unwrap_or(mount)
    }
}

fn manifest(namespace: &str, form: Form) -> Value {
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    let usr = json!({"name": "usr", "mountPath": USR, "readOnly": true});
    let mut runner = json!({
        "name": "runner", "image": ENGINES, "command": ["/home/runner/run.sh"],
        "resources": {"requests": {"cpu": "10m"}},
        "volumeMounts": [mount("work", "/home/runner/_work"), usr.clone()],
    });
    let mut spec = json!({
        "nodeName": NODE, "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "volumes": [
            {"name": "usr", "hostPath": {"path": USR}}, {"name": "work", "emptyDir": {}},
            {"name": "dind-sock", "emptyDir": {}}, {"name": "dind-externals", "emptyDir": {}},
            {"name": "cgroups", "hostPath": {"path": "/sys/fs/cgroup"}},
        ],
    });
    if form == Form::Podman {
        runner["securityContext"] = json!({"privileged": true});
        spec["containers"] = json!([runner]);
        return pod(namespace, &spec);
    }
    runner["env"] = json!([
        {"name": "DOCKER_HOST", "value": "unix:///var/run/docker.sock"},
        {"name": "RUNNER_WAIT_FOR_DOCKER_IN_SECONDS", "value": "120"},
    ]);
    // The user of GitHub's image and the group of the socket.
    runner["securityContext"] = json!({"runAsUser": 1001, "runAsGroup": 123});
    runner["volumeMounts"].as_array_mut().unwrap().push(mount("dind-sock", "/var/run"));
    let externals = json!({
        "name": "init-dind-externals", "image": ENGINES, "command": ["cp"],
        "args": ["-r", "/home/runner/externals/.", "/home/runner/tmpDir/"],
        "volumeMounts": [mount("dind-externals", "/home/runner/tmpDir"), usr.clone()],
    });
    let mut dind = json!({
        "name": "dind", "image": ENGINES,
        "args": ["dockerd", "--host=unix:///var/run/docker.sock", "--group=$(DOCKER_GROUP_GID)"],
        "env": [{"name": "DOCKER_GROUP_GID", "value": "123"}],
        "securityContext": {"privileged": true},
        "volumeMounts": [
            mount("work", "/home/runner/_work"), mount("dind-sock", "/var/run"),
            mount("dind-externals", "/home/runner/externals"), usr,
        ],
    });
    if form == Form::SidecarWithNodesCgroups {
        dind["volumeMounts"].as_array_mut().unwrap().push(mount("cgroups", "/sys/fs/cgroup"));
    }
    if form == Form::Classic {
        spec["initContainers"] = json!([externals]);
        spec["containers"] = json!([runner, dind]);
    } else {
        dind["restartPolicy"] = json!("Always");
        dind["startupProbe"] = json!({
            "exec": {"command": ["docker", "info"]},
            "initialDelaySeconds": 0, "failureThreshold": 24, "periodSeconds": 5,
            // Not in the chart: one second is too short for a busy machine.
            "timeoutSeconds": 20,
        });
        spec["initContainers"] = json!([externals, dind]);
        spec["containers"] = json!([runner]);
    }
    pod(namespace, &spec)
}

fn pod(namespace: &str, spec: &Value) -> Value {
    let labels = json!({"actions-ephemeral-runner": "True"});
    json!({
        "apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": {"name": POD, "namespace": namespace, "labels": labels},
    })
}
