//! Logs of containers without an init, through the API server: what the kubelet kept of their
//! output.

use std::cell::Cell;
use std::time::Duration;

use futures_util::{AsyncRead, AsyncReadExt};
use tokio::time::sleep;

use super::api::Api;
use super::call::Call;

/// Bytes read at once.
const READ: usize = 64 * 1024;
/// A log that ended while its container runs is asked for again after so long: the kubelet ends it
/// a moment before the API server hears of the container's end.
const AGAIN: Duration = Duration::from_secs(2);
/// Pause after a log that broke off.
const BROKEN: Duration = Duration::from_millis(300);

/// Shows a container's log as it grows, until its end once `over` is set. One that breaks off is
/// taken up where it was.
pub(super) async fn follow(call: &Call<'_>, api: &Api, container: &str, over: &Cell<bool>) {
    let mut shown = 0_u64;
    loop {
        let was_over = over.get();
        let broken = match api.log(container, true).await {
            Ok(log) => {
                let mut log = std::pin::pin!(log);
                if skip(&mut log, shown).await {
                    match show(call, &mut log, u64::MAX, &mut shown).await {
                        Shown::All => false,
                        Shown::BrokenOff => true,
                        Shown::ToNobody => return,
                    }
                } else {
                    true
                }
            }
            Err(error) => {
                call.console.warning(&format!("the container's output cannot be shown: {error}"));
                return;
            }
        };
        if broken {
            sleep(BROKEN).await;
            continue;
        }
        if was_over || over.get() {
            return;
        }
        sleep(AGAIN).await;
        if over.get() {
            return;
        }
    }
}

/// Shows the beginning of a container's log; whether it goes on.
pub(super) async fn beginning(
    call: &Call<'_>,
    api: &Api,
    container: &str,
    most: u64,
) -> Result<bool, super::api::Error> {
    let log = api.log(container, false).await?;
    let mut shown = 0;
    show(call, &mut std::pin::pin!(log), most, &mut shown).await;
    Ok(shown >= most)
}

/// How far a log was shown.
enum Shown {
    /// To its end, or to the limit.
    All,
    /// The connection broke.
    BrokenOff,
    /// The runner reads no more.
    ToNobody,
}

async fn show(
    call: &Call<'_>,
    log: &mut (impl AsyncRead + Unpin),
    most: u64,
    shown: &mut u64,
) -> Shown {
    let mut buffer = vec![0; READ];
    while *shown < most {
        let room = usize::try_from(most.saturating_sub(*shown)).unwrap_or(READ).min(READ);
        let Some(buffer) = buffer.get_mut(..room) else { break };
        let bytes = match log.read(buffer).await {
            Ok(0) => break,
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(_) => return Shown::BrokenOff,
        };
        if call.console.stdout(bytes).is_err() {
            return Shown::ToNobody;
        }
        *shown = shown.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }
    Shown::All
}

/// Reads over what was shown before; whether it was all there.
async fn skip(log: &mut (impl AsyncRead + Unpin), bytes: u64) -> bool {
    let mut left = bytes;
    let mut buffer = vec![0; READ];
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(READ).min(READ);
        let Some(buffer) = buffer.get_mut(..room) else { return false };
        match log.read(buffer).await {
            // Rotated away: what is left of the log is what there is.
            Ok(0) => return true,
            Ok(count) => left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX)),
            Err(_) => return false,
        }
    }
    true
}
