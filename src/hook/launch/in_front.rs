//! Init in front of an image's own entrypoint, which the node's agent may have put there, or not: its
//! socket tells.

use std::time::Duration;

use ephemon_contract::{Token, Volume, Welcome, mount};
use tokio::time::{sleep, timeout};

use super::{Error, POLL_INTERVAL, PodWatch, STATUS_TIMEOUT, connected, say_notes};
use crate::call::Call;
use crate::console::Console;
use crate::pod_view::Progress;
use crate::socket::Line;
use crate::spec::Planned;

/// How long a container that the kubelet reports as running is given to show that init is in front of
/// its own entrypoint: the report comes about half a second after the start, init's socket within
/// milliseconds of it.
const IN_FRONT_TIMEOUT: Duration = Duration::from_millis(500);

/// The kubelet's reason for a container whose process the runtime could not start (containerd,
/// `internal/cri/server/container_start.go`).
const START_ERROR: &str = "StartError";

// === impl Error ===

impl Error {
    /// Whether the runtime could not start init, which the node's agent has put in front. Runtimes name
    /// the program that they cannot start (runc, `libcontainer/standard_init_linux.go`): without the
    /// agent that is the image's own.
    pub(crate) fn is_of_init_in_front(&self, planned: &Planned) -> bool {
        let init = Volume::new(mount::EPHEMON).init();
        let names_init = |text: &str| init.to_str().is_some_and(|init| text.contains(init));
        matches!(self, Self::Ended { reason, message, .. }
            if planned.asks_init && reason.contains(START_ERROR) && names_init(message))
    }
}

/// Waits for the connection to an init that the node's agent may have put in front of a container's own
/// entrypoint: for ever, if it has not.
pub(crate) async fn in_front(
    planned: &Planned,
    volume: &Volume,
    token: &Token,
    console: &Console,
) -> (Line, Welcome) {
    if !planned.asks_init {
        std::future::pending::<()>().await;
    }
    let mut is_told = false;
    let (line, welcome) = loop {
        match connected(volume, planned.name(), token).await {
            Ok(connected) => break connected,
            // Nothing has proved that there is an init: any container of the pod can listen there,
            // and must not decide how this one ends.
            Err(source) => {
                if !is_told {
                    console.warning(&format!("container {}: {source}", planned.name()));
                }
                is_told = true;
                sleep(POLL_INTERVAL).await;
            }
        }
    };
    say_notes(console, planned, &welcome);
    (line, welcome)
}

/// Gives such an init its time, once the kubelet reports the container as running. Returns whether one has
/// begun there and its container is over. One that has begun is given longer: on a busy node its socket is
/// late, or the report of its end.
///
/// Its journal shows that it has begun. Any container of the pod can make such a file: all that it brings
/// about is that the hook waits for longer.
pub(crate) async fn time_for_init(planned: &Planned, volume: &Volume, news: &mut PodWatch) -> bool {
    if !planned.asks_init {
        return false;
    }
    sleep(IN_FRONT_TIMEOUT).await;
    if volume.container_journal(planned.name()).symlink_metadata().is_err() {
        return false;
    }
    let is_over = |progress| matches!(progress, Progress::Ended { .. }).then_some(());
    timeout(STATUS_TIMEOUT, news.until(planned.name(), is_over)).await.is_ok()
}

/// Shows what such an init would have set up, once it is known to be missing, and hides the
/// container's key, which the image's own program can print.
pub(crate) fn say_without_init(call: &Call<'_>, planned: &Planned, token: &Token) {
    if planned.asks_init {
        let text = "the node's agent has not put ephemon-init in front of it";
        call.console.debug(&format!("{} (container {}): {text}", planned.image, planned.name()));
        call.hide_key(planned.name(), token);
    }
    for warning in &planned.warnings_without_init {
        call.console.warning(warning);
    }
}
