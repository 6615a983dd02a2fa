//! The worker of one pod: sandbox, init containers, regular containers, ephemeral containers one
//! after the other, status; `waiting` handles containers that do not start, `ending` the pod's end.

mod ending;
mod waiting;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::container::{Container, State, Told, new_id};
use super::images::Waiting;
use super::order::{PodContext, Trouble};
use super::status::{Seen, View};
use super::volumes::Volumes;
use super::{Kind, NodeEvent, Shared, images, logs, paths, spec};
use crate::api::containers::of_kind;
use crate::api::object::{text, time};
use crate::api::store::Key;
use crate::cgroups::{Error, Place, Qos};
use crate::shim::Word;

/// The sandbox's name, which no container can have.
const SANDBOX: &str = "POD";
/// The reason for a container whose environment cannot be created.
const CONFIG_ERROR: &str = "CreateContainerConfigError";
/// Events of shims that are queued; when the queue is full a shim waits.
const WORDS: usize = 64;

/// Runs one pod from its creation to its removal.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    key: Key,
    uid: String,
    place: Place,
    logs: PathBuf,
    containers: BTreeMap<String, Container>,
    /// The state at the last relist, from which the status is created.
    seen: BTreeMap<String, Seen>,
    waiting: BTreeMap<String, Waiting>,
    volumes: Volumes,
    start_time: String,
    finished: bool,
    last_end: Option<Instant>,
    words: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
    stopped: watch::Receiver<bool>,
}

