//! A service from its start until it is ready, without init if the runtime cannot start the one that the
//! node's agent has put in front.

use std::cell::RefCell;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Prepare, health};
use crate::call::Error;
use crate::launch::{self, PodWatch};
use crate::names::Names;
use crate::pod_view::PodView;
use crate::spec::Planned;
use crate::state::State;

/// How often another service may take the name: more services than a job has.
const LOST_LIMIT: u32 = 64;

/// Services that were added again, with the names of their new containers.
#[derive(Debug, Default)]
pub(super) struct Again(RefCell<Vec<(String, String)>>);

// === impl Again ===

impl Again {
    /// Notes the new containers: the old ones have ended.
    pub(super) fn note(&self, state: &mut State) {
        for (old, new) in &*self.0.borrow() {
            for service in state.services.iter_mut().filter(|service| service.container == *old) {
                service.container.clone_from(new);
                service.asks_init = false;
            }
        }
    }
}

// === impl Prepare ===

impl Prepare<'_> {
    /// Waits until a service is ready.
    pub(super) async fn service(
        &self,
        service: &Planned,
        sender: &watch::Sender<Pod>,
        until: Instant,
    ) -> Result<(), Error> {
        let Self { call, api, token, .. } = *self;
        let healthy =
            async |it| health::healthy(call, api, it, token, PodWatch::new(sender), until).await;
        match healthy(service).await {
            Err(Error::Launch(error)) if error.is_of_init_in_front(service) => {
                let plain = self.add_again(service, sender, &error).await?;
                healthy(&plain).await
            }
            result => result,
        }
    }

    /// Adds a service again, without init. Its environment is in the Secret of the first container, which the end of
    /// the job deletes.
    async fn add_again(
        &self,
        service: &Planned,
        sender: &watch::Sender<Pod>,
        cause: &launch::Error,
    ) -> Result<Planned, Error> {
        let (call, api) = (self.call, self.api);
        call.console.notice(&format!(
            "ephemon-init does not run in {}; the service runs without it, and its resource usage is not reported; `options: --init=false` saves the attempt ({cause})",
            service.image
        ));
        for warning in &service.warnings_without_init {
            call.console.warning(warning);
        }
        let mut lost = 0;
        loop {
            let mut names = Names::new(PodView::of(&sender.borrow()).containers);
            let plain = service.without_init(names.take(service.name()));
            match api.add(&[&plain.spec]).await {
                Err(error) if error.is_name_taken() && lost < LOST_LIMIT => {
                    lost += 1;
                    sender.send_replace(api.pod().await?);
                }
                Err(error) => return Err(error.into()),
                Ok(pod) => {
                    sender.send_replace(pod);
                    let name = plain.name().to_owned();
                    self.again.0.borrow_mut().push((service.name().to_owned(), name));
                    return Ok(plain);
                }
            }
        }
    }
}
