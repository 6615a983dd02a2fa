//! Who is on this node, by every source's word: pods by UID, container names by id.
//!
//! Pure state behind one lock. Sources write what they know; `capture` asks whether a pod is
//! wanted, `metrics` asks for names. Nothing waits for a source.

mod evidence;
mod facts;
mod named;
mod order;
mod snapshot;
mod state;
mod watched;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use ephemon_base::lock;
use ephemon_contract::{Limits, LimitsError};
use ephemon_model::{ContainerId, ContainerType, Exit, PodRef, PodUid};
use ephemon_self_metrics::{Reason, SelfMetrics, Signal};
use tokio::sync::Notify;

pub use evidence::{Evidence, EvidenceSource, Observation, SpecEntry};
pub use facts::MAX_LOGS_PER_POD;
pub use facts::{MAX_SPEC_BYTES_IN_ALL, SPEC_BYTES_FOR_SURE};
pub use named::Named;
pub use snapshot::{ListedContainer, ListedPod};
pub use state::CONTAINER_BYTES;
pub use state::{MAX_CONTAINERS, MAX_PODS, MAX_UNBORN};
pub use watched::{API_TIMEOUT, DELETED_RETENTION, UNLISTED_TIMEOUT};

use crate::feed::Feed;
use state::{State, Touched};
use watched::Line;

/// Whether a pod's containers are to be captured and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Wanted,
    /// Its pod is not among those the API server lists for the selector.
    Unwanted,
    /// The API server has not answered yet, or cannot have named the pod yet: capture, do not show.
    Open,
    /// The API server is silent, and nobody has said that the pod is among those it lists for the
    /// selector: its figures may be shown under its UID and its containers' ids; nothing else of it
    /// may, no name, no log, no job.
    Nameless,
}

/// What is known of one container beside its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its name in the pod's spec.
    pub name: Arc<str>,
    /// Its place in the spec.
    pub container_type: ContainerType,
    /// The image as the spec names it.
    pub image: Option<Arc<str>>,
    /// How it ended.
    pub exit: Option<Exit>,
}

/// A living container that is to be limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// The container.
    pub id: ContainerId,
    /// Its pod.
    pub pod: Arc<PodRef>,
    /// Its name in the pod's spec.
    pub name: Arc<str>,
    /// Its cgroup, below the hierarchy's root.
    pub cgroup: Arc<Path>,
    /// When its cgroup was made.
    pub created: SystemTime,
    /// The runtime or the API server says that its program was started.
    pub started: bool,
    /// What it is to be limited to, or what is wrong with the text that says so.
    pub limits: Result<Limits, LimitsError>,
}

/// Shared, cheap to clone. The default has no API server to wait for: every pod is wanted.
#[derive(Debug, Clone, Default)]
pub struct Inventory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    has_api: bool,
    self_metrics: Option<SelfMetrics>,
    questions: Notify,
    news: Notify,
    feed: Feed,
}

// === impl Inventory ===

impl Inventory {
    /// An inventory without an API server (`--no-api`): every pod is wanted.
    pub fn without_api(self_metrics: SelfMetrics) -> Self {
        Self::new(Line::None, self_metrics)
    }

    /// An inventory whose pods are those the API server lists; open until it does.
    pub fn with_api(self_metrics: SelfMetrics) -> Self {
        let since = Instant::now();
        Self::new(Line::Connecting { since }, self_metrics)
    }

    fn new(line: Line, self_metrics: SelfMetrics) -> Self {
        Self(Arc::new(Shared {
            has_api: line != Line::None,
            state: Mutex::new(State::new(line)),
            self_metrics: Some(self_metrics),
            questions: Notify::new(),
            news: Notify::new(),
            feed: Feed::default(),
        }))
    }

    /// Whether there is an API server, which tells containers' places in their pods' specs.
    pub fn has_api(&self) -> bool {
        self.0.has_api
    }

    /// Whether this pod's containers are wanted.
    ///
    /// The answer may change: from `Open` either way, from `Unwanted` to `Wanted` when the pod is
    /// given the label, and to `Unwanted` some time after the pod's end.
    pub fn verdict(&self, uid: &PodUid) -> Verdict {
        self.change(|state| state.verdict(uid, Instant::now()))
    }

    /// A container's cgroup was created; called by `capture` the moment it is seen, so that log
    /// directories made just before can be matched to it where no better source gives the name.
    pub fn created(&self, pod: &PodUid, id: &ContainerId, at: SystemTime) {
        self.change(|state| state.created(pod, id, at, Instant::now()));
        self.0.questions.notify_one();
    }

    /// A container's cgroup stands at this path below the hierarchy's root.
    pub fn stands_at(&self, id: &ContainerId, cgroup: &Path) {
        self.change(|state| state.stands_at(id, cgroup));
        self.0.news.notify_one();
    }

    /// A container's cgroup is gone. What is known of it stays until it is forgotten.
    pub fn ended(&self, id: &ContainerId) {
        self.change(|state| state.ended(id));
        self.0.questions.notify_one();
    }

