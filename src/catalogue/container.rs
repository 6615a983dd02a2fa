//! The metrics of containers. Adding one is adding a row.

use std::sync::Arc;

use ephemon_base::clock::unix_ns;
use ephemon_capture::readings::Record;
use ephemon_crilog::{Account, Accounting};
use ephemon_discovery::inventory::ContainerFacts;
use ephemon_model::{Exit, IoUsage, Limit, LogLoss, Pressure, Usage};

use super::names::{
    self, CPU_MODE, DISK_IO_DIRECTION, MEMORY_EVENT, PRESSURE_KIND, PRESSURE_RESOURCE,
    PROCESS_EXIT_CODE, SYSTEM_PAGING_FAULT_TYPE, USAGE_QUALITY,
};
use super::row::{Label, Metric, Part, Row};
use super::value::{LabelValue, Points, Value};

/// A container as it was last read, or as it ended.
#[derive(Debug, Clone)]
pub struct Container {
    /// The figures.
    pub record: Arc<Record>,
    /// What is known of it beside them.
    pub facts: Option<Arc<ContainerFacts>>,
    /// What became of its log, where logs are followed.
    pub log: Option<Arc<Account>>,
}

/// The rows, in the order of the exposition.
pub static ROWS: &[Row<Container>] = &[
    // In OTLP the resource says this, and `ephemon.container.ended` the rest.
    Metric::info("A container's id and image.")
        .family("ephemon_container_info")
        .labels(&[
            Label::prometheus("container_id"),
            Label::prometheus("pod_uid"),
            Label::prometheus("image"),
        ])
        .many(info),
    // What is known at the end only is in families of its own: the labels of a series stay as they are.
    Metric::info("Once the container is over: how its final values were obtained.")
        .family("ephemon_container_final_quality_info")
        .labels(&[Label::prometheus("quality")])
        .many(|c, points| {
            let Some(ended) = &c.record.ended else { return };
            points.put(&[ended.quality.as_str().into()], Some(Value::Count(1)));
        }),
    Metric::info("Once the container is over: why it ended, by the API server or the runtime.")
        .family("ephemon_container_exit_reason_info")
        .labels(&[Label::prometheus("exit_reason")])
        .many(|c, points| {
            // The runtime's events say with which code, and not why.
            let Some(exit) = c.exit().filter(|exit| !exit.reason.is_empty()) else { return };
            points.put(&[(*exit.reason).into()], Some(Value::Count(1)));
        }),
    // In OTLP each point has the times.
    Metric::gauge("s", "When the container's cgroup was made, since the Unix epoch.")
        .family("ephemon_container_start_time_seconds")
        .one(|c| Value::unix(c.record.created)),
    Metric::gauge("s", "When the container's last process was seen gone, since the Unix epoch.")
        .family("ephemon_container_end_time_seconds")
        .one(|c| c.record.ended.as_ref().and_then(|ended| Value::unix(ended.at))),
    // In OTLP an attribute of `ephemon.container.ended`.
    Metric::gauge(
        "1",
        "Exit code of the container's first process; 128 + signal number where a signal ended it.",
    )
    .family("ephemon_container_exit_code")
    .one(|c| c.exit().map(|exit| Value::Code(exit.code))),
    // Prometheus has the kernel's three figures, whose parts do not add up to the whole; OTLP one
    // metric whose points may be added up.
    Metric::counter("s", "CPU time used.")
        .family("ephemon_container_cpu_usage_seconds_total")
        .one(|c| nanos(c.usage().cpu.usage_ns)),
    Metric::counter("s", "CPU time used in user mode.")
        .family("ephemon_container_cpu_user_seconds_total")
        .one(|c| nanos(c.usage().cpu.user_ns)),
    Metric::counter("s", "CPU time used in the kernel.")
        .family("ephemon_container_cpu_system_seconds_total")
        .one(|c| nanos(c.usage().cpu.system_ns)),
    Metric::counter("s", "CPU time used.")
        .instrument(names::CONTAINER_CPU_TIME)
        .labels(&[Label::otlp(CPU_MODE)])
        .many(cpu_time),
    Metric::counter("{period}", "Enforcement periods that elapsed under a CPU quota.")
        .family("ephemon_container_cpu_cfs_periods_total")
        .instrument("ephemon.container.cpu.periods")
        .one(|c| count(c.usage().cpu.periods)),
    Metric::counter("{period}", "Enforcement periods in which the CPU quota was used up.")
        .family("ephemon_container_cpu_cfs_throttled_periods_total")
        .instrument("ephemon.container.cpu.throttled.periods")
        .one(|c| count(c.usage().cpu.throttled_periods)),
    Metric::counter("s", "Time spent throttled by the CPU quota.")
        .family("ephemon_container_cpu_cfs_throttled_seconds_total")
        .instrument("ephemon.container.cpu.throttled.time")
        .one(|c| nanos(c.usage().cpu.throttled_ns)),
    Metric::up_down_counter(
        "{cpu}",
        "CPUs the container's own quota allows; absent where it has none.",
    )
    .family("ephemon_container_cpu_limit_cores")
    .instrument(names::K8S_CONTAINER_CPU_LIMIT_CURRENT)
    .one(|c| limit(c.usage().cpu.limit_millis).map(Value::Millis)),
    Metric::up_down_counter("By", "All memory charged to the container.")
        .family("ephemon_container_memory_usage_bytes")
        .instrument(names::CONTAINER_MEMORY_USAGE)
        .one(|c| count(c.usage().memory.usage_bytes)),
    Metric::up_down_counter(
        "By",
        "Memory in use less inactive file pages: what the kubelet evicts by.",
    )
    .family("ephemon_container_memory_working_set_bytes")
    .instrument(names::CONTAINER_MEMORY_WORKING_SET)
    .one(|c| count(c.usage().memory.working_set_bytes)),
    Metric::up_down_counter("By", "Anonymous memory.")
        .family("ephemon_container_memory_rss_bytes")
        .instrument(names::CONTAINER_MEMORY_RSS)
        .one(|c| count(c.usage().memory.rss_bytes)),
    Metric::up_down_counter("By", "Page cache.")
        .family("ephemon_container_memory_cache_bytes")
        .instrument("ephemon.container.memory.cache")
        .one(|c| count(c.usage().memory.cache_bytes)),
    Metric::up_down_counter("By", "Swap in use.")
        .family("ephemon_container_memory_swap_bytes")
        .instrument("ephemon.container.memory.swap")
        .one(|c| count(c.usage().memory.swap_bytes)),
    Metric::gauge("By", "Highest memory usage since the container's start.")
        .family("ephemon_container_memory_peak_bytes")
        .instrument("ephemon.container.memory.peak")
        .one(|c| count(c.usage().memory.peak_bytes)),
    Metric::up_down_counter("By", "The container's own memory limit; absent where it has none.")
        .family("ephemon_container_memory_limit_bytes")
        .instrument(names::K8S_CONTAINER_MEMORY_LIMIT_CURRENT)
        .one(|c| count(limit(c.usage().memory.limit_bytes))),
    Metric::counter(
        "{event}",
        "Memory events by the kernel's names: low, high, max, oom, oom_kill, oom_group_kill.",
    )
    .family("ephemon_container_memory_events_total")
    .instrument("ephemon.container.memory.events")
    .labels(&[Label::both("event", MEMORY_EVENT)])
    .many(memory_events),
    Metric::counter("{fault}", "Page faults: minor ones needed no I/O, major ones did.")
        .family("ephemon_container_memory_page_faults_total")
        .instrument(names::CONTAINER_PAGING_FAULTS)
        .labels(&[Label::both("type", SYSTEM_PAGING_FAULT_TYPE)])
        .many(|c, points| {
            let faults = &c.usage().memory.faults;
            points.put(&["minor".into()], count(faults.minor));
            points.put(&["major".into()], count(faults.major));
        }),
    // OpenTelemetry's conventions have neither discards nor devices here: OTLP's are sums over all.
    Metric::counter("By", "Bytes read from, written to and discarded on block devices.")
        .family("ephemon_container_io_bytes_total")
        .labels(&[Label::prometheus("device"), Label::prometheus("operation")])
        .many(|c, points| {
            devices(c, points, |io| [io.read_bytes, io.write_bytes, io.discard_bytes]);
        }),
    Metric::counter("By", "Bytes read from and written to block devices.")
        .instrument(names::CONTAINER_DISK_IO)
        .labels(&[Label::otlp(DISK_IO_DIRECTION)])
        .many(|c, points| {
            points.put(&["read".into()], sum(c, |io| io.read_bytes));
            points.put(&["write".into()], sum(c, |io| io.write_bytes));
        }),
    Metric::counter("{operation}", "Read, write and discard operations on block devices.")
        .family("ephemon_container_io_operations_total")
        .labels(&[Label::prometheus("device"), Label::prometheus("operation")])
        .many(|c, points| devices(c, points, |io| [io.read_ops, io.write_ops, io.discard_ops])),
    Metric::counter("{operation}", "Read and write operations on block devices.")
        .instrument("ephemon.container.disk.operations")
        .labels(&[Label::otlp(DISK_IO_DIRECTION)])
        .many(|c, points| {
            points.put(&["read".into()], sum(c, |io| io.read_ops));
            points.put(&["write".into()], sum(c, |io| io.write_ops));
        }),
    Metric::up_down_counter("{task}", "Tasks (processes and threads) now.")
        .family("ephemon_container_tasks")
        .instrument("ephemon.container.tasks")
        .one(|c| count(c.usage().pids.current)),
    Metric::gauge("{task}", "Most tasks at once since the container's start.")
        .family("ephemon_container_tasks_peak")
        .instrument("ephemon.container.tasks.peak")
        .one(|c| count(c.usage().pids.peak)),
    Metric::up_down_counter(
        "{task}",
        "The container's own limit of tasks; absent where it has none.",
    )
    .family("ephemon_container_tasks_limit")
    .instrument("ephemon.container.tasks.limit")
    .one(|c| count(limit(c.usage().pids.limit))),
    Metric::counter("{refusal}", "Times a new task was refused for the limit of tasks.")
        .family("ephemon_container_tasks_limit_hits_total")
        .instrument("ephemon.container.tasks.limit.hits")
        .one(|c| count(c.usage().pids.limit_hits)),
    Metric::counter("s", "Time in which at least one task waited for the resource (PSI `some`).")
        .family("ephemon_container_pressure_waiting_seconds_total")
        .instrument(PRESSURE_TIME)
        .labels(&[Label::both("resource", PRESSURE_RESOURCE)])
        .part(pressure_part("waiting"))
        .many(|c, points| pressure(c, points, |pressure| pressure.waiting_us)),
    Metric::counter("s", "Time in which all tasks waited for the resource at once (PSI `full`).")
        .family("ephemon_container_pressure_stalled_seconds_total")
        .instrument(PRESSURE_TIME)
        .labels(&[Label::both("resource", PRESSURE_RESOURCE)])
        .part(pressure_part("stalled"))
        .many(|c, points| pressure(c, points, |pressure| pressure.stalled_us)),
    // In OTLP the event that closes a log says all this.
    Metric::counter("{line}", "Lines read of the container's log, where logs are exported.")
        .family("ephemon_container_log_lines_total")
        .labels(&[Label::prometheus("stream")])
        .many(|c, points| streams(c, points, |accounting| &accounting.stream_lines)),
    Metric::counter("By", "Bytes of text in these lines.")
        .family("ephemon_container_log_bytes_total")
        .labels(&[Label::prometheus("stream")])
        .many(|c, points| streams(c, points, |accounting| &accounting.stream_bytes)),
    Metric::counter("{line}", "Lines that the collector, or the spool on the node, has taken.")
        .family("ephemon_container_log_delivered_lines_total")
        .one(|c| count(c.log().map(|log| log.accounting.delivered_lines))),
    Metric::counter("By", "Bytes of the container's log that could not be read any more.")
        .family("ephemon_container_log_lost_bytes_total")
        .labels(&[Label::prometheus("reason")])
        .many(|c, points| {
            let Some(log) = c.log() else { return };
            for (loss, bytes) in LogLoss::ALL.into_iter().zip(log.accounting.lost_bytes) {
                let lost = (bytes > 0).then_some(bytes);
                points.put(&[loss.as_str().into()], count(lost));
            }
        }),
    Metric::gauge("1", "Once the log is over: 1 where every byte of it was delivered, else 0.")
        .family("ephemon_container_log_complete")
        .one(|c| c.log()?.complete.map(|complete| Value::Count(u64::from(complete)))),
    // Prometheus makes it of the time of the start.
    Metric::gauge("s", "Time since the container's cgroup was made.")
        .instrument(names::CONTAINER_UPTIME)
        .one(|c| c.read_ns().checked_sub(c.born_ns()).map(Value::Nanos)),
    // A metric of its own: as an attribute of the finals the quality would make other streams of them
    // than those of the living container.
    Metric::gauge("1", "1 once the container is over, with how sure its final figures are.")
        .instrument("ephemon.container.ended")
        .labels(&[Label::otlp(USAGE_QUALITY), Label::otlp(PROCESS_EXIT_CODE)])
        .many(ended),
];

