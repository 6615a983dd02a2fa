//! A container action whose first process is not init: the log comes from the API server, the exit
//! code from the kubelet.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Action;
use crate::call::Error;
use crate::launch::{self, PodWatch};
use crate::log;
use crate::outcome::Outcome;
use crate::pod_view::Progress;
use crate::spec::Planned;
use crate::step::Signals;

/// How long to wait for the rest of a log after its container has ended.
const LOG_END_TIMEOUT: Duration = Duration::from_secs(5);

// === impl Action ===

impl Action<'_> {
    /// Follows an action in whose container no init shows itself. Any exit code is valid: it is the
    /// step's own.
    pub(super) async fn by_kubelet(
        &self,
        planned: &Planned,
        news: &mut PodWatch,
        signals: &mut Signals,
    ) -> Result<Outcome, Error> {
        let (call, api) = (self.call, self.api);
        let name = planned.name().to_owned();
        tokio::select! {
            begun = self.begun(planned, news) => begun?,
            signal = signals.next() => return Err(Error::Cancelled(signal)),
        }
        launch::say_without_init(call, planned, self.token);
        // A group without content is one line in the log, without an annotation on the page of the run.
        call.console.group(&format!(
            "{} runs without ephemon-init: its output comes from the kubelet's log, through the API server",
            planned.image
        ));
        call.console.end_group();
        let ended = async {
            news.until(&name, |progress| match progress {
                Progress::Ended { exit_code, reason, message } => {
                    Some((exit_code, reason, message))
                }
                _ => None,
            })
            .await
        };
        let over = Cell::new(false);
        let mut log = std::pin::pin!(log::follow(call, api, &name, &over));
        let mut shown = false;
        let mut ended = std::pin::pin!(ended);
        let (code, reason, message) = loop {
            tokio::select! {
                () = &mut log, if !shown => shown = true,
                end = &mut ended => break end,
                signal = signals.next() => {
                    call.console.warning(&format!(
                        "cannot stop container {name}, which runs without ephemon-init; it runs until the pod ends"
                    ));
                    return Err(Error::Cancelled(signal));
                }
            }
        };
        over.set(true);
        if !shown && timeout(LOG_END_TIMEOUT, log).await.is_err() {
            call.console
                .warning(&format!("timed out waiting for the end of the log of container {name}"));
        }
        Ok(Outcome::of_code(code, &reason, &message))
    }

    /// Waits until the kubelet reports the container as running or ended, and init would have shown
    /// itself.
    async fn begun(&self, planned: &Planned, news: &mut PodWatch) -> Result<(), Error> {
        let waited = self.call.settings.timeout;
        let until = Instant::now() + waited;
        let begun = news.begun(planned, until, waited, self.call.console).await?;
        let Progress::Ended { exit_code, reason, message } = begun else {
            launch::time_for_init(planned, &self.call.settings.volume, news).await;
            return Ok(());
        };
        let error = launch::ended(planned, exit_code, &reason, &message);
        // Where init cannot be started, the image's own entrypoint may.
        if error.is_of_init_in_front(planned) { Err(error.into()) } else { Ok(()) }
    }
}
