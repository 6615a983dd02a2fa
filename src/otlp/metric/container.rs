//! The metrics of containers. One row a metric; adding one is adding a row.

use std::sync::Arc;
use std::time::SystemTime;

use ephemon_capture::books::Record;
use ephemon_model::{Exit, IoUsage, Limit, Pressure, Usage};

use super::instrument::{Instrument, Kind, Row, Scope};
use super::names;
use super::owner::Owner;
use super::points::{Figure, Points, Subject, number, text};
use crate::names::{
    CPU_MODE, DISK_IO_DIRECTION, MEMORY_EVENT, PRESSURE_KIND, PRESSURE_RESOURCE, PROCESS_EXIT_CODE,
    SYSTEM_PAGING_FAULT_TYPE, USAGE_QUALITY,
};

use Kind::{Counter, Gauge, UpDownCounter};

/// A container as it was last read, or as it ended.
#[derive(Debug, Clone)]
pub struct Container {
    /// Whose points these are.
    pub owner: Arc<Owner>,
    /// The figures.
    pub record: Arc<Record>,
    /// How it ended, if that is known by now.
    pub exit: Option<Exit>,
}

/// The rows, in the order of the reference.
pub(super) static ROWS: &[Row<Container>] = &[
    row(names::CONTAINER_CPU_TIME, "CPU time used.", Counter, "s", &[CPU_MODE], cpu_time),
    plain(
        names::CONTAINER_MEMORY_USAGE,
        "All memory charged to the container.",
        UpDownCounter,
        "By",
        |c, p| {
            p.put(count(c.usage().memory.usage_bytes));
        },
    ),
    plain(
        names::CONTAINER_MEMORY_WORKING_SET,
        "Memory in use less inactive file pages: what the kubelet evicts by.",
        UpDownCounter,
        "By",
        |c, p| p.put(count(c.usage().memory.working_set_bytes)),
    ),
    plain(names::CONTAINER_MEMORY_RSS, "Anonymous memory.", UpDownCounter, "By", |c, p| {
        p.put(count(c.usage().memory.rss_bytes));
    }),
    row(
        names::CONTAINER_PAGING_FAULTS,
        "Page faults: minor ones needed no I/O, major ones did.",
        Counter,
        "{fault}",
        &[SYSTEM_PAGING_FAULT_TYPE],
        |c, p| {
            let faults = &c.usage().memory.faults;
            p.put_with(&[(SYSTEM_PAGING_FAULT_TYPE, "minor")], count(faults.minor));
            p.put_with(&[(SYSTEM_PAGING_FAULT_TYPE, "major")], count(faults.major));
        },
    ),
    row(
        names::CONTAINER_DISK_IO,
        "Bytes read from and written to block devices.",
        Counter,
        "By",
        &[DISK_IO_DIRECTION],
        |c, p| {
            p.put_with(&[(DISK_IO_DIRECTION, "read")], sum(c, |io| io.read_bytes));
            p.put_with(&[(DISK_IO_DIRECTION, "write")], sum(c, |io| io.write_bytes));
        },
    ),
    plain(
        names::CONTAINER_UPTIME,
        "Time since the container's cgroup was made.",
        Gauge,
        "s",
        |c, p| {
            p.put(c.at_ns().checked_sub(c.start_ns()).map(Figure::Nanos));
        },
    ),
    plain(
        names::K8S_CONTAINER_CPU_LIMIT_CURRENT,
        "CPUs the container's own quota allows; absent where it has none.",
        UpDownCounter,
        "{cpu}",
        |c, p| p.put(limit(c.usage().cpu.limit_millis).map(Figure::Millis)),
    ),
    plain(
        names::K8S_CONTAINER_MEMORY_LIMIT_CURRENT,
        "The container's own memory limit; absent where it has none.",
        UpDownCounter,
        "By",
        |c, p| p.put(count(limit(c.usage().memory.limit_bytes))),
    ),
    plain(
        names::CPU_PERIODS,
        "Enforcement periods that elapsed under a CPU quota.",
        Counter,
        "{period}",
        |c, p| p.put(count(c.usage().cpu.periods)),
    ),
    plain(
        names::CPU_THROTTLED_PERIODS,
        "Enforcement periods in which the CPU quota was used up.",
        Counter,
        "{period}",
        |c, p| p.put(count(c.usage().cpu.throttled_periods)),
    ),
    plain(
        names::CPU_THROTTLED_TIME,
        "Time spent throttled by the CPU quota.",
        Counter,
        "s",
        |c, p| p.put(c.usage().cpu.throttled_ns.map(Figure::Nanos)),
    ),
    plain(names::MEMORY_CACHE, "Page cache.", UpDownCounter, "By", |c, p| {
        p.put(count(c.usage().memory.cache_bytes));
    }),
    plain(names::MEMORY_SWAP, "Swap in use.", UpDownCounter, "By", |c, p| {
        p.put(count(c.usage().memory.swap_bytes));
    }),
    plain(
        names::MEMORY_PEAK,
        "Highest memory usage since the container's start.",
        Gauge,
        "By",
        |c, p| p.put(count(c.usage().memory.peak_bytes)),
    ),
    row(
        names::MEMORY_EVENTS,
        "Memory events by the kernel's names: low, high, max, oom, oom_kill, oom_group_kill.",
        Counter,
        "{event}",
        &[MEMORY_EVENT],
        memory_events,
    ),
    row(
        names::DISK_OPERATIONS,
        "Read and write operations on block devices.",
        Counter,
        "{operation}",
        &[DISK_IO_DIRECTION],
        |c, p| {
            p.put_with(&[(DISK_IO_DIRECTION, "read")], sum(c, |io| io.read_ops));
            p.put_with(&[(DISK_IO_DIRECTION, "write")], sum(c, |io| io.write_ops));
        },
    ),
    plain(names::PIDS, "Tasks (processes and threads) now.", UpDownCounter, "{task}", |c, p| {
        p.put(count(c.usage().pids.current));
    }),
    plain(
        names::PIDS_PEAK,
        "Most tasks at once since the container's start.",
        Gauge,
        "{task}",
        |c, p| p.put(count(c.usage().pids.peak)),
    ),
    plain(
        names::PIDS_LIMIT,
        "The container's own limit of tasks; absent where it has none.",
        UpDownCounter,
        "{task}",
        |c, p| p.put(count(limit(c.usage().pids.limit))),
    ),
    plain(
        names::PIDS_LIMIT_HITS,
        "Times a new task was refused for the limit of tasks.",
        Counter,
        "{refusal}",
        |c, p| p.put(count(c.usage().pids.limit_hits)),
    ),
    row(
        names::PRESSURE_TIME,
        "Time in which at least one task waited for the resource, or all were stalled at once (PSI).",
        Counter,
        "s",
        &[PRESSURE_RESOURCE, PRESSURE_KIND],
        pressure,
    ),
    row(
        names::ENDED,
        "1 once the container is over, with how sure its final figures are.",
        Gauge,
        "1",
        &[USAGE_QUALITY, PROCESS_EXIT_CODE],
        ended,
    ),
];

