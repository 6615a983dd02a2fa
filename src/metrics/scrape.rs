//! One scrape: what capture has read, named by the inventory, bounded by retention, as text.

mod texts;

pub use texts::MAX_TEXT_BYTES;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use ephemon_base::lock;
use ephemon_capture::readings::{Readings, Snapshot};
use ephemon_catalogue::pod::MAX_INTERFACES;
use ephemon_catalogue::{Build, Settings};
use ephemon_discovery::debug_containers::DebugContainers;
use ephemon_discovery::identity::Known;
use ephemon_discovery::inventory::Inventory;
use ephemon_jobs::JobsView;
use ephemon_logs::Ledger;
use ephemon_model::node::NodeRoot;
use ephemon_model::{ContainerId, PodUid};
use ephemon_self_metrics::{Reason, SelfMetrics, Signal};
use hyper::body::Bytes;

use self::texts::Texts;
use super::debug_view::DebugView;
use super::devices::Devices;
use super::exposition::{render, weigh};
use super::filter::Filter;
use super::format::Format;
use super::retention::{EndedContainer, Limits, Retention, ScraperId, ScraperKey};
use super::roster::{Cast, Moment, Roster, Shown, ShownPod};
use super::view::{ContainerView, JobView, PodView, View};

/// The bounds of what is shown, and where the node's files are.
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest time an ended container's series stay.
    pub retain_ended: Duration,
    /// Since when scrapers can come: for `retain_ended` from then on nothing goes early.
    pub began: Instant,
    /// Most ended containers kept.
    pub max_ended: usize,
    /// Most series of containers in one scrape.
    pub max_series: usize,
    /// The node's root, for the names of block devices.
    pub node: NodeRoot,
    /// Which ephemon this is.
    pub build: Build,
    /// How it is set up.
    pub settings: Settings,
    /// Which families are shown.
    pub filter: Filter,
    /// What became of containers' logs.
    pub logs: Ledger,
    /// Where jobs are counted.
    pub jobs: JobsView,
    /// Containers that were attached by hand.
    pub debug: DebugContainers,
}

/// Serves scrapes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    readings: Readings,
    inventory: Inventory,
    self_metrics: SelfMetrics,
    options: Options,
    state: Mutex<State>,
    texts: Texts,
}

#[derive(Debug)]
struct State {
    retention: Retention,
    roster: Roster,
    devices: Devices,
    /// Containers that a scrape left out for `max_series`: each is counted once.
    overflowed: HashSet<ContainerId>,
    /// Pods with more interfaces than are shown, likewise.
    crowded: HashSet<PodUid>,
}

/// One scrape's answer.
#[derive(Debug)]
pub struct Scrape {
    /// The text.
    pub body: Bytes,
    /// Sample lines in it.
    pub lines: usize,
    /// To be confirmed when the text was written out; absent where nobody is to get it, and for a
    /// scraper too many.
    pub receipt: Option<Receipt>,
}

/// What one scraper gets to see of ended containers. Dropped, it counts for nothing.
#[must_use]
pub struct Receipt {
    shared: Arc<Shared>,
    scraper: ScraperKey,
    ended: Vec<ContainerId>,
}

// === impl Options ===

