//! Reports who attached what to a pod by hand: a line in the agent's log for each change, and an
//! event over OTLP where logs are exported.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use ephemon_base::clock::{unix_ns, unix_time};
use ephemon_discovery::debug_containers::{DebugChange, DebugContainer, DebugContainers};
use ephemon_export::{Outbox, Payload};
use ephemon_model::ContainerType;
use ephemon_otlp::{Batch, DebugEvent, Resource, Source};
use ephemon_self_metrics::{Reason, SelfMetrics, Signal};
use sha2::{Digest, Sha256};
use tracing::info;

/// Where changes are reported to.
pub(super) struct DebugAudit {
    pub(super) list: DebugContainers,
    /// The exporter of logs, if there is one.
    pub(super) outbox: Option<Outbox>,
    pub(super) node: Arc<str>,
    /// Attributes of every resource, as configured.
    pub(super) attributes: Arc<[(String, String)]>,
    pub(super) self_metrics: SelfMetrics,
}

/// Of which pods these containers are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DebugScope {
    /// Of the pods that the selector selects.
    Selected,
    /// Of all pods of the node.
    Node,
    /// Of none.
    Off,
}

// === impl DebugAudit ===

impl DebugAudit {
    /// Reports every change; never returns.
    pub(super) async fn run(self) -> Infallible {
        loop {
            let (changes, dropped) = self.list.take_changes();
            self.self_metrics.dropped_by(Signal::Events, Reason::Cap, dropped);
            let mut batch = Batch::new();
            for (change, container) in &changes {
                log(*change, container);
                self.add(*change, container, &mut batch);
            }
            if let Some(outbox) = self.outbox.as_ref().filter(|_| !batch.is_empty()) {
                let items = u64::try_from(batch.records()).unwrap_or(u64::MAX);
                outbox.offer_or_drop(Payload { body: batch.finish().into(), items });
            }
            self.list.news().await;
        }
    }

    fn add(&self, change: DebugChange, container: &DebugContainer, batch: &mut Batch) {
        if self.outbox.is_none() {
            return;
        }
        let said = self.attributes.iter().find(|(key, _)| key == "service.name");
        let resource = Resource::new(&Source {
            pod: (*container.pod).clone(),
            container: container.container.clone(),
            log_file_path: "".into(),
            container_id: None,
            container_type: Some(ContainerType::Ephemeral),
            image: container.image.clone(),
            node: Some(Arc::clone(&self.node)),
            service_name: said.map(|(_, name)| name.as_str().into()),
            attributes: Arc::clone(&self.attributes),
            job: None,
        });
        batch.push_debug(&Arc::new(resource), &event(change, container, SystemTime::now()));
    }
}

fn event(change: DebugChange, container: &DebugContainer, now: SystemTime) -> DebugEvent<'_> {
    let at = match change {
        DebugChange::Attached => container.attached,
        DebugChange::Started => container.started,
        DebugChange::Ended => container.finished,
    };
    let is_over = change == DebugChange::Ended;
    DebugEvent {
        change: change.as_str(),
        time_unix_nano: at.and_then(unix_time).map_or(0, ephemon_base::clock::nanos),
        observed_unix_nano: unix_ns(now),
        uid: uid(change, container),
        target: container.target.as_deref(),
        command: container.command.as_deref(),
        field_manager: container.field_manager.as_deref(),
        duration_s: container.duration().map(|ran| ran.as_secs()).filter(|_| is_over),
        exit_code: container.exit_code.filter(|_| is_over),
    }
}

/// The same for the same change, whichever agent reports it.
fn uid(change: DebugChange, container: &DebugContainer) -> u128 {
    let mut hash = Sha256::new();
    for part in [container.pod.uid.as_str(), &*container.container, change.as_str()] {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().take(16).fold(0, |uid, byte| (uid << 8) | u128::from(*byte))
}

fn log(change: DebugChange, container: &DebugContainer) {
    let pod = format!("{}/{}", container.pod.namespace, container.pod.name);
    let name = &*container.container;
    let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or("-").to_owned();
    let [image, target, command, field_manager] = [
        text(&container.image),
        text(&container.target),
        text(&container.command),
        text(&container.field_manager),
    ];
    match change {
        DebugChange::Attached => info!(
            %pod, container = name, %image, %target, %command, %field_manager,
            "a debug container was attached to a pod"
        ),
        DebugChange::Started => info!(%pod, container = name, "a debug container has started"),
        DebugChange::Ended => info!(
            %pod, container = name, exit_code = container.exit_code,
            seconds = container.duration().map(|ran| ran.as_secs()),
            "a debug container has ended"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ephemon_model::{PodRef, PodUid};

    use super::*;

    #[test]
    fn an_event_has_the_time_of_its_change_and_one_id_whenever_it_is_sent() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let container = DebugContainer {
            pod: Arc::new(PodRef { namespace: "shop".into(), name: "web-1".into(), uid }),
            container: "debugger-x".into(),
            image: Some("busybox".into()),
            target: Some("app".into()),
            command: Some("sh".into()),
            field_manager: None,
            attached: None,
            started: Some(at(10)),
            finished: Some(at(52)),
            exit_code: Some(3),
        };
        let started = event(DebugChange::Started, &container, at(60));
        assert_eq!((started.time_unix_nano, started.exit_code), (10_000_000_000, None));
        let ended = event(DebugChange::Ended, &container, at(60));
        assert_eq!((ended.duration_s, ended.exit_code), (Some(42), Some(3)));
        assert_eq!(event(DebugChange::Attached, &container, at(60)).time_unix_nano, 0);
        assert_ne!(started.uid, ended.uid);
        assert_eq!(ended.uid, event(DebugChange::Ended, &container, at(99)).uid);
    }
}
