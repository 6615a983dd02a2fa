//! Watches the API server: which pods of this node match the selector, and their containers.
//!
//! Lists, then watches, and lists again when the watch breaks. kube's `watcher` is not used,
//! because it does not report when a watch has resumed after a failure (which the inventory must
//! know immediately), retries without pause if a server keeps closing the watch, and has no time
//! limit for a response.

mod check;
mod connect;
mod failure;
mod mirrors;

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use ephemon_base::Backoff;
use ephemon_base::warning::Outage;
use ephemon_model::PodUid;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::sync::oneshot;
use tracing::field::Empty;
use tracing::{Instrument as _, debug, info, info_span, warn};

use super::inventory::Inventory;
use super::pod_view::{InvalidField, PodView};
use super::text::clean;
use failure::{Failure, Verb};
use mirrors::Mirrors;

pub use connect::Error;

/// Pods per page of a list: few, because a pod can be as large as etcd accepts (1.5 MiB), and a
/// whole page is in memory.
pub const LIST_PAGE_LIMIT: u32 = 4;

/// Most pages of a list; no node runs that many pods.
const MAX_PAGES: usize = 500;

/// A watch that lasted at least this many first pauses counts as a success, and resets the pauses.
const STEADY_AFTER: u32 = 10;

/// How to reach the API server, and which pods to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `--kubeconfig`; without it the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// `--node-name`.
    pub node_name: String,
    /// `--pod-selector`, a label selector; empty selects all.
    pub pod_selector: String,
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

