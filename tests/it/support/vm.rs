//! A machine with cgroup v2, in which this very test binary runs chosen scenarios.
//!
//! Debian's user-mode-linux is a kernel as a process, with the host's own files as its root
//! (hostfs, read only), so containerd, runc and the built binaries are the same ones. It computes at
//! the host's speed without KVM, and has one processor and no PSI.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::process::until;
use super::{guest, parts, programs};

/// The kernel as a program.
pub(crate) const PROGRAM: &str = "linux.uml";

/// It takes three seconds on an idle machine.
const BOOT: Duration = Duration::from_mins(2);
/// Its memory, which is a file of the host's.
const MEMORY_MIB: u64 = 2048;

/// What the tests in the machine said.
#[derive(Debug)]
pub(crate) struct Report {
    /// Standard output and error.
    pub(crate) output: String,
    /// The test binary's exit code; `None` if it never ended.
    pub(crate) code: Option<i32>,
}

struct Machine(Child);

/// Why this machine's processor cannot run [`PROGRAM`]: the kernel that is inside has no room for the
/// registers of AMX, and the host's takes them all or none (Linux, `arch/x86/kernel/fpu/regset.c`,
/// `xstateregs_set`). Its first process is killed then: `ptrace set fp regs failed, errno = 14`.
pub(crate) fn cannot_run_here() -> Option<&'static str> {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_amx = processors.split_whitespace().any(|flag| flag == "amx_tile");
    has_amx.then_some("user-mode-linux cannot run on a processor with AMX")
}

/// Runs the tests whose names hold one of `filters` in a fresh machine.
pub(crate) fn run(filters: &[&str], limit: Duration) -> Report {
    // Nobody compiles in the machine: build here what it needs.
    guest::load();
    programs::for_a_machine();
    let share =
        tempfile::Builder::new().prefix("vm-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let share = share.path();
    let Some(mut machine) = boot(share, filters) else {
        let output = fs::read_to_string(share.join("console")).unwrap_or_default();
        panic!("{PROGRAM} does not boot:\n{output}");
    };
    until(limit, || {
        let over = share.join("code").exists() || machine.0.try_wait().unwrap().is_some();
        over.then_some(())
    });
    drop(machine);
    let output = fs::read(share.join("output")).unwrap_or_default();
    let code = fs::read_to_string(share.join("code")).unwrap_or_default();
    Report { output: String::from_utf8_lossy(&output).into_owned(), code: code.trim().parse().ok() }
}

/// A machine that has begun to run the script, if it gets that far in time.
fn boot(share: &Path, words: &[&str]) -> Option<Machine> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/guest/vm.sh");
    let console = File::create(share.join("console")).unwrap();
    // Each process in the machine is one of the host's. In a namespace of their own they end with
    // the kernel, and the kernel with this process, even if it is killed.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"])
        .arg(parts::program(PROGRAM).unwrap())
        .arg(format!("mem={MEMORY_MIB}M"))
        .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"])
        .args(["con=null", "con0=null,fd:1", "init=/bin/sh", "--"])
        .args([Path::new(script), share])
        .arg(std::env::current_exe().unwrap())
        .args(words)
        .env("TMPDIR", memory())
        .stdin(Stdio::null())
        .stdout(console.try_clone().unwrap())
        .stderr(console)
        .process_group(0);
    let mut machine = Machine(command.spawn().unwrap());
    until(BOOT, || {
        let up = share.join("booted").exists();
        (up || machine.0.try_wait().unwrap().is_some()).then_some(up)
    })
    .unwrap_or(false)
    .then_some(machine)
}

/// Where the machine's memory lies: in the host's, unless that is as small as in Docker.
fn memory() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let fits = rustix::fs::statvfs(shared)
        .is_ok_and(|found| found.f_bavail * found.f_frsize >= MEMORY_MIB << 20);
    if fits { shared.to_owned() } else { PathBuf::from(env!("CARGO_TARGET_TMPDIR")) }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.0.id().cast_signed()) {
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
        self.0.wait().ok();
    }
}
