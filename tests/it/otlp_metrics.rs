//! Metrics over OTLP through the real agent, on a node of plain files: the living at the interval,
//! finals at a container's end, each once.

mod deltas;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::support::agent::{Agent, TEXT};
use crate::support::collector::{Collector, Mood, Wire};
use crate::support::process::until;
use crate::support::programs;
use crate::support::site::OTLP_TIMEOUT;
use crate::support::site::container::write_over;

const PATIENCE: Duration = Duration::from_mins(1);
const UID: &str = "0e269fa4-f505-4963-9096-958063077203";
/// No test waits for it.
const NEVER: &str = "3600000";

/// A node of one pod, in files.
struct Node(TempDir);

/// A collector that any thread may ask.
struct Backend {
    collector: Collector,
    _runtime: Runtime,
}

/// One point of a sum or a gauge.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    container: String,
    metric: String,
    unit: String,
    attributes: Vec<(String, String)>,
    resource: Vec<(String, String)>,
    start: u64,
    time: u64,
    value: f64,
}

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        for below in ["sys/fs/cgroup", "var/log/containers", "proc"] {
            fs::create_dir_all(node.at(below)).unwrap();
        }
        fs::create_dir_all(node.pod()).unwrap();
        fs::create_dir_all(node.logs()).unwrap();
        fs::write(node.at("sys/fs/cgroup/cgroup.controllers"), "cpu memory io\n").unwrap();
        node
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn pod(&self) -> PathBuf {
        self.at(&format!("sys/fs/cgroup/kubepods/burstable/pod{UID}"))
    }

    fn logs(&self) -> PathBuf {
        self.at(&format!("var/log/pods/ci_runner-1_{UID}"))
    }

    fn container(&self, name: &str) -> PathBuf {
        self.pod().join(id(name))
    }

    /// Starts a container, with all its files at once, as the kernel makes them.
    fn start(&self, name: &str) {
        let log = self.logs().join(name).join("0.log");
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::write(&log, "").unwrap();
        let link = format!("runner-1_ci_{name}-{}.log", id(name));
        symlink(&log, self.at("var/log/containers").join(link)).unwrap();
        let made = self.at(&id(name));
        fs::create_dir_all(&made).unwrap();
        fs::write(made.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        fs::write(made.join("cpu.stat"), used(100_000)).unwrap();
        fs::write(made.join("memory.current"), "2097152\n").unwrap();
        fs::write(made.join("memory.peak"), "4194304\n").unwrap();
        fs::write(made.join("memory.max"), "8388608\n").unwrap();
        fs::write(made.join("memory.events"), "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n").unwrap();
        fs::write(made.join("io.stat"), "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n")
            .unwrap();
        fs::rename(made, self.container(name)).unwrap();
    }

    fn uses(&self, name: &str, usec: u64) {
        write_over(&self.container(name).join("cpu.stat"), &used(usec));
    }

    /// Its last process is gone.
    fn end(&self, name: &str) {
        write_over(&self.container(name).join("cgroup.events"), "populated 0\nfrozen 0\n");
    }

    fn agent(&self, backend: &Backend, interval: &str, more: &[&str]) -> Agent {
        self.agent_with(backend, interval, more, &[])
    }

    fn agent_with(
        &self,
        backend: &Backend,
        interval: &str,
        more: &[&str],
        variables: &[(&str, &str)],
    ) -> Agent {
        let mut command = Command::new(programs::ephemon());
        command
            .args(["agent", "--no-api", "--node-name", "it", "--logs", "off", "--otlp-metrics"])
            .args(more)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.collector.endpoint())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", backend.collector.protocol())
            .env("OTEL_METRIC_EXPORT_INTERVAL", interval)
            .envs([OTLP_TIMEOUT])
            .envs(variables.iter().copied());
        Agent::launch(&mut command, self.0.path(), "kubepods")
    }
}

