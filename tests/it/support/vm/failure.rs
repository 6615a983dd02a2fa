//! What is said of a machine that fails: which part, where its log is, and what to try.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;

/// How many lines of a log are shown.
const SHOWN: usize = 25;

/// How far a machine came, by what its console says, the last first, and what to try.
const STAGES: [(&str, &str, &str); 4] = [
    (
        "guest: the host's files are there",
        "its script did not begin",
        "Run `sh -n tests/it/guest/vm.sh`, and see whether /bin/sh is a program of this host.",
    ),
    (
        "guest: ",
        "its first process, tests/it/guest/init.sh, ended or hangs",
        "If a module was refused, remove the folder of the kernel and run tests/node/parts.",
    ),
    (
        "Linux version",
        "its kernel ended or hangs before the first process",
        "See whether the host has 1 GB of free memory. Then remove the folder of the kernel and run \
         tests/node/parts.",
    ),
    (
        "",
        "QEMU started no kernel",
        "See whether `qemu-system-x86_64 -accel help` names tcg. Then remove the folder of the \
         kernel, ~/.cache/ephemon/guest-kernel-*, and run tests/node/parts.",
    ),
];

/// Of a machine whose script has not begun; `qemu` is how QEMU ended, if it has.
pub(super) fn of_boot(share: &Path, qemu: Option<ExitStatus>) -> String {
    let console = share.join("console");
    let log = read(&console);
    let (part, advice) = stage(&log);
    let end = end(qemu);
    format!(
        "The virtual machine did not boot: {part} ({end}). {advice}\n{}\nThe console's log: {}",
        last_lines(&log),
        console.display()
    )
}

/// Of a machine whose tests did not come to their end.
pub(super) fn of_tests(share: &Path, qemu: Option<ExitStatus>, output: &str) -> String {
    let console = share.join("console");
    format!(
        "The tests in the virtual machine did not come to their end ({}). If the kernel killed \
         them, its memory is too small.\n{}\nThe console's log: {}\n{}",
        end(qemu),
        last_lines(output),
        console.display(),
        last_lines(&read(&console))
    )
}

fn end(qemu: Option<ExitStatus>) -> String {
    qemu.map_or_else(|| "the time limit has passed".to_owned(), |status| format!("QEMU: {status}"))
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

fn stage(console: &str) -> (&'static str, &'static str) {
    let reached = STAGES.iter().find(|(mark, ..)| console.contains(mark));
    reached.map_or(("", ""), |(_, part, advice)| (part, advice))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

#[test]
fn the_part_that_failed_is_the_one_after_the_last_that_spoke() {
    let kernel = "[    0.000000] Linux version 6.1.0\n";
    let panics = format!("{kernel}[    2.0] Kernel panic - not syncing: VFS\n");
    let refused = format!("{panics}guest: /modules/10-virtio.ko is refused\n");
    let handed_over = format!("{refused}guest: the host's files are there\n");
    let parts = ["qemu: could not load kernel\n", &panics, &refused, &handed_over];
    let said = parts.map(|console| stage(console).0);
    for (part, words) in said.iter().zip(["QEMU", "kernel", "init.sh", "script"]) {
        assert!(part.contains(words), "{words}: {part}");
    }
}
