//! `VictoriaLogs` in one process, asked by its own query language what it has. `.ci/run` makes it of Go
//! modules.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value};

use super::http;
use super::parts;
use super::ports;
use super::process::{Running, until};

/// Its name on the path.
pub(crate) const PROGRAM: &str = "victoria-logs";

/// Starts before it is given up: another test may take a port that was free a moment ago.
const STARTS: usize = 5;

/// A running `VictoriaLogs`.
#[derive(Debug)]
pub(crate) struct VictoriaLogs {
    _process: Running,
    address: SocketAddr,
}

/// A record as it shows it: every field is text.
#[derive(Debug, Clone)]
pub(crate) struct Found(Map<String, Value>);

// === impl VictoriaLogs ===

impl VictoriaLogs {
    /// Starts it with its data and its log below `scratch`.
    ///
    /// # Panics
    /// If it is not ready within a minute.
    pub(crate) fn start(scratch: &Path) -> Self {
        let log = scratch.join("victoria-logs.log");
        (0..STARTS)
            .find_map(|_| Self::try_start(scratch, &log))
            .unwrap_or_else(|| panic!("{}", fs::read_to_string(&log).unwrap_or_default()))
    }

    fn try_start(scratch: &Path, log: &Path) -> Option<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let mut command = Command::new(parts::program(PROGRAM).unwrap());
        command
            .arg(format!("-httpListenAddr={address}"))
            .arg(format!("-storageDataPath={}", scratch.join("victoria-logs").display()));
        let file = File::create(log).unwrap();
        let mut process = Running::start(command.stdout(file.try_clone().unwrap()).stderr(file));
        until(Duration::from_mins(1), || {
            let healthy =
                http::get(address, "/health", "*/*").is_ok_and(|answer| answer.status == 200);
            (healthy || process.ended().is_some()).then_some(())
        })?;
        let ended = process.ended().is_some();
        (!ended).then_some(Self { _process: process, address })
    }

    /// Where it takes OTLP logs over HTTP.
    pub(crate) fn otlp(&self) -> String {
        format!("http://{}/insert/opentelemetry/v1/logs", self.address)
    }

    /// The records that a query in `LogsQL` finds.
    ///
    /// # Panics
    /// If it refuses the query.
    pub(crate) fn find(&self, query: &str) -> Vec<Found> {
        let path = format!("/select/logsql/query?query={}", encoded(query));
        let answer = http::get(self.address, &path, "*/*").unwrap();
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        answer.body.lines().map(|line| Found(serde_json::from_str(line).unwrap())).collect()
    }
}

// === impl Found ===

impl Found {
    /// A field of it; empty where it has none of that name.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// As a URL's query has it.
fn encoded(text: &str) -> String {
    let part = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02x}"),
    };
    text.bytes().map(part).collect()
}
