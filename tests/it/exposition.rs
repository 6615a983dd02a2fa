//! The two formats as golden files, and what promtool says to them.
//!
//! `EPHEMON_GOLDEN=write` writes the files anew.

mod job;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ephemon_capture::readings::{PodRecord, Record};
use ephemon_catalogue::{Build, Settings, families};
use ephemon_crilog::{Account, Accounting};
use ephemon_discovery::debug_containers::DebugContainers;
use ephemon_discovery::inventory::ContainerFacts;
use ephemon_metrics::{
    ContainerView, DebugView, DeviceNames, Filter, Format, Identity, PodView, View, render,
};
use ephemon_model::{
    ContainerId, ContainerType, CpuUsage, Ended, Exit, Faults, IoUsage, Limit, MemoryEvents,
    MemoryUsage, NetUsage, PidsUsage, PodUid, Pressure, PressureUsage, Quality, Usage,
};

use crate::support::parts::{Part, all_there};
use ephemon_self_metrics::Observations;
use prometheus::{IntCounterVec, Opts, Registry};
use serde_json::json;

#[test]
fn the_text_format_is_as_recorded() {
    check(Format::Text, "metrics.prom");
}

#[test]
fn openmetrics_is_as_recorded() {
    check(Format::OpenMetrics, "metrics.om.txt");
}

#[test]
fn the_recording_shows_every_family_of_containers_pods_and_jobs() {
    let recorded = text(Format::Text);
    let shown = |name: &str| recorded.contains(&format!("# TYPE {name} "));
    let of_code = |name: &str| {
        ["container", "pod", "job", "debug"]
            .iter()
            .any(|of| name.starts_with(&format!("ephemon_{of}_")))
    };
    for family in families().filter(|family| of_code(family.name)) {
        assert!(shown(family.name), "{}", family.name);
    }
}

#[test]
fn promtool_has_nothing_to_say() {
    if !all_there(&[Part::Program("promtool")]) {
        return;
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(&rendered(Format::Text)).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "promtool says:\n{said}");
}

fn check(format: Format, name: &str) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "it/golden", name].iter().collect();
    let rendered = text(format);
    if std::env::var("EPHEMON_GOLDEN").is_ok_and(|act| act == "write") {
        std::fs::write(&path, &rendered).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap();
    for (line, (is, was)) in rendered.lines().zip(recorded.lines()).enumerate() {
        assert_eq!(is, was, "{name} line {}", line + 1);
    }
    assert_eq!(rendered, recorded);
}

/// The golden exposition in a format.
pub(crate) fn rendered(format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    render(&view(), format, &mut out);
    out
}

fn text(format: Format) -> String {
    String::from_utf8(rendered(format)).unwrap()
}

fn uid() -> PodUid {
    PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
}

fn at(seconds: u64, nanos: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_790_000_000 + seconds, nanos)
}

fn identity(pod: &str, container: &str, container_type: ContainerType) -> Identity {
    Identity {
        namespace: "arc-runners".into(),
        pod: pod.into(),
        container: container.into(),
        container_type,
    }
}

/// A step that ended and has every figure, one that lives on cgroup v1 and has few, one that no
/// source named, and one whose names are hostile.
pub(crate) fn view() -> View {
    let record = |digit: char, usage: Usage, ended: Option<Ended>| {
        let id = ContainerId::parse(&digit.to_string().repeat(64)).unwrap();
        let (created, read_at) = (at(0, 5), at(1, 0));
        let (pod, is_birth_seen) = (uid(), true);
        let nested = false;
        Arc::new(Record { id, pod, created, is_birth_seen, read_at, nested, usage, ended })
    };
    let facts = |name: &str, image: &str, exit| {
        let container_type = ContainerType::Ephemeral;
        let image = Some(image.into());
        Some(Arc::new(ContainerFacts {
            name: name.into(),
            container_type,
            image,
            engine_id: None,
            exit,
        }))
    };
    let ended = Some(Ended { at: at(0, 300_000_007), quality: Quality::Exact });
    let killed = Some(Exit { code: 137, reason: "OOMKilled".into() });
    let mut few = Usage::default();
    few.cpu.usage_ns = Some(1);
    few.memory.limit_bytes = Some(Limit::Unlimited);
    few.pids.limit = Some(Limit::Unlimited);
    let hostile = "a\"b\\c\nd{e=\"f\"} 1";
    let unnamed = Identity {
        namespace: "".into(),
        pod: uid().as_str().into(),
        container: "cccccccccccc".into(),
        container_type: ContainerType::Unknown,
    };
    View {
        containers: vec![
            ContainerView::new(
                &identity("runner-1", "step-1", ContainerType::Ephemeral),
                record('a', full(), ended),
                facts("step-1", "docker.io/library/busybox:1.36", killed),
            )
            .with_log(Some(Arc::new(log()))),
            ContainerView::new(
                &identity("runner-1", "runner", ContainerType::Container),
                record('b', few, None),
                None,
            ),
            ContainerView::new(&unnamed, record('c', Usage::default(), None), None),
            ContainerView::new(
                &identity(hostile, hostile, ContainerType::Ephemeral),
                record('d', Usage::default(), None),
                facts(hostile, hostile, None),
            ),
        ],
        pods: vec![PodView::new("arc-runners", "runner-1", Arc::new(pod()))],
        agent: agent(),
        histograms: vec![readings()],
        settings: Settings { pod_selector: "a=b".to_owned(), ..Settings::default() },
        filter: Filter::default(),
        build: Build { version: "1.2.3", revision: Some("0123abc") },
        devices: DeviceNames::new([((259, 0), "nvme0n1".to_owned())]),
        jobs: job::views(),
        debug: DebugView::all(&debug()),
    }
}

