//! Pages of agents as they are served, and as nobody serves them.

use proptest::prelude::*;

use super::*;
use crate::messages::{BucketSpan, LabelPair, Single};
use crate::{Advice, LeftOut, Rule, Source};

fn labels(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |&(name, value): &(&str, &str)| LabelPair {
        name: Some(name.to_owned()),
        value: Some(value.to_owned()),
    };
    labels.iter().map(pair).collect()
}

const JOB: [(&str, &str); 5] = [
    ("namespace", "ci"),
    ("organization", "o"),
    ("repository", "r"),
    ("workflow", "w"),
    ("job_id", "j"),
];

fn page(families: Vec<(&str, Vec<Metric>)>) -> Vec<u8> {
    let build = ("agent_build_info", Vec::new());
    let families = families.into_iter().chain([build]);
    let encode = |(name, metric): (&str, Vec<Metric>)| {
        let name = Some(format!("ephemon_{name}"));
        Family { name, metric }.encode_length_delimited_to_vec()
    };
    families.flat_map(encode).collect()
}

fn counter(more: &[(&str, &str)], value: f64) -> Metric {
    let label = labels(&[JOB.as_slice(), more].concat());
    Metric { label, counter: Some(Single { value: Some(value) }), ..Metric::default() }
}

/// Buckets of 1, 2 and 4 GiB.
fn memory(counts: [i64; 3]) -> Metric {
    let [one, two, four] = counts;
    let span = BucketSpan { offset: Some(30), length: Some(3) };
    let histogram = Histogram {
        schema: Some(0),
        positive_span: vec![span],
        positive_delta: vec![one, two - one, four - two],
        ..Histogram::default()
    };
    Metric { label: labels(&JOB), histogram: Some(histogram), ..Metric::default() }
}

#[test]
fn the_counts_of_several_agents_add_up() {
    let seconds =
        Histogram { sample_count: Some(10), sample_sum: Some(1800.0), ..Histogram::default() };
    let duration = Metric { label: labels(&JOB), histogram: Some(seconds), ..Metric::default() };
    let eight = Some(Single { value: Some(8.0) });
    let of_pod = |name| {
        labels(&[
            ("namespace", "ci"),
            ("pod", "p"),
            ("container", name),
            ("container_type", "container"),
        ])
    };
    let gauge = |name, gauge| Metric { label: of_pod(name), gauge, ..Metric::default() };
    let page = page(vec![
        (
            "job_completed_total",
            vec![counter(&[("result", "success")], 9.0), counter(&[("result", "failure")], 1.0)],
        ),
        ("job_cpu_usage_seconds_total", vec![counter(&[], 900.0)]),
        ("job_oom_kills_total", vec![counter(&[], 1.0)]),
        ("job_duration_seconds", vec![duration]),
        // Of each job one container that is large and two that are not.
        ("job_container_memory_peak_bytes", vec![memory([20, 9, 1])]),
        ("container_memory_limit_bytes", vec![gauge("runner", eight), gauge("dind", eight)]),
        ("container_cpu_limit_cores", vec![gauge("runner", eight)]),
        ("container_start_time_seconds", vec![gauge("runner", eight), gauge("dind", eight)]),
        ("job_info", vec![counter(&[("pod", "p")], 1.0)]),
    ]);
    let mut counts = Counts::default();
    counts.add(&page).unwrap();
    counts.add(&page).unwrap();
    let (usages, other) = counts.usages(&[]);
    assert_eq!((usages.len(), other), (1, LeftOut::default()));
    let (kind, usage) = usages.first_key_value().unwrap();
    assert_eq!((kind.repository.as_str(), kind.job.as_str()), ("o/r", "j"));
    assert_eq!((usage.jobs, usage.hours, usage.oom_kills), (20, 1.0, Some(2)));
    assert_eq!((usage.cpu_mean_cores, usage.cpu_cores), (Some(0.5), None));
    let gib = 1_073_741_824.0;
    // The small containers do not make the jobs look small.
    let expected = Spread { count: 20, p50: 2.0 * gib, p95: 4.0 * gib, max: 4.0 * gib };
    assert_eq!(usage.container_memory_bytes, Some(expected));
    let limit = Resources { cpu_cores: None, memory_bytes: Some(16.0) };
    assert_eq!(usage.limit, limit, "one container without a quota may use all CPUs");
    // One container is less than its pod: nothing about memory follows.
    let usages = [(kind.clone(), usage.clone())].into();
    let advice =
        Advice::new(Source::Agents, usages, LeftOut::default(), Rule { min_jobs: 10 }, None);
    let verdict = &advice.rows[0].verdict;
    assert_eq!((verdict.limit, verdict.request.unwrap().memory_bytes), (None, None));
    let values = &advice.scale_sets[0].values;
    assert!(values.contains("# One container alone had up to 4.0Gi of memory;"), "{values}");
    assert!(!values.contains("memory: "), "{values}");
    let matched = |text: &str| counts.usages(&[Matcher::parse(text).unwrap()]).0.len();
    assert_eq!(matched("repository=o/r") + matched("repository=r") + matched("job=j"), 3);
    assert_eq!(matched("repository=o/x") + matched("namespace=x") + matched("cluster=c"), 0);
}

#[test]
fn a_kind_whose_steps_run_in_other_pods_has_no_usage() {
    for (runner, other, elsewhere) in
        [("r", "r-workflow", 3), ("r-workflow", "x", 3), ("r", "q-workflow", 0)]
    {
        let container = |pod| Metric {
            label: labels(&[("namespace", "ci"), ("pod", pod), ("container_type", "container")]),
            gauge: Some(Single { value: Some(1.0) }),
            ..Metric::default()
        };
        let page = page(vec![
            ("job_completed_total", vec![counter(&[], 3.0)]),
            ("container_start_time_seconds", vec![container(runner), container(other)]),
            ("job_info", vec![counter(&[("pod", runner)], 1.0)]),
        ]);
        let mut counts = Counts::default();
        counts.add(&page).unwrap();
        let (usages, left_out) = counts.usages(&[]);
        assert_eq!(usages.len(), usize::from(elsewhere == 0), "{runner} {other}");
        assert_eq!(left_out, LeftOut { unknown: 0, elsewhere }, "{runner} {other}");
    }
}

#[test]
fn what_is_no_page_of_an_agent_is_said_so() {
    let mut counts = Counts::default();
    assert!(matches!(counts.add(b"# HELP x"), Err(CountsError::Broken(_))));
    assert_eq!(counts.add(b""), Err(CountsError::NoAgent));
    let other = JOB.map(|(name, _)| (name, "other"));
    let mut metric = counter(&[], 7.0);
    metric.label = labels(&other);
    counts.add(&page(vec![("job_completed_total", vec![metric])])).unwrap();
    let left_out = LeftOut { unknown: 7, elsewhere: 0 };
    assert_eq!((counts.usages(&[]).0.len(), counts.usages(&[]).1), (0, left_out));
}

proptest! {
    #[test]
    fn no_histogram_takes_long_or_gives_what_is_no_number(
        schema in any::<i32>(), offset in any::<i32>(), length in any::<u32>(),
        deltas in prop::collection::vec(any::<i64>(), 0..50),
    ) {
        let span = BucketSpan { offset: Some(offset), length: Some(length) };
        let histogram = Histogram {
            schema: Some(schema), positive_span: vec![span, span], positive_delta: deltas,
            ..Histogram::default()
        };
        let buckets = histogram.buckets();
        prop_assert!(buckets.len() <= 50);
        spread(&buckets, 3.0);
    }
}
