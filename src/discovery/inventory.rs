//! All pods by UID and container names by id, merged from all sources.
//!
//! Pure state behind one lock. Sources write what they know; `capture` asks whether a pod is
//! selected, `metrics` asks for names. No caller waits for a source.

mod evidence;
mod expected;
mod facts;
mod named;
mod nested;
mod order;
mod runners;
mod snapshot;
mod state;
mod teller;
mod told;
mod watched;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use ephemon_base::lock;
use ephemon_contract::{Limits, LimitsError};
use ephemon_model::{ContainerId, ContainerType, Exit, PodRef, PodUid};
use ephemon_self_metrics::{Reason, SelfMetrics, Signal, Watched};
use tokio::sync::Notify;

pub use evidence::{Evidence, EvidenceSource, Observation, SpecEntry};
pub use expected::{Asked, Expected};
pub use facts::{GUARANTEED_SPEC_BYTES, MAX_LOGS_PER_POD, MAX_TOTAL_SPEC_BYTES};
pub use named::Named;
#[cfg(test)]
pub(crate) use nested::NAMES_TIMEOUT;
pub use nested::{EngineNames, MAX_NESTED_KNOWN, NESTED_BYTES};
pub use runners::{ORIGIN_BYTES, RunnerFacts, RunnerPod};
pub use snapshot::{ListedContainer, ListedPod};
pub use state::{CONTAINER_BYTES, LONE_ENDS_BYTES, MAX_CONTAINERS, MAX_PODS, MAX_UNSEEN};
pub use teller::{RUNNER_CONTAINER, Teller};
pub use told::RuntimeWord;
pub use watched::{API_TIMEOUT, DELETED_RETENTION, UNLISTED_TIMEOUT};

use crate::cgroups::NestedGroup;
use crate::feed::Feed;
use state::{State, Touched};
use watched::ApiState;

/// Whether a pod's containers are captured and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are.
    Wanted,
    /// The API server does not list the pod for the selector.
    Unwanted,
    /// The API server has not answered yet, or may not know the pod yet: its containers are
    /// captured, but not reported.
    Open,
    /// The API server is unavailable, and it is unknown whether the pod matches the selector: its
    /// values may be reported under its UID and its containers' ids, but no names, logs or jobs.
    Nameless,
}

/// What is known of one container, apart from its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its name in the pod's spec.
    pub name: Arc<str>,
    /// Its type in the spec.
    pub container_type: ContainerType,
    /// The image as the spec names it.
    pub image: Option<Arc<str>>,
    /// The id that its engine gave it, of a nested container. Not unique: a job may choose it.
    pub engine_id: Option<Arc<str>>,
    /// How it ended.
    pub exit: Option<Exit>,
}

/// A running container with limits to enforce.
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
    /// When its cgroup was created.
    pub created: SystemTime,
    /// Whether the runtime or the API server reports that its program was started.
    pub started: bool,
    /// Its limits, or why their text is not valid.
    pub limits: Result<Limits, LimitsError>,
}

/// The inventory; cheap to clone. The default waits for no API server: every pod is selected.
#[derive(Debug, Clone, Default)]
pub struct Inventory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    has_api: bool,
    self_metrics: Option<SelfMetrics>,
    questions: Notify,
    news: Notify,
    runner_news: Notify,
    feed: Feed,
}

// === impl Inventory ===

impl Inventory {
    /// An inventory without an API server (`--no-api`): every pod is selected.
    pub fn without_api(self_metrics: SelfMetrics) -> Self {
        Self::new(ApiState::None, self_metrics)
    }

    /// An inventory whose pods are those that the API server lists; [`Verdict::Open`] until the
    /// first list.
    pub fn with_api(self_metrics: SelfMetrics) -> Self {
        let since = Instant::now();
        self_metrics.will_watch(Watched::Pods);
        Self::new(ApiState::Connecting { since }, self_metrics)
    }

    fn new(line: ApiState, self_metrics: SelfMetrics) -> Self {
        Self(Arc::new(Shared {
            has_api: line != ApiState::None,
            state: Mutex::new(State::new(line)),
            self_metrics: Some(self_metrics),
            questions: Notify::new(),
            news: Notify::new(),
            runner_news: Notify::new(),
            feed: Feed::default(),
        }))
    }

