//! Images: which are on the node, which must be pulled, and the kubelet's events about them.
//!
//! Source: kubernetes v1.36.2, `pkg/kubelet/images/image_manager.go`.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use ephemon_base::lock;
use serde_json::Value;
use tokio::time::Instant;

use super::{Kind, Shared};
use crate::api::object::text;

/// Images that exist; all others do not.
const LOCAL: &str = "localhost/";
/// Those of them that are not on the node before their first use.
const FAR: &str = "localhost/far/";
/// The reason of a container whose image could not be pulled just now.
pub(super) const PULL_FAILED: &str = "ErrImagePull";
/// Reported size of every image.
const BYTES: u64 = 4_261_550;

/// Why a container does not run, and the kubelet's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) reason: &'static str,
    pub(super) message: Option<String>,
}

/// The images that were pulled.
#[derive(Debug, Default)]
pub(super) struct Images(Mutex<BTreeSet<String>>);

// === impl Images ===

impl Images {
    /// Whether the container's image must be pulled; it counts as present afterwards.
    fn must_pull(&self, container: &Value) -> bool {
        let image = text(container, "/image").unwrap_or_default();
        let mut held = lock(&self.0);
        image.starts_with(FAR) && held.insert(image.to_owned())
    }
}

/// Provides a container's image. Nothing else of the pod happens meanwhile, as a real kubelet's pod
/// worker waits for its pulls.
pub(super) async fn provide(shared: &Shared, pod: &Value, container: &Value, kind: Kind) {
    let part = |pointer| text(container, pointer).unwrap_or_default();
    let (name, image) = (part("/name"), part("/image"));
    let tell = |reason: &str, message: &str| {
        shared.store.events().tell(pod, (kind.spec(), name), reason, message);
    };
    if !shared.images.must_pull(container) {
        return tell("Pulled", &present(image));
    }
    tell("Pulling", &pulling(image));
    let begin = Instant::now();
    tokio::time::sleep(shared.settings.pull).await;
    tell("Pulled", &pulled(image, begin.elapsed()));
}

/// Why a container's image is not available, with the kubelet's message.
pub(super) fn trouble(container: &Value) -> Option<Waiting> {
    let image = text(container, "/image").unwrap_or_default();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._/:@".contains(c);
    let (reason, message) = if !image.chars().all(is_part) {
        let why = format!("couldn't parse image name {image:?}: invalid reference format");
        ("InvalidImageName", format!("Failed to apply default image tag {image:?}: {why}"))
    } else if image.starts_with(LOCAL) {
        return None;
    } else if text(container, "/imagePullPolicy") == Some("Never") {
        let message =
            format!("Container image \"{image}\" is not present with pull policy of Never");
        ("ErrImageNeverPull", message)
    } else {
        let message = format!(
            "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": {image}: not found"
        );
        (PULL_FAILED, message)
    };
    Some(Waiting { reason, message: Some(message) })
}

/// A real kubelet retries a failed pull. That does not happen here, but the status is the same.
pub(super) fn back_off(waiting: &mut Waiting, image: &str) {
    if waiting.reason == PULL_FAILED {
        let why = waiting.message.take().unwrap_or_default();
        waiting.reason = "ImagePullBackOff";
        waiting.message = Some(format!("Back-off pulling image \"{image}\": {PULL_FAILED}: {why}"));
    }
}

/// The name of an image in the demo: without registry and tag.
pub(super) fn name(image: &str) -> Option<&str> {
    let name = image.strip_prefix(FAR).or_else(|| image.strip_prefix(LOCAL))?;
    name.split(':').next()
}

/// `Pulled`, for an image that was present.
fn present(image: &str) -> String {
    format!("Container image \"{image}\" already present on machine and can be accessed by the pod")
}

/// `Pulling`.
fn pulling(image: &str) -> String {
    format!("Pulling image \"{image}\"")
}

/// `Pulled`, for one that was not.
fn pulled(image: &str, took: Duration) -> String {
    let took = go(took);
    format!(
        "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {BYTES} bytes."
    )
}

/// As Go formats a duration of whole milliseconds below a minute.
fn go(took: Duration) -> String {
    match took.as_millis() {
        0 => "0s".to_owned(),
        below @ ..1000 => format!("{below}ms"),
        _ => format!("{}s", took.as_millis() as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_far_image_is_pulled_once_and_others_never() {
        let images = Images::default();
        let must = |image: &str| images.must_pull(&json!({"image": image}));
        assert!(!must("localhost/step:1"));
        assert!(must("localhost/far/greeter:1"));
        assert!(!must("localhost/far/greeter:1"));
        assert_eq!(name("localhost/far/greeter:1"), Some("greeter"));
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        assert_eq!(go(Duration::from_millis(300)), "300ms");
        assert_eq!(go(Duration::from_millis(1_234)), "1.234s");
        assert_eq!(go(Duration::from_secs(2)), "2s");
        assert_eq!(go(Duration::ZERO), "0s");
    }
}
