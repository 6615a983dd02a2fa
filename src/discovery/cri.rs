//! Reads names by id, sandboxes and exit codes from the container runtime over its CRI socket.
//!
//! Optional and read-only: three calls that list and inspect. It is queried when a container was
//! created or ended, and at intervals; a runtime that is slow, blocked or stopped delays nothing
//! but the names it would provide.

mod client;
pub mod wire;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ephemon_base::Backoff;
use ephemon_base::backoff::jittered;
use ephemon_base::clock::at_unix_ns;
use ephemon_base::warning::Outage;
use ephemon_model::{ContainerId, Exit, PodRef, PodUid};
use tracing::{debug, info, warn};

use super::inventory::{Evidence, EvidenceSource, Inventory, Observation};

pub use client::{Client, Error};

/// How often the runtime is queried without an event.
const LIST_INTERVAL: Duration = Duration::from_secs(15);

/// How long after an event the runtime is queried a second time: a cgroup is empty shortly before
/// the runtime knows the exit code.
const FOLLOW_UP_DELAY: Duration = Duration::from_secs(1);

/// Shortest time between two queries, regardless of the number of events.
const LIST_INTERVAL_MIN: Duration = Duration::from_millis(500);

/// Longest wait for a response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause after failures.
const RETRY_INTERVAL_MAX: Duration = Duration::from_mins(1);

/// Most ended containers that are inspected in one round; the rest is inspected in the next.
const MAX_STATUSES: usize = 64;

/// Longest reason that is stored, in characters; the runtimes' own are single words.
const MAX_REASON: usize = 256;

/// Updates `inventory` from the runtime at `socket`; never returns.
pub async fn watch(socket: PathBuf, inventory: Inventory) -> Infallible {
    watch_by(Client::new(socket, ANSWER_TIMEOUT), inventory).await
}

/// Like [`watch`], with a client of the caller.
pub async fn watch_by(client: Client, inventory: Inventory) -> Infallible {
    let mut backoff = Backoff::new(Duration::from_secs(1), RETRY_INTERVAL_MAX);
    let mut outage = Outage::default();
    let mut wait = LIST_INTERVAL;
    inventory.will_ask_runtime();
    loop {
        let asked = round(&client, &inventory).await;
        inventory.runtime_asked(asked.is_ok());
        match asked {
            Ok(complete) => {
                backoff.reset();
                if outage.end() {
                    info!(socket = %client.socket().display(), "the runtime answers again");
                }
                tokio::time::sleep(LIST_INTERVAL_MIN).await;
                if complete {
                    let asked = tokio::time::timeout(
                        jittered(wait, fastrand::f64()),
                        inventory.questions(),
                    )
                    .await
                    .is_ok();
                    wait = if asked { FOLLOW_UP_DELAY } else { LIST_INTERVAL };
                }
            }
            Err(error) => {
                let sentence = error.to_string();
                if outage.is_news(sentence.clone()) {
                    warn!("{sentence}. Continuing without the runtime; retrying");
                } else {
                    debug!("{sentence}");
                }
                tokio::time::sleep(backoff.next_pause(fastrand::f64())).await;
            }
        }
    }
}

/// Whether the runtime at `socket` answers within `limit`.
pub async fn check(socket: PathBuf, limit: Duration) -> Result<(), Error> {
    let client = Client::new(socket, limit);
    let asked = client.call("ListPodSandbox", wire::ListPodSandboxRequest {}).await;
    asked.map(|_: wire::ListPodSandboxResponse| ())
}

