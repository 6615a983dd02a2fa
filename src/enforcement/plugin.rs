//! The plugin of the runtime (NRI): limits that hold before a container's first instruction.
//!
//! Which container it is, and what it asks for, the inventory says, as it does for the enforcement
//! after the start; the runtime's request only says that there is such a variable, which an image or
//! an ordinary container can have, too.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ephemon_base::warning::Outage;
use ephemon_base::{Backoff, lock};
use ephemon_cgroup::{Hierarchy, LimitFiles};
use ephemon_contract::{Limits, env};
use ephemon_discovery::inventory::{Expected, Inventory};
use ephemon_model::PodUid;
use ephemon_model::node::NodeRoot;
use ephemon_nri::{Adjustment, Creation, Decide, Session};
use ephemon_self_metrics::{AtCreation, SelfMetrics, Watched};
use tokio::time::{Instant, sleep};

use super::creation::{PodLimits, at_creation};
use super::enforcer::sense;

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
                Expected::Unknown if Instant::now() < by => sleep(LOOK_INTERVAL).await,
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

    /// What the container asks for, and the cgroup of another one of its pod. `None`: nothing is to be
    /// changed; what could not be done is counted.
    async fn asked(
        &self,
        pod: &PodUid,
        name: &str,
        within: Duration,
    ) -> Option<(Limits, Arc<Path>)> {
        let why = match self.expected(pod, name, within).await {
            Expected::Unlimited => return None,
            Expected::Unknown => AtCreation::Unknown,
            Expected::Limited { limits, beside } => match sense(&limits) {
                Ok(asked) => return Some((asked, beside)),
                // The enforcement after the start says what is wrong.
                Err(_) => AtCreation::Invalid,
            },
        };
        tracing::debug!(%pod, container = name, result = why.as_str(), "no limits over NRI");
        self.self_metrics.limited_at_creation(why);
        None
    }

    /// What is in force in the pod of the container with this cgroup.
    fn pod(&self, beside: &Path) -> Option<PodLimits> {
        let hierarchy = Hierarchy::detect(&self.node.cgroup()).ok()?;
        let read = |cgroup| LimitFiles::at(&hierarchy, cgroup).read().ok();
        Some(PodLimits { pod: read(beside.parent()?)?, beside: read(beside)? })
    }

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
}

impl Decide for Plugin {
    async fn decide(&self, creation: Creation, within: Duration) -> Adjustment {
        if !creation.has_variable(env::LIMITS) {
            return Adjustment::default();
        }
        let Ok(uid) = PodUid::parse(&creation.pod_uid) else {
            return Adjustment::default();
        };
        match self.asked(&uid, &creation.container, within).await {
            Some((asked, beside)) => self.limited(&creation, &asked, &beside),
            None => Adjustment::default(),
        }
    }

    fn unreadable(&self) {
        tracing::warn!("a request of the runtime over NRI cannot be read: nothing is changed");
        self.self_metrics.limited_at_creation(AtCreation::Unreadable);
    }

    fn late(&self) {
        tracing::warn!("a container's limits were not decided in time: none is set over NRI");
        self.self_metrics.limited_at_creation(AtCreation::Late);
    }