const PRESSURE_TIME: &str = "ephemon.container.pressure.time";

const fn pressure_part(value: &'static str) -> Part {
    Part {
        description: "Time in which at least one task waited for the resource, or all were stalled at once (PSI).",
        attribute: PRESSURE_KIND,
        value,
    }
}

// === impl Container ===

impl Container {
    /// When its cgroup was made, nanoseconds since 1970; 0 by a clock set before.
    pub fn born_ns(&self) -> u64 {
        unix_ns(self.record.created)
    }

    /// When its figures were read, nanoseconds since 1970, and not before its birth. Finals are of
    /// its end, whenever they were settled.
    pub fn read_ns(&self) -> u64 {
        let at = self.record.ended.as_ref().map_or(self.record.read_at, |ended| ended.at);
        unix_ns(at).max(self.born_ns())
    }

    fn usage(&self) -> &Usage {
        &self.record.usage
    }

    /// How it ended; never told of one that lives.
    fn exit(&self) -> Option<&Exit> {
        self.record.ended.as_ref()?;
        self.facts.as_ref()?.exit.as_ref()
    }

    fn log(&self) -> Option<&Account> {
        self.log.as_deref()
    }
}

fn info(container: &Container, points: &mut dyn Points) {
    let record = &container.record;
    let image = container.facts.as_ref().and_then(|facts| facts.image.as_deref());
    let engine_id = container.facts.as_ref().and_then(|facts| facts.engine_id.as_deref());
    let id = engine_id.unwrap_or(record.id.as_str());
    let labels = [id.into(), record.pod.as_str().into(), image.into()];
    points.put(&labels, Some(Value::Count(1)));
}

