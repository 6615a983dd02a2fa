//! Logs of containers without init, through the API server.

use std::cell::Cell;
use std::time::Duration;

use futures_util::{AsyncRead, AsyncReadExt};
use tokio::time::{sleep, timeout};

use super::api::Api;
use super::call::Call;

/// Most bytes of one read.
const READ_BYTES: usize = 64 * 1024;
/// Pause before a log that ended while its container still runs is requested again: the kubelet
/// ends the log shortly before the API server knows that the container has ended.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Most bytes of a log that are searched, and the time limit for it.
const SEARCHED_BYTES_MAX: u64 = 1024 * 1024;
const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a connection broke.
const BROKEN_RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// Shows a container's log as it grows, until its end once `over` is set. After a broken connection
/// it continues where it stopped.
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
                call.console.warning(&format!("cannot show the container's output: {error}"));
                return;
            }
        };
        if broken {
            sleep(BROKEN_RETRY_INTERVAL).await;
            continue;
        }
        if was_over || over.get() {
            return;
        }
        sleep(RETRY_INTERVAL).await;
        if over.get() {
            return;
        }
    }
}

/// Shows the beginning of a container's log; returns whether there is more.
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

/// Whether a container's log reports that an address was in use. Only for a hint: without the log
/// the result is false.
pub(super) async fn says_address_in_use(api: &Api, container: &str) -> bool {
    let read = async {
        let mut bytes = Vec::new();
        let log = api.log(container, false).await.ok()?;
        std::pin::pin!(log).take(SEARCHED_BYTES_MAX).read_to_end(&mut bytes).await.ok()?;
        Some(tells_address_in_use(&String::from_utf8_lossy(&bytes)))
    };
    timeout(SEARCH_TIMEOUT, read).await.ok().flatten().unwrap_or(false)
}

/// The messages of `strerror`, Go, Java and Node.
fn tells_address_in_use(log: &str) -> bool {
    let log = log.to_ascii_lowercase();
    ["address already in use", "address in use", "eaddrinuse", "errno: 98"]
        .iter()
        .any(|words| log.contains(words))
}

/// How much of a log was shown.
enum Shown {
    /// All of it, or up to the limit.
    All,
    /// The connection broke.
    BrokenOff,
    /// The runner has closed the hook's output.
    ToNobody,
}

async fn show(
    call: &Call<'_>,
    log: &mut (impl AsyncRead + Unpin),
    most: u64,
    shown: &mut u64,
) -> Shown {
    let mut buffer = vec![0; READ_BYTES];
    while *shown < most {
        let room =
            usize::try_from(most.saturating_sub(*shown)).unwrap_or(READ_BYTES).min(READ_BYTES);
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

/// Skips what was shown before; returns whether all of it was there.
async fn skip(log: &mut (impl AsyncRead + Unpin), bytes: u64) -> bool {
    let mut left = bytes;
    let mut buffer = vec![0; READ_BYTES];
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
        let Some(buffer) = buffer.get_mut(..room) else { return false };
        match log.read(buffer).await {
            // The log was rotated: only the rest exists.
            Ok(0) => return true,
            Ok(count) => left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX)),
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_usual_services_are_known() {
        for words in [
            "bind: Address already in use",
            "listen tcp :80: bind: address already in use",
            "java.net.BindException: Address already in use (Bind failed)",
            "Error: listen EADDRINUSE: address already in use :::3000",
            "could not bind IPv4 address \"0.0.0.0\": Address in use",
        ] {
            assert!(tells_address_in_use(words), "{words}");
        }
        assert!(!tells_address_in_use("the address of the server"));
    }
}
