//! Protobuf says the same as the text.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use ephemon_base::Heartbeat;
use ephemon_capture::readings::Readings;
use ephemon_discovery::inventory::Inventory;
use ephemon_jobs::story;
use ephemon_jobs::tally::Tally;
use ephemon_model::node::NodeRoot;
use ephemon_self_metrics::SelfMetrics;
use prost::Message as _;

use super::*;
use crate::exposition::messages::{
    FamilyHead, Histogram, LabelPair, METRIC_KEY, Metric, MetricType, Timestamp,
};

/// `MetricFamily` as a reader has it.
#[derive(Clone, PartialEq, prost::Message)]
struct Metrics {
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

/// By name: the head, and the metrics by their labels.
type Families = BTreeMap<String, (FamilyHead, BTreeMap<Labels, Metric>)>;

fn families(view: &View) -> Families {
    let mut out = Vec::new();
    let count = render(view, Format::Protobuf, &mut out);
    let mut rest = out.as_slice();
    let mut families = Families::new();
    while !rest.is_empty() {
        let length = prost::decode_length_delimiter(rest).unwrap();
        rest = &rest[prost::length_delimiter_len(length)..];
        let (family, after) = rest.split_at(length);
        rest = after;
        let head = FamilyHead::decode(family).unwrap();
        let metrics = Metrics::decode(family).unwrap().metric.into_iter().map(|metric| {
            let labels = metric.label.iter();
            let labels =
                labels.map(|label| (label.name().to_owned(), label.value().to_owned())).collect();
            (labels, metric)
        });
        let twice = families.insert(head.name().to_owned(), (head, metrics.collect()));
        assert!(twice.is_none());
    }
    assert_eq!(families.values().map(|(_, metrics)| metrics.len()).sum::<usize>(), count);
    families
}

/// The value of a counter or gauge.
fn single(metric: &Metric) -> f64 {
    let counter = metric.counter.map(|counter| counter.value());
    counter.or(metric.gauge.map(|gauge| gauge.value())).unwrap()
}

fn of_jobs() -> View {
    let mut tally = Tally::default();
    for end in [40, 100, 101] {
        let job = story::Story::whole().job_evidence().job(Some(story::s(end))).unwrap();
        tally.started(&job);
        tally.finished(&job);
    }
    let shown = ephemon_jobs::Shown { tally: Arc::new(tally), jobs: Vec::new() };
    View { jobs: JobView::all(&shown), ..View::default() }
}

#[test]
fn every_sample_of_the_text_is_there_with_its_labels_and_value() {
    let mut usage = Usage::default();
    usage.cpu.usage_ns = Some(1_234_567_890);
    usage.memory.usage_bytes = Some(4096);
    usage.io = vec![IoUsage { major: 8, minor: 1, read_bytes: Some(7), ..IoUsage::default() }];
    let odd = identity("ns", "a \"pod\"\\", "line\nbreak");
    let mut shown_view = of_jobs();
    let mut readings = Observations::new("ephemon_agent_reading_duration_seconds", "Time.", &[1.0]);
    readings.observe(0.5);
    readings.observe(3.0);
    shown_view.histograms = vec![readings];
    shown_view.containers = vec![
        ContainerView::new(&odd, record(usage), None),
        ContainerView::new(&identity("ns", "pod", "step"), record(Usage::default()), None),
    ];
    let text = shown(&shown_view, Format::Text);
    let families = families(&shown_view);
    assert_eq!(families.keys().collect::<Vec<_>>(), text.keys().collect::<Vec<_>>());
    for (name, family) in text {
        let (head, metrics) = &families[&name];
        assert_eq!(head.help(), family.help);
        let kind = match head.kind() {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
        };
        assert_eq!(kind, family.kind, "{name}");
        for ((sample, mut labels), value) in family.samples {
            let value: f64 = value.parse().unwrap();
            let bound = labels.remove("le");
            let metric = &metrics[&labels];
            let Some(histogram) = &metric.histogram else {
                assert!((single(metric) - value).abs() <= value.abs() * 1e-15, "{name}");
                continue;
            };
            let shown = match (sample.strip_prefix(&name).unwrap(), bound) {
                ("_sum", None) => histogram.sample_sum(),
                ("_count", None) => histogram.sample_count() as f64,
                ("_bucket", Some(bound)) => {
                    let bound: f64 = bound.parse().unwrap();
                    let mut buckets = histogram.bucket.iter();
                    let bucket = buckets
                        .find(|bucket| bucket.upper_bound().to_bits() == bound.to_bits())
                        .unwrap();
                    bucket.cumulative_count() as f64
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(shown.to_bits(), value.to_bits(), "{sample}: {shown} and {value}");
        }
    }
}

#[test]
fn a_histogram_of_jobs_is_classic_and_native_in_one() {
    let families = families(&of_jobs());
    let (_, metrics) = &families["ephemon_job_duration_seconds"];
    let histogram = metrics.values().next().unwrap().histogram.as_ref().unwrap();
    assert_eq!(histogram.sample_count(), 3);
    assert!(histogram.zero_threshold() > 0.0);
    let counts = native_counts(histogram);
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<i64>(), 3);
    let scale = f64::from(histogram.schema()).exp2();
    for (index, _) in &counts {
        let bound = (f64::from(*index) / scale).exp2();
        assert!((30.0..110.0).contains(&bound), "{counts:?}");
    }
    let exemplars = histogram.bucket.iter().filter_map(|bucket| bucket.exemplar.as_ref());
    let labels: Vec<_> = exemplars.flat_map(|one| one.label.iter().map(LabelPair::name)).collect();
    assert_eq!(labels, ["trace_id", "span_id"], "the last of the bucket");
}

#[test]
fn what_counts_says_since_when() {
    let mut usage = Usage::default();
    usage.cpu.usage_ns = Some(1);
    let mut shown_view = of_jobs();
    let created = ContainerView::new(&identity("ns", "pod", "step"), record(usage), None);
    shown_view.containers = vec![created];
    let families = families(&shown_view);
    let one = |name: &str| families[name].1.values().next().unwrap();
    let since = one("ephemon_container_cpu_usage_seconds_total").counter.unwrap().created_timestamp;
    assert_eq!(since, Some(Timestamp { seconds: 1_790_000_000, nanos: 5 }));
    let counts = &shown_view.jobs[0].series.counts;
    let since = Some(Timestamp::at_ns(counts.since_ns));
    let started = one("ephemon_job_started_total").counter.unwrap();
    assert_eq!(started.created_timestamp, since);
    let durations = one("ephemon_job_duration_seconds").histogram.as_ref().unwrap();
    assert_eq!(durations.created_timestamp, since);
}

/// The time of a directory that was there before the agent may be later than what is stored of its
/// container.
#[test]
fn a_container_says_since_when_it_counts_only_if_it_was_seen_to_begin() {
    let node = tempfile::tempdir().unwrap();
    let cgroup = node.path().join("sys/fs/cgroup");
    let pod = cgroup.join(format!("kubepods/pod{}", uid()));
    fs::create_dir_all(&pod).unwrap();
    fs::write(cgroup.join("cgroup.controllers"), "cpu memory\n").unwrap();
    let make = |id: &ContainerId| {
        // The directory appears with its files, as in the kernel.
        let made = node.path().join("made");
        fs::create_dir_all(&made).unwrap();
        fs::write(made.join("cpu.stat"), "usage_usec 7\n").unwrap();
        fs::write(made.join("cgroup.events"), "populated 1\n").unwrap();
        fs::rename(made, pod.join(id.as_str())).unwrap();
    };
    let [old, new] = ["a", "b"].map(|digit| ContainerId::parse(&digit.repeat(64)).unwrap());
    make(&old);
    let options = ephemon_capture::Options {
        node: NodeRoot::new(node.path()),
        kubepods: None,
        sample_interval: Duration::from_secs(1),
        sample_budget: 1.0,
        max_containers: 3,
        max_nested: 3,
        heartbeat: Heartbeat::default(),
    };
    let readings = Readings::default();
    let (inventory, own) = (Inventory::default(), SelfMetrics::new().unwrap());
    let capture = ephemon_capture::start(options, readings.clone(), inventory, own).unwrap();
    let read = |id: &ContainerId| {
        let has_read =
            |record: &Arc<Record>| record.id == *id && record.usage.cpu.usage_ns.is_some();
        let start = Instant::now();
        loop {
            if let Some(record) = readings.snapshot().containers.into_iter().find(has_read) {
                return record;
            }
            assert!(start.elapsed() < Duration::from_mins(1), "it is not read");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let before = read(&old);
    assert!(*capture.walked().borrow());
    make(&new);
    let since = |record: Arc<Record>| {
        let shown = view(vec![ContainerView::new(&identity("ns", "pod", "step"), record, None)]);
        let families = families(&shown);
        let used = families["ephemon_container_cpu_usage_seconds_total"].1.values().next().unwrap();
        used.counter.unwrap().created_timestamp
    };
    assert_eq!(since(before), None);
    let seen = read(&new);
    let created = Timestamp::at_ns(unix_ns(seen.created));
    assert_eq!(since(seen), Some(created));
}

#[test]
fn a_key_is_that_of_the_field() {
    let metrics = Metrics { metric: vec![Metric::default()] };
    assert_eq!(metrics.encode_to_vec(), [METRIC_KEY, 0]);
}

/// Index and count of each bucket, as a reader adds them up.
fn native_counts(histogram: &Histogram) -> Vec<(i32, i64)> {
    let mut deltas = histogram.positive_delta.iter();
    let (mut next, mut count, mut counts) = (0, 0, Vec::new());
    for span in &histogram.positive_span {
        next += span.offset();
        for _ in 0..span.length() {
            count += deltas.next().unwrap();
            counts.push((next, count));
            next += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    counts
}
