//! Steps by `exec` through the API server, for images in which `ephemon-init` cannot run. A shell
//! of the image reads the step from its standard input, so that no value is in a request or in a
//! process's arguments. There is one exception: variables whose names a shell cannot export
//! (`INPUT_NODE-VERSION`), or that it uses itself (`PWD`), are set by the image's `env`, and are in
//! the arguments of that process until it executes the program. The reference hook passes every
//! variable that way, and writes them into a file of the workspace first.
//!
//! Limitations compared with a step by init: the output passes through API server and kubelet, no
//! resource usage is known, and if the hook is killed the step runs on until `cleanup_job`.

mod script;

use std::pin::Pin;
use std::time::Duration;

use ephemon_contract::Signal;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachedProcess;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, SimplexStream};
use tokio::time::{Instant, timeout};

use super::api::{self, Api};
use super::call::{Call, Error};
use super::step::{self, Signals};
pub(super) use script::{Step, line, setup};

/// Most bytes of one read.
const READ_BYTES: usize = 32 * 1024;
/// How long to wait for remaining output after the status arrived or the connection closed.
const REST_TIMEOUT: Duration = Duration::from_millis(500);
/// Most bytes of a health command's output that are kept.
const PROBE_TEXT_BYTES_MAX: usize = 4096;
/// Time limit for a short command in a container.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// How a process ended, according to the kubelet's last status.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Code(i32),
    /// It did not run; the kubelet's message.
    Not(String),
    /// The connection closed before a status arrived.
    Unknown,
}

/// The output streams of a process in a container.
struct Streams {
    out: Stream,
    err: Stream,
    status: Pin<Box<dyn Future<Output = End> + Send>>,
    /// Set once the status has arrived or can no longer arrive.
    ended: Option<End>,
    /// When data arrived last.
    last: Instant,
}

struct Stream {
    pipe: Option<ReadHalf<SimplexStream>>,
    buffer: Vec<u8>,
}

/// Data or the end of the streams.
enum Event<'a> {
    Out(&'a [u8]),
    Err(&'a [u8]),
    /// The process has ended and its output is complete.
    End(End),
}

/// Runs a step and shows its output. Returns its exit code, and whether it was cancelled.
pub(super) async fn run(
    call: &Call<'_>,
    api: &Api,
    container: &str,
    asked: &Step<'_>,
    signals: &mut Signals,
) -> Result<(u8, bool), Error> {
    let mut process = signals.or(feed(api, container, &asked.text())).await?;
    let mut streams = Streams::of(&mut process);
    let (mut cancelled, mut killed): (Option<(Signal, Instant)>, bool) = (None, false);
    let end = loop {
        let deadline = cancelled.map(|(_, at)| at);
        tokio::select! {
            event = streams.next() => match event {
                Event::Out(bytes) => call.console.stdout(bytes).map_err(step::Error::Unread)?,
                Event::Err(bytes) => call.console.stderr(bytes).map_err(step::Error::Unread)?,
                Event::End(end) => break end,
            },
            signal = signals.next() => {
                kill(call, api, container, asked, signal_name(signal)).await;
                let kill_at = Instant::now() + step::kill_after(signal);
                let kill_at = deadline.map_or(kill_at, |earlier| earlier.min(kill_at));
                cancelled = Some((signal, kill_at));
            }
            () = step::at(deadline) => {
                if killed {
                    break End::Unknown;
                }
                killed = true;
                kill(call, api, container, asked, "KILL").await;
                let last = Instant::now() + step::LAST_OUTPUT_TIMEOUT;
                cancelled = cancelled.map(|(signal, _)| (signal, last));
            }
        }
    };
    if let Some((signal, _)) = cancelled {
        // No process of a cancelled step may continue to run.
        kill(call, api, container, asked, "KILL").await;
        let code = match end {
            End::Code(code) => u8::try_from(code).unwrap_or(1),
            _ => step::cancelled_code(signal),
        };
        return Ok((code, true));
    }
    match end {
        End::Code(code) => Ok((u8::try_from(code).unwrap_or(1), false)),
        End::Not(why) => Err(Error::Exec { name: container.to_owned(), why }),
        End::Unknown => Err(Error::ExecCut(container.to_owned())),
    }
}

/// Runs a short script in a container's shell and returns its output.
pub(super) async fn ask(api: &Api, container: &str, script: &str) -> Result<String, Error> {
    let failed = |why: String| Error::Exec { name: container.to_owned(), why };
    let work = async {
        let mut process = feed(api, container, script).await?;
        let mut streams = Streams::of(&mut process);
        let mut text = Vec::new();
        let end = loop {
            match streams.next().await {
                Event::Out(bytes) if text.len() < READ_BYTES => text.extend_from_slice(bytes),
                Event::Out(_) | Event::Err(_) => {}
                Event::End(end) => break end,
            }
        };
        match end {
            End::Code(0) => Ok(String::from_utf8_lossy(&text).into_owned()),
            End::Code(code) => Err(failed(format!("its shell ended with exit code {code}"))),
            End::Not(why) => Err(failed(why)),
            End::Unknown => Err(Error::ExecCut(container.to_owned())),
        }
    };
    timeout(PROBE_TIMEOUT, work).await.unwrap_or_else(|_| Err(failed("it timed out".to_owned())))
}

/// Runs a health command: `Ok` if its exit code is 0, else its output. As with Docker (moby,
/// `daemon/health.go`), the time limit begins with the process, and a process that exceeds it is
/// killed.
pub(super) async fn probe(
    api: &Api,
    container: &str,
    command: &str,
    limit: Duration,
) -> Result<Result<(), String>, api::Error> {
    let line = script::whole(command);
    let mark = format!("{:016x}", fastrand::u64(..));
    let step = Step { mark, env: &[], prepend_path: &[], cwd: None, line: &line };
    let mut process = feed(api, container, &step.text()).await?;
    let mut streams = Streams::of(&mut process);
    let mut text = Vec::new();
    let end = timeout(limit, async {
        loop {
            match streams.next().await {
                Event::Out(bytes) => {
                    let room = PROBE_TEXT_BYTES_MAX.saturating_sub(text.len()).min(bytes.len());
                    text.extend_from_slice(bytes.get(..room).unwrap_or_default());
                }
                Event::Err(_) => {}
                Event::End(end) => break end,
            }
        }
    });
    let end = end.await.ok();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    Ok(match end {
        Some(End::Code(0)) => Ok(()),
        Some(End::Code(code)) => Err(format!("exit code {code}: {text}")),
        Some(End::Not(why)) => Err(why),
        Some(End::Unknown) => Err("the connection closed before the command ended".to_owned()),
        None => {
            // A process that cannot be killed ends with its container.
            drop(ask(api, container, &step.kill_text("KILL")).await);
            Err(format!("no answer within {limit:?}: {text}"))
        }
    })
}

/// Starts a shell and writes the script to its standard input.
async fn feed(api: &Api, container: &str, script: &str) -> Result<AttachedProcess, api::Error> {
    let mut process = api.exec(container, &["sh"]).await?;
    if let Some(mut stdin) = process.stdin() {
        // If the shell does not read, it has ended, and its status reports it.
        drop(stdin.write_all(script.as_bytes()).await);
        drop(stdin.shutdown().await);
    }
    Ok(process)
}

async fn kill(call: &Call<'_>, api: &Api, container: &str, asked: &Step<'_>, signal: &str) {
    if let Err(error) = ask(api, container, &asked.kill_text(signal)).await {
        call.console.debug(&format!("cannot send SIG{signal}: {error}"));
    }
}

fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Interrupt => "INT",
        _ => "TERM",
    }
}

