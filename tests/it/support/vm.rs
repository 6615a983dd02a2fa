//! A virtual machine with cgroup v2, in which this very test binary runs chosen scenarios.
//!
//! QEMU boots Debian's kernel with the host's own files as the root, read only (9p), so containerd,
//! runc and the built programs are the same ones. Without KVM it emulates the processor, which works
//! on every host and takes several times as long.

mod failure;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::parts::{self, Part};
use super::process::{output, until};
use super::{executable, guest, programs, real_node};

const QEMU: &str = "qemu-system-x86_64";
/// With emulation it takes seven seconds on a busy machine.
const BOOT: Duration = Duration::from_mins(5);
const MEMORY: &str = "512M";
/// Translated code takes so many MiB of the host's memory at most, and not the gigabyte of QEMU's own
/// limit.
const EMULATED: &str = "tcg,tb-size=128";
/// An emulated processor takes a nanosecond of the machine's time for each instruction, however long the host
/// takes: by the host's clock it would be away for longer than a container lives wherever the host has other work.
const CLOCK: [&str; 2] = ["-icount", "shift=0,sleep=on,align=off"];
/// Everything but the long moves of bytes, which are emulated byte by byte.
const PROCESSOR: &str = "max,-erms,-fsrm";

/// The scripts of the machine.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/it/guest");

/// What the tests in the machine said.
#[derive(Debug)]
pub(crate) struct Report {
    /// Standard output and error.
    pub(crate) output: String,
    /// The test binary's exit code.
    pub(crate) code: i32,
}

/// QEMU, and the directory that it shares with its machine. It ends when dropped.
struct Machine {
    qemu: Child,
    share: PathBuf,
}

/// What the host must have for [`run`].
pub(crate) fn needs() -> Vec<Part> {
    let mut needs = [QEMU, "busybox", "setpriv"].map(Part::Program).to_vec();
    needs.push(Part::Built("the virtual machine's kernel", kernel()));
    needs
}

/// The folder with the kernel and its modules.
fn kernel() -> PathBuf {
    real_node::folder("guest-kernel", "GUEST_KERNEL")
}

