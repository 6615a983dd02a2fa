//! Steps by `exec` through the API server, where `ephemon-init` cannot run: a shell of the image
//! reads what to do from its standard input, so that no value stands in a request or a process's
//! arguments. There is one exception, for want of another way: variables whose names no shell can
//! export are handed over by `env`, which the container's own processes can see for a moment.
//!
//! Weaker than a step by init: the stream goes through API server and kubelet, no resource use is
//! known, and when the hook is killed the step runs on until `cleanup_job`.

mod script;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachedProcess;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::api::{self, Api};
use super::call::{Call, Error};
use super::step::{self, Signals};
use crate::contract::Signal;
pub(super) use script::{Step, setup};

/// Bytes read at once.
const READ: usize = 32 * 1024;
/// For a small thing done in a container.
const SMALL: Duration = Duration::from_secs(30);

/// How a process ended, by the status that the kubelet sent last.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Code(i32),
    /// It did not run, in the kubelet's words.
    Not(String),
    /// The connection closed before a status came.
    Unknown,
}

/// Runs a step and shows its output; its exit code, and whether it was cancelled.
pub(super) async fn run(
    call: &Call<'_>,
    api: &Api,
    container: &str,
    asked: &Step<'_>,
    signals: &mut Signals,
) -> Result<(u8, bool), Error> {
    let mut process = feed(api, container, &asked.text()).await?;
    let (mut out, mut err) = (process.stdout(), process.stderr());
    let (mut out_buffer, mut err_buffer) = (vec![0; READ], vec![0; READ]);
    let mut cancelled: Option<(Signal, Instant)> = None;
    while out.is_some() || err.is_some() {
        let deadline = cancelled.map(|(_, at)| at);
        tokio::select! {
            read = read(&mut out, &mut out_buffer) => match read {
                Some(count) => {
                    let bytes = out_buffer.get(..count).unwrap_or_default();
                    call.console.stdout(bytes).map_err(step::Error::Unread)?;
                }
                None => out = None,
            },
            read = read(&mut err, &mut err_buffer) => match read {
                Some(count) => {
                    let bytes = err_buffer.get(..count).unwrap_or_default();
                    call.console.stderr(bytes).map_err(step::Error::Unread)?;
                }
                None => err = None,
            },
            signal = signals.next() => {
                kill(call, api, container, asked, signal_name(signal)).await;
                let kill_at = Instant::now() + step::kill_after(signal);
                let kill_at = deadline.map_or(kill_at, |earlier| earlier.min(kill_at));
                cancelled = Some((signal, kill_at));
            }
            () = step::at(deadline) => {
                kill(call, api, container, asked, "KILL").await;
                break;
            }
        }
    }
    let status = process.take_status();
    let status = async { status?.await };
    let status = timeout(step::LAST_WORD.max(Duration::from_secs(2)), status).await.ok().flatten();
    if let Some((signal, _)) = cancelled {
        // Nothing of a cancelled step stays behind.
        kill(call, api, container, asked, "KILL").await;
        let code = match of_status(status.as_ref()) {
            End::Code(code) => u8::try_from(code).unwrap_or(1),
            _ => step::cancelled_code(signal),
        };
        return Ok((code, true));
    }
    match of_status(status.as_ref()) {
        End::Code(code) => Ok((u8::try_from(code).unwrap_or(1), false)),
        End::Not(why) => Err(Error::Exec { name: container.to_owned(), why }),
        End::Unknown => Err(Error::ExecCut(container.to_owned())),
    }
}

/// Has a shell of the container do something small; what it printed.
pub(super) async fn ask(api: &Api, container: &str, script: &str) -> Result<String, Error> {
    let failed = |why: String| Error::Exec { name: container.to_owned(), why };
    let work = async {
        let mut process = feed(api, container, script).await?;
        let mut out = process.stdout();
        let mut text = Vec::new();
        let mut buffer = vec![0; READ];
        while let Some(count) = read(&mut out, &mut buffer).await {
            if text.len() < READ {
                text.extend_from_slice(buffer.get(..count).unwrap_or_default());
            }
        }
        let status = match process.take_status() {
            Some(status) => status.await,
            None => None,
        };
        match of_status(status.as_ref()) {
            End::Code(0) => Ok(String::from_utf8_lossy(&text).into_owned()),
            End::Code(code) => Err(failed(format!("its shell ended with exit code {code}"))),
            End::Not(why) => Err(failed(why)),
            End::Unknown => Err(Error::ExecCut(container.to_owned())),
        }
    };
    timeout(SMALL, work).await.unwrap_or_else(|_| Err(failed("it takes too long".to_owned())))
}

/// Starts a shell and gives it what to do.
async fn feed(api: &Api, container: &str, script: &str) -> Result<AttachedProcess, api::Error> {
    let mut process = api.exec(container, &["sh"]).await?;
    if let Some(mut stdin) = process.stdin() {
        // A shell that reads no more has ended, and says so by its status.
        drop(stdin.write_all(script.as_bytes()).await);
        drop(stdin.shutdown().await);
    }
    Ok(process)
}

async fn kill(call: &Call<'_>, api: &Api, container: &str, asked: &Step<'_>, signal: &str) {
    if let Err(error) = ask(api, container, &asked.kill_text(signal)).await {
        call.console.debug(&format!("SIG{signal} cannot be sent: {error}"));
    }
}

fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Interrupt => "INT",
        _ => "TERM",
    }
}

/// Some bytes, or none at the end.
async fn read(from: &mut Option<impl AsyncReadExt + Unpin>, buffer: &mut [u8]) -> Option<usize> {
    match from {
        Some(stream) => stream.read(buffer).await.ok().filter(|count| *count > 0),
        None => std::future::pending().await,
    }
}

/// What the last message says. The exit code stands in the causes, and only where it is not 0.
fn of_status(status: Option<&Status>) -> End {
    let Some(status) = status else { return End::Unknown };
    if status.status.as_deref() == Some("Success") {
        return End::Code(0);
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let mut codes = causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode"));
    match codes.next().and_then(|cause| cause.message.as_deref()?.parse().ok()) {
        // A failure with code 0 is none that was heard of.
        Some(code) if code != 0 => End::Code(code),
        _ => {
            End::Not(super::console::quote(status.message.as_deref().unwrap_or("no reason given")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_status_tells_how_a_process_ended() {
        let of = |status: serde_json::Value| {
            of_status(Some(&serde_json::from_value::<Status>(status).unwrap()))
        };
        assert_eq!(of(json!({"status": "Success"})), End::Code(0));
        let failed = |code: &str| {
            json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "no",
                   "details": {"causes": [{"reason": "ExitCode", "message": code}]}})
        };
        assert_eq!(of(failed("42")), End::Code(42));
        assert_eq!(of(failed("0")), End::Not("no".to_owned()));
        assert_eq!(of(failed("x")), End::Not("no".to_owned()));
        assert_eq!(of_status(None), End::Unknown);
    }
}
