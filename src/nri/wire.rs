//! Messages of ttrpc and of NRI v1alpha1, declared by hand for the fields used.
//!
//! Source: github.com/containerd/ttrpc, `request.proto`; github.com/containerd/nri,
//! `pkg/api/api.proto`.

use bytes::Bytes;

/// The service of the runtime.
pub(super) const RUNTIME_SERVICE: &str = "nri.pkg.api.v1alpha1.Runtime";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(string, tag = "1")]
    pub(super) service: String,
    #[prost(string, tag = "2")]
    pub(super) method: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) payload: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<Status>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) payload: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RegisterPluginRequest {
    #[prost(string, tag = "1")]
    pub(super) plugin_name: String,
    #[prost(string, tag = "2")]
    pub(super) plugin_idx: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConfigureRequest {
    /// Milliseconds.
    #[prost(int64, tag = "5")]
    pub(super) request_timeout: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConfigureResponse {
    #[prost(int32, tag = "2")]
    pub(super) events: i32,
}

/// The field of `SynchronizeRequest` with pods: as often as there are [`PodLife`]s.
pub(super) const LISTED_PODS: u32 = 1;
/// The field with containers: as often as there are [`ContainerLife`]s.
pub(super) const LISTED_CONTAINERS: u32 = 2;
/// The field that says whether there is another part.
pub(super) const LISTED_MORE: u32 = 3;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SynchronizeResponse {
    #[prost(bool, tag = "2")]
    pub(super) more: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CreateContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) pod: Option<PodSandbox>,
    /// A [`Container`], of which the environment is looked through where it lies: an image chooses
    /// how many variables there are.
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) container: Bytes,
}

/// What the requests `CreateContainer`, `PostStartContainer` and `StopContainer` have in common.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerEvent {
    #[prost(message, optional, tag = "1")]
    pub(super) pod: Option<PodLife>,
    #[prost(message, optional, tag = "2")]
    pub(super) container: Option<ContainerLife>,
}

/// How runtimes with an NRI before v0.12 tell of what has no method of its own there.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StateChangeEvent {
    #[prost(int32, tag = "1")]
    pub(super) event: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) pod: Option<PodLife>,
    #[prost(message, optional, tag = "3")]
    pub(super) container: Option<ContainerLife>,
}

/// Of a `PodSandbox` what its containers' lives need. Texts are bytes, which are not copied before they
/// are known to be short.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodLife {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) name: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) uid: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) namespace: Bytes,
}

/// Of a `Container` what its life needs. Times are nanoseconds since 1970; 0: not told, or not reached.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerLife {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) pod_sandbox_id: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) name: Bytes,
    #[prost(int64, tag = "15")]
    pub(super) started_at: i64,
    #[prost(int64, tag = "16")]
    pub(super) finished_at: i64,
    #[prost(int32, tag = "17")]
    pub(super) exit_code: i32,
    #[prost(bytes = "bytes", tag = "18")]
    pub(super) status_reason: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CreateContainerResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) adjust: Option<ContainerAdjustment>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandbox {
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) uid: String,
    #[prost(string, tag = "4")]
    pub(super) namespace: String,
}

/// The field of a container's command, as the runtime has resolved it: as often as it has words.
pub(super) const CONTAINER_ARGS: u32 = 7;
/// The field of a container's environment: `NAME=VALUE`, as often as there are variables.
pub(super) const CONTAINER_ENV: u32 = 8;
/// The field of a container's mounts: as often as there are [`Mount`]s.
pub(super) const CONTAINER_MOUNTS: u32 = 9;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Mount {
    #[prost(string, tag = "1")]
    pub(super) destination: String,
    #[prost(string, repeated, tag = "4")]
    pub(super) options: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Container {
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(message, optional, tag = "11")]
    pub(super) linux: Option<LinuxContainer>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LinuxContainer {
    /// [`LinuxResources`], of which the files of cgroup v2 are looked through where they lie.
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) resources: Bytes,
}

/// The field of resources with files of cgroup v2 that are written as they are: entries of a map.
pub(super) const RESOURCES_UNIFIED: u32 = 6;

/// A file of cgroup v2 and what is written to it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UnifiedEntry {
    #[prost(string, tag = "1")]
    pub(super) file: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerAdjustment {
    #[prost(message, optional, tag = "6")]
    pub(super) linux: Option<LinuxContainerAdjustment>,
    /// The whole command; an empty first word takes it from a plugin that has set it before
    /// (`pkg/adaptation/result.go`, `adjustArgs`). NRI v0.10.0 and later know it.
    #[prost(string, repeated, tag = "9")]
    pub(super) args: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LinuxContainerAdjustment {
    #[prost(message, optional, tag = "2")]
    pub(super) resources: Option<LinuxResources>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LinuxResources {
    #[prost(message, optional, tag = "1")]
    pub(super) memory: Option<LinuxMemory>,
    #[prost(message, optional, tag = "2")]
    pub(super) cpu: Option<LinuxCpu>,
    #[prost(message, optional, tag = "8")]
    pub(super) pids: Option<LinuxPids>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LinuxMemory {
    #[prost(message, optional, tag = "1")]
    pub(super) limit: Option<OptionalInt64>,
    /// Memory and swap together.
    #[prost(message, optional, tag = "3")]
    pub(super) swap: Option<OptionalInt64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LinuxCpu {
    #[prost(message, optional, tag = "2")]
    pub(super) quota: Option<OptionalInt64>,
    #[prost(message, optional, tag = "3")]
    pub(super) period: Option<OptionalUint64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LinuxPids {
    #[prost(int64, tag = "1")]
    pub(super) limit: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OptionalInt64 {
    #[prost(int64, tag = "1")]
    pub(super) value: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OptionalUint64 {
    #[prost(uint64, tag = "1")]
    pub(super) value: u64,
}
