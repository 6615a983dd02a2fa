//! The jobs that a completion may name are asked for by a process of its own, which leads a process group.
//! A user's credential plugin is started by kube, which waits for it without a limit, and belongs to that
//! group: if the time is over, the whole group is ended, and no plugin is left behind at the prompt.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Signal, getpgrp, getpid, kill_current_process_group};

/// The name by which the process knows what it is for. No file has it.
const PROGRAM: &str = "kubectl_complete-ephemon-jobs";

/// Whether this is the process that asks.
pub(super) fn is_it(program: Option<&OsString>) -> bool {
    program.is_some_and(|name| name == PROGRAM)
}

/// What another process prints for these words; `None` if it was too slow, or cannot be started.
pub(super) fn printed(words: &[String]) -> Option<String> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    // A plugin cannot ask for a password while the shell reads the keyboard.
    command.arg0(PROGRAM).args(words).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.process_group(0).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}

/// Ends this process with all that it has started. A plugin that hangs may ignore any other signal.
pub(super) fn end_group() -> ExitCode {
    // Of no other group than its own, whoever has started it.
    if getpgrp() == getpid() {
        kill_current_process_group(Signal::KILL).ok();
    }
    ExitCode::FAILURE
}