// === impl Streams ===

impl Streams {
    fn of(process: &mut AttachedProcess) -> Self {
        let status = process.take_status();
        Self {
            out: Stream::of(process.stdout()),
            err: Stream::of(process.stderr()),
            status: Box::pin(async move {
                match status {
                    Some(status) => of_status(status.await.as_ref()),
                    None => End::Unknown,
                }
            }),
            ended: None,
            last: Instant::now(),
        }
    }

    /// Waits for the next event. If the connection breaks, the streams stay open, so the status, or
    /// its absence, decides when they have ended.
    async fn next(&mut self) -> Event<'_> {
        loop {
            let over = self.out.pipe.is_none() && self.err.pipe.is_none();
            if over && let Some(end) = &self.ended {
                return Event::End(end.clone());
            }
            let quiet = self.ended.is_some().then(|| self.last + REST_TIMEOUT);
            let (is_out, count) = tokio::select! {
                biased;
                count = self.out.read() => (true, count),
                count = self.err.read() => (false, count),
                end = &mut self.status, if self.ended.is_none() => {
                    self.ended = Some(end);
                    self.last = Instant::now();
                    continue;
                }
                () = step::at(quiet) => {
                    (self.out.pipe, self.err.pipe) = (None, None);
                    continue;
                }
            };
            self.last = Instant::now();
            let stream = if is_out { &mut self.out } else { &mut self.err };
            if count == 0 {
                stream.pipe = None;
                continue;
            }
            let bytes = if is_out { &self.out.buffer } else { &self.err.buffer };
            let bytes = bytes.get(..count).unwrap_or_default();
            return if is_out { Event::Out(bytes) } else { Event::Err(bytes) };
        }
    }
}

// === impl Stream ===

impl Stream {
    fn of(pipe: Option<ReadHalf<SimplexStream>>) -> Self {
        Self { pipe, buffer: vec![0; READ_BYTES] }
    }

    /// Reads some bytes; 0 at the end.
    async fn read(&mut self) -> usize {
        match &mut self.pipe {
            Some(pipe) => pipe.read(&mut self.buffer).await.unwrap_or(0),
            None => std::future::pending().await,
        }
    }
}

/// The result in the kubelet's last message. It contains the exit code only if that is not 0.
fn of_status(status: Option<&Status>) -> End {
    let Some(status) = status else { return End::Unknown };
    if status.status.as_deref() == Some("Success") {
        return End::Code(0);
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let mut codes = causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode"));
    match codes.next().and_then(|cause| cause.message.as_deref()?.parse().ok()) {
        // A failure with exit code 0 is not valid.
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