/// By mode where the kernel tells, as it tells: a difference of two of its counters, which are read and
/// rounded apart, could go back.
fn cpu_time(container: &Container, points: &mut dyn Points) {
    let cpu = &container.usage().cpu;
    if cpu.user_ns.is_some() && cpu.system_ns.is_some() {
        points.put(&["user".into()], nanos(cpu.user_ns));
        points.put(&["system".into()], nanos(cpu.system_ns));
    } else {
        points.put(&[LabelValue::Absent], nanos(cpu.usage_ns));
    }
}

fn memory_events(container: &Container, points: &mut dyn Points) {
    for (event, times) in container.usage().memory.events.by_name() {
        points.put(&[event.into()], count(times));
    }
}

fn pressure(container: &Container, points: &mut dyn Points, micros: fn(&Pressure) -> Option<u64>) {
    for (resource, of) in container.usage().pressure.by_name() {
        points.put(&[resource.into()], micros(&of).map(Value::Micros));
    }
}

/// Each device's figures of reading, writing and discarding.
fn devices(
    container: &Container,
    points: &mut dyn Points,
    figures: fn(&IoUsage) -> [Option<u64>; 3],
) {
    for io in &container.usage().io {
        let device = LabelValue::Device { major: io.major, minor: io.minor };
        for (operation, figure) in ["read", "write", "discard"].into_iter().zip(figures(io)) {
            points.put(&[device, operation.into()], count(figure));
        }
    }
}

