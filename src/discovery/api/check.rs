//! Whether the API server grants what the agent needs, asked once.

use std::collections::HashSet;
use std::sync::Arc;

use ephemon_model::PodUid;
use kube::api::{ListParams, WatchParams};

use super::failure::Verb;
use super::{LIST_PAGE_LIMIT, Watch, labels};
use crate::pod_view::PodView;

/// What the API server has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The pods on the first pages.
    pub pods: HashSet<PodUid>,
    /// Whether there are more.
    pub more: bool,
    /// The `EphemeralRunner` objects of those pods: namespace and name.
    pub runners: Vec<(Arc<str>, Arc<str>)>,
}

impl Watch {
    /// Lists the pods of this node once for each selector, and begins to watch them: how many there
    /// are on the first pages, and whether there are more. Says in one sentence what is not granted, or
    /// why there is no answer.
    pub async fn check(&self) -> Result<Checked, String> {
        let mut all = Checked { pods: HashSet::new(), more: false, runners: Vec::new() };
        for selector in &self.options.pod_selectors {
            self.check_selector(selector, &mut all).await?;
        }
        Ok(all)
    }

    async fn check_selector(&self, selector: &str, all: &mut Checked) -> Result<(), String> {
        let params = ListParams {
            label_selector: labels(selector),
            field_selector: Some(self.fields()),
            limit: Some(LIST_PAGE_LIMIT),
            ..ListParams::default()
        };
        let page = self.answer(self.api.list(&params)).await;
        let page = page.map_err(|failure| failure.sentence(Verb::List, &self.url))?;
        let params = WatchParams {
            label_selector: labels(selector),
            field_selector: Some(self.fields()),
            timeout: Some(1),
            bookmarks: true,
            send_initial_events: false,
        };
        let version = page.metadata.resource_version.unwrap_or_default();
        // Begun and dropped: a server that refuses it says so before the first event.
        let events = self.answer(self.api.watch(&params, &version)).await;
        drop(events.map_err(|failure| failure.sentence(Verb::Watch, &self.url))?);
        all.more |= page.metadata.continue_.is_some_and(|token| !token.is_empty());
        for pod in &page.items {
            let (Some(view), _) = PodView::of(pod) else { continue };
            if all.pods.insert(view.pod.uid.clone())
                && let Some(owner) = view.origin.and_then(|origin| origin.ephemeral_runner.clone())
            {
                all.runners.push((view.pod.namespace, owner));
            }
        }
        Ok(())
    }
}
