//! Whether the API server grants what the agent needs, asked once.

use kube::api::{ListParams, WatchParams};

use super::failure::Verb;
use super::{LIST_PAGE_LIMIT, Watch};

impl Watch {
    /// Lists the pods of this node once, and begins to watch them: how many there are on the first
    /// page, and whether there are more. Says in one sentence what is not granted, or why there is no
    /// answer.
    pub async fn check(&self) -> Result<(usize, bool), String> {
        let params = ListParams {
            label_selector: self.labels(),
            field_selector: Some(self.fields()),
            limit: Some(LIST_PAGE_LIMIT),
            ..ListParams::default()
        };
        let page = self.answer(self.api.list(&params)).await;
        let page = page.map_err(|failure| failure.sentence(Verb::List, &self.url))?;
        let params = WatchParams {
            label_selector: self.labels(),
            field_selector: Some(self.fields()),
            timeout: Some(1),
            bookmarks: true,
            send_initial_events: false,
        };
        let version = page.metadata.resource_version.unwrap_or_default();
        // Begun and dropped: a server that refuses it says so before the first event.
        let events = self.answer(self.api.watch(&params, &version)).await;
        drop(events.map_err(|failure| failure.sentence(Verb::Watch, &self.url))?);
        let more = page.metadata.continue_.is_some_and(|token| !token.is_empty());
        Ok((page.items.len(), more))
    }
}
