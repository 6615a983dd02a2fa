//! What a step used, on the workflow's summary page, if the operator enables it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use ephemon_contract::Exit;
use ephemon_contract::plain_file;

/// Appends a table to the step's summary file, which the runner reads after the step.
pub(super) fn append(path: &Path, step: Option<&str>, exit: &Exit) -> io::Result<()> {
    let mut file = plain_file::open(path, OpenOptions::new().append(true), None)?;
    file.write_all(table(step, exit).as_bytes())
}

/// `step` is its id: the page shows the tables of all steps below each other.
fn table(step: Option<&str>, exit: &Exit) -> String {
    let cgroup = &exit.cgroup;
    let process = &exit.process;
    let cpu = cgroup.cpu_ns.map_or_else(
        || Duration::from_micros(process.user_us.saturating_add(process.system_us)),
        Duration::from_nanos,
    );
    // The container's peak is the step's if it rose during the step; otherwise only the largest
    // process is known.
    let peak = cgroup.memory_peak_bytes.filter(|_| cgroup.memory_peak_rose == Some(true));
    let is_id =
        |id: &&str| id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let step = step.filter(is_id).map(|id| ("Step", format!("`{id}`")));
    let mut cells: Vec<_> = step.into_iter().collect();
    cells.extend([
        ("Time", seconds(Duration::from_nanos(exit.duration_ns))),
        ("CPU time", seconds(cpu)),
        ("Memory, highest", bytes(peak.unwrap_or(process.max_rss_bytes))),
    ]);
    let mut optional = |name, value: Option<String>| cells.extend(value.map(|value| (name, value)));
    optional("Throttled", cgroup.throttled_ns.map(|ns| seconds(Duration::from_nanos(ns))));
    optional("Read", cgroup.read_bytes.map(bytes));
    optional("Written", cgroup.written_bytes.map(bytes));
    optional("Out of memory", cgroup.oom_kills.filter(|kills| *kills > 0).map(|n| n.to_string()));
    let mut table = String::from("\n");
    let mut row = |cells: &mut dyn Iterator<Item = &str>| {
        for cell in cells {
            table.push_str("| ");
            table.push_str(cell);
            table.push(' ');
        }
        table.push_str("|\n");
    };
    row(&mut cells.iter().map(|(name, _)| *name));
    row(&mut cells.iter().map(|_| "---:"));
    row(&mut cells.iter().map(|(_, value)| value.as_str()));
    table.push('\n');
    table
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn bytes(bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    format!("{:.1} MiB", bytes as f64 / MIB)
}

#[cfg(test)]
mod tests {
    use ephemon_contract::{CgroupDelta, End, ProcessUsage};

    use super::*;

    #[test]
    fn only_known_figures_are_shown() {
        let mut exit = Exit {
            end: End::Code(0),
            cancelled: false,
            left_open: false,
            started_at_ns: 0,
            ended_at_ns: 0,
            duration_ns: 1_500_000_000,
            process: ProcessUsage { user_us: 250_000, system_us: 0, max_rss_bytes: 1 << 20 },
            cgroup: CgroupDelta::default(),
        };
        let without = table(Some("__run_2"), &exit);
        assert!(without.contains("| `__run_2` | 1.50 s | 0.25 s | 1.0 MiB |"), "{without}");
        let odd = table(Some("a`|b"), &exit);
        assert!(!odd.contains("Step") && !odd.contains("a`"), "{odd}");
        assert!(!without.contains("Throttled"));
        exit.cgroup = CgroupDelta {
            cpu_ns: Some(2_000_000_000),
            memory_peak_bytes: Some(3 << 20),
            memory_peak_rose: Some(true),
            oom_kills: Some(1),
            ..CgroupDelta::default()
        };
        let with = table(None, &exit);
        assert!(with.contains("| 1.50 s | 2.00 s | 3.0 MiB | 1 |"), "{with}");
    }

    #[test]
    fn the_runners_file_is_appended_to_and_none_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("summary");
        let exit = Exit {
            end: End::Code(0),
            cancelled: false,
            left_open: false,
            started_at_ns: 0,
            ended_at_ns: 0,
            duration_ns: 0,
            process: ProcessUsage::default(),
            cgroup: CgroupDelta::default(),
        };
        assert!(append(&path, None, &exit).is_err());
        std::fs::write(&path, "# Mine\n").unwrap();
        append(&path, None, &exit).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("# Mine\n\n| Time"));
    }
}
