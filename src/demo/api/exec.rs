//! `pods/exec` over a websocket, subprotocols `v5.channel.k8s.io` and `v4.channel.k8s.io`.
//!
//! Source: kubernetes v1.36.2, `staging/src/k8s.io/apimachinery/pkg/util/remotecommand/constants.go`
//! (channels), `pkg/kubelet/.../remotecommand/httpstream.go` (the status at the end). When the
//! client goes away the process runs on, as a real kubelet leaves it.

use std::io;
use std::process::Stdio;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::query::Query;
use super::runtime::Runtime;
use super::status::Refusal;
use super::store::Key;

/// Most bytes of one message.
const PIECE: usize = 32 * 1024;
/// Messages that are queued for a slow client; then the process waits.
const QUEUE: usize = 16;

/// First byte of a message.
mod channel {
    pub(super) const STDIN: u8 = 0;
    pub(super) const STDOUT: u8 = 1;
    pub(super) const STDERR: u8 = 2;
    pub(super) const STATUS: u8 = 3;
    /// The byte after it names the closed channel; v5 only.
    pub(super) const CLOSE: u8 = 255;
}

/// The streams that the client requests.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

/// Starts the process and takes over the connection; the response switches protocols.
pub(super) fn start<B: Default>(
    mut request: Request<Incoming>,
    key: &Key,
    container: &str,
    query: &Query,
    runtime: Option<Arc<dyn Runtime>>,
) -> Result<Response<B>, Refusal> {
    let (protocol, accept) = handshake(request.headers())?;
    let runtime = runtime.filter(|runtime| runtime.is_running(key, container));
    // The kubelet's own message, which the API server passes on unchanged.
    let runtime = runtime
        .ok_or_else(|| Refusal::plain(500, format!("container not found (\"{container}\")")))?;
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    let wanted = Wanted {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
    };
    let process = if command.is_empty() {
        Err(io::Error::other(no_words()))
    } else {
        runtime.exec(key, container, &command).map(tokio::process::Command::from)
    };
    let started = process.and_then(|mut process| {
        let pipe = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
        process
            .stdin(pipe(wanted.stdin))
            .stdout(pipe(wanted.stdout))
            .stderr(pipe(wanted.stderr))
            .spawn()
    });
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match started {
            Ok(child) => serve(upgrade, child).await,
            Err(error) => {
                let why = format!(
                    "Internal error occurred: error executing command in container: {error}"
                );
                let status = json!({
                    "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
                    "message": format!("Internal error occurred: {why}"),
                    "details": {"causes": [{"message": why}]},
                });
                fail(upgrade, &status).await;
            }
        }
    });
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// runc's message for an empty command, as the runtime passes it on.
fn no_words() -> String {
    let id: String = (0..64).map(|_| fastrand::digit(16).to_ascii_lowercase()).collect();
    format!(
        "failed to exec in container: failed to start exec {id:?}: OCI runtime exec failed: exec failed: args must not be empty"
    )
}

/// The common subprotocol, and the response to the client's key.
fn handshake(headers: &HeaderMap) -> Result<(&'static str, HeaderValue), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let asks = text(UPGRADE).is_some_and(|kind| kind.eq_ignore_ascii_case("websocket"));
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| asks);
    let key = key.ok_or_else(|| Refusal::bad_request("Upgrade request required"))?;
    let offered = text(SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
    let ours = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
    let protocol = ours.into_iter().find(|ours| offered.split(',').any(|o| o.trim() == *ours));
    let protocol = protocol.ok_or_else(|| {
        Refusal::new(
            403,
            "Forbidden",
            format!("unable to upgrade: no common protocol in {offered:?}"),
        )
    })?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let accept = accept.map_err(|e| Refusal::bad_request(e.to_string()))?;
    Ok((protocol, accept))
}

async fn fail(upgrade: OnUpgrade, status: &Value) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    // The client may have disconnected.
    drop(socket.send(message(channel::STATUS, status.to_string().as_bytes())).await);
    drop(socket.close(None).await);
}

async fn serve(upgrade: OnUpgrade, mut child: Child) {
    let Ok(upgraded) = upgrade.await else { return };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (mut sink, mut source) = socket.split();
    let (sender, mut queue) = mpsc::channel::<Message>(QUEUE);
    let stdin = child.stdin.take();
    let outputs = [
        child.stdout.take().map(|pipe| tokio::spawn(copy(pipe, channel::STDOUT, sender.clone()))),
        child.stderr.take().map(|pipe| tokio::spawn(copy(pipe, channel::STDERR, sender.clone()))),
    ];
    tokio::spawn(async move {
        let status = child.wait().await;
        for output in outputs.into_iter().flatten() {
            drop(output.await);
        }
        let status = ended(status.ok().and_then(|status| status.code()));
        drop(sender.send(message(channel::STATUS, status.to_string().as_bytes())).await);
    });
    tokio::spawn(async move {
        let mut stdin = stdin;
        while let Some(Ok(message)) = source.next().await {
            if let Message::Binary(bytes) = message {
                take(&mut stdin, &bytes).await;
            }
        }
    });
    while let Some(message) = queue.recv().await {
        if sink.send(message).await.is_err() {
            // There is no client any more; the process continues to run.
            queue.close();
        }
    }
    drop(sink.close().await);
}

async fn take(stdin: &mut Option<ChildStdin>, bytes: &Bytes) {
    match bytes.split_first() {
        Some((&channel::STDIN, data)) => {
            if let Some(pipe) = stdin {
                // A process that does not read has reported it by its end.
                drop(pipe.write_all(data).await);
            }
        }
        Some((&channel::CLOSE, [channel::STDIN])) => *stdin = None,
        _ => {}
    }
}

async fn copy(mut pipe: impl AsyncRead + Unpin, channel: u8, sender: mpsc::Sender<Message>) {
    let mut buffer = vec![0; PIECE];
    let mut gone = false;
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let bytes = buffer.get(..count).unwrap_or_default();
        gone = gone || sender.send(message(channel, bytes)).await.is_err();
    }
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut whole = Vec::with_capacity(bytes.len().saturating_add(1));
    whole.push(channel);
    whole.extend_from_slice(bytes);
    Message::binary(whole)
}

/// The status frame for a process with this exit code.
fn ended(code: Option<i32>) -> Value {
    match code {
        Some(0) => json!({"metadata": {}, "status": "Success"}),
        code => {
            let code = code.unwrap_or(137);
            json!({
                "metadata": {},
                "status": "Failure",
                "message": format!("command terminated with non-zero exit code: command terminated with exit code {code}"),
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            })
        }
    }
}
