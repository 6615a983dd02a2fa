//! The calls a kubelet makes to its container runtime, one method a call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::cri_wire::{
    ContainerConfig, ContainerId, ContainerStatus, ContainerStatusRequest, ContainerStatusResponse,
    CreateContainerRequest, Empty, PodSandboxConfig, RunPodSandboxRequest, RunPodSandboxResponse,
    SandboxId, StopContainerRequest,
};

/// Longer than the kubelet's `--runtime-request-timeout` of two minutes: ten starts at once in
/// software emulation on a busy machine take that.
const LIMIT: Duration = Duration::from_mins(8);

/// A connection to the runtime's socket. Calls block; each burst thread has its own.
#[derive(Debug)]
pub(crate) struct Cri {
    runtime: Runtime,
    channel: Channel,
    socket: PathBuf,
}

impl Cri {
    /// Connects at the first call.
    pub(crate) fn new(socket: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = runtime.block_on(async {
            // The address is never looked at: the connector has the socket.
            Endpoint::from_static("http://cri")
                .timeout(LIMIT)
                .connect_with_connector_lazy(connector)
        });
        Self { runtime, channel, socket: socket.to_owned() }
    }

    /// A second connection to the same runtime.
    pub(crate) fn again(&self) -> Self {
        Self::new(&self.socket)
    }

    /// Whether the runtime answers.
    pub(crate) fn version(&self) -> Result<(), Status> {
        self.call::<_, Empty>("Version", Empty {}).map(drop)
    }

    /// Starts a pod's sandbox by a handler of the runtime's configuration; returns its id.
    pub(crate) fn run_pod_sandbox(
        &self,
        config: &PodSandboxConfig,
        handler: &str,
    ) -> Result<String, Status> {
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: handler.to_owned(),
        };
        let response: RunPodSandboxResponse = self.call("RunPodSandbox", request)?;
        Ok(response.pod_sandbox_id)
    }

    /// Creates a container; returns its id.
    pub(crate) fn create_container(
        &self,
        sandbox: &str,
        pod: &PodSandboxConfig,
        config: ContainerConfig,
    ) -> Result<String, Status> {
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(pod.clone()),
        };
        let response: ContainerId = self.call("CreateContainer", request)?;
        Ok(response.container_id)
    }

    /// Starts it; fails where its command cannot be run.
    pub(crate) fn start_container(&self, id: &str) -> Result<(), Status> {
        self.call::<_, Empty>("StartContainer", container(id)).map(drop)
    }

    /// Its state and how it ended.
    pub(crate) fn container_status(&self, id: &str) -> Result<ContainerStatus, Status> {
        let response = self.status(id, false)?;
        response.status.ok_or_else(|| Status::data_loss("a status response without a status"))
    }

    /// The host's process id of a container's first process, while it runs.
    pub(crate) fn container_pid(&self, id: &str) -> Option<i32> {
        let response = self.status(id, true).ok()?;
        let info: serde_json::Value = serde_json::from_str(response.info.get("info")?).ok()?;
        i32::try_from(info.get("pid")?.as_i64()?).ok().filter(|pid| *pid > 0)
    }

    /// SIGTERM, then SIGKILL after `grace` seconds.
    pub(crate) fn stop_container(&self, id: &str, grace: i64) -> Result<(), Status> {
        let request = StopContainerRequest { container_id: id.to_owned(), timeout: grace };
        self.call::<_, Empty>("StopContainer", request).map(drop)
    }

    /// Opens a running container's log anew, after its file was renamed.
    pub(crate) fn reopen_container_log(&self, id: &str) -> Result<(), Status> {
        self.call::<_, Empty>("ReopenContainerLog", container(id)).map(drop)
    }

    /// Removes an ended container's record.
    pub(crate) fn remove_container(&self, id: &str) -> Result<(), Status> {
        self.call::<_, Empty>("RemoveContainer", container(id)).map(drop)
    }

    /// Ends whatever still runs in the pod and its sandbox.
    pub(crate) fn stop_pod_sandbox(&self, id: &str) -> Result<(), Status> {
        self.call::<_, Empty>("StopPodSandbox", sandbox(id)).map(drop)
    }

    /// Removes the pod's record.
    pub(crate) fn remove_pod_sandbox(&self, id: &str) -> Result<(), Status> {
        self.call::<_, Empty>("RemovePodSandbox", sandbox(id)).map(drop)
    }

    fn status(&self, id: &str, verbose: bool) -> Result<ContainerStatusResponse, Status> {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose };
        self.call("ContainerStatus", request)
    }

    fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}").parse().unwrap();
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        self.runtime.block_on(async {
            client.ready().await.map_err(|error| {
                Status::unavailable(format!("{}: {error}", self.socket.display()))
            })?;
            let response =
                client.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await?;
            Ok(response.into_inner())
        })
    }
}

fn container(id: &str) -> ContainerId {
    ContainerId { container_id: id.to_owned() }
}

fn sandbox(id: &str) -> SandboxId {
    SandboxId { pod_sandbox_id: id.to_owned() }
}
