//! The plugin of the runtime (NRI): limits that hold before a container's first instruction, and init
//! in front of an image's own entrypoint. What the runtime tells of containers it passes to discovery.
//!
//! Which container it is, and what it asks for, the inventory says, as it does for the enforcement
//! after the start; the runtime's request only says that there is such a variable, which an image or
//! an ordinary container can have, too.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ephemon_base::warning::Outage;
use ephemon_base::{Backoff, lock};
use ephemon_cgroup::{Hierarchy, LimitFiles};
use ephemon_contract::{Limits, env, mount};
use ephemon_discovery::inventory::{Asked, Expected, Inventory};
use ephemon_discovery::runtime_events;
use ephemon_model::PodUid;
use ephemon_model::node::NodeRoot;
use ephemon_nri::{Adjustment, Creation, Event, Handler, Life, List, Session};
use ephemon_self_metrics::{AtCreation, InFront, SelfMetrics, Watched};
use tokio::time::{Instant, sleep};

use super::creation::{PodLimits, at_creation};
use super::enforcer::sense;
use super::in_front;

/// The plugin's name in the runtime's log.
const NAME: &str = "ephemon";
/// How often the inventory is asked for a container that it does not know yet: the API server tells
/// the kubelet and the agent at about the same time.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How long a pod for which waiting was of no use is not waited for: the API server may only have been
/// away.
const STRANGER_FOR: Duration = Duration::from_secs(10);
/// Most such pods.
const MAX_STRANGERS: usize = 64;
/// A session that was longer has not failed by what this program does.
const LASTING: Duration = Duration::from_mins(1);
/// The first pause after a session ended; it doubles each time.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// The longest.
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(30);

/// Sets limits when the runtime at `socket` creates containers; never returns.
pub async fn run_at_creation(
    socket: PathBuf,
    node: NodeRoot,
    inventory: Inventory,
    self_metrics: SelfMetrics,
) -> Infallible {
    self_metrics.will_watch(Watched::Nri);
    let plugin = Plugin::new(node, inventory, self_metrics);
    loop {
        let began = Instant::now();
        let error = match Session::connect(&socket).await {
            Ok(session) => session.serve(NAME, &plugin).await,
            Err(error) => error,
        };
        plugin.self_metrics.watch_failed(Watched::Nri);
        // Each registration holds up the creation of containers: one that does not last is not made
        // again at once.
        if began.elapsed() >= LASTING {
            lock(&plugin.backoff).reset();
            lock(&plugin.outage).end();
        }
        let text = error.to_string();
        if lock(&plugin.outage).is_news(text.clone()) {
            tracing::warn!(
                socket = %socket.display(),
                "limits are not set at the creation of containers: {text}; retrying"
            );
        }
        let pause = lock(&plugin.backoff).next_pause(fastrand::f64());
        sleep(pause).await;
    }
}

struct Plugin {
    node: NodeRoot,
    inventory: Inventory,
    self_metrics: SelfMetrics,
    /// Pods of which the inventory knew nothing in time: they are not waited for again, because
    /// meanwhile the runtime creates nothing else.
    strangers: Mutex<VecDeque<(PodUid, Instant)>>,
    outage: Mutex<Outage<String>>,
    backoff: Mutex<Backoff>,
}

// === impl Plugin ===

impl Plugin {
    fn new(node: NodeRoot, inventory: Inventory, self_metrics: SelfMetrics) -> Self {
        Self {
            node,
            inventory,
            self_metrics,
            strangers: Mutex::default(),
            outage: Mutex::default(),
            backoff: Mutex::new(Backoff::new(RETRY_INTERVAL, RETRY_INTERVAL_MAX)),
        }
    }

    async fn expected(&self, pod: &PodUid, name: &str, within: Duration) -> Expected {
        let by = Instant::now() + within;
        let is_stranger = self.is_stranger(pod);
        loop {
            match self.inventory.expected(pod, name) {
                Expected::Unknown if is_stranger => return Expected::Unknown,
                Expected::Unknown | Expected::AsksForInit if Instant::now() < by => {
                    sleep(LOOK_INTERVAL).await;
                }
                expected => {
                    if expected == Expected::Unknown {
                        self.remember(pod);
                    } else {
                        lock(&self.strangers).retain(|(stranger, _)| stranger != pod);
                    }
                    return expected;
                }
            }
        }
    }

    fn is_stranger(&self, pod: &PodUid) -> bool {
        let is_it = |(stranger, since): &(PodUid, Instant)| {
            stranger == pod && since.elapsed() < STRANGER_FOR
        };
        lock(&self.strangers).iter().any(is_it)
    }

    fn remember(&self, pod: &PodUid) {
        let mut strangers = lock(&self.strangers);
        strangers.retain(|(stranger, _)| stranger != pod);
        strangers.truncate(MAX_STRANGERS - 1);
        strangers.push_front((pod.clone(), Instant::now()));
    }

