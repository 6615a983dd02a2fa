//! Whatever is shown reads back, in both formats.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ephemon_capture::readings::{PodRecord, Record};
use ephemon_discovery::inventory::ContainerFacts;
use ephemon_model::{
    ContainerId, ContainerType, Ended, Exit, IoUsage, Limit, NetUsage, PodUid, Quality, Usage,
};
use ephemon_self_metrics::Observations;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use proptest::prelude::*;

mod protobuf;

use super::strict::{Labels, Read, read};
use super::*;
use crate::devices::DeviceNames;
use crate::view::{ContainerView, Identity, JobView, PodView};

const BOTH: [Format; 2] = [Format::Text, Format::OpenMetrics];

fn uid() -> PodUid {
    PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
}

fn identity(namespace: &str, pod: &str, container: &str) -> Identity {
    Identity {
        namespace: namespace.into(),
        pod: pod.into(),
        container: container.into(),
        container_type: ContainerType::Ephemeral,
    }
}

fn record(usage: Usage) -> Arc<Record> {
    Arc::new(Record {
        id: ContainerId::parse(&"a0".repeat(32)).unwrap(),
        pod: uid(),
        created: SystemTime::UNIX_EPOCH + Duration::new(1_790_000_000, 5),
        is_birth_seen: true,
        read_at: SystemTime::UNIX_EPOCH,
        nested: false,
        usage,
        ended: None,
    })
}

fn view(containers: Vec<ContainerView>) -> View {
    View { containers, ..View::default() }
}

fn one(usage: Usage) -> View {
    view(vec![ContainerView::new(&identity("ns", "pod", "step"), record(usage), None)])
}

fn rendered(view: &View, format: Format) -> (usize, String) {
    let mut out = Vec::new();
    let count = render(view, format, &mut out);
    (count, String::from_utf8(out).unwrap())
}

fn shown(view: &View, format: Format) -> std::collections::BTreeMap<String, Read> {
    let (lines, text) = rendered(view, format);
    let families = read(&text, format);
    let samples: usize = families.values().map(|family| family.samples.len()).sum();
    assert_eq!(lines, samples);
    families
}

#[test]
fn an_absent_figure_and_no_limit_are_absent_series() {
    let mut usage = Usage::default();
    usage.memory.limit_bytes = Some(Limit::Unlimited);
    usage.pids.limit = Some(Limit::Unlimited);
    for format in BOTH {
        let families = shown(&one(usage.clone()), format);
        let names: Vec<_> = families.keys().map(String::as_str).collect();
        let suffix = if format == Format::Text { "_info" } else { "" };
        let expected = [
            format!("ephemon_agent_build{suffix}"),
            format!("ephemon_agent_settings{suffix}"),
            format!("ephemon_container{suffix}"),
            "ephemon_container_start_time_seconds".to_owned(),
        ];
        assert_eq!(names, expected);
    }
}

#[test]
fn a_zero_is_a_series() {
    let mut usage = Usage::default();
    usage.cpu.usage_ns = Some(0);
    usage.memory.limit_bytes = Some(Limit::At(0));
    let families = shown(&one(usage), Format::Text);
    let values = |name: &str| families[name].samples.values().cloned().collect::<Vec<_>>();
    assert_eq!(values("ephemon_container_cpu_usage_seconds_total"), ["0.000000000"]);
    assert_eq!(values("ephemon_container_memory_limit_bytes"), ["0"]);
}

#[test]
fn counters_and_infos_are_named_as_each_format_wants() {
    let mut usage = Usage::default();
    usage.cpu.usage_ns = Some(1_234_567_890);
    let plain = shown(&one(usage.clone()), Format::Text);
    let counter = &plain["ephemon_container_cpu_usage_seconds_total"];
    assert_eq!((counter.kind.as_str(), &counter.unit), ("counter", &None));
    assert_eq!(plain["ephemon_container_info"].kind, "gauge");

    let open = shown(&one(usage), Format::OpenMetrics);
    let counter = &open["ephemon_container_cpu_usage_seconds"];
    assert_eq!(counter.kind, "counter");
    assert_eq!(counter.unit.as_deref(), Some("seconds"));
    let ((name, _), value) = counter.samples.first_key_value().unwrap();
    assert_eq!(name, "ephemon_container_cpu_usage_seconds_total");
    assert_eq!(value, "1.234567890");
    assert_eq!(open["ephemon_container"].kind, "info");
}