    /// Whether there is an API server, which reports the types of containers.
    pub fn has_api(&self) -> bool {
        self.0.has_api
    }

    /// Whether this pod's containers are selected.
    ///
    /// The answer may change: from `Open` to any other; from `Unwanted` to `Wanted` when the pod
    /// gets the label; and to `Unwanted` some time after the pod's end.
    pub fn verdict(&self, uid: &PodUid) -> Verdict {
        self.change(|state| state.verdict(uid, Instant::now()))
    }

    /// A container's cgroup was created; `capture` calls this as soon as it sees the cgroup, so
    /// that log directories that were created just before can be matched to it if no better source
    /// provides the name.
    pub fn created(&self, pod: &PodUid, id: &ContainerId, at: SystemTime) {
        self.change(|state| state.created(pod, id, at, Instant::now()));
        self.0.questions.notify_one();
    }

    /// No process of a container is in the cgroup that was created for it, because a sandbox runs it: it
    /// counts as one without a cgroup, until [`Self::created`] is called again.
    pub fn vacant(&self, id: &ContainerId) {
        self.change(|state| state.vacant(id));
    }

    /// The group of a nested container was found. Returns the one that is forgotten for it.
    pub fn nested_created(&self, group: &NestedGroup, at: SystemTime) -> Option<ContainerId> {
        self.change(|state| state.nested_created(group, at, Instant::now()))
    }

    /// What its engine calls a nested container; `None` if that cannot be found out.
    pub fn nested_named(&self, key: &ContainerId, names: Option<EngineNames>) {
        self.change(|state| state.nested_named(key, names));
    }

    /// Sets the path of a container's cgroup below the hierarchy's root.
    pub fn stands_at(&self, id: &ContainerId, cgroup: &Path) {
        self.change(|state| state.stands_at(id, cgroup));
        self.0.news.notify_one();
    }

    /// A container's cgroup was removed. What is known of it is kept until it is forgotten.
    pub fn ended(&self, id: &ContainerId) {
        self.change(|state| state.ended(id));
        self.0.questions.notify_one();
    }

    /// Marks the container as its pod's sandbox.
    pub fn is_sandbox(&self, id: &ContainerId) {
        let id = id.clone();
        self.learn(Evidence::Sandbox { id, pod: None });
    }

    /// The pod, if a source has reported its name.
    pub fn pod(&self, uid: &PodUid) -> Option<Arc<PodRef>> {
        self.state().pod(uid)
    }

    /// Whether the node calls the pod of this UID so: the runtime, or the kubelet's directories. `None`
    /// where neither has named it.
    pub fn is_called(&self, uid: &PodUid, namespace: &str, name: &str) -> Option<bool> {
        self.state().is_called(uid, namespace, name)
    }

    /// The container, if a source has reported its name. A sandbox is named `POD`.
    pub fn container(&self, pod: &PodUid, id: &ContainerId) -> Option<Arc<ContainerFacts>> {
        let mut state = self.state();
        if state.is_nested(pod, id) {
            return state.nested_facts(pod, id, Instant::now());
        }
        state.container(pod, id)
    }

    /// Whether a source, the API server or the runtime, names this as one of the pod's containers, which
    /// the sandbox is not. Names that follow from the order of logs do not count.
    pub fn is_named(&self, pod: &PodUid, id: &ContainerId) -> bool {
        self.state().is_named(pod, id)
    }

    /// The container with this name, if a source has reported it.
    pub fn named(&self, pod: &PodUid, name: &str) -> Option<Named> {
        self.state().named(pod, name)
    }

    /// Path of the cgroup of the running container with this name, below the hierarchy's root.
    pub fn cgroup_of(&self, pod: &PodUid, name: &str) -> Option<Arc<Path>> {
        self.state().cgroup_of(pod, name)
    }

    /// The type of the container with this name, if the API server has reported it.
    pub fn type_of(&self, pod: &PodUid, name: &str) -> Option<ContainerType> {
        self.state().type_of(pod, name)
    }

    /// Which of the pod's containers tell of its job in their logs.
    pub fn teller(&self, pod: &PodUid) -> Teller {
        self.state().teller(pod)
    }

    /// The container is no longer reported.
    pub fn forget(&self, id: &ContainerId) {
        self.change(|state| state.forget(id));
    }

