//! Rendering a scrape of 6000 series; the budget is 2 ms (uncompressed).

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ephemon_capture::readings::{PodRecord, Readings, Record};
use ephemon_discovery::inventory::Inventory;
use ephemon_metrics::{ContainerView, Format, Identity, Metrics, Options, PodView, View, render};
use ephemon_model::{
    ContainerId, ContainerType, CpuUsage, Faults, IoUsage, Limit, MemoryEvents, MemoryUsage,
    NetUsage, PidsUsage, PodUid, Pressure, PressureUsage, Usage,
};
use ephemon_self_metrics::SelfMetrics;

const SERIES: usize = 6000;

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scrape");
    let formats = [
        ("text", Format::Text),
        ("openmetrics", Format::OpenMetrics),
        ("protobuf", Format::Protobuf),
    ];
    for (name, format) in formats {
        let view = view();
        let mut text = Vec::new();
        let lines = render(&view, format, &mut text);
        assert!(lines >= SERIES);
        group.throughput(Throughput::Elements(lines as u64));
        group.bench_function(format!("render/{name}/{lines}_series"), |bencher| {
            bencher.iter(|| {
                text.clear();
                black_box(render(black_box(&view), format, &mut text))
            });
        });
    }
    // All of it: readings and inventory joined, retention reviewed, registry gathered, rendered.
    let metrics = metrics();
    let lines = metrics.scrape(Format::Text, None).lines;
    assert!(lines >= SERIES);
    group.throughput(Throughput::Elements(lines as u64));
    group.bench_function(format!("whole/text/{lines}_series"), |bencher| {
        bencher.iter(|| black_box(metrics.scrape(Format::Text, None)));
    });
    group.finish();
}

fn records() -> impl Iterator<Item = Record> {
    // With two devices and no end.
    let a_container = 44;
    let created = SystemTime::now() - Duration::from_mins(10);
    (0..=SERIES / a_container).map(move |n| Record {
        id: ContainerId::parse(&format!("{n:012x}{:052x}", 0)).expect("an id"),
        pod: PodUid::parse(&format!("0e269fa4-f505-4963-9096-{:012x}", n / 4)).expect("a UID"),
        created,
        is_birth_seen: true,
        read_at: created,
        nested: false,
        usage: usage(n as u64),
        ended: None,
    })
}

fn pods(records: &[Record]) -> Vec<PodRecord> {
    let mut uids: Vec<_> = records.iter().map(|record| record.pod.clone()).collect();
    uids.dedup();
    let net =
        NetUsage { interface: "eth0".to_owned(), receive_bytes: 1 << 40, ..NetUsage::default() };
    uids.into_iter()
        .map(|pod| PodRecord {
            pod,
            net: vec![net.clone()],
            accounting_error: Some(0.001),
            beside_cpu_ns: None,
            nested_left_out: 0,
            gone: false,
        })
        .collect()
}

fn view() -> View {
    let records: Vec<_> = records().collect();
    let pods = pods(&records);
    let containers = records.into_iter().enumerate().map(|(n, record)| {
        let identity = Identity {
            namespace: "arc-runners".into(),
            pod: format!("self-hosted-x64-abcde-runner-{:05}", n / 4).into(),
            container: format!("ephemon-step-{n:08}").into(),
            container_type: ContainerType::Ephemeral,
        };
        ContainerView::new(&identity, Arc::new(record), None)
    });
    View {
        containers: containers.collect(),
        pods: pods
            .into_iter()
            .map(|pod| PodView::new("arc-runners", "self-hosted-x64-abcde-runner", Arc::new(pod)))
            .collect(),
        ..View::default()
    }
}

fn metrics() -> Metrics {
    let readings = Readings::default();
    let records: Vec<_> = records().collect();
    for pod in pods(&records) {
        readings.enter_pod(pod);
    }
    for record in records {
        readings.enter(record);
    }
    let self_metrics = SelfMetrics::new().expect("families are registered once");
    Metrics::new(readings, Inventory::default(), self_metrics, Options::default())
}

fn usage(n: u64) -> Usage {
    let ns = Some(1_234_567_890 + n);
    let count = Some(4096 * n);
    let pressure = Pressure { waiting_us: ns, stalled_us: ns };
    let io = IoUsage {
        major: 259,
        minor: 0,
        read_bytes: count,
        write_bytes: count,
        discard_bytes: count,
        read_ops: count,
        write_ops: count,
        discard_ops: count,
    };
    Usage {
        cpu: CpuUsage {
            usage_ns: ns,
            user_ns: ns,
            system_ns: ns,
            periods: count,
            throttled_periods: count,
            throttled_ns: ns,
            limit_millis: None,
        },
        memory: MemoryUsage {
            usage_bytes: count,
            working_set_bytes: count,
            rss_bytes: count,
            cache_bytes: count,
            swap_bytes: count,
            peak_bytes: count,
            byte_ms: None,
            limit_bytes: Some(Limit::At(1 << 30)),
            events: MemoryEvents {
                low: count,
                high: count,
                max: count,
                oom: count,
                oom_kill: count,
                oom_group_kill: count,
            },
            faults: Faults { minor: count, major: count },
        },
        io: vec![io, IoUsage { major: 8, ..io }],
        pids: PidsUsage {
            current: count,
            peak: count,
            limit: Some(Limit::At(4096)),
            limit_hits: count,
        },
        pressure: PressureUsage { cpu: pressure, memory: pressure, io: pressure },
    }
}

criterion_group!(all, benches);
criterion_main!(all);