const fn plain(
    name: &'static str,
    description: &'static str,
    kind: Kind,
    unit: &'static str,
    read: fn(&Container, &mut Points),
) -> Row<Container> {
    row(name, description, kind, unit, &[], read)
}

const fn row(
    name: &'static str,
    description: &'static str,
    kind: Kind,
    unit: &'static str,
    attributes: &'static [&'static str],
    read: fn(&Container, &mut Points),
) -> Row<Container> {
    let scope = Scope::Container;
    Row::new(Instrument { name, description, kind, unit, scope, attributes }, read)
}

// === impl Container ===

impl Container {
    fn usage(&self) -> &Usage {
        &self.record.usage
    }
}

impl Subject for Container {
    fn start_ns(&self) -> u64 {
        ns(self.record.born)
    }

    /// A final is of the container's end, whenever it was settled.
    fn at_ns(&self) -> u64 {
        let at = self.record.ended.as_ref().map_or(self.record.read_at, |ended| ended.at);
        ns(at).max(self.start_ns())
    }
}

/// By mode where the kernel tells: what was not used in user mode was used in the kernel, so that
/// the two are the whole of it, exact as it is.
fn cpu_time(container: &Container, points: &mut Points) {
    let cpu = &container.usage().cpu;
    let in_kernel = cpu.usage_ns.zip(cpu.user_ns).and_then(|(all, user)| all.checked_sub(user));
    match in_kernel {
        Some(system) => {
            points.put_with(&[(CPU_MODE, "user")], cpu.user_ns.map(Figure::Nanos));
            points.put_with(&[(CPU_MODE, "system")], Some(Figure::Nanos(system)));
        }
        None => points.put(cpu.usage_ns.map(Figure::Nanos)),
    }
}

fn memory_events(container: &Container, points: &mut Points) {
    for (event, times) in container.usage().memory.events.by_name() {
        points.put_with(&[(MEMORY_EVENT, event)], count(times));
    }
}

fn pressure(container: &Container, points: &mut Points) {
    for (resource, Pressure { waiting_us, stalled_us }) in container.usage().pressure.by_name() {
        for (kind, micros) in [("waiting", waiting_us), ("stalled", stalled_us)] {
            let attributes = [(PRESSURE_RESOURCE, resource), (PRESSURE_KIND, kind)];
            points.put_with(&attributes, micros.map(Figure::Micros));
        }
    }
}

/// A metric of its own: as an attribute of the finals the quality would make other streams of them
/// than those of the living container.
fn ended(container: &Container, points: &mut Points) {
    let Some(ended) = &container.record.ended else { return };
    let quality = text(USAGE_QUALITY, ended.quality.as_str());
    let code = container.exit.as_ref().map(|exit| number(PROCESS_EXIT_CODE, exit.code.into()));
    points.put_all([quality].into_iter().chain(code), Some(Figure::Count(1)));
}

/// Over all devices; nothing where no device has the figure.
fn sum(container: &Container, of: fn(&IoUsage) -> Option<u64>) -> Option<Figure> {
    let known = container.usage().io.iter().filter_map(of);
    count(known.reduce(u64::saturating_add))
}

fn count(figure: Option<u64>) -> Option<Figure> {
    figure.map(Figure::Count)
}

/// No limit is no point: any number would be a lie to whoever divides by it.
fn limit(figure: Option<Limit<u64>>) -> Option<u64> {
    match figure? {
        Limit::Unlimited => None,
        Limit::At(limit) => Some(limit),
    }
}

/// Nanoseconds since 1970; 0 of a clock set before.
pub(super) fn ns(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