    /// The pod is no longer reported. A pod that the API server still lists is kept, without its
    /// containers.
    pub fn forget_pod(&self, uid: &PodUid) {
        self.change(|state| state.forget_pod(uid));
    }

    /// Adds what a source has found.
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

    /// The API server's list is complete: it contains these pods (each reported before with
    /// [`Self::listed`]) and no others. `asked`: when the list was requested; pods that were seen
    /// earlier and are not in it are not selected.
    pub fn list_complete(&self, uids: &HashSet<PodUid>, asked: Instant) {
        self.change(|state| state.list_complete(uids, asked, Instant::now()));
    }

    /// Events of the API server arrive.
    pub fn api_live(&self) {
        self.change(State::api_live);
        if let Some(self_metrics) = &self.0.self_metrics {
            self_metrics.watch_answers(Watched::Pods);
        }
    }

    /// The API server is unavailable.
    pub fn api_failing(&self) {
        self.change(|state| state.api_failing(Instant::now()));
        if let Some(self_metrics) = &self.0.self_metrics {
            self_metrics.watch_failed(Watched::Pods);
        }
    }

    /// The runtime is going to be asked.
    pub fn will_ask_runtime(&self) {
        if let Some(self_metrics) = &self.0.self_metrics {
            self_metrics.will_watch(Watched::Runtime);
        }
    }

    /// The runtime was asked for everything; whether it answered.
    pub fn runtime_asked(&self, answered: bool) {
        match &self.0.self_metrics {
            Some(self_metrics) if answered => self_metrics.watch_answers(Watched::Runtime),
            Some(self_metrics) => self_metrics.watch_failed(Watched::Runtime),
            None => {}
        }
    }

    /// The log directory of a pod was removed, and provides no further evidence.
    pub fn log_directory_gone(&self, uid: &PodUid) {
        self.change(|state| state.log_directory_gone(uid, Instant::now()));
    }

    /// Resolves when a container was created or ended since the last call, so that a source that
    /// can be queried may have news. For one caller, the CRI source.
    pub async fn questions(&self) {
        self.0.questions.notified().await;
    }

    /// The feed of changed pods: everything that an answer about a pod may depend on, except what
    /// changes by time alone (see [`Verdict`]).
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// Those of `ids` whose end no source has explained, and is still of interest.
    pub fn unexplained(&self, ids: Vec<ContainerId>) -> Vec<ContainerId> {
        let state = self.state();
        ids.into_iter().filter(|id| state.is_unexplained(id)).collect()
    }

    /// Resolves when something was learnt since the last call that may set a limit. For one caller,
    /// the enforcement of limits.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// The runner of this pod has said that it has a job.
    pub fn job_began(&self, pod: &PodUid) {
        self.change(|state| state.asks |= state.job_began(pod));
    }

    /// Resolves when a runner's controller may have something to say that it had not when this was
    /// called last: a pod of a runner came, or a runner has a job. For one caller.
    pub async fn runner_news(&self) {
        self.0.runner_news.notified().await;
    }

    /// The pods whose runners' controllers may know the job.
    pub fn runner_pods(&self) -> Vec<RunnerPod> {
        self.state().runner_pods()
    }

    /// Running ephemeral containers of selected pods whose spec sets limits.
    pub fn limited(&self) -> Vec<Limited> {
        self.change(|state| state.limited(Instant::now()))
    }

    /// What is known of the container with this name, which the runtime is about to create.
    pub fn expected(&self, pod: &PodUid, name: &str) -> Expected {
        self.change(|state| state.expected(pod, name, Instant::now()))
    }

    /// Every selected pod with everything that is known of its containers, except their values.
    pub fn snapshot(&self) -> Vec<ListedPod> {
        self.change(|state| state.snapshot(Instant::now()))
    }

    /// The same for those of these pods that are selected.
    pub fn snapshot_of(&self, pods: &HashSet<PodUid>) -> Vec<ListedPod> {
        self.change(|state| state.snapshot_of(pods, Instant::now()))
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let answer = act(&mut state);
        let dropped = state.take_dropped();
        let touched = state.take_touched();
        let asks = std::mem::take(&mut state.asks);
        drop(state);
        if asks {
            self.0.runner_news.notify_one();
        }
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

    /// The state is complete even after a panic of another thread, so a poisoned lock can be used.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}
