//! The loop of one selector: lists, then watches, and lists again when the watch breaks.

use std::collections::HashSet;
use std::convert::Infallible;
use std::pin::pin;
use std::time::Instant;

use ephemon_base::Backoff;
use ephemon_model::PodUid;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use tracing::field::Empty;
use tracing::{Instrument as _, debug, info, info_span, warn};

use super::failure::{Failure, Verb};
use super::mirrors::Mirrors;
use super::union::Union;
use super::{LIST_PAGE_LIMIT, Watch};
use crate::pod_view::{InvalidField, PodView};
use crate::text::clean;

/// Most pages of a list; no node runs that many pods.
const MAX_PAGES: usize = 500;

/// A watch that lasted at least this many first pauses counts as a success, and resets the pauses.
const STEADY_AFTER: u32 = 10;

/// The state of one selector's loop.
#[derive(Debug)]
pub(super) struct Follow<'a> {
    watch: &'a Watch,
    union: &'a Union,
    /// Its place in the union.
    place: usize,
    labels: Option<String>,
    backoff: Backoff,
    oddities: HashSet<InvalidField>,
    mirrors: Mirrors,
}

// === impl Follow ===

impl<'a> Follow<'a> {
    pub(super) fn new(
        watch: &'a Watch,
        union: &'a Union,
        place: usize,
        labels: Option<String>,
    ) -> Self {
        let patience = watch.options.patience;
        Self {
            watch,
            union,
            place,
            labels,
            backoff: Backoff::new(patience.first_pause, patience.longest_pause),
            oddities: HashSet::new(),
            mirrors: Mirrors::default(),
        }
    }

    /// Keeps the union up to date; never returns.
    pub(super) async fn run(mut self) -> Infallible {
        loop {
            let span = info_span!("list pods", otel.status_code = Empty);
            let list = self.list().instrument(span.clone()).await;
            if list.is_err() {
                span.record("otel.status_code", "error");
            }
            drop(span);
            match list {
                Ok(version) => self.watch(version).instrument(info_span!("watch pods")).await,
                Err(failure) => self.pause(Verb::List, &failure).await,
            }
        }
    }

    /// Lists all pods; returns the resource version to watch from.
    async fn list(&mut self) -> Result<String, Failure> {
        let asked = Instant::now();
        let mut params = ListParams {
            label_selector: self.labels.clone(),
            field_selector: Some(self.watch.fields()),
            limit: Some(LIST_PAGE_LIMIT),
            ..ListParams::default()
        };
        // Every mirror that is there is judged anew; those that are gone must keep no place.
        self.mirrors = Mirrors::default();
        let mut uids = HashSet::new();
        for _ in 0..MAX_PAGES {
            // One page at a time is in memory, whatever the number of selectors.
            let turn = self.union.turn().await;
            let page = self.watch.answer(self.watch.api.list(&params)).await?;
            uids.extend(page.items.iter().filter_map(|pod| self.apply(pod)));
            drop(turn);
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                self.well(uids.len());
                self.union.list_complete(self.place, uids, asked);
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
            label_selector: self.labels.clone(),
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
        self.union.live(self.place);
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
                        self.union.unlisted(self.place, &uid);
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
        if self.union.attached(pod) {
            return PodUid::parse(pod.metadata.uid.as_deref()?).ok();
        }
        let (view, oddities) = PodView::with(pod, &self.watch.options.ci_systems);
        for oddity in oddities {
            if self.oddities.insert(oddity) {
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                warn!(pod = %clean(name), "{} (logged once)", oddity.as_str());
            }
        }
        let view = self.mirrors.resolve(view?, self.union.inventory());
        Some(self.tell(view))
    }

    fn tell(&self, view: PodView) -> PodUid {
        let uid = view.pod.uid.clone();
        self.union.listed(self.place, &uid);
        for evidence in view.evidence() {
            self.union.inventory().learn(evidence);
        }
        uid
    }

    /// Takes in mirrors of which the node has told meanwhile.
    fn judge_mirrors(&mut self) {
        for (view, before) in self.mirrors.decided(self.union.inventory()) {
            self.tell(view);
            if let Some(uid) = before {
                self.union.unlisted(self.place, &uid);
            }
        }
    }

    /// A list is complete; failures of the watch that were logged are still current.
    fn well(&mut self, pods: usize) {
        debug!(url = %self.watch.url, pods, "listed pods");
        if self.union.has_failed(self.place, Verb::List) {
            self.recovered();
        }
    }

    fn recovered(&mut self) {
        if self.union.recovers(self.place) {
            info!(url = %self.watch.url, "the API server answers again");
        }
    }

    /// Waits before a list that is needed although the server has not failed.
    async fn wait(&mut self, why: &str) {
        // Until the list is complete, a pod must not be judged by events that were missed.
        self.union.failing(self.place);
        debug!("{why}; listing again");
        tokio::time::sleep(self.backoff.next_pause(fastrand::f64())).await;
    }

    /// Logs a failure, once for each kind, and waits.
    async fn pause(&mut self, verb: Verb, failure: &Failure) {
        self.union.failing(self.place);
        let sentence = failure.sentence(verb, &self.watch.url);
        if self.union.is_news(self.place, verb, &sentence) {
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
