//! Watches the API server: which pods of this node match the selector, and their containers.
//!
//! Lists, then watches, and lists again when the watch breaks. kube's `watcher` is not used,
//! because it does not report when a watch has resumed after a failure (which the inventory must
//! know immediately), retries without pause if a server keeps closing the watch, and has no time
//! limit for a response.

mod check;
mod connect;
mod failure;
mod follow;
mod mirrors;
mod runner_object;
mod union;

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

pub use ephemon_ci_systems::CiSystems;
use futures_util::FutureExt as _;
use futures_util::future::select_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use tokio::sync::oneshot;

use super::awaited_images::AwaitedImages;
use super::debug_containers::DebugContainers;
use super::inventory::Inventory;
use failure::Failure;
use follow::Follow;
use union::Union;

pub use check::Checked;
pub use connect::Error;
pub use runner_object::{Answer, RunnerObjects};

/// Pods per page of a list: few, because a pod can be as large as etcd accepts (1.5 MiB), and a
/// whole page is in memory.
pub const LIST_PAGE_LIMIT: u32 = 4;

/// How to reach the API server, and which pods to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `--kubeconfig`; without it the files of `KUBECONFIG`, else the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// `--node-name`.
    pub node_name: String,
    /// `--pod-selector`: label selectors; a pod that any of them selects is taken, and an empty one
    /// selects all.
    pub pod_selectors: Vec<String>,
    /// What pods of other CI systems are known by, `--job-identity` with them.
    pub ci_systems: CiSystems,
    /// Time limits.
    pub patience: Patience,
}

/// Time limits for the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a list, and for starting a watch.
    pub answer: Duration,
    /// For an event or bookmark of a watch; bookmarks are sent about once a minute. The server is
    /// also asked to end each watch after this time.
    pub event: Duration,
    /// A watch that ends sooner than this was interrupted, because the server ends it after
    /// `event`. Then the pods are listed again.
    pub whole_watch: Duration,
    /// The pause after the first failure; it doubles with each.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

/// A connection to the API server that has not been used yet.
#[derive(Debug)]
pub struct Watch {
    api: Api<Pod>,
    /// The server's address, without credentials.
    url: String,
    options: Options,
}

// === impl Patience ===

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(30),
            event: Duration::from_secs(290),
            whole_watch: Duration::from_secs(280),
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

// === impl Watch ===

impl Watch {
    /// Reads the configuration, without connecting.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let (client, url) = connect::client(&options).await?;
        Ok(Self { api: Api::all(client), url, options })
    }

    /// The API server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What asks this server for single objects.
    pub fn runner_objects(&self) -> RunnerObjects {
        RunnerObjects::new(self.api.clone().into_client(), self.options.patience)
    }

    /// Keeps the inventory up to date, with a list and a watch for each selector; never returns.
    /// `listed` is notified when the first list of each is complete.
    /// Containers that were attached to these pods by hand are listed in `debug`; images that their
    /// containers wait for are told of in `images`.
    pub async fn run(
        self,
        inventory: Inventory,
        debug: Option<DebugContainers>,
        images: Option<AwaitedImages>,
        listed: oneshot::Sender<()>,
    ) -> Infallible {
        let union = Union::new(inventory, self.options.pod_selectors.len());
        let union = union.with_debug(debug).with_images(images);
        self.follow(union, listed).await
    }

    /// Only lists containers that were attached to pods by hand; never returns.
    pub async fn run_for_debug(self, debug: DebugContainers) -> Infallible {
        let union = Union::for_debug(debug, self.options.pod_selectors.len());
        self.follow(union, oneshot::channel::<()>().0).await
    }

    async fn follow(&self, union: Union, listed: oneshot::Sender<()>) -> Infallible {
        let follow = |(place, selector): (usize, &String)| {
            Follow::new(self, &union, place, labels(selector)).run().boxed()
        };
        let follows = self.options.pod_selectors.iter().enumerate().map(follow);
        let first = async {
            union.all_listed().await;
            // The receiver may have been dropped, which is not an error here.
            listed.send(()).ok();
            std::future::pending::<Infallible>().await
        };
        select_all(follows.chain([first.boxed()])).await.0
    }

    fn fields(&self) -> String {
        format!("spec.nodeName={}", self.options.node_name)
    }

    async fn answer<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Failure> {
        let limit = self.options.patience.answer;
        match tokio::time::timeout(limit, request).await {
            Ok(answer) => answer.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure::Silence(limit.as_secs())),
        }
    }
}

/// A selector as the API takes it: `None` if it selects all.
fn labels(selector: &str) -> Option<String> {
    let selector = selector.trim();
    (!selector.is_empty()).then(|| selector.to_owned())
}
