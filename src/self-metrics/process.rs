//! The standard `process_*` families of the agent's own process, as Prometheus's client libraries name
//! them. Ours, since those of the `prometheus` crate count CPU time in whole seconds.

use procfs::process::{LimitValue, Process};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};
use rustix::time::{ClockId, clock_gettime};

/// Reads the process's values when it is asked. What the kernel does not tell is absent.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    cpu: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_bytes: Gauge,
    resident_bytes: Gauge,
    /// Since 1970, seconds, to the kernel's tick; read once: by `/proc/stat` it would move with the clock.
    start_time: Gauge,
    threads: Gauge,
}

/// All but the CPU time and the start, read at one moment.
struct Reading {
    open_fds: Option<usize>,
    /// None where there is no limit.
    max_fds: Option<u64>,
    virtual_bytes: u64,
    resident_bytes: u64,
    threads: i64,
}

// === impl ProcessCollector ===

impl ProcessCollector {
    /// Of the calling process.
    ///
    /// # Errors
    /// None but those of a name that the crate refuses, which would be a mistake here.
    pub(super) fn new() -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| Gauge::with_opts(Opts::new(name, help));
        let start_time = gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
        )?;
        start_time.set(started().unwrap_or_default());
        Ok(Self {
            cpu: Counter::with_opts(Opts::new(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
            ))?,
            open_fds: gauge("process_open_fds", "Number of open file descriptors.")?,
            max_fds: gauge("process_max_fds", "Maximum number of open file descriptors.")?,
            virtual_bytes: gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            resident_bytes: gauge(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            )?,
            start_time,
            threads: gauge("process_threads", "Number of OS threads in the process.")?,
        })
    }

    fn gauges(&self) -> [&Gauge; 6] {
        [
            &self.open_fds,
            &self.max_fds,
            &self.virtual_bytes,
            &self.resident_bytes,
            &self.start_time,
            &self.threads,
        ]
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges().into_iter().flat_map(Collector::desc);
        self.cpu.desc().into_iter().chain(gauges).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Two scrapes at once may both see less than was added; a counter never goes back.
        self.cpu.inc_by((cpu_seconds() - self.cpu.get()).max(0.0));
        let mut families = self.cpu.collect();
        let Some(reading) = Reading::take() else { return families };
        let values = [
            reading.open_fds.map(|count| count as f64),
            reading.max_fds.map(|count| count as f64),
            Some(reading.virtual_bytes as f64),
            Some(reading.resident_bytes as f64),
            Some(self.start_time.get()).filter(|seconds| *seconds > 0.0),
            Some(reading.threads as f64),
        ];
        for (gauge, value) in self.gauges().into_iter().zip(values) {
            if let Some(value) = value {
                gauge.set(value);
                families.extend(gauge.collect());
            }
        }
        families
    }
}

/// CPU time of the process with its ended threads, to the nanosecond (`clock_gettime(2)`).
fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// When the process began, seconds since 1970.
fn started() -> Option<f64> {
    let stat = Process::myself().and_then(|process| process.stat()).ok()?;
    let since_boot = stat.starttime as f64 / procfs::ticks_per_second() as f64;
    Some(procfs::boot_time_secs().ok()? as f64 + since_boot)
}

// === impl Reading ===

impl Reading {
    /// None where `/proc` is not there.
    fn take() -> Option<Self> {
        let process = Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let limits = process.limits().ok();
        let max_fds = limits.and_then(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most),
            LimitValue::Unlimited => None,
        });
        Some(Self {
            open_fds: process.fd_count().ok(),
            max_fds,
            virtual_bytes: stat.vsize,
            resident_bytes: stat.rss.saturating_mul(procfs::page_size()),
            threads: stat.num_threads,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(collector: &ProcessCollector) -> std::collections::BTreeMap<String, f64> {
        let value = |family: &MetricFamily| {
            let metric = &family.get_metric()[0];
            let gauge = metric.get_gauge().get_value();
            (family.name().to_owned(), gauge.max(metric.get_counter().get_value()))
        };
        collector.collect().iter().map(value).collect()
    }

    #[test]
    fn cpu_time_has_fractions_and_grows() {
        let collector = ProcessCollector::new().unwrap();
        let before = values(&collector)["process_cpu_seconds_total"];
        let mut spun = 0u64;
        while cpu_seconds() < before + 0.02 {
            spun = spun.wrapping_add(1);
        }
        let after = values(&collector)["process_cpu_seconds_total"];
        assert!(spun > 0 && before > 0.0 && after >= before + 0.02, "{before} {after}");
    }

    #[test]
    fn the_process_is_the_calling_one() {
        let shown = values(&ProcessCollector::new().unwrap());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let started = shown["process_start_time_seconds"];
        assert!(started > 1e9 && started <= now.as_secs_f64() + 1.0, "{shown:?}");
        assert!(shown["process_open_fds"] >= 3.0 && shown["process_threads"] >= 1.0, "{shown:?}");
        assert!(shown["process_resident_memory_bytes"] > 1e5, "{shown:?}");
        assert!(
            shown["process_virtual_memory_bytes"] >= shown["process_resident_memory_bytes"],
            "{shown:?}"
        );
    }
}