/// The state of one watch's loop.
#[derive(Debug)]
struct Follow<'a> {
    watch: &'a Watch,
    inventory: &'a Inventory,
    backoff: Backoff,
    /// The failure that was last logged.
    said: Outage<(Verb, String)>,
    oddities: HashSet<InvalidField>,
    mirrors: Mirrors,
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

    /// Keeps the inventory up to date; never returns. `listed` is notified when the first list is
    /// complete.
    pub async fn run(self, inventory: Inventory, listed: oneshot::Sender<()>) -> Infallible {
        let patience = self.options.patience;
        let mut follow = Follow {
            watch: &self,
            inventory: &inventory,
            backoff: Backoff::new(patience.first_pause, patience.longest_pause),
            said: Outage::default(),
            oddities: HashSet::new(),
            mirrors: Mirrors::default(),
        };
        let mut listed = Some(listed);
        loop {
            let span = info_span!("list pods", otel.status_code = Empty);
            let list = follow.list().instrument(span.clone()).await;
            if list.is_err() {
                span.record("otel.status_code", "error");
            }
            drop(span);
            match list {
                Ok(version) => {
                    // The receiver may have been dropped, which is not an error here.
                    listed.take().map(|listed| listed.send(()).ok());
                    follow.watch(version).instrument(info_span!("watch pods")).await;
                }
                Err(failure) => follow.pause(Verb::List, &failure).await,
            }
        }
    }

    fn fields(&self) -> String {
        format!("spec.nodeName={}", self.options.node_name)
    }

    fn labels(&self) -> Option<String> {
        let selector = self.options.pod_selector.trim();
        (!selector.is_empty()).then(|| selector.to_owned())
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

// === impl Follow ===

impl Follow<'_> {
    /// Lists all pods; returns the resource version to watch from.
    async fn list(&mut self) -> Result<String, Failure> {
        let asked = Instant::now();
        let mut params = ListParams {
            label_selector: self.watch.labels(),
            field_selector: Some(self.watch.fields()),
            limit: Some(LIST_PAGE_LIMIT),
            ..ListParams::default()
        };
        // Every mirror that is there is judged anew; those that are gone must keep no place.
        self.mirrors = Mirrors::default();
        let mut uids = HashSet::new();
        for _ in 0..MAX_PAGES {
            let page = self.watch.answer(self.watch.api.list(&params)).await?;
            uids.extend(page.items.iter().filter_map(|pod| self.apply(pod)));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                self.inventory.list_complete(&uids, asked);
                self.well(uids.len());
                let version = page.metadata.resource_version.unwrap_or_default();
                return Ok(version);
            }
        }
        Err(Failure::Broken(format!(
            "the list has more than {MAX_PAGES} pages of {LIST_PAGE_LIMIT} pods"
        )))
    }

    /// Watches from `version` until a new list is needed.
    async fn watch(&mut self, mut version: String) {
        let patience = self.watch.options.patience;
        let params = WatchParams {
            label_selector: self.watch.labels(),
            field_selector: Some(self.watch.fields()),
            timeout: u32::try_from(patience.event.as_secs()).ok(),
            bookmarks: true,
            send_initial_events: false,
        };
        loop {
            let opened = Instant::now();
            let events = self.watch.api.watch(&params, &version);
            let failure = match self.watch.answer(events).await {
                Ok(events) => self.events(events, &mut version).await,
                Err(failure) => Some(failure),
            };
            let lasted = opened.elapsed();
            if lasted >= patience.first_pause * STEADY_AFTER {
                self.backoff.reset();
            }
            match failure {
                None if lasted >= patience.whole_watch => {}
                None => return self.wait("the watch was interrupted").await,
                Some(Failure::Gone) => {
                    return self
                        .wait("the API server no longer has the changes since the last event")
                        .await;
                }
                Some(failure) => return self.pause(Verb::Watch, &failure).await,
            }
        }
    }

    /// Handles a watch's events until it ends; returns `None` if it ended normally.
    async fn events(
        &mut self,
        events: impl futures_util::Stream<Item = kube::Result<WatchEvent<Pod>>>,
        version: &mut String,
    ) -> Option<Failure> {
        let limit = self.watch.options.patience.event;
        self.inventory.api_live();
        self.recovered();
        let mut events = pin!(events);
        loop {
            let event = match tokio::time::timeout(limit, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return Some(Failure::of(&error)),
                Ok(None) => return None,
                Err(_) => return Some(Failure::Silence(limit.as_secs())),
            };
            self.judge_mirrors();
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    self.apply(&pod);
                    advance(version, pod.metadata.resource_version);
                }
                WatchEvent::Deleted(pod) => {
                    if let Some(uid) = self.apply(&pod) {
                        self.inventory.unlisted(&uid);
                    }
                    let own = pod.metadata.uid.as_deref().and_then(|uid| PodUid::parse(uid).ok());
                    own.inspect(|own| self.mirrors.forget(own));
                    advance(version, pod.metadata.resource_version);
                }
                WatchEvent::Bookmark(mark) => {
                    advance(version, Some(mark.metadata.resource_version));
                }
                WatchEvent::Error(status) => return Some(Failure::of_status(&status)),
            }
        }
    }

    /// Updates the inventory with a pod.
    fn apply(&mut self, pod: &Pod) -> Option<PodUid> {
        let (view, oddities) = PodView::of(pod);
        for oddity in oddities {
            if self.oddities.insert(oddity) {
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                warn!(pod = %clean(name), "{} (logged once)", oddity.as_str());
            }
        }
        let view = self.mirrors.resolve(view?, self.inventory);
        Some(self.tell(view))
    }

    fn tell(&self, view: PodView) -> PodUid {
        let uid = view.pod.uid.clone();
        self.inventory.listed(&uid);
        for evidence in view.evidence() {
            self.inventory.learn(evidence);
        }
        uid
    }

    /// Takes in mirrors of which the node has told meanwhile.
    fn judge_mirrors(&mut self) {
        for (view, before) in self.mirrors.decided(self.inventory) {
            self.tell(view);
            if let Some(uid) = before {
                self.inventory.unlisted(&uid);
            }
        }
    }

    /// A list is complete; failures of the watch that were logged are still current.
    fn well(&mut self, pods: usize) {
        debug!(url = %self.watch.url, pods, "listed pods");
        if matches!(self.said.current(), Some((Verb::List, _))) {
            self.recovered();
        }
    }

    fn recovered(&mut self) {
        if self.said.end() {
            info!(url = %self.watch.url, "the API server answers again");
        }
    }

    /// Waits before a list that is needed although the server has not failed.
    async fn wait(&mut self, why: &str) {
        // Until the list is complete, a pod must not be judged by events that were missed.
        self.inventory.api_failing();
        debug!("{why}; listing again");
        tokio::time::sleep(self.backoff.next_pause(fastrand::f64())).await;
    }

    /// Logs a failure, once for each kind, and waits.
    async fn pause(&mut self, verb: Verb, failure: &Failure) {
        self.inventory.api_failing();
        let sentence = failure.sentence(verb, &self.watch.url);
        if self.said.is_news((verb, sentence.clone())) {
            warn!("{sentence}; retrying");
        } else {
            debug!("{sentence}");
        }
        tokio::time::sleep(self.backoff.next_pause(fastrand::f64())).await;
    }
}

/// An event without a version does not change the last one.
fn advance(version: &mut String, to: Option<String>) {
    if let Some(to) = to.filter(|to| !to.is_empty()) {
        *version = to;
    }
}