/// Runs the tests whose names hold one of `filters` in a fresh machine.
///
/// # Panics
/// If the machine does not boot, or ends before the tests do: says which part fails, where its log is
/// and what to try.
pub(crate) fn run(filters: &[&str], limit: Duration) -> Report {
    // Nobody compiles in the machine: build here what it needs.
    guest::load();
    programs::for_a_machine();
    let share = directory();
    let report = Machine::boot(&kernel(), share.path(), filters)
        .and_then(|mut machine| machine.report(limit));
    report.unwrap_or_else(|why| panic!("{why}\nThe machine's files: {}", share.keep().display()))
}

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("vm-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

// === impl Machine ===

impl Machine {
    /// A machine that has begun to run its script.
    fn boot(kernel: &Path, share: &Path, words: &[&str]) -> Result<Self, String> {
        if has_kvm() {
            match Self::boot_by("kvm", kernel, share, words) {
                Ok(machine) => return Ok(machine),
                Err(why) => eprintln!("With KVM: {why}\nNow without."),
            }
        }
        Self::boot_by(EMULATED, kernel, share, words)
    }

    fn boot_by(
        accelerator: &str,
        kernel: &Path,
        share: &Path,
        words: &[&str],
    ) -> Result<Self, String> {
        let console = File::create(share.join("console")).unwrap();
        // It ends with this process, even if that is killed.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(parts::program(QEMU).unwrap())
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-machine", "pc", "-accel", accelerator, "-cpu", PROCESSOR, "-m", MEMORY])
            .args(if accelerator == EMULATED { &CLOCK[..] } else { &[] })
            .args(["-serial", "stdio", "-append", &kernel_line(share, words), "-kernel"])
            .arg(kernel.join("vmlinuz"))
            .arg("-initrd")
            .arg(first_files(kernel, share))
            .args(shared("root", Path::new("/"), ",readonly=on,multidevs=remap"))
            .args(shared("share", share, ""))
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .process_group(0);
        let mut machine = Self { qemu: command.spawn().unwrap(), share: share.to_owned() };
        if machine.until_there("booted", BOOT) {
            return Ok(machine);
        }
        Err(failure::of_boot(&machine.share, machine.qemu.try_wait().unwrap()))
    }

    /// Waits for what the tests say.
    fn report(&mut self, limit: Duration) -> Result<Report, String> {
        let ended = self.until_there("code", limit);
        let output = fs::read(self.share.join("output")).unwrap_or_default();
        let output = String::from_utf8_lossy(&output).into_owned();
        let code = fs::read_to_string(self.share.join("code")).unwrap_or_default();
        match code.trim().parse() {
            Ok(code) if ended => Ok(Report { output, code }),
            _ => Err(failure::of_tests(&self.share, self.qemu.try_wait().unwrap(), &output)),
        }
    }

    /// Waits for a file that the machine's script writes, for as long as the machine runs.
    fn until_there(&mut self, name: &str, limit: Duration) -> bool {
        let file = self.share.join(name);
        let look = || {
            let has_ended = self.qemu.try_wait().unwrap().is_some();
            (file.exists() || has_ended).then(|| file.exists())
        };
        until(limit, look) == Some(true)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.qemu.id().cast_signed()) {
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
        self.qemu.wait().ok();
    }
}

/// Whether the processor runs the kernels of others. The device alone does not tell: a hypervisor for
/// kernels of its own kind has it, too, and boots no other.
fn has_kvm() -> bool {
    let is_loaded = |module| Path::new("/sys/module").join(module).exists();
    ["kvm_intel", "kvm_amd"].into_iter().any(is_loaded)
        && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// A kernel that panics ends the machine. What it does not know and what follows `--` are variables and
/// arguments of the first process.
fn kernel_line(share: &Path, words: &[&str]) -> String {
    let (cache, test) = (parts::cache(), std::env::current_exe().unwrap());
    let (cache, share, test) = (cache.display(), share.display(), test.display());
    let words = words.join(" ");
    format!(
        "console=ttyS0 panic=-1 reboot=t XDG_CACHE_HOME={cache} \
         -- {SCRIPTS}/vm.sh {share} {test} {words}"
    )
}

/// QEMU's flags for a directory of the host that the machine mounts by this name.
fn shared(name: &str, directory: &Path, more: &str) -> [String; 4] {
    let path = directory.display();
    let back = format!("local,id={name},path={path},security_model=none{more}");
    let front = format!("virtio-9p-pci,fsdev={name},mount_tag={name}");
    ["-fsdev".to_owned(), back, "-device".to_owned(), front]
}

/// The machine's first files, as an archive: a shell, the kernel's modules and `init.sh`.
fn first_files(kernel: &Path, share: &Path) -> PathBuf {
    let (files, archive) = (share.join("first"), share.join("first.cpio"));
    for directory in ["bin", "dev", "root"] {
        fs::create_dir_all(files.join(directory)).unwrap();
    }
    executable::place(&parts::program("busybox").unwrap(), &files.join("bin/busybox"));
    executable::place(&Path::new(SCRIPTS).join("init.sh"), &files.join("init"));
    let pack = "cp -r \"$0/lib\" . && find . | busybox cpio -o -H newc > \"$1\"";
    output(Command::new("sh").args(["-c", pack]).args([kernel, &archive]).current_dir(&files));
    archive
}

#[test]
fn a_machine_that_does_not_boot_says_which_part_fails_and_what_to_try() {
    if !parts::all_there(&[Part::Program(QEMU), Part::Program("busybox")]) {
        return;
    }
    let (kernel, share) = (directory(), directory());
    fs::create_dir(kernel.path().join("lib")).unwrap();
    fs::write(kernel.path().join("vmlinuz"), "no kernel").unwrap();
    let Err(why) = Machine::boot(kernel.path(), share.path(), &[]) else {
        panic!("no kernel boots");
    };
    let console = share.path().join("console");
    for words in ["QEMU started no kernel", "tests/node/parts", console.to_str().unwrap()] {
        assert!(why.contains(words), "{words}: {why}");
    }
}
