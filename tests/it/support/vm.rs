//! A virtual machine with cgroup v2, in which this very test binary runs chosen scenarios.
//!
//! virtme-ng boots Debian's kernel on the host's own files (9p, read only), so containerd, runc
//! and the built binaries are the same ones. Without a network: qemu's user network hangs here.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::process::until;
use super::{guest, parts};

/// A machine that has not come up by then never will: /dev/kvm can be there and not work.
const KVM_BOOT: Duration = Duration::from_secs(25);
/// Software emulation takes 13 s on an idle machine, minutes on one that compiles meanwhile.
const EMULATED_BOOT: Duration = Duration::from_mins(10);

/// Whether this host's KVM has failed to boot a machine: once is enough to know.
static KVM_FAILED: AtomicBool = AtomicBool::new(false);

/// What the tests in the machine said.
#[derive(Debug)]
pub(crate) struct Report {
    /// Standard output and error.
    pub(crate) output: String,
    /// The test binary's exit code; `None` if it never ended.
    pub(crate) code: Option<i32>,
}

struct Machine(Child);

/// Runs the tests whose names hold one of `filters` in a fresh machine.
pub(crate) fn run(filters: &[&str], limit: Duration) -> Report {
    // The machine has no compiler's patience: build here what it needs.
    guest::load();
    let share =
        tempfile::Builder::new().prefix("vm-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let share = share.path();
    let kvm = File::options().read(true).write(true).open("/dev/kvm").is_ok()
        && !KVM_FAILED.load(Ordering::Relaxed);
    let machine = kvm.then(|| boot(share, filters, true, KVM_BOOT)).flatten().or_else(|| {
        KVM_FAILED.store(true, Ordering::Relaxed);
        boot(share, filters, false, EMULATED_BOOT)
    });
    let Some(mut machine) = machine else {
        let output = fs::read_to_string(share.join("console")).unwrap_or_default();
        panic!("the virtual machine does not boot:\n{output}");
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
fn boot(share: &Path, words: &[&str], kvm: bool, limit: Duration) -> Option<Machine> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/guest/vm.sh");
    let test = std::env::current_exe().unwrap();
    let line = format!("sh {script} {} {} {}", share.display(), test.display(), words.join(" "));
    let console = File::create(share.join("console")).unwrap();
    // Even if this process is killed no machine stays behind.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(parts::program("virtme-run").unwrap())
        .arg("--kimg")
        .arg(parts::kernel().unwrap())
        .args(["--mods", "auto", "--memory", "2G", "--cpus", "2", "--rwdir"])
        .arg(share)
        .args(["--script-sh", &line, "--qemu-bin"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/guest/qemu"))
        .args((!kvm).then_some("--disable-kvm"))
        .stdin(Stdio::null())
        .stdout(console.try_clone().unwrap())
        .stderr(console)
        .process_group(0);
    let mut machine = Machine(command.spawn().unwrap());
    until(limit, || {
        let up = share.join("booted").exists();
        (up || machine.0.try_wait().unwrap().is_some()).then_some(up)
    })
    .unwrap_or(false)
    .then_some(machine)
}

impl Drop for Machine {
    /// virtme-run may have qemu as its child, so the whole group goes.
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.0.id().cast_signed()) {
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
        self.0.wait().ok();
    }
}
