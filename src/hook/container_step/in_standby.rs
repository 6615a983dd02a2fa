//! A container action in a container that was made ahead.

use tokio::sync::watch;
use tracing::Instrument as _;

use super::{Action, run_by};
use crate::call::Error;
use crate::launch::{self, PodWatch};
use crate::outcome::Outcome;
use crate::pod_view::PodView;
use crate::pulls;
use crate::socket::Line;
use crate::spec::Planned;
use crate::step::Signals;

// === impl Action ===

impl Action<'_> {
    /// Runs the action in the container that the call has taken; `None` if that one ended before
    /// anything ran in it. One that has not started yet is waited for: the kubelet would not start
    /// another sooner.
    pub(super) async fn in_standby(
        &self,
        container: &str,
        view: &PodView,
        signals: &mut Signals,
    ) -> Result<Option<Outcome>, Error> {
        let call = self.call;
        let (mut planned, warnings) = self.planned(view, None)?;
        container.clone_into(&mut planned.spec.name);
        let open = Line::open(&call.settings.volume, container, self.token);
        let open = open.instrument(tracing::info_span!(
            "connect",
            k8s.container.name = container,
            container.image.name = planned.image,
        ));
        let line = match open.await {
            Ok((line, welcome)) => {
                launch::say_notes(call.console, &planned, &welcome);
                line
            }
            Err(error) if error.is_early() => match self.awaited(&planned, signals).await {
                Err(Error::Launch(launch::Error::Ended { .. })) => {
                    let left = format!("container {container}, which stood by, has ended");
                    call.console.debug(&left);
                    return Ok(None);
                }
                line => line?,
            },
            Err(source) => {
                let name = container.to_owned();
                return Err(launch::Error::Socket { name, source }.into());
            }
        };
        self.say(&planned, &warnings, None);
        call.is_about(container);
        call.share_masks(&planned.env);
        run_by(call, &planned, line, signals).await.map(Some)
    }

    /// Waits for the start of a container that was asked for earlier.
    async fn awaited(&self, planned: &Planned, signals: &mut Signals) -> Result<Line, Error> {
        let (call, api) = (self.call, self.api);
        let pod = signals.or(api.pod()).await?;
        let (sender, _) = watch::channel(pod);
        let mut news = PodWatch::new(&sender);
        let (line, took) = tokio::select! {
            ready = self.ready(planned, &mut news, signals) => ready?,
            Err(error) = launch::follow(api, &sender) => return Err(error.into()),
        };
        pulls::note_early(call, api, took, &[planned.name()]).await;
        Ok(line)
    }
}
