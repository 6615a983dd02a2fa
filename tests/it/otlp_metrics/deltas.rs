//! Counters as deltas: the windows of a container follow each other over an outage of the collector
//! and a restart of the agent, and come to what the kernel counted.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::{Backend, Node, Point, find};
use crate::support::collector::Mood;
use crate::support::otel_collector::{OtelCollector, PROGRAM};
use crate::support::parts::{Part, all_there};

const DELTA: &[(&str, &str)] = &[("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "DELTA")];

fn total(points: &[Point]) -> f64 {
    points.iter().map(|point| point.value).sum()
}

#[test]
fn windows_follow_each_other_over_outages_and_restarts_and_come_to_all_that_was_counted() {
    let node = Node::new();
    let backend = Backend::start();
    let cpu = |backend: &Backend| backend.of("living", "container.cpu.time");
    let agent = node.agent_with(&backend, "200", &[], DELTA);
    node.start("living");
    backend.wait(&agent, |backend| total(&cpu(backend)) > 0.099);
    // Nothing arrives any more, and what comes meanwhile is not lost.
    let (grpc, http) = (tonic::Code::Unavailable, 503);
    backend.collector.be(Mood::Refuse { grpc, http, after: None });
    let attempts = backend.collector.attempts();
    node.uses("living", 300_000);
    backend.wait(&agent, |backend| backend.collector.attempts() > attempts);
    agent.stop();
    node.uses("living", 500_000);
    backend.collector.be(Mood::Accept);
    let agent = node.agent_with(&backend, "200", &[], DELTA);
    backend.wait(&agent, |backend| total(&cpu(backend)) > 0.499);
    node.uses("living", 700_000);
    node.end("living");
    backend.wait(&agent, |backend| backend.ends("living") == 1);
    agent.stop();

    let all = cpu(&backend);
    assert!((total(&all) - 0.7).abs() < 1e-6, "{all:#?}");
    for mode in ["user", "system"] {
        let mut windows: Vec<&Point> =
            all.iter().filter(|point| find(&point.attributes, "cpu.mode") == mode).collect();
        windows.sort_by_key(|point| point.time);
        assert!(windows.len() >= 3, "{windows:#?}");
        for pair in windows.windows(2) {
            assert_eq!(pair[1].start, pair[0].time, "{mode}: {windows:#?}");
        }
    }
    for group in backend.collector.metrics().into_iter().flat_map(|it| it.resource_metrics) {
        for metric in group.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            let Some(Data::Sum(sum)) = metric.data else { continue };
            let wanted = if sum.is_monotonic { 1 } else { 2 };
            assert_eq!(sum.aggregation_temporality, wanted, "{}", metric.name);
        }
    }
}

/// The Collector's own processor drops a window that overlaps another, or comes late.
#[test]
fn a_real_collector_adds_the_windows_up_to_what_was_counted() {
    if !all_there(&[Part::Program(PROGRAM)]) {
        return;
    }
    let node = Node::new();
    let backend = Backend::start();
    let endpoint = backend.collector.endpoint();
    let collector = OtelCollector::start(node.0.path(), &endpoint, &["deltatocumulative"]);
    let endpoint = format!("http://127.0.0.1:{}", collector.http);
    let variables = [DELTA[0], ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)];
    let cpu = |backend: &Backend| -> f64 {
        let points = backend.of("living", "container.cpu.time");
        let latest = |mode: &str| {
            let of_mode = points.iter().filter(|point| find(&point.attributes, "cpu.mode") == mode);
            of_mode.max_by_key(|point| point.time).map_or(0.0, |point| point.value)
        };
        latest("user") + latest("system")
    };
    let agent = node.agent_with(&backend, "200", &[], &variables);
    node.start("living");
    backend.wait(&agent, |backend| cpu(backend) > 0.099);
    node.uses("living", 300_000);
    backend.wait(&agent, |backend| cpu(backend) > 0.299);
    agent.stop();
    let agent = node.agent_with(&backend, "200", &[], &variables);
    node.uses("living", 700_000);
    node.end("living");
    backend.wait(&agent, |backend| cpu(backend) > 0.699);
    agent.stop();
    assert!((cpu(&backend) - 0.7).abs() < 1e-6, "{}", collector.said());
    assert!(!collector.said().contains("drop"), "{}", collector.said());
}