/// Queries everything once; returns whether all ended containers could be inspected.
async fn round(client: &Client, inventory: &Inventory) -> Result<bool, Error> {
    let sandboxes: wire::ListPodSandboxResponse =
        client.call("ListPodSandbox", wire::ListPodSandboxRequest {}).await?;
    let containers: wire::ListContainersResponse =
        client.call("ListContainers", wire::ListContainersRequest {}).await?;
    let (evidence, exited) = read(sandboxes, containers);
    for evidence in evidence {
        inventory.learn(evidence);
    }
    let mut unexplained = inventory.unexplained(exited);
    // In random order, so that containers for which the runtime has no answer do not keep the
    // others from being inspected.
    fastrand::shuffle(&mut unexplained);
    let mut explained = 0;
    for id in unexplained.iter().take(MAX_STATUSES) {
        let request =
            wire::ContainerStatusRequest { container_id: id.as_str().to_owned(), verbose: false };
        match client.call("ContainerStatus", request).await {
            Ok(answer) => {
                if let Some(evidence) = explain(id, answer) {
                    inventory.learn(evidence);
                    explained += 1;
                }
            }
            // It was removed after the list, so the runtime does not know it any more.
            Err(Error::Refusal { status, .. }) => debug!(%id, %status, "no status"),
            Err(error) => return Err(error),
        }
    }
    Ok(unexplained.len() <= MAX_STATUSES || explained == 0)
}

/// The evidence in two lists, and the containers that have ended.
pub fn read(
    sandboxes: wire::ListPodSandboxResponse,
    containers: wire::ListContainersResponse,
) -> (Vec<Evidence>, Vec<ContainerId>) {
    let by = EvidenceSource::Cri;
    let mut evidence = Vec::new();
    let mut pods: HashMap<String, PodUid> = HashMap::new();
    for sandbox in sandboxes.items {
        let Some(pod) = sandbox.metadata.as_ref().and_then(pod) else {
            continue;
        };
        if let Ok(id) = ContainerId::parse(&sandbox.id) {
            evidence.push(Evidence::Sandbox { id, pod: Some(pod.uid.clone()) });
        }
        pods.insert(sandbox.id, pod.uid.clone());
        evidence.push(Evidence::Pod { pod, by });
    }
    let mut exited = Vec::new();
    for container in containers.containers {
        let (Ok(id), Some(metadata)) = (ContainerId::parse(&container.id), container.metadata)
        else {
            continue;
        };
        if !super::logs::names::is_label(&metadata.name) {
            continue;
        }
        if container.state == wire::CONTAINER_EXITED {
            exited.push(id.clone());
        }
        let word = Observation {
            pod: pods.get(&container.pod_sandbox_id).cloned(),
            name: metadata.name.into(),
            image: container.image.and_then(image),
            exit: None,
            started: None,
            finished: None,
        };
        evidence.push(Evidence::Container { id, word, by });
    }
    (evidence, exited)
}

/// How a container ended; `None` if it has not.
pub fn explain(id: &ContainerId, answer: wire::ContainerStatusResponse) -> Option<Evidence> {
    let status = answer.status?;
    if status.state != wire::CONTAINER_EXITED {
        return None;
    }
    let name = status.metadata?.name;
    super::logs::names::is_label(&name).then(|| Evidence::Container {
        id: id.clone(),
        word: Observation {
            pod: None,
            name: name.into(),
            image: status.image.and_then(image),
            exit: Some(Exit {
                code: status.exit_code,
                reason: status.reason.chars().take(MAX_REASON).collect::<String>().into(),
            }),
            started: moment(status.started_at),
            finished: moment(status.finished_at),
        },
        by: EvidenceSource::Cri,
    })
}

/// A time of the runtime in nanoseconds since 1970; 0 stands for none.
fn moment(ns: i64) -> Option<SystemTime> {
    let ns = u64::try_from(ns).ok().filter(|ns| *ns > 0)?;
    at_unix_ns(ns)
}

fn pod(metadata: &wire::PodSandboxMetadata) -> Option<PodRef> {
    super::logs::names::pod_ref(&metadata.namespace, &metadata.name, &metadata.uid)
}