    /// The container is its pod's sandbox.
    pub fn is_sandbox(&self, id: &ContainerId) {
        let id = id.clone();
        self.learn(Evidence::Sandbox { id, pod: None });
    }

    /// The pod, if any source named it.
    pub fn pod(&self, uid: &PodUid) -> Option<Arc<PodRef>> {
        self.state().pod(uid)
    }

    /// Whether the node calls the pod of this UID so: the runtime, or the kubelet's directories. `None`
    /// where neither has named it.
    pub fn is_called(&self, uid: &PodUid, namespace: &str, name: &str) -> Option<bool> {
        self.state().is_called(uid, namespace, name)
    }

    /// The container, if any source named it. A sandbox is named `POD`.
    pub fn container(&self, pod: &PodUid, id: &ContainerId) -> Option<Arc<ContainerFacts>> {
        self.state().container(pod, id)
    }

    /// The container of that name, if any source has told of it.
    pub fn named(&self, pod: &PodUid, name: &str) -> Option<Named> {
        self.state().named(pod, name)
    }

    /// The place in the spec of the container of that name, if the API server has told.
    pub fn type_of(&self, pod: &PodUid, name: &str) -> Option<ContainerType> {
        self.state().type_of(pod, name)
    }

    /// The container is not shown any more.
    pub fn forget(&self, id: &ContainerId) {
        self.change(|state| state.forget(id));
    }

    /// The pod is not shown any more. One the API still lists stays, without its containers.
    pub fn forget_pod(&self, uid: &PodUid) {
        self.change(|state| state.forget_pod(uid));
    }

    /// Takes in what a source found out.
    pub fn learn(&self, evidence: Evidence) {
        self.change(|state| state.learn(evidence, Instant::now()));
        self.0.news.notify_one();
    }

    /// The API server lists this pod.
    pub fn listed(&self, uid: &PodUid) {
        self.change(|state| state.listed(uid, Instant::now()));
    }

    /// The API server no longer lists this pod.
    pub fn unlisted(&self, uid: &PodUid) {
        self.change(|state| state.unlisted(uid, Instant::now()));
    }

    /// The API server's list is complete: these pods (each told before by [`Self::listed`]) and
    /// no others. `asked`: when the list was asked for; pods seen before that and not in it are
    /// none of ours.
    pub fn list_complete(&self, uids: &HashSet<PodUid>, asked: Instant) {
        self.change(|state| state.list_complete(uids, asked, Instant::now()));
    }

    /// The API server's events reach us.
    pub fn api_live(&self) {
        self.change(State::api_live);
    }

    /// The API server cannot be heard.
    pub fn api_failing(&self) {
        self.change(|state| state.api_failing(Instant::now()));
    }

    /// The log directory of a pod is gone; it tells nothing more.
    pub fn log_directory_gone(&self, uid: &PodUid) {
        self.change(|state| state.log_directory_gone(uid, Instant::now()));
    }

    /// Resolves when a container was created or ended since the last call: a source that can be asked
    /// may have something to say. For one caller, the CRI source.
    pub async fn questions(&self) {
        self.0.questions.notified().await;
    }

    /// What says which pods have changed: whatever an answer about a pod may depend on, but for what
    /// changes by time alone (see [`Verdict`]).
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// Of `ids`, those whose end is not explained by anyone and still of interest.
    pub fn unexplained(&self, ids: Vec<ContainerId>) -> Vec<ContainerId> {
        let state = self.state();
        ids.into_iter().filter(|id| state.is_unexplained(id)).collect()
    }

    /// Resolves when something was learnt since the last call that may limit a container. For one
    /// caller, the enforcement of limits.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// Living ephemeral containers of wanted pods whose spec says what they are to be limited to.
    pub fn limited(&self) -> Vec<Limited> {
        self.change(|state| state.limited(Instant::now()))
    }

    /// Every wanted pod with all that is known of its containers, save their figures.
    pub fn snapshot(&self) -> Vec<ListedPod> {
        self.change(|state| state.snapshot(Instant::now()))
    }

    /// Those of these pods that are wanted, likewise.
    pub fn snapshot_of(&self, pods: &HashSet<PodUid>) -> Vec<ListedPod> {
        self.change(|state| state.snapshot_of(pods, Instant::now()))
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let answer = act(&mut state);
        let dropped = state.take_dropped();
        let touched = state.take_touched();
        drop(state);
        match touched {
            Touched::Pods(pods) => pods.iter().for_each(|pod| self.0.feed.publish(pod)),
            Touched::All => self.0.feed.publish_all(),
        }
        if let Some(self_metrics) = &self.0.self_metrics {
            for _ in 0..dropped {
                self_metrics.dropped(Signal::Events, Reason::Cap);
            }
        }
        answer
    }

    /// A panic elsewhere leaves whole facts behind, so a poisoned lock is still good.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}