    /// What the container asks for. `None`: nothing is to be changed; what could not be done is counted.
    async fn asked(
        &self,
        pod: &PodUid,
        name: &str,
        seems: Seems,
        within: Duration,
    ) -> Option<Wanted> {
        match self.expected(pod, name, within).await {
            Expected::Nothing => return None,
            Expected::Asks(asked) => return Some(self.wanted(asked)),
            // Init needs no other container.
            Expected::AsksForInit => {
                self.self_metrics.limited_at_creation(AtCreation::Unknown);
                return Some(Wanted { limits: None, init: true });
            }
            Expected::Unknown => {}
        }
        tracing::debug!(%pod, container = name, "nothing over NRI: the API server has not told of it");
        if seems.limits {
            self.self_metrics.limited_at_creation(AtCreation::Unknown);
        }
        if seems.init {
            self.self_metrics.put_in_front(InFront::Unknown);
        }
        None
    }

    /// Leaves out limits that are not valid: the enforcement after the start says what is wrong.
    fn wanted(&self, Asked { limits, init }: Asked) -> Wanted {
        let limits = limits.and_then(|(limits, beside)| {
            let sensible = sense(&limits).ok();
            if sensible.is_none() {
                self.self_metrics.limited_at_creation(AtCreation::Invalid);
            }
            Some((sensible?, beside))
        });
        Wanted { limits, init }
    }

    /// What is in force in the pod of the container with this cgroup.
    fn pod(&self, beside: &Path) -> Option<PodLimits> {
        let hierarchy = Hierarchy::detect(&self.node.cgroup()).ok()?;
        let read = |cgroup| LimitFiles::at(&hierarchy, cgroup).read().ok();
        Some(PodLimits { pod: read(beside.parent()?)?, beside: read(beside)? })
    }

    /// What is set of the limits; `cgroup` is that of another container of the pod.
    fn limited(&self, creation: &Creation, asked: &Limits, cgroup: &Path) -> Adjustment {
        let Creation { namespace, pod, container, .. } = creation;
        let found = self.pod(cgroup).unwrap_or_default();
        let decided = at_creation(asked, &creation.there, &found);
        let result = match (decided.adjustment.is_empty(), decided.left) {
            (_, false) => AtCreation::Applied,
            (false, true) => AtCreation::Partial,
            (true, _) => AtCreation::Left,
        };
        self.self_metrics.limited_at_creation(result);
        tracing::debug!(
            %namespace, %pod, %container, limits = %asked, result = result.as_str(),
            "limits at the container's creation"
        );
        decided.adjustment
    }

    /// The command with init in front; empty: it stays.
    fn with_init(&self, creation: &Creation) -> Vec<String> {
        let Creation { namespace, pod, container, .. } = creation;
        let is_there = creation.is_mounted_read_only(mount::PROGRAMS);
        let own = creation.args().filter(|_| is_there);
        let command = own.and_then(in_front::command);
        let result = if command.is_some() { InFront::Applied } else { InFront::Left };
        self.self_metrics.put_in_front(result);
        tracing::debug!(
            %namespace, %pod, %container, result = result.as_str(),
            "init in front of the image's own entrypoint"
        );
        command.unwrap_or_default()
    }
}

/// What the plugin is to do.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// Limits that can be set, and the cgroup of another container of the pod.
    limits: Option<(Limits, Arc<Path>)>,
    /// Init in front of the image's own entrypoint.
    init: bool,
}

/// Which variables the environment has, in the runtime's request.
#[derive(Debug, Clone, Copy)]
struct Seems {
    limits: bool,
    init: bool,
}

// === impl Seems ===

impl Seems {
    fn of(creation: &Creation) -> Self {
        Self { limits: creation.has_variable(env::LIMITS), init: creation.has_variable(env::INIT) }
    }
}

impl Handler for Plugin {
    async fn decide(&self, creation: Creation, within: Duration) -> Adjustment {
        // Only the API server says what a container asks for.
        if !self.inventory.has_api() {
            return Adjustment::default();
        }
        let seems = Seems::of(&creation);
        if !seems.limits && !seems.init {
            return Adjustment::default();
        }
        let Ok(uid) = PodUid::parse(&creation.pod_uid) else {
            return Adjustment::default();
        };
        let Some(wanted) = self.asked(&uid, &creation.container, seems, within).await else {
            return Adjustment::default();
        };
        let limits = wanted.limits.as_ref();
        let mut adjustment = limits
            .map(|(limits, beside)| self.limited(&creation, limits, beside))
            .unwrap_or_default();
        if wanted.init {
            adjustment.args = self.with_init(&creation);
        }
        adjustment
    }

    fn unreadable(&self) {
        tracing::warn!("a request of the runtime over NRI cannot be read: nothing is changed");
        self.self_metrics.limited_at_creation(AtCreation::Unreadable);
    }

    fn late(&self, creation: &Creation) {
        tracing::warn!("a container was not decided on in time: nothing is changed over NRI");
        let seems = Seems::of(creation);
        if seems.limits {
            self.self_metrics.limited_at_creation(AtCreation::Late);
        }
        if seems.init {
            self.self_metrics.put_in_front(InFront::Late);
        }
    }

    fn ready(&self) {
        self.self_metrics.watch_answers(Watched::Nri);
        let also = if self.inventory.has_api() { "asks for limits and init, and " } else { "" };
        tracing::info!("the runtime {also}tells of starts and ends (NRI)");
    }

    fn told(&self, event: Event, life: Life) {
        runtime_events::told(&self.inventory, event, &life, SystemTime::now());
    }

    fn listed(&self, list: List) {
        runtime_events::listed(&self.inventory, &list);
    }
}

#[cfg(test)]
mod tests;
