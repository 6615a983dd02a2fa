//! What was counted of jobs as metrics over OTLP: pushed at a job's end, with an exemplar that leads to
//! the job's trace.

use ephemon_base::clock::now_ns;
use ephemon_contract::{Phase, StepKind};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric};
use tokio::runtime::Builder;

use super::PATIENCE;
use crate::support::collector::{Collector, Wire};
use crate::support::process::until;
use crate::support::site::Site;

fn metrics(collector: &Collector, name: &str) -> Vec<Metric> {
    let requests = collector.metrics().into_iter();
    let resources = requests.flat_map(|request| request.resource_metrics);
    let scopes = resources.flat_map(|resource| resource.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).filter(|metric| metric.name == name).collect()
}

fn durations(collector: &Collector) -> Vec<HistogramDataPoint> {
    let all = metrics(collector, "ephemon.job.duration").into_iter();
    all.flat_map(|metric| match metric.data {
        Some(Data::Histogram(histogram)) => histogram.data_points,
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn a_jobs_end_pushes_its_histogram_with_an_exemplar_of_the_jobs_own_trace() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let collector = runtime.block_on(Collector::start(Wire::Http, None));
    let site = Site::new();
    // Nothing here waits for an interval.
    let agent = site.agent_to(
        (&collector.endpoint(), collector.protocol()),
        &["--logs", "off", "--otlp-metrics"],
        &[("OTEL_METRIC_EXPORT_INTERVAL", "3600000")],
    );
    let pod = site.runner(1);
    pod.start("job");
    pod.init_started("job");
    until(PATIENCE, || (!metrics(&collector, "ephemon.job.started").is_empty()).then_some(()))
        .unwrap_or_else(|| panic!("the job must be counted:\n{}", agent.log()));
    let since_ns = now_ns();
    pod.step_started("job", 1, "__run", StepKind::Script);
    pod.step_ended("job", 1, 42);
    pod.called(Phase::RunScriptStep, Some("__run"), since_ns, 42);
    pod.called(Phase::CleanupJob, None, now_ns(), 0);
    pod.end("job");
    let point = until(PATIENCE, || durations(&collector).into_iter().next())
        .unwrap_or_else(|| panic!("the job's duration must come:\n{}", agent.log()));
    let trace = until(PATIENCE, || {
        let spans = collector.traces().into_iter().flat_map(|request| request.resource_spans);
        let mut spans = spans.flat_map(|it| it.scope_spans).flat_map(|it| it.spans);
        spans.find(|span| span.name == "runner-1")
    })
    .unwrap_or_else(|| panic!("the job's span must come:\n{}", agent.log()));

    assert_eq!((point.count, point.bucket_counts.iter().sum()), (1, 1));
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(point.start_time_unix_nano, trace.start_time_unix_nano);
    assert!(point.time_unix_nano >= point.start_time_unix_nano);
    let exemplar = &point.exemplars[0];
    assert_eq!(point.exemplars.len(), 1);
    assert_eq!((&exemplar.trace_id, &exemplar.span_id), (&trace.trace_id, &trace.span_id));
    assert_eq!(exemplar.time_unix_nano, trace.end_time_unix_nano);

    // The last export of an agent that ends has the count again, but not the exemplar.
    agent.stop();
    let last = durations(&collector).pop().unwrap();
    assert!(last.time_unix_nano > point.time_unix_nano);
    assert_eq!((last.count, last.exemplars.len()), (1, 0));
    let completed = metrics(&collector, "ephemon.job.completed").pop().unwrap();
    let Some(Data::Sum(sum)) = completed.data else { panic!("{completed:?}") };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality, 2, "cumulative");
}
