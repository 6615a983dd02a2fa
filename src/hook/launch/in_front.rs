//! Init in front of an image's own entrypoint, which the node's agent may have put there, or not: its
//! socket tells.

use std::time::Duration;

use ephemon_contract::{Token, Volume, Welcome};
use tokio::time::sleep;

use super::{Error, connected, say_notes};
use crate::console::Console;
use crate::socket::Line;
use crate::spec::Planned;

/// How long a container that the kubelet reports as running is given to show that init is in front of
/// its own entrypoint: the report comes about half a second after the start, init's socket within
/// milliseconds of it.
const IN_FRONT_TIMEOUT: Duration = Duration::from_millis(500);

/// Waits for the connection to an init that the node's agent may have put in front of a container's own
/// entrypoint: for ever, if it has not.
pub(crate) async fn in_front(
    planned: &Planned,
    volume: &Volume,
    token: &Token,
    console: &Console,
) -> Result<(Line, Welcome), Error> {
    if !planned.asks_init {
        std::future::pending::<()>().await;
    }
    let connected = connected(volume, planned.name(), token).await;
    let name = || planned.name().to_owned();
    let (line, welcome) = connected.map_err(|source| Error::Socket { name: name(), source })?;
    say_notes(console, planned, &welcome);
    Ok((line, welcome))
}

/// Gives such an init its time, once the kubelet reports the container as running. Shows what it would
/// have set up.
pub(crate) async fn without_init(planned: &Planned, console: &Console) {
    if planned.asks_init {
        sleep(IN_FRONT_TIMEOUT).await;
        let text = "the node's agent has not put ephemon-init in front of it";
        console.debug(&format!("{} (container {}): {text}", planned.image, planned.name()));
        for warning in &planned.warnings_without_init {
            console.warning(warning);
        }
    }
}