impl Backend {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let collector = runtime.block_on(Collector::start(Wire::Http, None));
        Self { collector, _runtime: runtime }
    }

    fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for group in self.collector.metrics().into_iter().flat_map(|it| it.resource_metrics) {
            assert!(group.schema_url.starts_with("https://opentelemetry.io/schemas/"));
            let resource = table(&group.resource.unwrap().attributes);
            for scope in group.scope_metrics {
                assert_eq!(scope.scope.unwrap().name, "ephemon");
                for metric in scope.metrics {
                    let all = match metric.data.unwrap() {
                        Data::Sum(sum) => sum.data_points,
                        Data::Gauge(gauge) => gauge.data_points,
                        _ => continue,
                    };
                    points.extend(all.into_iter().map(|point| Point {
                        container: find(&resource, "k8s.container.name"),
                        metric: metric.name.clone(),
                        unit: metric.unit.clone(),
                        attributes: table(&point.attributes),
                        resource: resource.clone(),
                        start: point.start_time_unix_nano,
                        time: point.time_unix_nano,
                        value: match point.value.unwrap() {
                            Number::AsDouble(value) => value,
                            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                            Number::AsInt(value) => value as f64,
                        },
                    }));
                }
            }
        }
        points
    }

    /// Points of one metric of one container, in the order they came.
    fn of(&self, container: &str, metric: &str) -> Vec<Point> {
        let mut points = self.points();
        points.retain(|point| point.container == container && point.metric == metric);
        points
    }

    fn ends(&self, container: &str) -> usize {
        self.of(container, "ephemon.container.ended").len()
    }

    fn wait(&self, agent: &Agent, so: impl Fn(&Self) -> bool) {
        until(PATIENCE, || so(self).then_some(())).unwrap_or_else(|| {
            panic!("waited in vain; the agent says:\n{}\n{:#?}", agent.log(), self.points())
        });
    }
}

fn id(name: &str) -> String {
    let digits = name.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("{digits:0<64}")
}

/// Two thirds of it in user mode.
fn used(usec: u64) -> String {
    let outside = usec / 3 * 2;
    format!("usage_usec {usec}\nuser_usec {outside}\nsystem_usec {}\n", usec - outside)
}

