//! The metrics of the agent itself: two with rows, the others counted by `ephemon_self_metrics` and by the
//! process collector of the `prometheus` crate, and listed here for the reference. None is exported over OTLP.

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

/// How the agent is set up: what changes which figures there are, and nothing secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag and a label of its own")]
pub struct Settings {
    /// `--pod-selector`, separated by `;`; an empty one selects all pods.
    pub pod_selector: String,
    /// Whether the API server is asked.
    pub api: bool,
    /// Whether the container runtime is asked.
    pub cri: bool,
    /// `--enforce-limits`.
    pub enforce_limits: bool,
    /// Whether `--nri-socket` is set.
    pub nri: bool,
    /// `--sample-interval`.
    pub sample_interval: String,
    /// `--retain-ended`.
    pub retain_ended: String,
    /// `--max-ended`.
    pub max_ended: String,
    /// `--logs`.
    pub logs: String,
    /// `--trace-mode`.
    pub trace_mode: String,
    /// `--otlp-metrics`.
    pub otlp_metrics: bool,
    /// `--metrics-allow`, with commas.
    pub metrics_allow: String,
    /// `--metrics-deny`, with commas.
    pub metrics_deny: String,
}

/// How the agent is set up.
pub static SETTINGS: Row<Settings> =
    Metric::info("Settings of the running agent that change which values there are.")
        .family("ephemon_agent_settings_info")
        .labels(&[
            Label::prometheus("pod_selector"),
            Label::prometheus("api"),
            Label::prometheus("cri"),
            Label::prometheus("enforce_limits"),
            Label::prometheus("nri"),
            Label::prometheus("sample_interval"),
            Label::prometheus("retain_ended"),
            Label::prometheus("max_ended"),
            Label::prometheus("logs"),
            Label::prometheus("trace_mode"),
            Label::prometheus("otlp_metrics"),
            Label::prometheus("metrics_allow"),
            Label::prometheus("metrics_deny"),
        ])
        .many(|settings, points| {
            let word = |is: bool| LabelValue::from(if is { "true" } else { "false" });
            let labels = [
                settings.pod_selector.as_str().into(),
                word(settings.api),
                word(settings.cri),
                word(settings.enforce_limits),
                word(settings.nri),
                settings.sample_interval.as_str().into(),
                settings.retain_ended.as_str().into(),
                settings.max_ended.as_str().into(),
                settings.logs.as_str().into(),
                settings.trace_mode.as_str().into(),
                word(settings.otlp_metrics),
                settings.metrics_allow.as_str().into(),
                settings.metrics_deny.as_str().into(),
            ];
            points.put(&labels, Some(Value::Count(1)));
        });

/// What is counted elsewhere; a test holds names, help and labels to the registry's.
static COUNTED: &[Metric] = &[
    Metric::counter("{container}", "Containers found.")
        .family("ephemon_agent_containers_discovered_total")
        .labels(&[Label::prometheus("source")]),
    Metric::counter(
        "{item}",
        "Items of data given up: containers, events, log records, spans, points.",
    )
    .family("ephemon_agent_dropped_items_total")
    .labels(&[Label::prometheus("signal"), Label::prometheus("reason")]),
    Metric::counter("{container}", "Final readings of ended containers.")
        .family("ephemon_agent_final_readings_total")
        .labels(&[Label::prometheus("quality")]),
    Metric::counter(
        "{connection}",
        "Connections to the agent's HTTP server that it closed before their peers were done.",
    )
    .family("ephemon_agent_http_connections_closed_total")
    .labels(&[Label::prometheus("reason")]),
    Metric::counter(
        "{container}",
        "Containers that ask for init in front of their image's own entrypoint, by result over NRI.",
    )
    .family("ephemon_agent_inits_at_creation_total")
    .labels(&[Label::prometheus("result")]),
    Metric::counter("{limit}", "Limits that containers' specs ask for, by result.")
        .family("ephemon_agent_limit_enforcements_total")
        .labels(&[Label::prometheus("result")]),
    Metric::counter(
        "{container}",
        "Containers with limits that the runtime was about to create, by result over NRI.",
    )
    .family("ephemon_agent_limits_at_creation_total")
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
    Metric::counter("{log}", "Logs that are over and of which something is, or may be, missing.")
        .family("ephemon_agent_logs_incomplete_total"),
    Metric::counter(
        "{log}",
        "Selected logs that are not read, because their file may not or cannot be opened.",
    )
    .family("ephemon_agent_logs_refused_total")
    .labels(&[Label::prometheus("reason")]),
    Metric::counter("{request}", "Requests to a collector, by result.")
        .family("ephemon_agent_otlp_requests_total")
        .labels(&[Label::prometheus("signal"), Label::prometheus("result")]),
    Metric::counter(
        "s",
        "Time that the runtime took for images that the agent asked for before the kubelet, by result.",
    )
    .family("ephemon_agent_pre_pull_seconds_total")
    .labels(&[Label::prometheus("result")]),
    Metric::counter(
        "{image}",
        "Images that containers of selected pods wait for, by what came of pulling them before the kubelet does.",
    )
    .family("ephemon_agent_pre_pulled_images_total")
    .labels(&[Label::prometheus("result")]),
    Metric::histogram("s", "Time to read one container's cgroup files.")
        .family("ephemon_agent_reading_duration_seconds"),
    Metric::histogram("s", "Time to put together one answer on /metrics.")
        .family("ephemon_agent_scrape_duration_seconds"),
    Metric::gauge("By", "Size of the requests that wait on the node's disk for a collector.")
        .family("ephemon_agent_spool_bytes")
        .labels(&[Label::prometheus("signal")]),
    Metric::counter(
        "{failure}",
        "Times that a source of names that the agent watches did not answer, or ended early.",
    )
    .family("ephemon_agent_watch_failures_total")
    .labels(&[Label::prometheus("watch")]),
    Metric::gauge("1", "1 while the source of names that the agent watches answers, else 0.")
        .family("ephemon_agent_watch_up")
        .labels(&[Label::prometheus("watch")]),
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
    [&BUILD.metric, &SETTINGS.metric].into_iter().chain(COUNTED)
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
    use ephemon_self_metrics::{Enforced, Exported, Reason, SelfMetrics, Signal, Source, Watched};
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
        self_metrics.scraped(Duration::from_millis(10));
        self_metrics.will_watch(Watched::Pods);
        self_metrics.count_process().unwrap();

        let histograms = self_metrics.histograms().into_iter().map(|histogram| {
            (histogram.name.to_owned(), (histogram.help.to_owned(), Kind::Histogram, Vec::new()))
        });
        let counted: BTreeMap<_, _> = self_metrics
            .registry()
            .gather()
            .iter()
            .map(|family| {
                let kind = match family.get_field_type() {
                    MetricType::COUNTER => Kind::Counter,
                    _ => Kind::Gauge,
                };
                let labels = family.get_metric()[0].get_label().iter();
                let mut labels: Vec<_> = labels.map(|label| label.name().to_owned()).collect();
                labels.sort();
                (family.name().to_owned(), (family.help().to_owned(), kind, labels))
            })
            .chain(histograms)
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