#[test]
fn devices_go_by_name_where_one_is_known() {
    let io = |minor, read_bytes| IoUsage { major: 8, minor, read_bytes, ..IoUsage::default() };
    let mut view =
        one(Usage { io: vec![io(0, Some(1)), io(16, Some(2)), io(32, None)], ..Usage::default() });
    view.devices = DeviceNames::new([((8, 0), "sda".to_owned())]);
    let families = shown(&view, Format::Text);
    let devices: Vec<_> = families["ephemon_container_io_bytes_total"]
        .samples
        .keys()
        .map(|(_, labels)| (labels["device"].as_str(), labels["operation"].as_str()))
        .collect();
    assert_eq!(devices, [("8:16", "read"), ("sda", "read")]);
}

#[test]
fn the_end_is_told_of_the_ended_only() {
    let facts = Arc::new(ContainerFacts {
        name: "step".into(),
        container_type: ContainerType::Ephemeral,
        image: Some("busybox:1".into()),
        engine_id: None,
        exit: Some(Exit { code: 137, reason: "OOMKilled".into() }),
    });
    let mut ended = (*record(Usage::default())).clone();
    for (at, expected) in [(None, 0), (Some(SystemTime::UNIX_EPOCH), 1)] {
        ended.ended = at.map(|at| Ended { at, quality: Quality::Residual });
        let shown_as = identity("ns", "pod", "step");
        let container = ContainerView::new(&shown_as, Arc::new(ended.clone()), Some(facts.clone()));
        let families = shown(&view(vec![container]), Format::Text);
        for name in ["ephemon_container_exit_code", "ephemon_container_end_time_seconds"] {
            assert_eq!(usize::from(families.contains_key(name)), expected, "{name}");
        }
        let ((_, labels), _) =
            families["ephemon_container_info"].samples.first_key_value().unwrap();
        assert_eq!(labels["image"], "busybox:1");
        assert_eq!(labels.len(), 7, "the labels of a series stay: {labels:?}");
        let ends = [
            ("ephemon_container_final_quality_info", "quality", "residual"),
            ("ephemon_container_exit_reason_info", "exit_reason", "OOMKilled"),
        ];
        for (name, label, value) in ends {
            let shown = families.get(name).map(|family| family.samples.keys().collect::<Vec<_>>());
            let values: Vec<_> =
                shown.iter().flatten().map(|(_, labels)| &*labels[label]).collect();
            assert_eq!(values, [value; 1][..expected], "{name}");
        }
    }
}

#[test]
fn the_agents_own_families_read_back() {
    let registry = Registry::new();
    let counter = IntCounterVec::new(Opts::new("x_total", "Hostile \"help\\\n."), &["l"]).unwrap();
    counter.with_label_values(&["a\"\\\nb"]).inc_by(3);
    let gauge = IntGauge::new("x_open_fds", "Gauge.").unwrap();
    let mut observations = Observations::new("x_duration_seconds", "Time.", &[5e-6, 1.0]);
    observations.observe(0.5);
    observations.observe(2.0);
    registry.register(Box::new(counter)).unwrap();
    registry.register(Box::new(gauge)).unwrap();
    for (format, name, le) in [(Format::Text, "x_total", "1"), (Format::OpenMetrics, "x", "1.0")] {
        let histograms = vec![observations.clone()];
        let view = View { agent: registry.gather(), histograms, ..View::default() };
        let families = shown(&view, format);
        assert_eq!(families[name].help, "Hostile \"help\\\n.");
        let ((_, labels), value) = families[name].samples.first_key_value().unwrap();
        assert_eq!((labels["l"].as_str(), value.as_str()), ("a\"\\\nb", "3"));

        let histogram = &families["x_duration_seconds"].samples;
        let bucket = |le: &str| {
            let labels = Labels::from([("le".to_owned(), le.to_owned())]);
            histogram[&("x_duration_seconds_bucket".to_owned(), labels)].clone()
        };
        assert_eq!([bucket("5e-06"), bucket(le), bucket("+Inf")], ["0", "1", "2"]);
        assert_eq!(histogram[&("x_duration_seconds_sum".to_owned(), Labels::new())], "2.5");
    }
}

