//! A container action in a container that was made ahead.

use tokio::sync::watch;
use tracing::Instrument as _;

use super::{Action, run_by};
use crate::call::Error;
use crate::launch::{self, PodWatch};
use crate::outcome::Outcome;
use crate::pod_view::PodView;
use crate::socket::{self, Line};
use crate::spec::Planned;
use crate::step::Signals;
use crate::{pulls, standby};

// === impl Action ===

impl Action<'_> {
    /// Runs the action in the container that the call has taken; `None` if that one cannot be used
    /// and nothing ran in it. One that has not started yet is waited for: the kubelet would not start
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
        call.is_about(container);
        let line = match self.line(&planned, signals).await {
            Ok(line) => line,
            Err(error) => {
                // Its init has run, whatever it does now: the action gets a container with init too,
                // and its environment is in no spec. Any container of the pod can hold connections
                // or remove a socket.
                let why = match &error {
                    Error::Launch(launch::Error::Ended { .. }) => {
                        standby::settle(call, container);
                        "has ended"
                    }
                    Error::Launch(launch::Error::Mute { .. }) => "does not answer",
                    Error::Launch(launch::Error::Socket {
                        source: socket::Error::Busy, ..
                    }) => "has too many connections",
                    _ => {
                        // It may not even have started.
                        if standby::end_one(call, self.token, container).await {
                            standby::settle(call, container);
                        }
                        return Err(error);
                    }
                };
                call.console.debug(&format!("container {container}, which stood by, {why}"));
                return Ok(None);
            }
        };
        self.say(&planned, &warnings, None);
        call.share_masks(&planned.env);
        let outcome = run_by(call, &planned, line, signals).await;
        standby::settle(call, container);
        outcome.map(Some)
    }

    /// Connects to its init.
    async fn line(&self, planned: &Planned, signals: &mut Signals) -> Result<Line, Error> {
        let (call, name) = (self.call, planned.name());
        let open = Line::open(&call.settings.volume, name, self.token);
        let open = open.instrument(tracing::info_span!(
            "connect",
            k8s.container.name = name,
            container.image.name = planned.image,
        ));
        match open.await {
            Ok((line, welcome)) => {
                launch::say_notes(call.console, planned, &welcome);
                Ok(line)
            }
            Err(error) if error.is_early() => self.awaited(planned, signals).await,
            Err(source) => Err(launch::Error::Socket { name: name.to_owned(), source }.into()),
        }
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
