//! What one exposition shows: containers and pods with their labels already spelled, the agent's
//! own families, the build. Plain values; no I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemon_capture::readings::{PodRecord, Record};
use ephemon_catalogue::{Build, Container, JobSeries, Settings};
use ephemon_crilog::Account;
use ephemon_discovery::inventory::ContainerFacts;
use ephemon_jobs::Shown;
use ephemon_jobs::tally::{Labels, OTHER};
use ephemon_model::ContainerType;
use ephemon_self_metrics::Observations;
use prometheus::proto::MetricFamily;

use super::debug_view::DebugView;
use super::devices::DeviceNames;
use super::filter::Filter;
use super::label::push_label;

/// Everything one exposition shows.
#[derive(Debug, Default)]
pub struct View {
    /// Containers, in the order their series are to stand in.
    pub containers: Vec<ContainerView>,
    /// Pods, in the order their series are to stand in.
    pub pods: Vec<PodView>,
    /// Jobs by name, in the order their series are to stand in.
    pub jobs: Vec<JobView>,
    /// Containers that were attached by hand, in the order their series are to stand in.
    pub debug: Vec<DebugView>,
    /// The agent's counters and gauges as the registry gathers them.
    pub agent: Vec<MetricFamily>,
    /// The agent's histograms, by name.
    pub histograms: Vec<Observations>,
    /// Which ephemon this is.
    pub build: Build,
    /// How it is set up.
    pub settings: Settings,
    /// Names of block devices.
    pub devices: DeviceNames,
    /// Which families are shown.
    pub filter: Filter,
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
    /// What is known of it.
    pub container: Container,
    labels: String,
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
    /// Their counts.
    pub series: JobSeries,
    labels: String,
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
        Self { container: Container { record, facts, log: None }, labels }
    }

    /// The same, with what became of its log.
    #[must_use]
    pub fn with_log(mut self, log: Option<Arc<Account>>) -> Self {
        self.container.log = log;
        self
    }

    pub(super) fn labels(&self) -> &str {
        &self.labels
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
    /// Every series of jobs, by names.
    pub fn all(jobs_view: &Shown) -> Vec<Self> {
        let mut views: BTreeMap<Arc<Labels>, JobSeries> = BTreeMap::new();
        for (labels, counts) in jobs_view.tally.sets() {
            let series = JobSeries { counts: Arc::clone(counts), shown: Vec::new() };
            views.insert(Arc::clone(labels), series);
        }
        for job in &jobs_view.jobs {
            // One that is counted under other names is shown under them.
            let (own, other) = (Labels::of(job), Labels::other());
            let labels = if views.contains_key(&own) { own } else { other };
            views.entry(Arc::new(labels)).or_default().shown.push(Arc::clone(job));
        }
        let view = |(labels, series): (Arc<Labels>, JobSeries)| {
            let mut spelled = String::with_capacity(128);
            push_label(&mut spelled, "namespace", &labels.namespace);
            let (organization, repository) = owner_and_name(&labels.repository);
            push_label(&mut spelled, "organization", organization);
            push_label(&mut spelled, "repository", repository);
            push_label(&mut spelled, "workflow", &labels.workflow);
            push_label(&mut spelled, "job_id", &labels.job);
            Self { series, labels: spelled }
        };
        views.into_iter().map(view).collect()
    }

    pub(super) fn labels(&self) -> &str {
        &self.labels
    }
}

/// `owner/name` as ARC's listener labels it: `organization` and `repository`. What jobs without a
/// set of their own are counted under is both.
fn owner_and_name(repository: &str) -> (&str, &str) {
    if repository == OTHER {
        return (OTHER, OTHER);
    }
    repository.split_once('/').unwrap_or(("", repository))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_its_owner_and_its_name() {
        assert_eq!(owner_and_name("octo/app"), ("octo", "app"));
        assert_eq!(owner_and_name(""), ("", ""));
        assert_eq!(owner_and_name("app"), ("", "app"));
        assert_eq!(owner_and_name(OTHER), (OTHER, OTHER));
    }
}
