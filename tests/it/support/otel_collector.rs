//! The OpenTelemetry Collector itself, made by its own builder from Go modules: see `.ci/run`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::parts;
use super::ports;
use super::process::{Running, until};

/// Its program.
pub(crate) const PROGRAM: &str = "otelcol-ephemon";

const PATIENCE: Duration = Duration::from_mins(1);

/// One that runs, takes both protocols, and passes all on.
#[derive(Debug)]
pub(crate) struct OtelCollector {
    process: Running,
    log: PathBuf,
    /// Its ports.
    pub(crate) grpc: u16,
    pub(crate) http: u16,
}

// === impl OtelCollector ===

impl OtelCollector {
    /// Starts it with its files in `directory`; `onward` takes what it passes on over HTTP.
    /// `of_metrics` are the processors of metrics.
    ///
    /// # Panics
    /// If it is not ready within a minute.
    pub(crate) fn start(directory: &Path, onward: &str, of_metrics: &[&str]) -> Self {
        let [grpc, http] = [ports::free(), ports::free()];
        // Each with nothing but its defaults.
        let processors =
            of_metrics.join(": {}, ") + if of_metrics.is_empty() { "" } else { ": {}" };
        let of_metrics = of_metrics.join(", ");
        let configuration = format!(
            "\
receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: 127.0.0.1:{grpc} }}
      http: {{ endpoint: 127.0.0.1:{http} }}
processors: {{ {processors} }}
exporters:
  otlphttp: {{ endpoint: \"{onward}\", compression: none }}
service:
  telemetry: {{ metrics: {{ level: none }} }}
  pipelines:
    logs: {{ receivers: [otlp], exporters: [otlphttp] }}
    metrics: {{ receivers: [otlp], processors: [{of_metrics}], exporters: [otlphttp] }}
"
        );
        let config = directory.join("collector.yaml");
        fs::write(&config, configuration).unwrap();
        let log = directory.join("collector.log");
        let mut command = Command::new(parts::program(PROGRAM).unwrap());
        command.arg("--config").arg(&config).stdout(Stdio::null());
        let process = Running::start(command.stderr(File::create(&log).unwrap()));
        let collector = Self { process, log, grpc, http };
        until(PATIENCE, || collector.said().contains("Everything is ready").then_some(()))
            .unwrap_or_else(|| panic!("the collector does not start:\n{}", collector.said()));
        collector
    }

    /// Its log so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it runs no more.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }
}