/// One that was attached by hand and is over.
fn debug() -> DebugContainers {
    let pod = json!({
        "metadata": {
            "namespace": "ci", "name": "runner-1", "uid": uid().as_str(),
            "managedFields": [{
                "manager": "kubectl", "time": "2026-11-29T03:00:00Z",
                "fieldsV1": {"f:spec": {"f:ephemeralContainers": {"k:{\"name\":\"debugger-x\"}": {}}}},
            }],
        },
        "spec": {"containers": [], "ephemeralContainers": [{
            "name": "debugger-x", "image": "busybox:1.36", "targetContainerName": "runner",
            "command": ["sh"],
        }]},
        "status": {"ephemeralContainerStatuses": [{
            "name": "debugger-x", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 3, "startedAt": "2026-11-29T03:00:02Z",
                "finishedAt": "2026-11-29T03:00:44Z"}},
        }]},
    });
    let list = DebugContainers::default();
    list.apply(&serde_json::from_value(pod).unwrap());
    list
}

/// A log that was rotated before it was read.
fn log() -> Account {
    let accounting = Accounting {
        seen_bytes: 5000,
        delivered_bytes: 4000,
        lines: 40,
        delivered_lines: 39,
        stream_lines: [30, 8, 1],
        stream_bytes: [3000, 800, 10],
        lost_bytes: [0, 1000, 0, 0, 0, 0],
        lost_unknown: false,
    };
    Account { accounting, complete: Some(false) }
}

fn full() -> Usage {
    let pressure = |n| Pressure { waiting_us: Some(n), stalled_us: Some(n / 2) };
    Usage {
        cpu: CpuUsage {
            usage_ns: Some(1_234_567_890),
            user_ns: Some(1_000_000_000),
            system_ns: Some(234_567_890),
            periods: Some(12),
            throttled_periods: Some(3),
            throttled_ns: Some(45_000_000),
            limit_millis: Some(Limit::At(500)),
        },
        memory: MemoryUsage {
            usage_bytes: Some(67_108_864),
            working_set_bytes: Some(50_331_648),
            rss_bytes: Some(33_554_432),
            cache_bytes: Some(16_777_216),
            swap_bytes: Some(0),
            peak_bytes: Some(134_217_728),
            byte_ms: None,
            limit_bytes: Some(Limit::At(134_217_728)),
            events: MemoryEvents {
                low: Some(0),
                high: Some(0),
                max: Some(17),
                oom: Some(1),
                oom_kill: Some(1),
                oom_group_kill: Some(0),
            },
            faults: Faults { minor: Some(2048), major: Some(2) },
        },
        io: vec![
            IoUsage {
                major: 8,
                minor: 16,
                read_bytes: Some(4096),
                read_ops: Some(1),
                ..IoUsage::default()
            },
            IoUsage {
                major: 259,
                minor: 0,
                read_bytes: Some(1_048_576),
                write_bytes: Some(2_097_152),
                discard_bytes: Some(0),
                read_ops: Some(16),
                write_ops: Some(32),
                discard_ops: Some(0),
            },
        ],
        pids: PidsUsage {
            current: Some(0),
            peak: Some(9),
            limit: Some(Limit::At(1024)),
            limit_hits: Some(2),
        },
        pressure: PressureUsage { cpu: pressure(1_500_000), memory: pressure(7), io: pressure(0) },
    }
}

fn pod() -> PodRecord {
    let eth0 = NetUsage {
        interface: "eth0".to_owned(),
        receive_bytes: u64::MAX,
        receive_packets: 10,
        receive_errors: 1,
        receive_dropped: 2,
        transmit_bytes: 2000,
        transmit_packets: 20,
        transmit_errors: 3,
        transmit_dropped: 4,
    };
    PodRecord {
        pod: uid(),
        net: vec![eth0],
        accounting_error: Some(0.000_25),
        beside_cpu_ns: Some(2_500_000_000),
        nested_left_out: 3,
        gone: false,
    }
}

fn agent() -> Vec<prometheus::proto::MetricFamily> {
    let registry = Registry::new();
    let finals =
        Opts::new("ephemon_agent_final_readings_total", "Final readings of ended containers.");
    let finals = IntCounterVec::new(finals, &["quality"]).unwrap();
    finals.with_label_values(&["exact"]).inc_by(41);
    finals.with_label_values(&["residual"]).inc_by(1);
    registry.register(Box::new(finals)).unwrap();
    registry.gather()
}

fn readings() -> Observations {
    let mut readings = Observations::new(
        "ephemon_agent_reading_duration_seconds",
        "Time to read one container's cgroup files.",
        &[5e-6, 3.5e-5, 1.0],
    );
    readings.observe(0.000_03);
    readings.observe(0.5);
    readings
}
