//! The two steps of a container's first process before it becomes the command: into the cgroup,
//! then, as runc does, one process further, so that the first to be seen in a cgroup is not the
//! one that stays.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::demo::part;

/// Exit code of a container whose command cannot be run: runc's, as the kubelet shows it.
pub(super) const START_ERROR: u8 = 128;

/// Enters the cgroups whose `cgroup.procs` stand before `--`, starts the next step, and is gone.
///
/// Standard input is the pipe on which the shim hears how it went.
pub(in crate::demo) fn enter(arguments: &[String]) -> ExitCode {
    let (entrances, command) = match arguments.iter().position(|part| part == "--") {
        Some(at) => arguments.split_at(at),
        None => (arguments, [].as_slice()),
    };
    for entrance in entrances {
        // 0 is the writer itself.
        if let Err(e) = fs::write(entrance, "0") {
            return report(&format!("error cannot enter {entrance}: {e}\n"));
        }
    }
    let next = Command::new("/proc/self/exe")
        .args([part::NAME, "exec"])
        .args(command.iter().skip(1))
        .process_group(0)
        .spawn();
    match next {
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => report(&format!("error cannot start the second stage: {e}\n")),
    }
}

/// Becomes the command. The pipe closes by itself when that works.
pub(in crate::demo) fn exec(command: &[String]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        return report("error no command specified\n");
    };
    let Ok(pipe) = fcntl_dupfd_cloexec(io::stdin(), 3) else {
        return ExitCode::from(START_ERROR);
    };
    tell(pipe.try_clone(), &format!("pid {}\n", std::process::id()));
    let error = Command::new(program).args(arguments).stdin(Stdio::null()).exec();
    let missing = error.raw_os_error() == Some(Errno::NOENT.raw_os_error());
    // In runc's words.
    let why = match (missing, program.contains('/')) {
        (true, true) => format!("stat {program}: no such file or directory"),
        (true, false) => "executable file not found in $PATH".to_owned(),
        (false, _) => error.to_string(),
    };
    tell(Ok(pipe), &format!("error exec: {program:?}: {why}\n"));
    ExitCode::from(START_ERROR)
}

fn report(line: &str) -> ExitCode {
    let pipe = fcntl_dupfd_cloexec(io::stdin(), 3).map_err(io::Error::from);
    tell(pipe, line);
    ExitCode::from(START_ERROR)
}

fn tell(pipe: io::Result<OwnedFd>, line: &str) {
    if let Ok(pipe) = pipe {
        // A shim that is gone needs no word.
        drop(fs::File::from(pipe).write_all(line.as_bytes()));
    }
}