    fn ready(&self) {
        self.self_metrics.watch_answers(Watched::Nri);
        tracing::info!("limits are set when the runtime creates containers (NRI)");
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use ephemon_discovery::inventory::{Evidence, SpecEntry};
    use ephemon_model::{ContainerId, ContainerType};

    use super::*;

    const LONG: Duration = Duration::from_mins(1);
    const SHORT: Duration = Duration::from_millis(20);

    fn uid(n: u8) -> PodUid {
        PodUid::parse(&format!("0e269fa4-f505-4963-9096-9580630772{n:02x}")).unwrap()
    }

    fn entry(name: &str, container_type: ContainerType, limits: Option<&str>) -> SpecEntry {
        SpecEntry {
            name: name.into(),
            container_type,
            image: None,
            limits: limits.map(str::parse),
            job: None,
        }
    }

    /// The plugin of a node whose API server has told of one pod, in which its runner runs.
    fn plugin() -> Plugin {
        let self_metrics = SelfMetrics::new().unwrap();
        let inventory = Inventory::with_api(self_metrics.clone());
        let runner = ContainerId::parse(&"a".repeat(64)).unwrap();
        inventory.api_live();
        inventory.listed(&uid(1));
        inventory.created(&uid(1), &runner, SystemTime::now());
        inventory.stands_at(&runner, Path::new("kubepods/pod/runner"));
        let entries = vec![
            entry("runner", ContainerType::Container, None),
            entry("job", ContainerType::Ephemeral, Some("pids=50")),
            entry("tiny", ContainerType::Ephemeral, Some("memory=1Mi")),
        ];
        inventory.learn(Evidence::Spec { pod: uid(1), entries });
        Plugin::new(NodeRoot::new("/"), inventory, self_metrics)
    }

    fn counts(plugin: &Plugin) -> Vec<String> {
        let families = plugin.self_metrics.registry().gather();
        let family = families
            .iter()
            .find(|family| family.name() == "ephemon_agent_limits_at_creation_total")
            .unwrap();
        let count = |result: AtCreation| {
            let metric = family.get_metric().iter().find(|metric| {
                metric.get_label().iter().any(|label| label.value() == result.as_str())
            });
            (result.as_str(), metric.unwrap().get_counter().get_value())
        };
        let counts = AtCreation::ALL.map(count).into_iter().filter(|(_, count)| *count > 0.0);
        counts.map(|(result, count)| format!("{result} {count}")).collect()
    }

    #[tokio::test]
    async fn only_an_ephemeral_container_that_asks_for_limits_has_some() {
        let plugin = plugin();
        let job = plugin.asked(&uid(1), "job", LONG).await;
        assert_eq!(
            job,
            Some(("pids=50".parse().unwrap(), Path::new("kubepods/pod/runner").into()))
        );
        assert_eq!(plugin.asked(&uid(1), "runner", LONG).await, None);
        assert_eq!(counts(&plugin), [""; 0]);
        assert_eq!(plugin.asked(&uid(1), "tiny", LONG).await, None);
        assert_eq!(counts(&plugin), ["invalid 1"]);
    }

    #[tokio::test]
    async fn a_container_that_is_told_of_a_little_later_is_waited_for() {
        let plugin = plugin();
        let entries = vec![entry("later", ContainerType::Ephemeral, Some("pids=60"))];
        let tell = async {
            sleep(SHORT).await;
            plugin.inventory.learn(Evidence::Spec { pod: uid(1), entries });
        };
        let pod = uid(1);
        let (asked, ()) = tokio::join!(plugin.asked(&pod, "later", LONG), tell);
        assert_eq!(asked.unwrap().0, "pids=60".parse().unwrap());
    }

    #[tokio::test]
    async fn a_pod_that_nobody_knows_is_waited_for_once() {
        let plugin = plugin();
        assert_eq!(plugin.asked(&uid(2), "job", SHORT).await, None);
        assert_eq!(plugin.asked(&uid(2), "job", LONG).await, None);
        assert_eq!(counts(&plugin), ["unknown 2"]);
        // Known meanwhile, it is waited for again.
        let entries = vec![entry("job", ContainerType::Ephemeral, Some("pids=60"))];
        let runner = ContainerId::parse(&"b".repeat(64)).unwrap();
        plugin.inventory.listed(&uid(2));
        plugin.inventory.created(&uid(2), &runner, SystemTime::now());
        plugin.inventory.stands_at(&runner, Path::new("kubepods/pod2/runner"));
        plugin.inventory.learn(Evidence::Spec { pod: uid(2), entries });
        assert!(plugin.asked(&uid(2), "job", SHORT).await.is_some());
        assert!(!plugin.is_stranger(&uid(2)));
        for n in 0..u8::MAX {
            plugin.remember(&uid(n));
        }
        assert_eq!(lock(&plugin.strangers).len(), MAX_STRANGERS);
    }
}
