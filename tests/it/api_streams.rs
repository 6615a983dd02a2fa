//! The API stand-in's log and exec, its roles and its single faults, by a client of few words.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ephemon_demo::api::{Answer, ApiServer, Rule, Runtime, Store};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);
const POD: &str = "/api/v1/namespaces/default/pods/p";

/// A node with one container, whose processes are this machine's own.
#[derive(Debug)]
struct Here {
    log: PathBuf,
    runs: AtomicBool,
}

impl Runtime for Here {
    fn log(&self, _: &(String, String), container: &str) -> Option<PathBuf> {
        (container == "main").then(|| self.log.clone())
    }

    fn is_running(&self, _: &(String, String), container: &str) -> bool {
        container == "main" && self.runs.load(Ordering::Relaxed)
    }

    fn exec(&self, _: &(String, String), _: &str, command: &[String]) -> std::io::Result<Command> {
        let mut process = Command::new(&command[0]);
        process.args(&command[1..]);
        Ok(process)
    }
}

async fn server(directory: &Path) -> (ApiServer, Arc<Here>) {
    let store = Store::new("node1", 1000);
    let containers = json!([{"name": "main", "image": "a:1"}, {"name": "other", "image": "a:1"}]);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": containers}});
    store.create("default", pod).unwrap();
    let api = ApiServer::start(store).await.unwrap();
    let log = directory.join("0.log");
    File::create(&log).unwrap();
    let here = Arc::new(Here { log, runs: AtomicBool::new(true) });
    api.attach(here.clone());
    (api, here)
}

/// The whole answer to a request, head and body.
async fn ask(api: &ApiServer, method: &str, path: &str, body: &Value) -> String {
    let host = api.url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&host).await.unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let kind = "application/strategic-merge-patch+json";
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// Runs a command over a websocket: what came by stdout and stderr, and the status.
async fn exec(api: &ApiServer, query: &str, input: Option<&[u8]>) -> (String, String, Value) {
    let host = api.url().strip_prefix("http://").unwrap().to_owned();
    let mut request = format!("ws://{host}{POD}/exec?{query}").into_client_request().unwrap();
    let protocol = "v5.channel.k8s.io, v4.channel.k8s.io".parse().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    let stream = TcpStream::connect(&host).await.unwrap();
    let (mut socket, answer) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "v5.channel.k8s.io");
    if let Some(input) = input {
        let mut message = vec![0];
        message.extend_from_slice(input);
        socket.send(Message::binary(message)).await.unwrap();
        socket.send(Message::binary(vec![255, 0])).await.unwrap();
    }
    let (mut out, mut err, mut status) = (Vec::new(), Vec::new(), Value::Null);
    while let Some(Ok(message)) = timeout(PATIENCE, socket.next()).await.unwrap() {
        let Message::Binary(bytes) = message else { continue };
        match bytes[0] {
            1 => out.extend_from_slice(&bytes[1..]),
            2 => err.extend_from_slice(&bytes[1..]),
            3 => status = serde_json::from_slice(&bytes[1..]).unwrap(),
            other => panic!("channel {other}"),
        }
    }
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), status)
}

#[tokio::test]
async fn exec_carries_both_streams_the_input_and_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let (api, here) = server(directory.path()).await;
    let query = "container=main&stdin=true&stdout=true&stderr=true&command=sh&command=-c&command=cat%3B+echo+e+%3E%262%3B+exit+42";
    let (out, err, status) = exec(&api, query, Some("grüße".as_bytes())).await;
    assert_eq!((out.as_str(), err.as_str()), ("grüße", "e\n"));
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "42"}));

    let (out, _, status) = exec(&api, "container=main&stdout=true&command=pwd", None).await;
    assert!(out.starts_with('/') && status["status"] == "Success", "{out} {status}");

    let missing = exec(&api, "container=main&stdout=true&command=/no/such", None).await;
    assert!(missing.2["message"].as_str().unwrap().contains("error executing command"));

    here.runs.store(false, Ordering::Relaxed);
    let path = format!("{POD}/exec?container=main&command=ls");
    let refused = ask(&api, "GET", &path, &Value::Null).await;
    assert!(refused.contains("400 Bad Request"), "an upgrade is required");
}

#[tokio::test]
async fn a_log_is_followed_to_the_containers_end() {
    let directory = tempfile::tempdir().unwrap();
    let (api, here) = server(directory.path()).await;
    let mut log = File::options().append(true).open(&here.log).unwrap();
    writeln!(log, "2026-01-01T00:00:00Z stdout P one ").unwrap();
    writeln!(log, "2026-01-01T00:00:00Z stdout F line").unwrap();
    let whole = ask(&api, "GET", &format!("{POD}/log?container=main"), &Value::Null).await;
    assert!(whole.ends_with("one line\n\r\n0\r\n\r\n"), "{whole:?}");

    let path = format!("{POD}/log?container=main&follow=true");
    let before = api.faults().requests();
    let follow = ask(&api, "GET", &path, &Value::Null);
    let write = async {
        timeout(PATIENCE, api.faults().until_requests(before + 1)).await.unwrap();
        here.runs.store(false, Ordering::Relaxed);
        writeln!(log, "2026-01-01T00:00:01Z stderr F last").unwrap();
    };
    let (followed, ()) = tokio::join!(follow, write);
    assert!(followed.contains("one line\n") && followed.contains("last\n"), "{followed:?}");

    let other = ask(&api, "GET", &format!("{POD}/log?container=other"), &Value::Null).await;
    assert!(other.contains("is waiting to start: ContainerCreating"), "{other}");
    let none = ask(&api, "GET", &format!("{POD}/log"), &Value::Null).await;
    assert!(none.contains("choose one of: [main other]"), "{none}");
}

#[tokio::test]
async fn a_role_and_single_faults_hold_for_the_request_they_name() {
    let directory = tempfile::tempdir().unwrap();
    let (api, _) = server(directory.path()).await;
    let read = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    api.access().set("system:serviceaccount:default:runner", Some(vec![read]));
    assert!(ask(&api, "GET", POD, &Value::Null).await.contains("200 OK"));
    let secret = json!({"metadata": {"name": "s"}});
    let refused = ask(&api, "POST", "/api/v1/namespaces/default/secrets", &secret).await;
    assert!(refused.contains("403 Forbidden") && refused.contains("cannot create resource"));
    api.access().set("", None);
    assert!(ask(&api, "POST", "/api/v1/namespaces/default/secrets", &secret).await.contains("201"));
    let asked: Vec<_> = api.access().seen().iter().map(|(v, r)| format!("{v} {r}")).collect();
    assert_eq!(asked, ["create secrets", "get pods"]);

    let once = |asked, answer| Rule { asked, times: 1, answer };
    api.faults().add(once("get pods", Answer::Status(429, Some(3))));
    let throttled = ask(&api, "GET", POD, &Value::Null).await;
    assert!(throttled.contains("429") && throttled.contains("retry-after: 3"), "{throttled}");
    api.faults().add(once("delete secrets", Answer::Lost));
    let path = "/api/v1/namespaces/default/secrets/s";
    assert_eq!(ask(&api, "DELETE", path, &Value::Null).await, "");
    assert!(api.store().secrets().names().is_empty(), "it was carried out");
    assert!(ask(&api, "GET", POD, &Value::Null).await.contains("200 OK"));
}