/// The image as the spec names it, if the runtime knows that; else the resolved one.
fn image(spec: wire::ImageSpec) -> Option<std::sync::Arc<str>> {
    let name =
        if spec.user_specified_image.is_empty() { spec.image } else { spec.user_specified_image };
    (!name.is_empty()).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::time::SystemTime;

    use super::*;

    const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

    fn id(n: u8) -> String {
        format!("{n:064x}")
    }

    fn sandbox(n: u8, name: &str) -> wire::PodSandbox {
        wire::PodSandbox {
            id: id(n),
            metadata: Some(wire::PodSandboxMetadata {
                name: name.into(),
                uid: UID.into(),
                namespace: "default".into(),
                attempt: 0,
            }),
        }
    }

    fn container(n: u8, name: &str, state: i32) -> wire::Container {
        wire::Container {
            id: id(n),
            pod_sandbox_id: id(1),
            metadata: Some(wire::ContainerMetadata { name: name.into(), attempt: 0 }),
            image: Some(wire::ImageSpec {
                image: "sha256:1234".into(),
                user_specified_image: "busybox:1".into(),
            }),
            state,
        }
    }

    fn told(containers: Vec<wire::Container>) -> (Inventory, Vec<ContainerId>) {
        let items = vec![sandbox(1, "runner"), sandbox(9, "bad name\n")];
        let (evidence, exited) = read(
            wire::ListPodSandboxResponse { items },
            wire::ListContainersResponse { containers },
        );
        let inventory = Inventory::default();
        for evidence in evidence {
            inventory.learn(evidence);
        }
        (inventory, exited)
    }

    #[test]
    fn lists_name_pods_containers_and_sandboxes() {
        let (inventory, exited) = told(vec![
            container(2, "job", 1),
            container(3, "step-1", wire::CONTAINER_EXITED),
            container(4, "a\"b", 1),
        ]);
        let uid = PodUid::parse(UID).unwrap();
        let name = |n: u8| {
            let id = ContainerId::parse(&id(n)).unwrap();
            let facts = inventory.container(&uid, &id)?;
            Some((facts.name.to_string(), facts.image.as_deref().map(str::to_owned)))
        };
        let image = Some("busybox:1".to_owned());
        assert_eq!(&*inventory.pod(&uid).unwrap().name, "runner");
        assert_eq!(name(1), Some(("POD".into(), None)));
        assert_eq!(name(2), Some(("job".into(), image.clone())));
        assert_eq!(name(3), Some(("step-1".into(), image)));
        assert_eq!(name(4), None);
        assert_eq!(exited, [ContainerId::parse(&id(3)).unwrap()]);
    }

    #[test]
    fn a_status_explains_the_end_once() {
        let (inventory, exited) = told(vec![container(3, "job", wire::CONTAINER_EXITED)]);
        let uid = PodUid::parse(UID).unwrap();
        let ended = exited.first().unwrap();
        inventory.created(&uid, ended, SystemTime::now());
        assert_eq!(inventory.unexplained(exited.clone()), exited);
        let status = wire::ContainerStatus {
            metadata: container(3, "job", 2).metadata,
            state: wire::CONTAINER_EXITED,
            exit_code: 137,
            reason: "OOMKilled".into(),
            ..wire::ContainerStatus::default()
        };
        let status = Some(status);
        let evidence = explain(ended, wire::ContainerStatusResponse { status });
        inventory.learn(evidence.unwrap());
        let exit = inventory.container(&uid, ended).unwrap().exit.clone();
        let reason = "OOMKilled".into();
        assert_eq!(exit, Some(Exit { code: 137, reason }));
        assert_eq!(inventory.unexplained(exited), []);
    }

    #[tokio::test]
    async fn a_missing_socket_is_named_with_what_to_check() {
        let directory = tempfile::tempdir().unwrap();
        let client = Client::new(directory.path().join("no.sock"), ANSWER_TIMEOUT);
        let error = round(&client, &Inventory::default()).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert!(text.contains("no.sock") && text.contains("--cri-socket"), "{text}");
    }

    #[tokio::test]
    async fn a_hanging_socket_costs_one_time_limit() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("hangs.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let client = Client::new(&socket, Duration::from_millis(20));
        let error = round(&client, &Inventory::default()).await.unwrap_err();
        assert!(error.to_string().contains("does not answer ListPodSandbox in 20 ms"));
    }
}
