//! The families of containers. One row a family; adding one is adding a row.

use ephemon_crilog::Books;
use ephemon_model::LogLoss;
use ephemon_model::{Limit, Pressure};

use super::{Family, Kind, Row, Scope};
use crate::exposition::{Figure, Points};
use crate::view::ContainerView;

use Kind::{Counter, Gauge, Info};

/// The rows, in the order of the exposition.
pub(crate) static ROWS: &[Row<ContainerView>] = &[
    labelled(
        "ephemon_container_info",
        "A container's id and image; `quality` and `exit_reason` once it is over.",
        Info,
        &["container_id", "pod_uid", "image", "quality", "exit_reason"],
        info,
    ),
    gauge(
        "ephemon_container_start_time_seconds",
        "When the container's cgroup was made, since the Unix epoch.",
        |c| Figure::unix(c.record.born),
    ),
    gauge(
        "ephemon_container_end_time_seconds",
        "When the container's last process was seen gone, since the Unix epoch.",
        |c| c.record.ended.as_ref().and_then(|ended| Figure::unix(ended.at)),
    ),
    gauge(
        "ephemon_container_exit_code",
        "Exit code of the container's first process; 128 + signal number where a signal ended it.",
        |c| c.exit().map(|exit| Figure::Code(exit.code)),
    ),
    counter("ephemon_container_cpu_usage_seconds_total", "CPU time used.", |c| {
        nanos(c.usage().cpu.usage_ns)
    }),
    counter("ephemon_container_cpu_user_seconds_total", "CPU time used in user mode.", |c| {
        nanos(c.usage().cpu.user_ns)
    }),
    counter("ephemon_container_cpu_system_seconds_total", "CPU time used in the kernel.", |c| {
        nanos(c.usage().cpu.system_ns)
    }),
    counter(
        "ephemon_container_cpu_cfs_periods_total",
        "Enforcement periods that elapsed under a CPU quota.",
        |c| count(c.usage().cpu.periods),
    ),
    counter(
        "ephemon_container_cpu_cfs_throttled_periods_total",
        "Enforcement periods in which the CPU quota was used up.",
        |c| count(c.usage().cpu.throttled_periods),
    ),
    counter(
        "ephemon_container_cpu_cfs_throttled_seconds_total",
        "Time spent throttled by the CPU quota.",
        |c| nanos(c.usage().cpu.throttled_ns),
    ),
    gauge(
        "ephemon_container_cpu_limit_cores",
        "CPUs the container's own quota allows; absent where it has none.",
        |c| match c.usage().cpu.limit_millis? {
            Limit::Unlimited => None,
            Limit::At(millis) => Some(Figure::Millis(millis)),
        },
    ),
    gauge("ephemon_container_memory_usage_bytes", "All memory charged to the container.", |c| {
        count(c.usage().memory.usage_bytes)
    }),
    gauge(
        "ephemon_container_memory_working_set_bytes",
        "Memory in use less inactive file pages: what the kubelet evicts by.",
        |c| count(c.usage().memory.working_set_bytes),
    ),
    gauge("ephemon_container_memory_rss_bytes", "Anonymous memory.", |c| {
        count(c.usage().memory.rss_bytes)
    }),
    gauge("ephemon_container_memory_cache_bytes", "Page cache.", |c| {
        count(c.usage().memory.cache_bytes)
    }),
    gauge("ephemon_container_memory_swap_bytes", "Swap in use.", |c| {
        count(c.usage().memory.swap_bytes)
    }),
    gauge(
        "ephemon_container_memory_peak_bytes",
        "Highest memory usage since the container's start.",
        |c| count(c.usage().memory.peak_bytes),
    ),
    gauge(
        "ephemon_container_memory_limit_bytes",
        "The container's own memory limit; absent where it has none.",
        |c| limit(c.usage().memory.limit_bytes),
    ),
    labelled(
        "ephemon_container_memory_events_total",
        "Memory events by the kernel's names: low, high, max, oom, oom_kill, oom_group_kill.",
        Counter,
        &["event"],
        memory_events,
    ),
    labelled(
        "ephemon_container_memory_page_faults_total",
        "Page faults: minor ones needed no I/O, major ones did.",
        Counter,
        &["type"],
        |c, p| {
            let faults = &c.usage().memory.faults;
            p.put_with(&[("type", "minor")], count(faults.minor));
            p.put_with(&[("type", "major")], count(faults.major));
        },
    ),
    labelled(
        "ephemon_container_io_bytes_total",
        "Bytes read from, written to and discarded on block devices.",
        Counter,
        &["device", "operation"],
        |c, p| {
            for io in &c.usage().io {
                let device = p.device(io.major, io.minor);
                for (operation, bytes) in [
                    ("read", io.read_bytes),
                    ("write", io.write_bytes),
                    ("discard", io.discard_bytes),
                ] {
                    p.put_with(&[("device", &device), ("operation", operation)], count(bytes));
                }
            }
        },
    ),
    labelled(
        "ephemon_container_io_operations_total",
        "Read, write and discard operations on block devices.",
        Counter,
        &["device", "operation"],
        |c, p| {
            for io in &c.usage().io {
                let device = p.device(io.major, io.minor);
                for (operation, operations) in
                    [("read", io.read_ops), ("write", io.write_ops), ("discard", io.discard_ops)]
                {
                    p.put_with(&[("device", &device), ("operation", operation)], count(operations));
                }
            }
        },
    ),
    gauge("ephemon_container_pids", "Tasks (processes and threads) now.", |c| {
        count(c.usage().pids.current)
    }),
    gauge("ephemon_container_pids_peak", "Most tasks at once since the container's start.", |c| {
        count(c.usage().pids.peak)
    }),
    gauge(
        "ephemon_container_pids_limit",
        "The container's own limit of tasks; absent where it has none.",
        |c| limit(c.usage().pids.limit),
    ),
    counter(
        "ephemon_container_pids_limit_hits_total",
        "Times a new task was refused for the limit of tasks.",
        |c| count(c.usage().pids.limit_hits),
    ),
    labelled(
        "ephemon_container_pressure_waiting_seconds_total",
        "Time in which at least one task waited for the resource (PSI `some`).",
        Counter,
        &["resource"],
        |c, p| pressure(c, p, |pressure| pressure.waiting_us),
    ),
    labelled(
        "ephemon_container_pressure_stalled_seconds_total",
        "Time in which all tasks waited for the resource at once (PSI `full`).",
        Counter,
        &["resource"],
        |c, p| pressure(c, p, |pressure| pressure.stalled_us),
    ),
    labelled(
        "ephemon_container_log_lines_total",
        "Lines read of the container's log, where logs are exported.",
        Counter,
        &["stream"],
        |c, p| streams(c, p, |books| &books.stream_lines),
    ),
    labelled(
        "ephemon_container_log_bytes_total",
        "Bytes of text in these lines.",
        Counter,
        &["stream"],
        |c, p| streams(c, p, |books| &books.stream_bytes),
    ),
    counter(
        "ephemon_container_log_delivered_lines_total",
        "Lines that the collector, or the spool on the node, has taken.",
        |c| count(c.log().map(|log| log.books.delivered_lines)),
    ),
    labelled(
        "ephemon_container_log_lost_bytes_total",
        "Bytes of the container's log that could not be read any more.",
        Counter,
        &["reason"],
        |c, p| {
            let Some(log) = c.log() else { return };
            for (loss, bytes) in LogLoss::ALL.into_iter().zip(log.books.lost_bytes) {
                let lost = (bytes > 0).then_some(bytes);
                p.put_with(&[("reason", loss.as_str())], count(lost));
            }
        },
    ),
    gauge(
        "ephemon_container_log_complete",
        "Once the log is over: 1 where every byte of it was delivered, else 0.",
        |c| c.log()?.complete.map(|complete| Figure::Count(u64::from(complete))),
    ),
];