prop_compose! {
    fn any_usage()(
        figures in prop::collection::vec(prop::option::of(any::<u64>()), 20),
        io in prop::collection::btree_map(any::<(u32, u32)>(), prop::option::of(any::<u64>()), 0..4),
    ) -> Usage {
        let mut usage = Usage::default();
        usage.cpu.usage_ns = figures[0];
        usage.cpu.user_ns = figures[1];
        usage.cpu.system_ns = figures[2];
        usage.cpu.periods = figures[3];
        usage.cpu.throttled_periods = figures[4];
        usage.cpu.throttled_ns = figures[5];
        usage.memory.usage_bytes = figures[6];
        usage.memory.peak_bytes = figures[7];
        usage.memory.limit_bytes = figures[8].map(Limit::At);
        usage.memory.events.oom_kill = figures[9];
        usage.memory.events.max = figures[10];
        usage.memory.faults.minor = figures[11];
        usage.memory.faults.major = figures[12];
        usage.pids.current = figures[13];
        usage.pids.limit = figures[14].map(Limit::At);
        usage.pressure.cpu.waiting_us = figures[15];
        usage.pressure.io.stalled_us = figures[16];
        usage.io = io
            .into_iter()
            .map(|((major, minor), bytes)| IoUsage {
                major,
                minor,
                read_bytes: bytes,
                discard_ops: bytes,
                ..IoUsage::default()
            })
            .collect();
        usage
    }
}

proptest! {
    #[test]
    fn any_names_and_figures_read_back(
        names in prop::collection::btree_set((any::<String>(), any::<String>(), any::<String>()), 0..4),
        image in any::<String>(),
        interface in any::<String>(),
        usage in any_usage(),
        error in prop::option::of(any::<f64>()),
    ) {
        let facts = Arc::new(ContainerFacts {
            name: "".into(),
            container_type: ContainerType::Init,
            image: Some(image.as_str().into()),
            engine_id: None,
            exit: None,
        });
        let containers = names
            .iter()
            .map(|(namespace, pod, container)| {
                let identity = identity(namespace, pod, container);
                ContainerView::new(&identity, record(usage.clone()), Some(facts.clone()))
            })
            .collect();
        let pods = names
            .iter()
            .map(|(namespace, pod, _)| (namespace, pod))
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .map(|(namespace, pod)| {
                let record = PodRecord {
                    pod: uid(),
                    net: vec![NetUsage { interface: interface.clone(), ..NetUsage::default() }],
                    accounting_error: error,
                    beside_cpu_ns: None,
                    nested_left_out: 0,
                    gone: false,
                };
                PodView::new(namespace, pod, Arc::new(record))
            })
            .collect();
        let view = View { containers, pods, ..View::default() };
        for format in BOTH {
            let families = shown(&view, format);
            let info = if format == Format::Text { "ephemon_container_info" } else { "ephemon_container" };
            let read: std::collections::BTreeSet<_> = families
                .get(info)
                .map(|family| family.samples.keys().collect::<Vec<_>>())
                .unwrap_or_default()
                .into_iter()
                .map(|(_, labels)| {
                    assert_eq!(labels["image"], image);
                    let of = |name: &str| labels[name].clone();
                    (of("namespace"), of("pod"), of("container"))
                })
                .collect();
            prop_assert_eq!(&read, &names);
            let weighed: usize = view.containers.iter().map(|shown| weigh(&shown.container, &view.filter)).sum();
            let written: usize = families
                .iter()
                .filter(|(name, _)| name.starts_with("ephemon_container"))
                .map(|(_, family)| family.samples.len())
                .sum();
            prop_assert_eq!(weighed, written);
        }
    }
}

