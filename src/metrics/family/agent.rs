//! The families of the agent itself: two read from the view, the others counted by
//! [`Vitals`](ephemon_vitals::Vitals) and the process collector, listed here for the reference.

use super::{Family, Kind, Row, Scope};
use crate::exposition::Figure;
use crate::view::{Build, PodView};

use Kind::{Counter, Gauge, Histogram, Info};

/// Which ephemon this is.
pub(crate) static BUILD: Row<Build> = Row::many(
    family(
        "ephemon_agent_build_info",
        "Version of the running agent, and the revision it was built from where known.",
        Info,
        &["version", "revision"],
    ),
    |build, points| {
        let mut labels = vec![("version", build.version)];
        labels.extend(build.revision.map(|revision| ("revision", revision)));
        points.put_with(&labels, Some(Figure::Count(1)));
    },
);

/// The agent's own accounting, checked against the kernel's.
pub(crate) static ACCOUNTING: Row<PodView> = Row::one(
    family(
        "ephemon_agent_accounting_error_ratio",
        "How far the sum of a pod's containers is from the pod's own CPU counter.",
        Gauge,
        &["namespace", "pod"],
    ),
    |pod| pod.record.accounting_error.map(Figure::Float),
);

/// What is counted elsewhere; a test holds names, help and labels to the registry's.
static COUNTED: &[Family] = &[
    family("ephemon_agent_discovered_total", "Containers found.", Counter, &["source"]),
    family("ephemon_agent_dropped_total", "Data given up.", Counter, &["signal", "reason"]),
    family(
        "ephemon_agent_finals_total",
        "Final readings of ended containers.",
        Counter,
        &["quality"],
    ),
    family(
        "ephemon_agent_http_connections_closed_total",
        "Connections to the agent's HTTP server that it closed before their peers were done.",
        Counter,
        &["reason"],
    ),
    family(
        "ephemon_agent_limits_total",
        "Limits that containers' specs ask for, by what came of them.",
        Counter,
        &["result"],
    ),
    family(
        "ephemon_agent_log_lag_bytes",
        "Bytes of containers' logs that are written and not yet delivered.",
        Gauge,
        &[],
    ),
    family(
        "ephemon_agent_log_lost_bytes_total",
        "Bytes of containers' logs that could not be read any more.",
        Counter,
        &["reason"],
    ),
    family(
        "ephemon_agent_log_share_wait_seconds_total",
        "Time that pods' logs waited because the pod had used its share of the log thread's time.",
        Counter,
        &[],
    ),
    family(
        "ephemon_agent_otlp_requests_total",
        "Requests to a collector, by what came of them.",
        Counter,
        &["signal", "result"],
    ),
    family(
        "ephemon_agent_sample_duration_seconds",
        "Time to read one container's cgroup files.",
        Histogram,
        &[],
    ),
    family(
        "ephemon_agent_samples_total",
        "Periodic readings of a container's cgroup.",
        Counter,
        &[],
    ),
    family(
        "ephemon_agent_spool_bytes",
        "Size of what waits on the node's disk for a collector.",
        Gauge,
        &["signal"],
    ),
    family(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        Counter,
        &[],
    ),
    family("process_max_fds", "Maximum number of open file descriptors.", Gauge, &[]),
    family("process_open_fds", "Number of open file descriptors.", Gauge, &[]),
    family("process_resident_memory_bytes", "Resident memory size in bytes.", Gauge, &[]),
    family(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        Gauge,
        &[],
    ),
    family("process_threads", "Number of OS threads in the process.", Gauge, &[]),
    family("process_virtual_memory_bytes", "Virtual memory size in bytes.", Gauge, &[]),
];

/// Every family of the agent, in the order of the exposition.
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    [&BUILD.family, &ACCOUNTING.family].into_iter().chain(COUNTED)
}

const fn family(
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
) -> Family {
    let scope = Scope::Agent;
    Family { name, help, kind, scope, labels }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use ephemon_model::Quality;
    use ephemon_vitals::{Enforced, Exported, Reason, Signal, Source, Vitals};
    use prometheus::process_collector::ProcessCollector;
    use prometheus::proto::MetricType;

    use super::*;

    #[test]
    fn the_registry_and_the_table_agree_on_every_family() {
        let vitals = Vitals::new().unwrap();
        vitals.final_settled(Quality::Exact);
        vitals.discovered(Source::Inotify);
        vitals.dropped(Signal::Metrics, Reason::Cap);
        vitals.exported(Signal::Logs, Exported::Accepted);
        vitals.spooled(Signal::Logs, 0);
        vitals.limits_enforced(Enforced::Applied);
        vitals.sampled(Duration::from_micros(10));
        let process = Box::new(ProcessCollector::for_self());
        vitals.registry().register(process).unwrap();

        let counted: BTreeMap<_, _> = vitals
            .registry()
            .gather()
            .iter()
            .map(|family| {
                let kind = match family.get_field_type() {
                    MetricType::COUNTER => Counter,
                    MetricType::HISTOGRAM => Histogram,
                    _ => Gauge,
                };
                let labels = family.get_metric()[0].get_label().iter();
                let mut labels: Vec<_> = labels.map(|label| label.name().to_owned()).collect();
                labels.sort();
                (family.name().to_owned(), (family.help().to_owned(), kind, labels))
            })
            .collect();
        let listed: BTreeMap<_, _> = COUNTED
            .iter()
            .map(|family| {
                let mut labels: Vec<_> =
                    family.labels.iter().map(|&name| name.to_owned()).collect();
                labels.sort();
                (family.name.to_owned(), (family.help.to_owned(), family.kind, labels))
            })
            .collect();
        assert_eq!(listed, counted);
    }
}
