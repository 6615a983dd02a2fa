//! One pull: asks the runtime what it has, and for what it has not.
//!
//! The request names no pod. To CRI-O the pod's namespace would mean credentials that a provider of the
//! kubelet has left there for one pull of the kubelet's. Signature policies of namespaces hold all the
//! same: CRI-O checks them once more when it creates a container.
//!
//! Source: cri-o main, `server/image_pull.go` (`prepareTempAuthFile`), `server/container_create.go`
//! (`IsRunningImageAllowed`).

use std::path::Path;
use std::time::{Duration, Instant};

use ephemon_base::clock::{nanos, now_ns};
use ephemon_discovery::awaited_images::AwaitedImage;
use ephemon_discovery::cri::wire::{
    IMAGE_SERVICE, Image, ImageSpec, ImageStatusRequest, ImageStatusResponse, PullImageRequest,
    PullImageResponse,
};
use ephemon_discovery::cri::{Client, Error};
use ephemon_self_metrics::PrePulled;

use super::takers::Pulled;

/// Longest wait for an answer about an image.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pull. containerd gives up a pull that makes no progress for five minutes
/// (`image_pull_progress_timeout`); one that took longer goes on for the kubelet, from what is there.
const PULL_TIMEOUT: Duration = Duration::from_mins(10);

/// Asks a runtime; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Puller {
    status: Client,
    pull: Client,
}

/// What came of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pulled(Pulled),
    Present,
    /// The runtime's code for it.
    Failed(String),
    Unreachable,
    Late,
    Cancelled,
}

// === impl Outcome ===

impl Outcome {
    pub(crate) fn result(&self) -> PrePulled {
        match self {
            Self::Pulled(_) => PrePulled::Pulled,
            Self::Present => PrePulled::Present,
            Self::Failed(_) => PrePulled::Failed,
            Self::Unreachable => PrePulled::Unreachable,
            Self::Late => PrePulled::Late,
            Self::Cancelled => PrePulled::Cancelled,
        }
    }
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        match error {
            Error::Connect { .. } => Self::Unreachable,
            Error::Silence { .. } => Self::Late,
            // That of a runtime that ends is among them.
            Error::Refusal { status, .. } => Self::Failed(format!("{:?}", status.code())),
        }
    }
}

// === impl Puller ===

impl Puller {
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            status: Client::new(socket, STATUS_TIMEOUT),
            pull: Client::new(socket, PULL_TIMEOUT),
        }
    }

    /// Has the image pulled. If this is dropped, so is the runtime's pull.
    pub(crate) async fn pull(&self, image: &AwaitedImage) -> Outcome {
        self.try_pull(image).await.unwrap_or_else(Outcome::from)
    }

    async fn try_pull(&self, image: &AwaitedImage) -> Result<Outcome, Error> {
        if !image.is_pulled_always && self.on_node(&image.name).await?.is_some() {
            return Ok(Outcome::Present);
        }
        let (start_ns, began) = (now_ns(), Instant::now());
        let request = PullImageRequest { image: Some(spec(&image.name)) };
        let _: PullImageResponse =
            self.pull.call_service(IMAGE_SERVICE, "PullImage", request).await?;
        let end_ns = start_ns.saturating_add(nanos(began.elapsed()));
        // That it was pulled is so whatever becomes of this question.
        let pulled = self.on_node(&image.name).await.ok().flatten();
        let bytes = pulled.map(|image| image.size).filter(|size| *size > 0);
        Ok(Outcome::Pulled(Pulled { start_ns, end_ns, bytes }))
    }

    async fn on_node(&self, name: &str) -> Result<Option<Image>, Error> {
        let request = ImageStatusRequest { image: Some(spec(name)) };
        let answer: ImageStatusResponse =
            self.status.call_service(IMAGE_SERVICE, "ImageStatus", request).await?;
        Ok(answer.image)
    }
}

fn spec(name: &str) -> ImageSpec {
    ImageSpec { image: name.to_owned(), user_specified_image: String::new() }
}
