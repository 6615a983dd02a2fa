//! Records how long the kubelet took to pull the images of the job's containers, from its events,
//! because the agent does not watch events. Optional: without permission to list events nothing is
//! recorded.

use std::time::Duration;

use ephemon_base::{clock::nanos, duration};
use ephemon_contract::Record;
use k8s_openapi::api::core::v1::Event;
use tokio::time::timeout;

use super::api::Api;
use super::call::Call;
use super::journal;

/// Longest wait for the list, which delays the call.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(2);
/// A container whose image is present starts in a tenth of this (deploy/docs/performance.md): without a
/// pull a call must not wait for a list that has none.
const PULL_AT_LEAST: Duration = Duration::from_secs(1);
/// Identifies events of ephemeral containers among those of the pod's other containers.
const PLACE: &str = "spec.ephemeralContainers{";

/// A pull as the kubelet's event reports it.
#[derive(Debug, PartialEq, Eq)]
struct Pull {
    took: Duration,
    bytes: Option<u64>,
}

/// Writes the pulls of the pod's ephemeral containers to the journal.
pub(super) async fn note(call: &Call<'_>, api: &Api) {
    note_of(call, api, |_| true).await;
}

/// Writes the pulls of these containers, which took so long to come up, while the job goes on: where
/// that was less than a pull takes, nothing is asked, and what is told late is for the job's end.
pub(super) async fn note_early(call: &Call<'_>, api: &Api, took: Duration, names: &[&str]) {
    if took >= PULL_AT_LEAST {
        note_of(call, api, |name| names.contains(&name)).await;
    }
}

async fn note_of(call: &Call<'_>, api: &Api, is_asked: impl Fn(&str) -> bool) {
    match timeout(EVENTS_TIMEOUT, api.pulled_events()).await {
        Ok(Ok(events)) => {
            for (container, record) in events.iter().filter_map(record) {
                if !is_asked(&container) {
                    continue;
                }
                // Without a journal no agent reads the records.
                drop(journal::append(&call.settings.volume, &record));
            }
        }
        Ok(Err(error)) => {
            let why = format!("the durations of image pulls are not reported: {error}");
            call.console.debug(&why);
        }
        Err(_) => {
            call.console
                .debug("the durations of image pulls are not reported: the API server is too slow");
        }
    }
}

/// The container, and what is to be written of it.
fn record(event: &Event) -> Option<(String, Record)> {
    let place = event.involved_object.field_path.as_deref()?;
    let container = place.strip_prefix(PLACE)?.strip_suffix('}')?;
    let Pull { took, bytes } = Pull::parse(event.message.as_deref()?)?;
    let at = event.event_time.as_ref().map(|time| time.0.as_nanosecond());
    let at = at.or_else(|| event.last_timestamp.as_ref().map(|time| time.0.as_nanosecond()))?;
    let record = Record::ImagePulled {
        at_ns: u64::try_from(at).ok()?,
        container: Record::text(container),
        duration_ns: nanos(took),
        bytes,
    };
    Some((container.to_owned(), record))
}

// === impl Pull ===

impl Pull {
    /// Returns `None` if the image was already on the node.
    ///
    /// Source: kubernetes v1.36.2, `pkg/kubelet/images/image_manager.go`: `Successfully pulled image
    /// "node:22" in 1.234s (2.345s including waiting). Image size: 4261550 bytes.`
    fn parse(message: &str) -> Option<Self> {
        let (_, told) =
            message.strip_prefix("Successfully pulled image \"")?.split_once("\" in ")?;
        let (took, rest) = told.split_once(' ').unwrap_or((told, ""));
        let took = duration::parse(took)?;
        let size = rest.split_once("Image size: ").and_then(|(_, size)| size.split(' ').next());
        Some(Self { took, bytes: size.and_then(|size| size.parse().ok()) })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn a_pull_is_read_from_the_kubelets_words() {
        let parse = |told: &str| {
            Pull::parse(&format!("Successfully pulled image \"node:22\" in {told}"))
                .map(|pull| (pull.took.as_millis(), pull.bytes))
        };
        let whole = "1.234s (2.345s including waiting). Image size: 4261550 bytes.";
        assert_eq!(parse(whole), Some((1_234, Some(4_261_550))));
        assert_eq!(parse("1m2.5s (1m3s including waiting)"), Some((62_500, None)));
        assert_eq!(parse("350ms"), Some((350, None)));
        for senseless in ["-3s", "1s-3s", "99999999999999999999h", "1e9s", "s", ".s", "3"] {
            assert_eq!(parse(senseless), None, "{senseless}");
        }
        assert_eq!(parse("soon"), None);
        assert_eq!(parse(""), None);
        assert_eq!(Pull::parse("Container image \"node:22\" already present on machine"), None);
    }

    #[test]
    fn only_ephemeral_containers_events_are_taken() {
        let event = |place: &str| Event {
            involved_object: ObjectReference {
                field_path: Some(place.to_owned()),
                ..ObjectReference::default()
            },
            message: Some(
                "Successfully pulled image \"a\" in 2s (2s including waiting)".to_owned(),
            ),
            last_timestamp: Some(Time(Timestamp::from_second(1_790_000_000).unwrap())),
            ..Event::default()
        };
        assert_eq!(
            record(&event("spec.ephemeralContainers{job}")).map(|(_, record)| record),
            Some(Record::ImagePulled {
                at_ns: 1_790_000_000_000_000_000,
                container: "job".to_owned(),
                duration_ns: 2_000_000_000,
                bytes: None,
            })
        );
        assert_eq!(record(&event("spec.containers{runner}")), None);
        assert_eq!(record(&event("spec.ephemeralContainers{job")), None);
    }
}
