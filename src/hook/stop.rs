//! The end of one container, asked of its init.

use ephemon_contract::{Request, Stop, Token};

use super::call::Call;
use super::socket::{self, Line};

/// From SIGTERM to SIGKILL for what still runs in a container.
const GRACE_MS: u32 = 2_000;

/// Tells a container's init to end it; whether anybody listened. Where nobody does, the container is
/// over already, or has not begun.
pub(super) async fn stop(call: &Call<'_>, token: &Token, container: &str) -> bool {
    let mut line = match Line::open(&call.settings.volume, container, token).await {
        Ok((line, _)) => line,
        Err(error @ socket::Error::Impostor { .. }) => {
            let left = format!("container {container} is left to the end of the pod: {error}");
            call.console.warning(&left);
            return true;
        }
        Err(_) => return false,
    };
    if let Err(error) = line.ask(&Request::Stop(Stop { grace_ms: GRACE_MS })).await {
        call.console
            .debug(&format!("container {container} is left to the end of the pod: {error}"));
    }
    true
}
