//! The agent's own spans, through the agent as a user starts it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::support::agent::{Agent, TEXT};
use crate::support::collector::{Collector, Mood, Wire};
use crate::support::process::until;
use crate::support::programs;
use crate::support::site::OTLP_TIMEOUT;

const PATIENCE: Duration = Duration::from_mins(1);

/// A node without pods, and a collector.
struct Site {
    node: TempDir,
    collector: Collector,
    runtime: Runtime,
}

impl Site {
    fn new(wire: Wire) -> Self {
        let node = tempfile::tempdir().unwrap();
        fs::create_dir_all(node.path().join("sys/fs/cgroup/kubepods")).unwrap();
        fs::write(node.path().join("sys/fs/cgroup/cgroup.controllers"), "cpu memory\n").unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let collector = runtime.block_on(Collector::start(wire, None));
        Self { node, collector, runtime }
    }

    fn agent(&self, flags: &[&str]) -> Agent {
        let mut command = Command::new(programs::ephemon());
        command
            .args(["agent", "--no-api", "--node-name", "it", "--own-traces"])
            .args(flags)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", self.collector.endpoint())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", self.collector.protocol())
            .envs([OTLP_TIMEOUT]);
        Agent::launch(&mut command, self.node.path(), "kubepods")
    }

    /// All that came, with the service they are of.
    fn spans(&self) -> Vec<(String, Span)> {
        let mut spans = Vec::new();
        for group in self.collector.traces().into_iter().flat_map(|it| it.resource_spans) {
            let attributes = group.resource.unwrap_or_default().attributes;
            let service = attributes.into_iter().find(|pair| pair.key == "service.name");
            let service = match service.and_then(|pair| pair.value?.value) {
                Some(Value::StringValue(name)) => name,
                other => panic!("no service: {other:?}"),
            };
            let all = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(all.map(|span| (service.clone(), span)));
        }
        spans
    }

    fn named(&self, name: &str) -> usize {
        self.spans().iter().filter(|(_, span)| span.name == name).count()
    }

    fn wait(&self, agent: &Agent, so: impl Fn(&Self) -> bool) {
        until(PATIENCE, || so(self).then_some(())).unwrap_or_else(|| {
            panic!("waited in vain: {:#?}\nthe agent says:\n{}", self.spans(), agent.log())
        });
    }
}

/// Each scrape's span comes in an export of its own: had an export spans, they would be among those
/// of the next.
fn the_agents_work_has_spans_and_its_exports_have_none(wire: Wire) {
    let site = Site::new(wire);
    // Whatever is logged of exports, too.
    let agent = site.agent(&["--log", "trace"]);
    site.wait(&agent, |site| site.named("first walk") == 1);
    for scrapes in 1..=4 {
        assert_eq!(agent.get("/metrics", TEXT).status, 200);
        site.wait(&agent, |site| site.named("scrape") == scrapes);
    }
    let spans = site.spans();
    let names: Vec<_> = spans.iter().map(|(_, span)| span.name.as_str()).collect();
    assert_eq!(names, ["first walk", "scrape", "scrape", "scrape", "scrape"]);
    for (service, span) in &spans {
        assert_eq!(service, "ephemon-agent");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
    }
    let scrape = &spans[1].1;
    assert!(scrape.attributes.iter().any(|pair| pair.key == "lines"), "{scrape:?}");
    // In the log there are lines, and no spans before them.
    assert!(!agent.log().contains("scrape{"), "{}", agent.log());
    agent.stop();
}

#[test]
fn the_agents_work_has_spans_and_its_exports_by_http_have_none() {
    the_agents_work_has_spans_and_its_exports_have_none(Wire::Http);
}

#[test]
fn the_agents_work_has_spans_and_its_exports_by_grpc_have_none() {
    the_agents_work_has_spans_and_its_exports_have_none(Wire::Grpc);
}

#[test]
fn a_dead_collector_costs_the_agent_nothing() {
    let mut site = Site::new(Wire::Http);
    site.collector.be(Mood::Stall);
    let agent = site.agent(&["--spool-mib", "0"]);
    site.wait(&agent, |site| site.collector.attempts() > 0);
    let Site { collector, runtime, .. } = &mut site;
    runtime.block_on(collector.die());
    for _ in 0..20 {
        assert_eq!(agent.get("/metrics", TEXT).status, 200);
    }
    assert_eq!(agent.get("/readyz", "*/*").status, 200);
    agent.stop();
}