fn table(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |pair: &KeyValue| match pair.value.clone().and_then(|any| any.value) {
        Some(Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn find(table: &[(String, String)], name: &str) -> String {
    let found = table.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

#[test]
fn a_short_containers_finals_are_pushed_at_its_end_once_whatever_comes_after() {
    let node = Node::new();
    let backend = Backend::start();
    let agent = node.agent(&backend, NEVER, &[]);
    node.start("short");
    node.uses("short", 300_000);
    node.end("short");
    backend.wait(&agent, |backend| backend.ends("short") == 1);

    let cpu = backend.of("short", "container.cpu.time");
    let by_mode: Vec<_> =
        cpu.iter().map(|point| (find(&point.attributes, "cpu.mode"), point.value)).collect();
    assert_eq!(by_mode, [("user".to_owned(), 0.2), ("system".to_owned(), 0.1)]);
    let point = &cpu[0];
    assert_eq!(point.unit, "s");
    assert!(point.start > 0 && point.start <= point.time, "{point:?}");
    for (name, value) in [
        ("service.name", "short"),
        ("service.instance.id", "ci.runner-1.short"),
        ("k8s.namespace.name", "ci"),
        ("k8s.pod.name", "runner-1"),
        ("k8s.pod.uid", UID),
        ("k8s.node.name", "it"),
        ("container.id", &id("short")),
    ] {
        assert_eq!(find(&point.resource, name), value, "{:?}", point.resource);
    }
    let value = |metric: &str| backend.of("short", metric).iter().map(|it| it.value).sum::<f64>();
    let value = |metric: &str| value(metric).to_string();
    assert_eq!(value("ephemon.container.memory.peak"), "4194304");
    assert_eq!(value("k8s.container.memory.limit.current"), "8388608");
    assert_eq!(value("container.disk.io"), "30");
    let events = backend.of("short", "ephemon.container.memory.events");
    let kill = events.iter().find(|it| find(&it.attributes, "ephemon.memory.event") == "oom_kill");
    assert_eq!(kill.map(|point| point.value), Some(1.0));
    let ended = &backend.of("short", "ephemon.container.ended")[0];
    assert_eq!(find(&ended.attributes, "ephemon.usage.quality"), "exact");

    // Several that end at once come together or one by one, each once.
    let several = ["one", "two", "three"];
    for name in several {
        node.start(name);
    }
    for name in several {
        node.end(name);
    }
    backend.wait(&agent, |backend| several.iter().all(|name| backend.ends(name) == 1));
    agent.stop();
    // An agent that is started anew finds their cgroups, and its own is the end of a fifth.
    let agent = node.agent(&backend, NEVER, &[]);
    node.start("later");
    node.end("later");
    backend.wait(&agent, |backend| backend.ends("later") == 1);
    // By then the first were seen to be over, too.
    until(PATIENCE, || {
        let page = agent.get("/metrics", TEXT).body;
        page.contains("ephemon_agent_final_readings_total{quality=\"exact\"} 5").then_some(())
    })
    .unwrap_or_else(|| panic!("{}\n{}", agent.get("/metrics", TEXT).body, agent.log()));
    agent.stop();
    for name in ["short", "one", "two", "three", "later"] {
        assert_eq!(backend.ends(name), 1, "{name}");
        let times = backend.of(name, "container.memory.usage");
        assert_eq!(times.len(), 1, "{times:#?}");
    }
}

#[test]
fn the_living_come_at_the_interval_and_after_its_finals_a_container_never_again() {
    let node = Node::new();
    let backend = Backend::start();
    node.start("living");
    node.start("dying");
    let agent = node.agent(&backend, "200", &[]);
    let sum = |points: &[Point], time: u64| -> f64 {
        points.iter().filter(|point| point.time == time).map(|point| point.value).sum()
    };
    let latest = |backend: &Backend| {
        let points = backend.of("living", "container.cpu.time");
        points.last().map_or(0.0, |last| sum(&points, last.time))
    };
    backend.wait(&agent, |backend| latest(backend) > 0.099);
    assert_eq!(backend.ends("living") + backend.ends("dying"), 0, "nothing is over");
    node.uses("living", 600_000);
    backend.wait(&agent, |backend| latest(backend) > 0.599);
    let points = backend.of("living", "container.cpu.time");
    assert!(points.iter().all(|point| point.start == points[0].start), "{points:#?}");

    node.end("dying");
    backend.wait(&agent, |backend| backend.ends("dying") == 1);
    let came = backend.of("dying", "container.memory.usage");
    let uptime = backend.of("living", "container.uptime").len();
    backend.wait(&agent, |backend| backend.of("living", "container.uptime").len() >= uptime + 3);
    assert_eq!(backend.of("dying", "container.memory.usage"), came);
    assert_eq!(backend.ends("dying"), 1);
    agent.stop();
}

#[test]
fn finals_outlive_a_collector_that_is_away_and_the_agent() {
    let node = Node::new();
    let backend = Backend::start();
    let (grpc, http) = (tonic::Code::Unavailable, 503);
    backend.collector.be(Mood::Refuse { grpc, http, after: None });
    let agent = node.agent(&backend, NEVER, &[]);
    node.start("short");
    node.uses("short", 300_000);
    node.end("short");
    let noted = node.at("var/lib/ephemon/otlp-finals");
    backend.wait(&agent, |backend| backend.collector.attempts() > 0 && noted.exists());
    // Killed, not stopped.
    drop(agent);
    backend.collector.be(Mood::Accept);
    let agent = node.agent(&backend, NEVER, &[]);
    backend.wait(&agent, |backend| backend.ends("short") == 1);
    agent.stop();
    assert_eq!(backend.ends("short"), 1);
}
