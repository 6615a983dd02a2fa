//! Stops one container by a request to its init.

use ephemon_contract::{Request, Stop, Token};

use super::call::Call;
use super::socket::{self, Line};

/// Time between SIGTERM and SIGKILL for processes of the container, in milliseconds.
const GRACE_MS: u32 = 2_000;

/// Asks a container's init to end it; returns whether init answered. If it did not, the container
/// has already ended, or has not started.
pub(super) async fn stop(call: &Call<'_>, token: &Token, container: &str) -> bool {
    let mut line = match Line::open(&call.settings.volume, container, token).await {
        Ok((line, _)) => line,
        Err(error @ socket::Error::Impostor { .. }) => {
            let left = format!(
                "cannot stop container {container}, which runs until the pod ends: {error}"
            );
            call.console.warning(&left);
            return true;
        }
        Err(_) => return false,
    };
    if let Err(error) = line.ask(&Request::Stop(Stop { grace_ms: GRACE_MS })).await {
        call.console.debug(&format!(
            "cannot stop container {container}, which runs until the pod ends: {error}"
        ));
    }
    true
}
