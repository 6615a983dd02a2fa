//! A plain client of the API stand-in: requests, and a watch read event by event.

use std::time::Duration;

use ephemon_demo::api::ApiServer;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sends a request with a body of this media type, unless the body is null.
pub(super) async fn send(
    api: &ApiServer,
    method: Method,
    path: &str,
    kind: &str,
    body: &Value,
) -> Response<Incoming> {
    let address = api.url().strip_prefix("http://").unwrap().to_owned();
    let stream = TcpStream::connect(&address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .header("content-type", kind)
        .body(Full::new(body))
        .unwrap();
    sender.send_request(request).await.unwrap()
}

/// The status code and the JSON of an answer.
pub(super) async fn ask(
    api: &ApiServer,
    method: Method,
    path: &str,
    kind: &str,
    body: &Value,
) -> (u16, Value) {
    let response = send(api, method, path, kind, body).await;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

pub(super) async fn get(api: &ApiServer, path: &str) -> (u16, Value) {
    ask(api, Method::GET, path, "", &Value::Null).await
}

/// An open watch, read event by event.
pub(super) struct Watch {
    body: Incoming,
    rest: Vec<u8>,
}

// === impl Watch ===

impl Watch {
    pub(super) async fn open(api: &ApiServer, query: &str) -> Self {
        let path = format!("/api/v1/pods?watch=1&{query}");
        let response = send(api, Method::GET, &path, "", &Value::Null).await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event; `None` at the end; an error where the stream was cut.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, hyper::Error> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line).unwrap()));
            }
            match timeout(PATIENCE, self.body.frame()).await.expect("an event") {
                None => return Ok(None),
                Some(frame) => self.rest.extend(frame?.into_data().unwrap()),
            }
        }
    }

    /// The type of the next event, and the name of its object.
    pub(super) async fn kind_and_name(&mut self) -> (String, String) {
        let event = self.next().await.unwrap().expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}
