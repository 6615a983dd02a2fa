//! The agent's sources, each with an inventory of its own, and what each knew when.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use ephemon_base::lock;
use ephemon_capture::readings::Readings;
use ephemon_capture::{self as capture, CaptureHandle};
use ephemon_discovery::feed::Changed;
use ephemon_discovery::inventory::Inventory;
use ephemon_discovery::{api, cri, logs};
use ephemon_model::node::NodeRoot;
use ephemon_self_metrics::SelfMetrics;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// When a source knew what of a container.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    /// That it is there: its name, or by the kernel its cgroup.
    pub(crate) there: Option<SystemTime>,
    /// How it ended, or by the kernel its final values.
    pub(crate) ended: Option<SystemTime>,
}

/// What a source knows, by the containers' ids.
type Book = Arc<Mutex<HashMap<String, Known>>>;

/// A source that runs until the program ends.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    book: Book,
    /// The thread that does its work, by the kernel's number.
    pub(crate) thread: i32,
    capture: Option<CaptureHandle>,
}

/// Where the sources look.
pub(crate) struct Places {
    pub(crate) root: PathBuf,
    pub(crate) kubepods: Option<PathBuf>,
    /// These are not joined to the root.
    pub(crate) cri: PathBuf,
    pub(crate) nri: PathBuf,
}

// === impl Source ===

impl Source {
    /// Cgroup events, and the final values; with the names by log directories beside it.
    pub(crate) fn kernel_and_logs(places: &Places) -> [Self; 2] {
        let inventory = inventory();
        let readings = Readings::publishing_to(inventory.feed().clone());
        let capture = places.capture(readings.clone(), &inventory);
        let book = Book::default();
        let noted = Arc::clone(&book);
        let feed = inventory.feed().clone();
        spawn(move |runtime| {
            runtime.block_on(async {
                let mut follower = feed.follow();
                loop {
                    follower.changed().await;
                    let now = SystemTime::now();
                    drop(follower.take());
                    let mut book = lock(&noted);
                    for record in readings.snapshot().containers {
                        let known = book.entry(record.id.as_str().to_owned()).or_default();
                        known.there.get_or_insert(now);
                        if record.ended.is_some() {
                            known.ended.get_or_insert(now);
                        }
                    }
                }
            });
        });
        let kernel = Self { name: "cgroup watch", book, thread: 0, capture: Some(capture) };
        let node = NodeRoot::new(&places.root);
        let watched = inventory.clone();
        let logs = Self::new("log directories", inventory, None, move || async move {
            logs::watch(node, watched).await;
        });
        [kernel, logs]
    }

    /// The runtime, asked.
    pub(crate) fn cri(places: &Places) -> Self {
        let inventory = inventory();
        let capture = places.capture(Readings::default(), &inventory);
        let (socket, watched) = (places.cri.clone(), inventory.clone());
        Self::new("CRI", inventory, Some(capture), move || async move {
            cri::watch(socket, watched).await;
        })
    }

    /// The runtime, by its events. Waits until it has taken the plugin.
    pub(crate) fn nri(places: &Places) -> Self {
        let (inventory, self_metrics) = (inventory(), SelfMetrics::new().unwrap());
        let capture = places.capture(Readings::default(), &inventory);
        let (socket, node) = (places.nri.clone(), NodeRoot::new(&places.root));
        let (watched, counted) = (inventory.clone(), self_metrics.clone());
        let source = Self::new("NRI", inventory, Some(capture), move || async move {
            ephemon_enforcement::run_at_creation(socket, node, watched, counted).await;
        });
        let is_up = || {
            let families = self_metrics.registry().gather();
            let family = families.iter().find(|one| one.name() == "ephemon_agent_watch_up")?;
            (family.get_metric()[0].get_gauge().get_value() > 0.0).then_some(())
        };
        let patience = Duration::from_mins(1);
        crate::support::process::until(patience, is_up).expect("the runtime takes the plugin");
        source
    }

    /// The API server; of the pods that this selects.
    pub(crate) fn api(kubeconfig: &Path, node_name: &str, selector: &str) -> Self {
        let inventory = Inventory::with_api(SelfMetrics::new().unwrap());
        let options = api::Options {
            kubeconfig: Some(kubeconfig.to_owned()),
            node_name: node_name.to_owned(),
            pod_selectors: vec![selector.to_owned()],
            ci_systems: api::CiSystems::default(),
            patience: api::Patience::default(),
        };
        let watched = inventory.clone();
        Self::new("API server", inventory, None, move || async move {
            let watch = api::Watch::connect(options).await.unwrap();
            watch.run(watched, None, None, oneshot::channel().0).await;
        })
    }

    fn new<F: Future<Output = ()>>(
        name: &'static str,
        inventory: Inventory,
        capture: Option<CaptureHandle>,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Self {
        let book = Book::default();
        let noted = Arc::clone(&book);
        spawn(move |runtime| runtime.block_on(note(&inventory, &noted)));
        let thread = spawn(move |runtime| runtime.block_on(work()));
        Self { name, book, thread, capture }
    }

    pub(crate) fn known(&self, id: &str) -> Known {
        lock(&self.book).get(id).copied().unwrap_or_default()
    }

    /// CPU time of its thread so far.
    pub(crate) fn used(&self) -> Duration {
        let file = format!("/proc/self/task/{}/schedstat", self.thread);
        let text = std::fs::read_to_string(file).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }
}

// === impl Places ===

impl Places {
    /// The kernel's part of an inventory, as the agent has it.
    fn capture(&self, readings: Readings, inventory: &Inventory) -> CaptureHandle {
        let options = capture::Options {
            node: NodeRoot::new(&self.root),
            kubepods: self.kubepods.clone(),
            sample_interval: Duration::from_secs(1),
            sample_budget: 0.05,
            max_containers: 1000,
            max_nested: 0,
            heartbeat: ephemon_base::Heartbeat::default(),
        };
        let self_metrics = SelfMetrics::new().unwrap();
        capture::start(options, readings, inventory.clone(), self_metrics).unwrap()
    }
}

fn inventory() -> Inventory {
    Inventory::without_api(SelfMetrics::new().unwrap())
}

/// Notes what an inventory knows of containers by name, as soon as it does.
async fn note(inventory: &Inventory, book: &Book) {
    let mut follower = inventory.feed().follow();
    loop {
        follower.changed().await;
        let now = SystemTime::now();
        let pods = match follower.take() {
            Changed::All => inventory.snapshot(),
            Changed::Pods(pods) => inventory.snapshot_of(&pods),
        };
        let mut book = lock(book);
        for run in pods.iter().flat_map(|pod| &pod.runs) {
            let known = book.entry(run.id.as_str().to_owned()).or_default();
            known.there.get_or_insert(now);
            if run.exit.is_some() {
                known.ended.get_or_insert(now);
            }
        }
    }
}

/// A thread of its own with a runtime; its number.
fn spawn(work: impl FnOnce(&Runtime) + Send + 'static) -> i32 {
    let (number_tx, number_rx) = mpsc::channel();
    thread::spawn(move || {
        number_tx.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        work(&Builder::new_current_thread().enable_all().build().unwrap());
    });
    number_rx.recv().unwrap()
}
