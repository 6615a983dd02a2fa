//! Images that the agent has the runtime pull before the kubelet asks for them.

use std::time::Duration;

use prometheus::{CounterVec, IntCounterVec, Opts, Registry};

use super::counter;

/// What came of an image that an ephemeral container waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrePulled {
    /// The runtime pulled it.
    Pulled,
    /// It was on the node.
    Present,
    /// The runtime could not pull it.
    Failed,
    /// The runtime did not answer.
    Unreachable,
    /// It took too long.
    Late,
    /// The kubelet had it, or the pod was gone, before it was done.
    Cancelled,
    /// Left to the kubelet: the pod has pull secrets.
    PullSecrets,
    /// Left to the kubelet: the pod has a runtime class.
    RuntimeClass,
    /// Left to the kubelet: its name is not one of an image.
    Name,
    /// Left to the kubelet: the pod had too many already, or there are too many pods.
    Cap,
}

/// The families.
#[derive(Debug, Clone)]
pub(super) struct PrePullMetrics {
    images: IntCounterVec,
    seconds: CounterVec,
}

// === impl PrePulled ===

impl PrePulled {
    /// Every outcome.
    pub const ALL: [Self; 10] = [
        Self::Pulled,
        Self::Present,
        Self::Failed,
        Self::Unreachable,
        Self::Late,
        Self::Cancelled,
        Self::PullSecrets,
        Self::RuntimeClass,
        Self::Name,
        Self::Cap,
    ];

    /// The value of the `result` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pulled => "pulled",
            Self::Present => "present",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Late => "late",
            Self::Cancelled => "cancelled",
            Self::PullSecrets => "pull_secrets",
            Self::RuntimeClass => "runtime_class",
            Self::Name => "name",
            Self::Cap => "cap",
        }
    }

    /// Whether the runtime was asked.
    fn takes_time(self) -> bool {
        !matches!(self, Self::PullSecrets | Self::RuntimeClass | Self::Name | Self::Cap)
    }
}

// === impl PrePullMetrics ===

impl PrePullMetrics {
    /// Both families, beginning at 0.
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let images = counter(
            "pre_pulled_images_total",
            "Images that containers of selected pods wait for, by what came of pulling them before the kubelet does.",
            &["result"],
        )?;
        let seconds = CounterVec::new(
            Opts::new(
                "ephemon_agent_pre_pull_seconds_total",
                "Time that the runtime took for images that the agent asked for before the kubelet, by result.",
            ),
            &["result"],
        )?;
        for result in PrePulled::ALL {
            images.with_label_values(&[result.as_str()]).inc_by(0);
            if result.takes_time() {
                seconds.with_label_values(&[result.as_str()]).inc_by(0.0);
            }
        }
        Ok(Self { images, seconds })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.images.clone()))?;
        registry.register(Box::new(self.seconds.clone()))
    }

    pub(super) fn count(&self, result: PrePulled, images: u64, took: Duration) {
        self.images.with_label_values(&[result.as_str()]).inc_by(images);
        if result.takes_time() {
            self.seconds.with_label_values(&[result.as_str()]).inc_by(took.as_secs_f64());
        }
    }

    pub(super) fn so_far(&self, result: PrePulled) -> u64 {
        self.images.with_label_values(&[result.as_str()]).get()
    }
}
