//! The OpenTelemetry Collector itself between the agent and ours.

use super::backend::Backend;
use super::{PATIENCE, arrived};
use crate::support::collector::Wire;
use crate::support::otel_collector::{OtelCollector, PROGRAM};
use crate::support::parts::{Part, all_there};
use crate::support::process::until;
use crate::support::proxy::{COLLECTOR as BEHIND, Manner, Proxy};
use crate::support::site::Site;

#[test]
fn a_real_collector_takes_lines_and_figures_by_both_protocols_compressed_or_not_and_through_a_proxy()
 {
    if !all_there(&[Part::Program(PROGRAM)]) {
        return;
    }
    let site = Site::new();
    let backend = Backend::start(Wire::Http);
    let mut collector = OtelCollector::start(site.root(), &backend.endpoint(), &[]);
    let pod = site.pod(1);
    let mut job = pod.start("job");
    let proxy = Proxy::start(Manner { wants: Some("ci:hunter2"), ..Manner::default() });
    let ways = [
        ("grpc", collector.grpc, "gzip", "127.0.0.1"),
        ("grpc", collector.grpc, "none", BEHIND),
        ("http/protobuf", collector.http, "gzip", BEHIND),
        ("http/protobuf", collector.http, "none", "127.0.0.1"),
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
        until(PATIENCE, more)
            .unwrap_or_else(|| panic!("no figures by {protocol}:\n{}", collector.said()));
        agent.stop();
        assert_eq!(proxy.asked().len() > asked, host == BEHIND, "{:?}", proxy.asked());
    }
    assert!(!collector.has_ended(), "{}", collector.said());
}
