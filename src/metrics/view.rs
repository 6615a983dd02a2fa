//! What one exposition shows: containers and pods with their labels already spelled, the agent's
//! own families, the build. Plain values; no I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemon_capture::books::{PodRecord, Record};
use ephemon_discovery::inventory::ContainerFacts;
use ephemon_jobs::tally::{Counts, Labels};
use ephemon_jobs::{Job, Shown};
use ephemon_logs::Account;
use ephemon_model::{ContainerType, Exit, Usage};
use prometheus::proto::MetricFamily;

use super::devices::DeviceNames;
use super::exposition::push_label;

/// Everything one exposition shows.
#[derive(Debug, Default)]
pub struct View {
    /// Containers, in the order their series are to stand in.
    pub containers: Vec<ContainerView>,
    /// Pods, in the order their series are to stand in.
    pub pods: Vec<PodView>,
    /// Jobs by name, in the order their series are to stand in.
    pub jobs: Vec<JobView>,
    /// The agent's counters as the registry gathers them.
    pub agent: Vec<MetricFamily>,
    /// Which ephemon this is.
    pub build: Build,
    /// Names of block devices.
    pub devices: DeviceNames,
}

/// The labels every series of a container has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The pod's namespace; empty where no source named the pod.
    pub namespace: Arc<str>,
    /// The pod's name; its UID where no source named it.
    pub pod: Arc<str>,
    /// The container's name; the first twelve digits of its id where no source named it.
    pub container: Arc<str>,
    /// Its place in the pod's spec.
    pub container_type: ContainerType,
}

/// One container as shown.
#[derive(Debug)]
pub struct ContainerView {
    /// The figures.
    pub record: Arc<Record>,
    labels: String,
    facts: Option<Arc<ContainerFacts>>,
    log: Option<Arc<Account>>,
}

/// One pod as shown.
#[derive(Debug)]
pub struct PodView {
    /// The figures.
    pub record: Arc<PodRecord>,
    labels: String,
}

/// All jobs of one name.
#[derive(Debug)]
pub struct JobView {
    /// What was counted of them.
    pub counts: Arc<Counts>,
    /// Those under way, and those that ended a short time ago.
    pub shown: Vec<Arc<Job>>,
    labels: String,
}

/// Which ephemon this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// The package's version.
    pub version: &'static str,
    /// The source revision, where the build was told.
    pub revision: Option<&'static str>,
}

// === impl ContainerView ===

impl ContainerView {
    /// Spells the labels once for all the container's series.
    pub fn new(
        identity: &Identity,
        record: Arc<Record>,
        facts: Option<Arc<ContainerFacts>>,
    ) -> Self {
        let mut labels = String::with_capacity(128);
        push_label(&mut labels, "namespace", &identity.namespace);
        push_label(&mut labels, "pod", &identity.pod);
        push_label(&mut labels, "container", &identity.container);
        push_label(&mut labels, "container_type", identity.container_type.as_str());
        Self { record, labels, facts, log: None }
    }

    /// The same, with what became of its log.
    #[must_use]
    pub fn with_log(self, log: Option<Arc<Account>>) -> Self {
        Self { log, ..self }
    }

    pub(super) fn log(&self) -> Option<&Account> {
        self.log.as_deref()
    }

    pub(super) fn labels(&self) -> &str {
        &self.labels
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.record.usage
    }

    pub(super) fn image(&self) -> Option<&str> {
        self.facts.as_ref()?.image.as_deref()
    }

    /// How it ended; never told of one that lives.
    pub(super) fn exit(&self) -> Option<&Exit> {
        self.record.ended.as_ref()?;
        self.facts.as_ref()?.exit.as_ref()
    }
}

// === impl PodView ===

impl PodView {
    /// Spells the labels once for all the pod's series.
    pub fn new(namespace: &str, pod: &str, record: Arc<PodRecord>) -> Self {
        let mut labels = String::with_capacity(64);
        push_label(&mut labels, "namespace", namespace);
        push_label(&mut labels, "pod", pod);
        Self { record, labels }
    }

    pub(super) fn labels(&self) -> &str {
        &self.labels
    }
}

// === impl JobView ===

impl JobView {
    /// Everything on the board, by names.
    pub fn all(board: &Shown) -> Vec<Self> {
        type Counted = (Arc<Counts>, Vec<Arc<Job>>);
        let mut views: BTreeMap<Arc<Labels>, Counted> = BTreeMap::new();
        for (labels, counts) in board.tally.sets() {
            views.insert(Arc::clone(labels), (Arc::clone(counts), Vec::new()));
        }
        for job in &board.jobs {
            // One that is counted under other names is shown under them.
            let (own, other) = (Labels::of(job), Labels::other());
            let labels = if views.contains_key(&own) { own } else { other };
            views.entry(Arc::new(labels)).or_default().1.push(Arc::clone(job));
        }
        let view = |(labels, (counts, shown)): (Arc<Labels>, Counted)| {
            let mut spelled = String::with_capacity(128);
            push_label(&mut spelled, "namespace", &labels.namespace);
            push_label(&mut spelled, "repository", &labels.repository);
            push_label(&mut spelled, "workflow", &labels.workflow);
            push_label(&mut spelled, "job", &labels.job);
            Self { counts, shown, labels: spelled }
        };
        views.into_iter().map(view).collect()
    }

    pub(super) fn labels(&self) -> &str {
        &self.labels
    }
}

// === impl Build ===

impl Default for Build {
    /// This build; whoever compiles tells the revision through `EPHEMON_REVISION`.
    fn default() -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), revision: option_env!("EPHEMON_REVISION") }
    }
}
