//! The messages of the CRI, with the fields that are used. The decoder skips all others.
//!
//! Written by hand with the field numbers of `runtime.v1` (k8s.io/cri-api, `api.proto`), because
//! code generated from that file would need `protoc` on every build machine.

/// The gRPC service of these messages.
pub const RUNTIME_SERVICE: &str = "runtime.v1.RuntimeService";

/// The gRPC service of images.
pub const IMAGE_SERVICE: &str = "runtime.v1.ImageService";

/// `ContainerState.CONTAINER_EXITED`.
pub const CONTAINER_EXITED: i32 = 2;

/// `ListPodSandboxRequest`, without a filter.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ListPodSandboxRequest {}

/// `ListPodSandboxResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListPodSandboxResponse {
    /// Every sandbox.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<PodSandbox>,
}

/// `PodSandbox`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandbox {
    /// The sandbox container's id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its pod.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
}

/// `PodSandboxMetadata`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandboxMetadata {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The pod's UID.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// The pod's namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// The number of the attempt.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

/// `ListContainersRequest`, without a filter.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ListContainersRequest {}

/// `ListContainersResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListContainersResponse {
    /// All containers, without sandboxes.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Container>,
}

/// `Container`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Container {
    /// The container's id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its pod's sandbox.
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    /// Its name.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<ContainerMetadata>,
    /// Its image.
    #[prost(message, optional, tag = "4")]
    pub image: Option<ImageSpec>,
    /// `ContainerState`.
    #[prost(int32, tag = "6")]
    pub state: i32,
}

/// `ContainerMetadata`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerMetadata {
    /// The container's name in the pod's spec.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The number of the attempt.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

/// `ImageSpec`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ImageSpec {
    /// What the kubelet resolved the image to, or its name.
    #[prost(string, tag = "1")]
    pub image: String,
    /// The image as the pod's spec names it (since Kubernetes 1.28; empty before).
    #[prost(string, tag = "18")]
    pub user_specified_image: String,
}

/// `ContainerStatusRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerStatusRequest {
    /// The container's id.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Whether the response contains runtime details.
    #[prost(bool, tag = "2")]
    pub verbose: bool,
}

/// `ContainerStatusResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerStatusResponse {
    /// The status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
}

/// `ContainerStatus`. Times are nanoseconds since 1970, 0 if not reached.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerStatus {
    /// The container's id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its name.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<ContainerMetadata>,
    /// `ContainerState`.
    #[prost(int32, tag = "3")]
    pub state: i32,
    /// When it was created.
    #[prost(int64, tag = "4")]
    pub created_at: i64,
    /// When it was started.
    #[prost(int64, tag = "5")]
    pub started_at: i64,
    /// When it ended.
    #[prost(int64, tag = "6")]
    pub finished_at: i64,
    /// Its exit code, valid once it has ended.
    #[prost(int32, tag = "7")]
    pub exit_code: i32,
    /// Its image.
    #[prost(message, optional, tag = "8")]
    pub image: Option<ImageSpec>,
    /// `Completed`, `Error`, `OOMKilled` or similar.
    #[prost(string, tag = "10")]
    pub reason: String,
}

/// `ImageStatusRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ImageStatusRequest {
    /// The image.
    #[prost(message, optional, tag = "1")]
    pub image: Option<ImageSpec>,
}

/// `ImageStatusResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ImageStatusResponse {
    /// The image; absent if the runtime does not have it.
    #[prost(message, optional, tag = "1")]
    pub image: Option<Image>,
}

/// `Image`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Image {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its size in bytes.
    #[prost(uint64, tag = "4")]
    pub size: u64,
}

/// `PullImageRequest`, without credentials, and without a pod: CRI-O has credentials for pods'
/// namespaces.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PullImageRequest {
    /// The image.
    #[prost(message, optional, tag = "1")]
    pub image: Option<ImageSpec>,
}

/// `PullImageResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PullImageResponse {
    /// What the image was resolved to.
    #[prost(string, tag = "1")]
    pub image_ref: String,
}