/// Over all devices; nothing where no device has the figure.
fn sum(container: &Container, of: fn(&IoUsage) -> Option<u64>) -> Option<Value> {
    let known = container.usage().io.iter().filter_map(of);
    count(known.reduce(u64::saturating_add))
}

/// A record that makes no sense belongs to neither stream.
fn streams(container: &Container, points: &mut dyn Points, of: fn(&Accounting) -> &[u64; 3]) {
    let Some(log) = container.log() else { return };
    for (stream, figure) in ["stdout", "stderr", "unknown"].into_iter().zip(of(&log.accounting)) {
        let shown = (stream != "unknown" || *figure > 0).then_some(*figure);
        points.put(&[stream.into()], count(shown));
    }
}

fn ended(container: &Container, points: &mut dyn Points) {
    let Some(ended) = &container.record.ended else { return };
    let code =
        container.exit().map_or(LabelValue::Absent, |exit| LabelValue::Integer(exit.code.into()));
    points.put(&[ended.quality.as_str().into(), code], Some(Value::Count(1)));
}

fn count(figure: Option<u64>) -> Option<Value> {
    figure.map(Value::Count)
}

fn nanos(figure: Option<u64>) -> Option<Value> {
    figure.map(Value::Nanos)
}

/// No limit is no point: any number would be a lie to whoever divides by it.
fn limit(figure: Option<Limit<u64>>) -> Option<u64> {
    match figure? {
        Limit::Unlimited => None,
        Limit::At(limit) => Some(limit),
    }
}
