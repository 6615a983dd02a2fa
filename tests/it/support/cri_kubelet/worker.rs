//! One pod's life: sandbox, containers in the spec's order, status, end.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tonic::Code;

use super::super::cgroups::is_v2;
use super::super::cri::Cri;
use super::super::cri_wire::{
    LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, SandboxSecurityContext,
};
use super::super::kubelet::labels;
use super::super::node::PodPlace;
use super::status::{self, Seen};
use super::translate::{self, Surroundings, bytes, items, text};
use super::volumes::PodDirectory;
use super::{Desk, LOOK};

/// Between looks at the runtime: `genericPlegRelistPeriod`.
const RELIST: Duration = Duration::from_secs(1);

/// A pod's worker.
pub(super) struct Worker {
    desk: Arc<Desk>,
    cri: Cri,
    key: (String, String),
    place: PodPlace,
    directory: PodDirectory,
    seen: BTreeMap<String, Seen>,
}

/// Why a container is not started.
struct Unstarted(&'static str, String);

// === impl Worker ===

impl Worker {
    pub(super) fn new(desk: &Arc<Desk>, pod: &Value) -> Self {
        let get = |field: &str| text(pod, &format!("/metadata/{field}")).to_owned();
        let (namespace, name, uid) = (get("namespace"), get("name"), get("uid"));
        let directory = PodDirectory::new(&desk.node.root(), &uid);
        Self {
            desk: Arc::clone(desk),
            cri: Cri::new(&desk.socket),
            key: (namespace.clone(), name.clone()),
            place: PodPlace { namespace, name, uid },
            directory,
            seen: BTreeMap::new(),
        }
    }

    pub(super) fn run(mut self) {
        let Ok(pod) = self.desk.store.get(&self.key) else { return };
        let mut config = self.make_place(&pod);
        let sandbox = self.cri.run_pod_sandbox(&config).unwrap();
        let mut relist = Instant::now();
        let mut retry = Instant::now();
        let grace = loop {
            let Ok(pod) = self.desk.store.get(&self.key) else { break 0 };
            if pod.pointer("/metadata/deletionTimestamp").is_some() {
                let grace = pod.pointer("/metadata/deletionGracePeriodSeconds");
                break grace.and_then(Value::as_i64).unwrap_or_default();
            }
            if self.desk.stopped() {
                break 0;
            }
            let again = Instant::now() >= retry;
            if again {
                retry = Instant::now() + RELIST;
            }
            self.start_missing(&pod, &sandbox, &mut config, again);
            if Instant::now() >= relist {
                relist = Instant::now() + RELIST;
                self.look();
                self.publish(&pod);
            }
            thread::sleep(LOOK);
        };
        self.end(&sandbox, grace);
    }

    /// Cgroup with the pod's limit, logs, volumes.
    fn make_place(&self, pod: &Value) -> PodSandboxConfig {
        let node = &self.desk.node;
        let cgroup = self.place.cgroup();
        node.cgroups().make(&cgroup);
        let limits = items(pod, "/spec/containers")
            .map(|spec| bytes(text(spec, "/resources/limits/memory")));
        // A pod is limited where each of its containers is.
        if let Some(limit) = limits.sum::<Option<i64>>() {
            node.cgroups().limit_memory(&cgroup, limit);
        }
        fs::create_dir_all(node.pod_logs(&self.place)).unwrap();
        self.directory.make(pod);
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: self.place.name.clone(),
                uid: self.place.uid.clone(),
                namespace: self.place.namespace.clone(),
                attempt: 0,
            }),
            hostname: self.place.name.clone(),
            log_directory: node.pod_logs(&self.place).to_string_lossy().into_owned(),
            labels: labels(&self.place, None),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.place.cgroup_parent(node.cgroups()),
                security_context: Some(SandboxSecurityContext {
                    namespace_options: Some(translate::namespaces()),
                    privileged: false,
                }),
            }),
        }
    }

    /// Starts what the runtime does not know: a container that was removed from it is started anew
    /// (kubernetes#124176).
    fn start_missing(
        &mut self,
        pod: &Value,
        sandbox: &str,
        config: &mut PodSandboxConfig,
        again: bool,
    ) {
        let regular = items(pod, "/spec/containers").map(|spec| (spec, false));
        let ephemeral = items(pod, "/spec/ephemeralContainers").map(|spec| (spec, true));
        for (spec, ephemeral) in regular.chain(ephemeral) {
            let name = text(spec, "/name");
            match self.seen.get(name) {
                Some(Seen::Runtime { .. }) => continue,
                Some(Seen::Waiting { .. }) if !again => continue,
                _ => {}
            }
            let before = self.seen.get(name).cloned();
            if let Some(linux) = &mut config.linux
                && let Some(security) = &mut linux.security_context
            {
                security.privileged |= translate::is_privileged(spec);
            }
            let seen = self.start(pod, spec, ephemeral, (sandbox, config));
            let seen = seen.unwrap_or_else(|Unstarted(reason, message)| match before {
                // The second failure in a row is backed off from.
                Some(Seen::Waiting { reason: "ErrImagePull" | "ImagePullBackOff", .. })
                    if reason == "ErrImagePull" =>
                {
                    let message =
                        format!("Back-off pulling image \"{}\": {message}", text(spec, "/image"));
                    Seen::Waiting { reason: "ImagePullBackOff", message }
                }
                _ => Seen::Waiting { reason, message },
            });
            self.seen.insert(name.to_owned(), seen);
        }
    }

    /// Image, environment, hosts file, log directory, creation, start: in the kubelet's order.
    fn start(
        &self,
        pod: &Value,
        spec: &Value,
        ephemeral: bool,
        (sandbox, config): (&str, &PodSandboxConfig),
    ) -> Result<Seen, Unstarted> {
        let name = text(spec, "/name");
        let image = self.image(spec)?;
        let secret =
            |name: &str| self.desk.store.secrets().values(&(self.key.0.clone(), name.to_owned()));
        let env = translate::environment(spec, secret)
            .map_err(|why| Unstarted("CreateContainerConfigError", why))?;
        self.directory.write_hosts(&self.place.name);
        self.desk.node.make_log_directory(&self.place, name);
        let mounts = self.directory.mounts(spec);
        // One process out of memory takes the container with it: `singleProcessOOMKill` is off.
        let unified = is_v2().then(|| ("memory.oom.group".to_owned(), "1".to_owned()));
        let unified = unified.into_iter().collect();
        let around = Surroundings { place: &self.place, pod, env, mounts, ephemeral, unified };
        let container = translate::container(spec, around);
        let failed =
            |status: tonic::Status| Unstarted("CreateContainerError", status.message().to_owned());
        let id = self.cri.create_container(sandbox, config, container).map_err(failed)?;
        let known = (self.key.clone(), name.to_owned());
        self.desk.ids.lock().unwrap().insert(known, id.clone());
        // What could not be started is over; its status says why.
        if self.cri.start_container(&id).is_ok() {
            self.desk.node.link_log(&self.place, name, &id);
        }
        let status = self.cri.container_status(&id).map_err(failed)?;
        Ok(Seen::Runtime { id, image, status })
    }

    /// The id of the image; there is no registry to have another from.
    fn image(&self, spec: &Value) -> Result<String, Unstarted> {
        let name = text(spec, "/image");
        match self.cri.image(name) {
            Ok(Some(id)) => Ok(id),
            Ok(None) if text(spec, "/imagePullPolicy") == "Never" => Err(Unstarted(
                "ErrImageNeverPull",
                format!("Container image \"{name}\" is not present with pull policy of Never"),
            )),
            Ok(None) => Err(Unstarted(
                "ErrImagePull",
                format!("failed to pull and unpack image \"{name}\": {name}: not found"),
            )),
            Err(status) => Err(Unstarted("ImageInspectError", status.message().to_owned())),
        }
    }

    /// Looks at every container that the runtime had.
    fn look(&mut self) {
        let mut gone = Vec::new();
        for (name, seen) in &mut self.seen {
            let Seen::Runtime { id, status, .. } = seen else { continue };
            match self.cri.container_status(id) {
                Ok(now) => *status = now,
                Err(error) if error.code() == Code::NotFound => gone.push(name.clone()),
                // A runtime that does not answer is asked again.
                Err(_) => {}
            }
        }
        for name in gone {
            self.seen.remove(&name);
        }
    }

    fn publish(&self, pod: &Value) {
        let status = status::of_pod(pod, |name| self.seen.get(name).cloned());
        // The pod may be gone.
        drop(self.desk.store.set_status(&self.key, status));
    }

    /// Ends all containers with this grace in seconds, then the pod.
    fn end(&mut self, sandbox: &str, grace: i64) {
        thread::scope(|scope| {
            for seen in self.seen.values() {
                if let Seen::Runtime { id, .. } = seen {
                    let cri = self.cri.again();
                    scope.spawn(move || cri.stop_container(id, grace));
                }
            }
        });
        self.look();
        if let Ok(pod) = self.desk.store.get(&self.key) {
            self.publish(&pod);
            self.desk.store.remove(&self.key);
        }
        // The runtime itself may be gone; what is left goes with the node.
        drop(self.cri.stop_pod_sandbox(sandbox));
        drop(self.cri.remove_pod_sandbox(sandbox));
    }
}