impl Default for Options {
    /// The agent's own defaults.
    fn default() -> Self {
        Self {
            retain_ended: Duration::from_mins(5),
            began: Instant::now(),
            max_ended: 10_000,
            max_series: 50_000,
            node: NodeRoot::new("/"),
            build: Build::default(),
            settings: Settings::default(),
            filter: Filter::default(),
            logs: Ledger::default(),
            jobs: JobsView::default(),
            debug: DebugContainers::default(),
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Shows what the others have; adds the process's own figures to the registry of self-metrics.
    pub fn new(
        readings: Readings,
        inventory: Inventory,
        self_metrics: SelfMetrics,
        options: Options,
    ) -> Self {
        if let Err(error) = self_metrics.count_process() {
            tracing::warn!(%error, "the process's own values are not shown");
        }
        let limits = Limits { retain: options.retain_ended, count: options.max_ended };
        let retention = Retention::new(limits, options.began);
        let state = State {
            retention,
            roster: Roster::default(),
            devices: Devices::new(options.node.clone()),
            overflowed: HashSet::new(),
            crowded: HashSet::new(),
        };
        Self(Arc::new(Shared {
            readings,
            inventory,
            self_metrics,
            options,
            state: Mutex::new(state),
            texts: Texts::default(),
        }))
    }

    /// The text for a scraper, or for nobody (`HEAD`): then there is nothing to confirm.
    pub fn scrape(&self, format: Format, scraper: Option<&ScraperId>) -> Scrape {
        let shared = &self.0;
        let begun = Instant::now();
        let (view, receipt) = {
            let mut state = shared.state();
            let now = Moment::now();
            let scraper = scraper.and_then(|who| state.retention.arrive(who, now.steady));
            let cast = shared.settle(&mut state, now);
            let view = shared.view(&mut state, cast);
            let receipt = scraper.map(|scraper| Receipt {
                shared: Arc::clone(shared),
                scraper,
                ended: view.ended(),
            });
            (view, receipt)
        };
        let mut text = Vec::new();
        let lines = render(&view, format, &mut text);
        shared.self_metrics.scraped(begun.elapsed());
        Scrape { body: shared.texts.lend(text), lines, receipt }
    }

    /// Whether the texts of earlier scrapes, which are still being read, take all the memory there is
    /// for them.
    pub fn is_busy(&self) -> bool {
        self.0.texts.is_full()
    }

    /// A scraper's connection is closed, see [`ScraperId::on`].
    pub fn hung_up(&self, connection: u64) {
        self.0.state().retention.hung_up(connection);
    }

    /// Forgets what is due. To be called every few seconds: without it, and with nobody scraping,
    /// ended containers would pile up.
    pub fn sweep(&self) {
        let mut state = self.0.state();
        self.0.settle(&mut state, Moment::now());
    }
}

// === impl Shared ===

impl Shared {
    /// Casts, reviews, and forgets what is due.
    fn settle(&self, state: &mut State, now: Moment) -> Cast {
        let mut snapshot = self.readings.snapshot();
        let mut cast =
            state.roster.cast(&snapshot, |pod, id| Known::of(&self.inventory, pod, id), now);
        let ended: Vec<_> = snapshot
            .containers
            .iter()
            .filter_map(|record| {
                Some(EndedContainer {
                    id: record.id.clone(),
                    at: record.ended.as_ref()?.at,
                    nested: record.nested,
                    superseded: cast.superseded.contains(&record.id),
                })
            })
            .collect();
        let departures = state.retention.review(&ended, now.steady);
        let mut gone = HashSet::new();
        for departure in departures {
            self.readings.forget(&departure.id);
            self.inventory.forget(&departure.id);
            let counted = state.overflowed.remove(&departure.id);
            if let Some(reason) = departure.lost.filter(|_| !counted) {
                self.self_metrics.dropped(Signal::Metrics, reason);
            }
            gone.insert(departure.id);
        }
        cast.containers.retain(|shown| !gone.contains(&shown.record.id));
        snapshot.containers.retain(|record| !gone.contains(&record.id));
        self.forget_pods(&snapshot);
        let pods: HashSet<_> = snapshot.pods.iter().map(|record| &record.pod).collect();
        state.crowded.retain(|uid| pods.contains(uid));
        let there: HashSet<_> = snapshot.containers.iter().map(|record| &record.id).collect();
        state.overflowed.retain(|id| there.contains(id));
        cast
    }

    /// A pod whose cgroup is gone goes with its last container.
    fn forget_pods(&self, snapshot: &Snapshot) {
        let inhabited: HashSet<_> = snapshot.containers.iter().map(|record| &record.pod).collect();
        for record in &snapshot.pods {
            if record.gone && !inhabited.contains(&record.pod) {
                self.readings.forget_pod(&record.pod);
                self.inventory.forget_pod(&record.pod);
            }
        }
    }

    fn view(&self, state: &mut State, cast: Cast) -> View {
        let containers: Vec<_> = cast
            .containers
            .into_iter()
            .map(|Shown { identity, record, facts }| {
                let log = self.options.logs.account(&record.pod, &identity.container);
                ContainerView::new(&identity, record, Some(facts)).with_log(log)
            })
            .collect();
        let numbers = containers.iter().flat_map(|shown| {
            shown.container.record.usage.io.iter().map(|io| (io.major, io.minor))
        });
        let devices = state.devices.names(numbers);
        let containers = self.within_cap(state, containers);
        let mut pods = Vec::with_capacity(cast.pods.len());
        for ShownPod { namespace, name, record } in cast.pods {
            let crowded = record.net.len() > MAX_INTERFACES;
            if crowded && state.crowded.insert(record.pod.clone()) {
                self.self_metrics.dropped(Signal::Metrics, Reason::Cap);
            }
            pods.push(PodView::new(&namespace, &name, record));
        }
        View {
            containers,
            pods,
            jobs: JobView::all(&self.options.jobs.shown()),
            debug: DebugView::all(&self.options.debug),
            agent: self.self_metrics.registry().gather(),
            histograms: self.self_metrics.histograms(),
            build: self.options.build,
            settings: self.options.settings.clone(),
            devices,
            filter: self.options.filter.clone(),
        }
    }

    /// Leaves containers out where all would be more series than `max_series`: the living stay
    /// before the ended, the older before the younger. Each left out is counted once.
    fn within_cap(
        &self,
        state: &mut State,
        mut containers: Vec<ContainerView>,
    ) -> Vec<ContainerView> {
        let filter = &self.options.filter;
        let weights: HashMap<_, _> = containers
            .iter()
            .map(|shown| (shown.container.record.id.clone(), weigh(&shown.container, filter)))
            .collect();
        let all: usize = weights.values().sum();
        if all <= self.options.max_series {
            return containers;
        }
        let mut order: Vec<_> = containers
            .iter()
            .map(|shown| &shown.container.record)
            .map(|record| (record.ended.is_some(), record.created, &record.id))
            .collect();
        order.sort();
        let mut left = self.options.max_series;
        let mut out = HashSet::new();
        for (_, _, id) in order {
            match left.checked_sub(weights.get(id).copied().unwrap_or_default()) {
                Some(rest) => left = rest,
                None => {
                    out.insert(id.clone());
                }
            }
        }
        containers.retain(|shown| !out.contains(&shown.container.record.id));
        for id in out {
            if state.overflowed.insert(id) {
                self.self_metrics.dropped(Signal::Metrics, Reason::Cap);
            }
        }
        containers
    }

    /// A panic elsewhere leaves the state whole, at worst with a scrape uncounted.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

// === impl Moment, View ===

impl Moment {
    fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }
}

impl View {
    /// Containers shown as they will ever be: over, and their logs, where they are followed, too.
    fn ended(&self) -> Vec<ContainerId> {
        self.containers
            .iter()
            .map(|shown| &shown.container)
            .filter(|container| container.record.ended.is_some())
            .filter(|container| container.log.as_ref().is_none_or(|log| log.complete.is_some()))
            .map(|container| container.record.id.clone())
            .collect()
    }
}

// === impl Receipt ===

impl Receipt {
    /// The text was written out to the last byte.
    pub fn confirm(self) {
        let mut state = self.shared.state();
        state.retention.fetched(self.scraper, &self.ended);
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("scraper", &self.scraper)
            .field("ended", &self.ended.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