const fn counter(
    name: &'static str,
    help: &'static str,
    read: fn(&ContainerView) -> Option<Figure>,
) -> Row<ContainerView> {
    Row::one(family(name, help, Counter, &[]), read)
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    read: fn(&ContainerView) -> Option<Figure>,
) -> Row<ContainerView> {
    Row::one(family(name, help, Gauge, &[]), read)
}

const fn labelled(
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    read: fn(&ContainerView, &mut Points<'_>),
) -> Row<ContainerView> {
    Row::many(family(name, help, kind, labels), read)
}

const fn family(
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
) -> Family {
    Family { name, help, kind, scope: Scope::Container, labels }
}

fn info(container: &ContainerView, points: &mut Points<'_>) {
    let record = &container.record;
    let optional = [
        ("image", container.image()),
        ("quality", record.ended.as_ref().map(|ended| ended.quality.as_str())),
        ("exit_reason", container.exit().map(|exit| &*exit.reason)),
    ];
    let mut labels = vec![("container_id", record.id.as_str()), ("pod_uid", record.pod.as_str())];
    labels.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    points.put_with(&labels, Some(Figure::Count(1)));
}

fn memory_events(container: &ContainerView, points: &mut Points<'_>) {
    for (event, times) in container.usage().memory.events.by_name() {
        points.put_with(&[("event", event)], count(times));
    }
}

fn pressure(
    container: &ContainerView,
    points: &mut Points<'_>,
    micros: fn(&Pressure) -> Option<u64>,
) {
    for (resource, of) in container.usage().pressure.by_name() {
        points.put_with(&[("resource", resource)], micros(&of).map(Figure::Micros));
    }
}

/// A record that makes no sense belongs to neither stream.
fn streams(container: &ContainerView, points: &mut Points<'_>, of: fn(&Books) -> &[u64; 3]) {
    let Some(log) = container.log() else { return };
    for (stream, figure) in ["stdout", "stderr", "unknown"].into_iter().zip(of(&log.books)) {
        let shown = (stream != "unknown" || *figure > 0).then_some(*figure);
        points.put_with(&[("stream", stream)], count(shown));
    }
}

fn count(figure: Option<u64>) -> Option<Figure> {
    figure.map(Figure::Count)
}

fn nanos(figure: Option<u64>) -> Option<Figure> {
    figure.map(Figure::Nanos)
}

/// No limit is no series: any number would be a lie to whoever divides by it.
fn limit(figure: Option<Limit<u64>>) -> Option<Figure> {
    match figure? {
        Limit::Unlimited => None,
        Limit::At(limit) => Some(Figure::Count(limit)),
    }
}
