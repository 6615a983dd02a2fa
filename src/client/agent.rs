//! One agent's API.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::answer::Failure;
use crate::answer::job::Job;
use crate::answer::jobs::Jobs;
use crate::answer::log::Log;
use crate::answer::samples::Samples;
use crate::connection::{Connections, Response, Stream, Way};
use crate::error::{Error, shortened};
use crate::source::Address;

/// What ids of pods may have besides letters and digits.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// How often an agent that is busy is asked again, and after what pause.
const BUSY_TRIES: usize = 3;
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// An agent. Cheap to clone; clones share one connection, on which one request is under way at a time.
#[derive(Clone)]
pub struct Agent {
    name: String,
    connections: Connections,
}

/// A stream of an agent's server-sent events.
pub struct Events(Stream);

// === impl Agent ===

impl Agent {
    pub(crate) fn new(name: String, way: Way) -> Self {
        Self { name, connections: Connections::new(way) }
    }

    /// The agent at an address; it is not asked yet.
    pub fn at(address: &Address) -> Self {
        Self::new(address.0.clone(), Way::Tcp(address.0.clone()))
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// How it is called in messages: its node, or its address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is found by its pod, so that its name is what the API server calls its node.
    pub(crate) fn is_of_pod(&self) -> bool {
        self.connections.is_of_pod()
    }

    /// The jobs of its node.
    pub async fn jobs(&self) -> Result<Jobs, Error> {
        self.ask("jobs").await
    }

    /// A job with its parts.
    pub async fn job(&self, id: &str) -> Result<Job, Error> {
        self.ask(&format!("jobs/{}", encoded(id))).await
    }

    /// What a job's containers used, of samples that end after `since_ms` (0: all).
    pub async fn samples(&self, id: &str, since_ms: u64) -> Result<Samples, Error> {
        self.ask(&format!("jobs/{}/samples?since={since_ms}", encoded(id))).await
    }

    /// The lines of a job after a number, of one container or of all.
    pub async fn log(&self, id: &str, after: u64, container: Option<&str>) -> Result<Log, Error> {
        let container = container.map(|name| format!("&container={}", encoded(name)));
        let container = container.unwrap_or_default();
        self.ask(&format!("jobs/{}/log?after={after}{container}", encoded(id))).await
    }

    /// The answer to a path below `/api/v1/`, as it came.
    pub async fn get(&self, path: &str) -> Result<Response, Error> {
        self.connections.get(&format!("/api/v1/{path}")).await
    }

    /// The stream of changes of a job, on a connection of its own.
    pub async fn events(&self, id: &str) -> Result<Events, Error> {
        let path = format!("/api/v1/events?job={}", encoded(id));
        let stream = self.connections.stream(&path).await?;
        match stream.status.as_u16() {
            200 => Ok(Events(stream)),
            status => Err(Error::Refused { status, text: "it sends no events".into() }),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let mut response = self.get(path).await?;
        for _ in 0..BUSY_TRIES {
            if response.status != 503 {
                break;
            }
            // So it says itself: `Retry-After: 1`.
            tokio::time::sleep(BUSY_PAUSE).await;
            response = self.get(path).await?;
        }
        if response.status == 200 {
            return serde_json::from_slice(&response.body)
                .map_err(|error| Error::malformed(&error));
        }
        Err(refused(&response))
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agent").field(&self.name).finish()
    }
}

// === impl Events ===

impl Events {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Trailers are no data.
            if let Ok(data) = self.0.body.frame().await?.ok()?.into_data() {
                return Some(data);
            }
        }
    }
}

fn refused(response: &Response) -> Error {
    let text = || match serde_json::from_slice::<Failure>(&response.body) {
        Ok(failure) => shortened(&failure.error),
        Err(_) => shortened(&String::from_utf8_lossy(&response.body)),
    };
    match (response.status, response.is_json) {
        (404, true) => Error::NoJob,
        (404, false) => Error::PageOff,
        (401 | 403, _) => Error::Password,
        (status, _) => Error::Refused { status, text: text() },
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let error = |status, is_json, body: &'static str| {
            refused(&Response { status, is_json, body: Bytes::from_static(body.as_bytes()) })
                .to_string()
        };
        assert!(error(404, false, "not found").contains("--page logs"));
        assert!(error(404, true, "{}").contains("no such job"));
        assert!(error(401, false, "").contains("--web-config-file"));
        let refusal = error(503, false, "busy\u{1b}[2J\n");
        assert!(refusal.contains("503") && refusal.contains("busy␛[2J"), "{refusal}");
        assert!(error(400, true, "{\"error\":\"why\"}").ends_with(": why"));
    }
}