#[test]
fn jobs_are_shown_by_name_with_exemplars_in_openmetrics_only() {
    use ephemon_jobs::story;
    use ephemon_jobs::tally::Tally;
    use ephemon_jobs::{JobResult, Shown};
    let mut shown_job = story::Story::whole().job_evidence().job(Some(story::s(100))).unwrap();
    shown_job.identity.display_name = Some("test (1)".into());
    let shown_job = Arc::new(shown_job);
    let mut tally = Tally::default();
    tally.started(&shown_job);
    tally.finished(&shown_job);
    let jobs_view = Shown { tally: Arc::new(tally), jobs: vec![Arc::clone(&shown_job)] };
    for format in [Format::Text, Format::OpenMetrics] {
        let view = View { jobs: JobView::all(&jobs_view), ..View::default() };
        let (_, text) = rendered(&view, format);
        let exemplar = format!(" # {{trace_id=\"{}\",span_id=", shown_job.span.trace_id);
        assert_eq!(text.contains(&exemplar), format == Format::OpenMetrics, "{text}");
        let families = shown(&view, format);
        let stem = if format == Format::Text { "_total" } else { "" };
        let completed = &families[&format!("ephemon_job_completed{stem}")];
        // Every result has a series from the job's beginning on.
        assert_eq!(completed.samples.len(), JobResult::ALL.len());
        for ((_, labels), value) in &completed.samples {
            let count = if labels["result"] == "failure" { "1" } else { "0" };
            let of = |name: &str| labels[name].as_str();
            assert_eq!((of("organization"), of("repository"), of("job_id")), ("o", "r", "test"));
            assert_eq!(value, count);
        }
        assert_eq!(families["ephemon_job_duration_seconds"].kind, "histogram");
        let names: Vec<_> =
            families.keys().filter(|name| name.starts_with("ephemon_job")).collect();
        let label = families.get("ephemon_job_name_info").or(families.get("ephemon_job_name"));
        let label = label.and_then(|family| family.samples.keys().next());
        assert_eq!(label.map(|(_, labels)| &*labels["job_name"]), Some("test (1)"));
        let rows = job::ROWS.len();
        assert_eq!(names.len(), rows, "{names:?}");
    }
}

#[test]
fn a_family_that_is_not_to_be_shown_is_not_there_and_has_no_weight() {
    let mut usage = Usage::default();
    usage.cpu.usage_ns = Some(1);
    let mut view = one(usage);
    let counter = IntCounterVec::new(
        Opts::new("ephemon_agent_final_readings_total", "Final readings of ended containers."),
        &["quality"],
    );
    let registry = Registry::new();
    let counter = counter.unwrap();
    counter.with_label_values(&["exact"]).inc();
    registry.register(Box::new(counter)).unwrap();
    view.agent = registry.gather();
    view.histograms =
        vec![Observations::new("ephemon_agent_scrape_duration_seconds", "Time.", &[1.0])];
    view.filter =
        Filter::new(&[], &["ephemon_agent_*".parse().unwrap(), "*_info".parse().unwrap()]);
    for format in BOTH {
        let families = shown(&view, format);
        let names: Vec<_> = families.keys().map(|name| name.trim_end_matches("_total")).collect();
        let expected =
            ["ephemon_container_cpu_usage_seconds", "ephemon_container_start_time_seconds"];
        assert_eq!(names, expected);
    }
    assert_eq!(weigh(&view.containers[0].container, &view.filter), 2);
}
