//! What a step used, on the workflow's summary page, if the operator enables it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use ephemon_contract::{Exit, plain_file};
use ephemon_markdown::{MAX_SUMMARY_BYTES, figures};

use super::step_usage::StepUsage;

/// Appends to a summary file, which the runner reads after the step.
pub(super) fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = plain_file::open(path, OpenOptions::new().append(true), None)?;
    // Of a larger file GitHub would not show what the step itself wrote either.
    let written = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if written.saturating_add(text.len()) > MAX_SUMMARY_BYTES {
        return Err(io::Error::other("the step's own summary leaves no room for it"));
    }
    file.write_all(text.as_bytes())
}

/// The table of one step. `step` is its id: the page shows the tables of all steps below each other.
pub(super) fn table(step: Option<&str>, exit: &Exit) -> String {
    let StepUsage { cpu, throttled, memory, oom_kills, read, written } =
        StepUsage::of(&exit.process, &exit.cgroup);
    let is_id =
        |id: &&str| id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let step = step.filter(is_id).map(|id| ("Step", format!("`{id}`")));
    let mut cells: Vec<_> = step.into_iter().collect();
    cells.extend([
        ("Time", figures::duration(exit.duration_ns / 1_000_000)),
        ("CPU time", cpu),
        ("Memory, highest", memory),
    ]);
    let mut optional = |name, value: Option<String>| cells.extend(value.map(|value| (name, value)));
    optional("Throttled", throttled);
    optional("Read", read);
    optional("Written", written);
    optional("Out of memory", oom_kills.filter(|kills| *kills > 0).map(|n| n.to_string()));
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
    fn the_runners_file_is_appended_to_within_its_bound_and_none_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("summary");
        assert!(append(&path, "text").is_err());
        std::fs::write(&path, "# Mine\n").unwrap();
        append(&path, "\ntext\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# Mine\n\ntext\n");
        let full = "x".repeat(MAX_SUMMARY_BYTES - 3);
        std::fs::write(&path, &full).unwrap();
        append(&path, "text").unwrap_err();
        append(&path, "end").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), full + "end");
    }
}