/// Why a pod ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was deleted, with this grace period.
    Deleted(Duration),
    /// The node stops.
    Stopped,
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, pod: &Value, stopped: watch::Receiver<bool>) -> Self {
        let get = |pointer| text(pod, pointer).unwrap_or_default().to_owned();
        let key = (get("/metadata/namespace"), get("/metadata/name"));
        let uid = get("/metadata/uid");
        let qos = Qos::of(text(pod, "/status/qosClass").unwrap_or_default());
        Self {
            place: shared.cgroups.pod(qos, &uid),
            logs: paths::pod_logs(&shared.settings.root, (&key.0, &key.1), &uid),
            containers: BTreeMap::new(),
            seen: BTreeMap::new(),
            waiting: BTreeMap::new(),
            volumes: Volumes::new(&shared.settings.root, &uid, shared.mount_mode),
            start_time: time(SystemTime::now()),
            finished: false,
            last_end: None,
            words: mpsc::channel(WORDS),
            shared,
            key,
            uid,
            stopped,
        }
    }

    pub(super) async fn run(mut self) {
        let end = match self.begin().await {
            Ok(()) => self.live().await,
            Err(e) => {
                tracing::error!(pod = %self.key.1, "cannot run the pod: {e}");
                End::Stopped
            }
        };
        let grace = match end {
            End::Deleted(grace) => grace,
            End::Stopped => Duration::ZERO,
        };
        self.end_containers(grace).await;
        if matches!(end, End::Deleted(_)) {
            self.finished = true;
            self.relist();
            self.publish();
        }
        self.end_sandbox().await;
        if matches!(end, End::Deleted(_)) {
            self.remove_logs().await;
            self.shared.store.remove(&self.key);
            let pod = self.key.1.clone();
            self.shared.tell(NodeEvent::Gone { pod });
        }
    }

    async fn begin(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Some(pod) = self.pod() else {
            return Ok(());
        };
        self.publish();
        self.place.make_pod(&spec::pod_limits(&pod))?;
        self.volumes.make(&pod)?;
        let sandbox = serde_json::json!({"name": SANDBOX});
        self.start(&pod, &sandbox, Kind::Sandbox).await?;
        self.publish();
        if !self.initialize(&pod).await? {
            return Ok(());
        }
        for container in of_kind(&pod, Kind::Regular) {
            self.start_or_wait(&pod, container, Kind::Regular).await?;
        }
        self.relist();
        self.publish();
        Ok(())
    }

    async fn live(&mut self) -> End {
        let mut changes = self.shared.store.changes();
        changes.mark_changed();
        let mut relist = interval(self.shared.settings.relist);
        relist.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut dirty = true;
        let mut stopped = self.stopped.clone();
        loop {
            tokio::select! {
                _ = changes.changed() => dirty = true,
                Some((name, word)) = self.words.1.recv() => self.hear(&name, &word),
                _ = relist.tick() => {
                    self.relist();
                    // The end of the last container is published together with the pod's end.
                    if self.finished || !self.is_all_over() {
                        self.publish();
                    }
                    self.back_off();
                    dirty |= self.waiting.values().any(|waiting| waiting.reason == CONFIG_ERROR);
                }
                _ = stopped.wait_for(|stop| *stop) => return End::Stopped,
            }
            let Some(pod) = self.pod() else {
                return End::Stopped;
            };
            if pod.pointer("/metadata/deletionTimestamp").is_some() {
                let grace = pod.pointer("/metadata/deletionGracePeriodSeconds");
                let seconds = grace.and_then(Value::as_u64).unwrap_or(0);
                return End::Deleted(Duration::from_secs(seconds));
            }
            if !self.finished && self.is_complete(&pod) {
                let grace = pod.pointer("/spec/terminationGracePeriodSeconds");
                let seconds = grace.and_then(Value::as_u64).unwrap_or(30);
                self.end_containers(Duration::from_secs(seconds)).await;
                self.finished = true;
                self.relist();
                self.publish();
                self.end_sandbox().await;
            }
            // An end that is not in the status yet delays the next start until the relist, as on a
            // real node.
            if dirty && !self.finished && self.is_caught_up() {
                dirty = false;
                self.start_ephemeral(&pod).await;
            }
        }
    }

    /// Starts every ephemeral container that is not in the runtime yet, in the spec's order.
    async fn start_ephemeral(&mut self, pod: &Value) {
        let new: Vec<_> = of_kind(pod, Kind::Ephemeral)
            .filter(|spec| {
                let name = text(spec, "/name").unwrap_or_default();
                let hopeless =
                    self.waiting.get(name).is_some_and(|waiting| waiting.reason != CONFIG_ERROR);
                !self.containers.contains_key(name) && !hopeless
            })
            .collect();
        if new.is_empty() {
            return;
        }
        self.publish();
        for spec in new {
            if let Err(e) = self.start_or_wait(pod, spec, Kind::Ephemeral).await {
                let name = text(spec, "/name").unwrap_or_default();
                tracing::error!(pod = %self.key.1, container = name, "cannot start: {e}");
                self.wait(name, "CreateContainerError", Some(e.to_string()));
            }
        }
    }

    async fn start_or_wait(
        &mut self,
        pod: &Value,
        container: &Value,
        kind: Kind,
    ) -> Result<(), Trouble> {
        let name = text(container, "/name").unwrap_or_default();
        if let Some(trouble) = images::trouble(container) {
            self.wait(name, trouble.reason, trouble.message);
            return Ok(());
        }
        images::provide(&self.shared, pod, container, kind).await;
        match self.start(pod, container, kind).await {
            // Tried again at every sync, because the Secret may be created later.
            Err(Trouble::Config(why)) => self.wait(name, CONFIG_ERROR, Some(why)),
            Err(other) => return Err(other),
            Ok(()) => {
                self.waiting.remove(name);
            }
        }
        Ok(())
    }

    /// Runs the init containers one after the other; `false` if one failed.
    async fn initialize(&mut self, pod: &Value) -> Result<bool, Trouble> {
        for container in of_kind(pod, Kind::Init) {
            self.start_or_wait(pod, container, Kind::Init).await?;
            let name = text(container, "/name").unwrap_or_default().to_owned();
            if self.waiting.contains_key(&name) {
                return Ok(false);
            }
            let mut stopped = self.stopped.clone();
            let mut relist = interval(self.shared.settings.relist);
            relist.reset();
            let code = loop {
                if let Some(State::Ended(ended)) = self.state(&name) {
                    break ended.code;
                }
                tokio::select! {
                    word = self.words.1.recv() => if let Some((name, word)) = word {
                        self.hear(&name, &word);
                    },
                    _ = relist.tick() => {
                        self.relist();
                        self.publish();
                    }
                    _ = stopped.wait_for(|stop| *stop) => return Ok(false),
                }
            };
            self.relist();
            self.publish();
            if code != 0 {
                tracing::error!(pod = %self.key.1, container = name, code, "an init container failed");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Starts a container and waits until its command runs or cannot be run.
    async fn start(&mut self, pod: &Value, container: &Value, kind: Kind) -> Result<(), Trouble> {
        let name = text(container, "/name").unwrap_or_default().to_owned();
        let id = new_id();
        let shared = Arc::clone(&self.shared);
        let home = PodContext {
            shared: &shared,
            key: &self.key,
            pod,
            place: &self.place,
            logs: &self.logs,
            volumes: &self.volumes,
        };
        let order = home.order(container, kind, &id)?;
        let words = self.words.0.clone();
        let binary = &shared.settings.binary;
        let launched = Container::launch(binary, &name, kind, id, &order, words).await?;
        self.containers.insert(name.clone(), launched);
        while self.state(&name) == Some(&State::Created) {
            if let Some((name, word)) = self.words.1.recv().await {
                self.hear(&name, &word);
            }
        }
        Ok(())
    }

    fn hear(&mut self, name: &str, word: &Word) {
        let Some(container) = self.containers.get_mut(name) else {
            return;
        };
        container.hear(word);
        let Some(container) = self.containers.get(name) else {
            return;
        };
        let (pod, id) = ((self.key.0.as_str(), self.key.1.as_str()), &container.id);
        self.shared.running.enter(&self.key, name, container.known());
        match word {
            Word::Started { at, .. } => {
                if let Some(log) = &container.log
                    && let Err(e) = logs::link(&self.shared.settings.root, pod, name, id, log)
                {
                    tracing::warn!(container = name, "cannot link the log: {e}");
                }
                if container.kind != Kind::Sandbox {
                    self.shared.tell(NodeEvent::Started {
                        pod: self.key.1.clone(),
                        container: name.to_owned(),
                        at: *at,
                    });
                }
            }
            Word::StartError { .. } | Word::Exited { .. } => self.last_end = Some(Instant::now()),
            Word::Removed(account) => {
                if let State::Ended(ended) = &container.state {
                    let truth = container.truth((&self.key, &self.uid), name, ended, *account);
                    self.shared.ended(truth);
                }
            }
        }
    }

    /// Copies the state of the runtime to the published status.
    fn relist(&mut self) {
        for (name, container) in &self.containers {
            let seen = Seen { id: container.id.clone(), state: container.state.clone() };
            self.seen.insert(name.clone(), seen);
        }
    }

    fn publish(&self) {
        let Some(pod) = self.pod() else {
            return;
        };
        let view = View {
            pod: &pod,
            seen: &self.seen,
            waiting: &self.waiting,
            sandbox_ready: self.containers.contains_key(SANDBOX),
            start_time: &self.start_time,
            now: &time(SystemTime::now()),
            finished: self.finished,
        };
        // A removed pod needs no status.
        drop(self.shared.store.set_status(&self.key, view.status()));
    }

    fn pod(&self) -> Option<Arc<Value>> {
        let pod = self.shared.store.get(&self.key).ok()?;
        (text(&pod, "/metadata/uid") == Some(&self.uid)).then_some(pod)
    }

    fn state(&self, name: &str) -> Option<&State> {
        self.containers.get(name).map(|container| &container.state)
    }

    /// Whether every end is in the published status.
    fn is_caught_up(&self) -> bool {
        self.containers.iter().all(|(name, container)| {
            !matches!(container.state, State::Ended(_))
                || self.seen.get(name).is_some_and(|seen| seen.state == container.state)
        })
    }

    /// Whether every regular container has ended and none will be restarted.
    fn is_complete(&self, pod: &Value) -> bool {
        let over = |spec: &Value| {
            let name = text(spec, "/name").unwrap_or_default();
            self.seen.get(name).is_some_and(|seen| matches!(seen.state, State::Ended(_)))
        };
        text(pod, "/spec/restartPolicy") != Some("Always") && of_kind(pod, Kind::Regular).all(over)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
