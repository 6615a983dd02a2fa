//! The OpenTelemetry Collector itself between the agent and ours.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::backend::Backend;
use super::{PATIENCE, arrived};
use crate::support::collector::Wire;
use crate::support::parts::{Part, all_there, program};
use crate::support::process::{Running, until};
use crate::support::proxy::{COLLECTOR as BEHIND, Manner, Proxy};
use crate::support::site::Site;

/// Made by its own builder, from Go modules: see `.ci/run`.
const COLLECTOR: &str = "otelcol-ephemon";

/// Takes both protocols and passes all on.
fn configuration(grpc: u16, http: u16, onward: &str) -> String {
    format!(
        "\
receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: 127.0.0.1:{grpc} }}
      http: {{ endpoint: 127.0.0.1:{http} }}
exporters:
  otlphttp: {{ endpoint: \"{onward}\", compression: none }}
service:
  telemetry: {{ metrics: {{ level: none }} }}
  pipelines:
    logs: {{ receivers: [otlp], exporters: [otlphttp] }}
    metrics: {{ receivers: [otlp], exporters: [otlphttp] }}
"
    )
}

#[test]
fn a_real_collector_takes_lines_and_figures_by_both_protocols_compressed_or_not_and_through_a_proxy()
 {
    if !all_there(&[Part::Program(COLLECTOR)]) {
        return;
    }
    let site = Site::new();
    let backend = Backend::start(Wire::Http);
    // Free a moment ago; nothing here takes ports at random meanwhile.
    let ports: Vec<TcpListener> =
        (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let [grpc, http] = [&ports[0], &ports[1]].map(|port| port.local_addr().unwrap().port());
    drop(ports);
    let config = site.root().join("collector.yaml");
    fs::write(&config, configuration(grpc, http, &backend.endpoint())).unwrap();
    let log = site.root().join("collector.log");
    let mut collector = Command::new(program(COLLECTOR).unwrap());
    collector.arg("--config").arg(&config).stdout(Stdio::null());
    let mut collector = Running::start(collector.stderr(File::create(&log).unwrap()));
    let said = || fs::read_to_string(&log).unwrap_or_default();
    until(PATIENCE, || said().contains("Everything is ready").then_some(()))
        .unwrap_or_else(|| panic!("the collector does not start:\n{}", said()));

    let pod = site.pod(1);
    let mut job = pod.start("job");
    let proxy = Proxy::start(Manner { wants: Some("ci:hunter2"), ..Manner::default() });
    let ways = [
        ("grpc", grpc, "gzip", "127.0.0.1"),
        ("grpc", grpc, "none", BEHIND),
        ("http/protobuf", http, "gzip", BEHIND),
        ("http/protobuf", http, "none", "127.0.0.1"),
    ];
    for (way, (protocol, port, compression, host)) in ways.into_iter().enumerate() {
        let endpoint = format!("http://{host}:{port}");
        let more = [
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
            ("HTTP_PROXY", &proxy.url("ci:hunter2@")),
        ];
        let asked = proxy.asked().len();
        let before = backend.metrics("container.cpu.time");
        let agent = site.agent_to((&endpoint, protocol), &["--otlp-metrics"], &more);
        (0..500).for_each(|number| job.say(&format!("way {way}, line {number}")));
        job.record("stdout F", b"\xff\xfe, as it is");
        let lines = arrived(&backend, (way + 1) * 501, &agent);
        let bytes = lines.values().filter(|line| line.bytes == b"\xff\xfe, as it is");
        assert_eq!(bytes.count(), way + 1, "by {protocol}, {compression}");
        let more = || (backend.metrics("container.cpu.time") > before).then_some(());
        until(PATIENCE, more).unwrap_or_else(|| panic!("no figures by {protocol}:\n{}", said()));
        agent.stop();
        assert_eq!(proxy.asked().len() > asked, host == BEHIND, "{:?}", proxy.asked());
    }
    assert!(collector.ended().is_none(), "{}", said());
}
