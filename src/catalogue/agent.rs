//! The metrics of the agent itself: two with rows, the others counted by `ephemon_self_metrics` and by the
//! process collector of the `prometheus` crate, and listed here for the reference. None goes by OTLP.

use ephemon_capture::readings::PodRecord;

use super::row::{Label, Metric, Row};
use super::value::{LabelValue, Value};

/// Which ephemon this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// The package's version.
    pub version: &'static str,
    /// The source revision, where the build was told.
    pub revision: Option<&'static str>,
}

/// Which ephemon this is.
pub static BUILD: Row<Build> =
    Metric::info("Version of the running agent, and the revision it was built from where known.")
        .family("ephemon_agent_build_info")
        .labels(&[Label::prometheus("version"), Label::prometheus("revision")])
        .many(|build, points| {
            let revision = LabelValue::from(build.revision);
            points.put(&[build.version.into(), revision], Some(Value::Count(1)));
        });

/// The agent's own accounting, checked against the kernel's. Its labels are those of pods.
pub static ACCOUNTING: Row<PodRecord> =
    Metric::gauge("1", "How far the sum of a pod's containers is from the pod's own CPU counter.")
        .family("ephemon_agent_accounting_error_ratio")
        .labels(&[Label::prometheus("namespace"), Label::prometheus("pod")])
        .one(|pod| pod.accounting_error.map(Value::Float));

/// What is counted elsewhere; a test holds names, help and labels to the registry's.
static COUNTED: &[Metric] = &[
    Metric::counter("{container}", "Containers found.")
        .family("ephemon_agent_discovered_total")
        .labels(&[Label::prometheus("source")]),
    Metric::counter("{item}", "Data given up.")
        .family("ephemon_agent_dropped_total")
        .labels(&[Label::prometheus("signal"), Label::prometheus("reason")]),
    Metric::counter("{container}", "Final readings of ended containers.")
        .family("ephemon_agent_finals_total")
        .labels(&[Label::prometheus("quality")]),
    Metric::counter(
        "{connection}",
        "Connections to the agent's HTTP server that it closed before their peers were done.",
    )
    .family("ephemon_agent_http_connections_closed_total")
    .labels(&[Label::prometheus("reason")]),
    Metric::counter("{limit}", "Limits that containers' specs ask for, by what came of them.")
        .family("ephemon_agent_limits_total")
        .labels(&[Label::prometheus("result")]),
    Metric::gauge("By", "Bytes of containers' logs that are written and not yet delivered.")
        .family("ephemon_agent_log_lag_bytes"),
    Metric::counter("By", "Bytes of containers' logs that could not be read any more.")
        .family("ephemon_agent_log_lost_bytes_total")
        .labels(&[Label::prometheus("reason")]),
    Metric::counter(
        "{line}",
        "Lines of containers' logs without a time: the runtime's record, or its stamp, is broken.",
    )
    .family("ephemon_agent_log_malformed_total")
    .labels(&[Label::prometheus("reason")]),
    Metric::counter(
        "s",
        "Time that pods' logs waited because the pod had used its share of the log thread's time.",
    )
    .family("ephemon_agent_log_share_wait_seconds_total"),
    Metric::counter(
        "{log}",
        "Wanted logs that are not read: their name stands for no file that may and can be opened.",
    )
    .family("ephemon_agent_logs_refused_total")
    .labels(&[Label::prometheus("reason")]),
    Metric::counter("{request}", "Requests to a collector, by what came of them.")
        .family("ephemon_agent_otlp_requests_total")
        .labels(&[Label::prometheus("signal"), Label::prometheus("result")]),
    Metric::histogram("s", "Time to read one container's cgroup files.")
        .family("ephemon_agent_sample_duration_seconds"),
    Metric::counter("{reading}", "Periodic readings of a container's cgroup.")
        .family("ephemon_agent_samples_total"),
    Metric::gauge("By", "Size of what waits on the node's disk for a collector.")
        .family("ephemon_agent_spool_bytes")
        .labels(&[Label::prometheus("signal")]),
    Metric::counter("s", "Total user and system CPU time spent in seconds.")
        .family("process_cpu_seconds_total"),
    Metric::gauge("{fd}", "Maximum number of open file descriptors.").family("process_max_fds"),
    Metric::gauge("{fd}", "Number of open file descriptors.").family("process_open_fds"),
    Metric::gauge("By", "Resident memory size in bytes.").family("process_resident_memory_bytes"),
    Metric::gauge("s", "Start time of the process since unix epoch in seconds.")
        .family("process_start_time_seconds"),
    Metric::gauge("{thread}", "Number of OS threads in the process.").family("process_threads"),
    Metric::gauge("By", "Virtual memory size in bytes.").family("process_virtual_memory_bytes"),
];

/// Every metric of the agent, in the order of the exposition.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    [&BUILD.metric, &ACCOUNTING.metric].into_iter().chain(COUNTED)
}

// === impl Build ===

impl Default for Build {
    /// This build; whoever compiles tells the revision through `EPHEMON_REVISION`.
    fn default() -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), revision: option_env!("EPHEMON_REVISION") }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use ephemon_model::Quality;
    use ephemon_self_metrics::{Enforced, Exported, Reason, SelfMetrics, Signal, Source};
    use prometheus::proto::MetricType;

    use super::super::row::Kind;
    use super::*;

    #[test]
    fn the_registry_and_the_table_agree_on_every_family() {
        let self_metrics = SelfMetrics::new().unwrap();
        self_metrics.final_settled(Quality::Exact);
        self_metrics.discovered(Source::Inotify);
        self_metrics.dropped(Signal::Metrics, Reason::Cap);
        self_metrics.exported(Signal::Logs, Exported::Accepted);
        self_metrics.spooled(Signal::Logs, 0);
        self_metrics.limits_enforced(Enforced::Applied);
        self_metrics.sampled(Duration::from_micros(10));
        self_metrics.count_process().unwrap();

        let counted: BTreeMap<_, _> = self_metrics
            .registry()
            .gather()
            .iter()
            .map(|family| {
                let kind = match family.get_field_type() {
                    MetricType::COUNTER => Kind::Counter,
                    MetricType::HISTOGRAM => Kind::Histogram,
                    _ => Kind::Gauge,
                };
                let labels = family.get_metric()[0].get_label().iter();
                let mut labels: Vec<_> = labels.map(|label| label.name().to_owned()).collect();
                labels.sort();
                (family.name().to_owned(), (family.help().to_owned(), kind, labels))
            })
            .collect();
        let listed: BTreeMap<_, _> = COUNTED
            .iter()
            .map(|metric| {
                let mut labels: Vec<_> =
                    metric.labels.iter().map(|label| label.label.unwrap().to_owned()).collect();
                labels.sort();
                let name = metric.family.unwrap().to_owned();
                (name, (metric.help.to_owned(), metric.kind, labels))
            })
            .collect();
        assert_eq!(listed, counted);
    }
}
