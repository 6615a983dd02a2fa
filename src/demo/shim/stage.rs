//! The two steps of a container's first process before it executes the command: it enters the
//! cgroup and then, like runc, starts another process, so that the first process in a cgroup is not
//! the one that stays. Also the single step of a process that joins a container later.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use rustix::io::fcntl_dupfd_cloexec;

use crate::helper;
use crate::view::View;

/// Exit code of a container whose command cannot be run: runc's, as the kubelet reports it.
pub(super) const START_ERROR: u8 = 128;
/// Exit code of an exec that fails, as in a shell.
const EXEC_ERROR: u8 = 126;
/// Means that a container has no view of its own.
pub(crate) const NO_VIEW: &str = "-";

/// Enters the cgroups whose `cgroup.procs` files are listed before `--`, starts the next step, and
/// exits.
///
/// Standard input is the pipe on which the shim reads the result.
pub(crate) fn enter(arguments: &[String]) -> ExitCode {
    let (entrances, command) = match arguments.iter().position(|part| part == "--") {
        Some(at) => arguments.split_at(at),
        None => (arguments, [].as_slice()),
    };
    if let Err(why) = enter_all(entrances) {
        return report(&format!("error {why}\n"));
    }
    let next = Command::new("/proc/self/exe")
        .args([helper::NAME, "exec"])
        .args(command.iter().skip(1))
        .process_group(0)
        .spawn();
    match next {
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => report(&format!("error cannot start the second stage: {e}\n")),
    }
}

/// Enters the view in the first argument, if there is one, and executes the command after it. The
/// pipe closes by itself if that succeeds.
pub(crate) fn exec(arguments: &[String]) -> ExitCode {
    let Some((view, [program, arguments @ ..])) = arguments.split_first() else {
        return report("error no command specified\n");
    };
    let Ok(pipe) = fcntl_dupfd_cloexec(io::stdin(), 3) else {
        return ExitCode::from(START_ERROR);
    };
    tell(pipe.try_clone(), &format!("pid {}\n", std::process::id()));
    if view != NO_VIEW
        && let Err(e) = read(view).and_then(|view| view.enter())
    {
        tell(Ok(pipe), &format!("error error mounting the container's file system: {e}\n"));
        return ExitCode::from(START_ERROR);
    }
    let error = Command::new(program).args(arguments).stdin(Stdio::null()).exec();
    // With runc's message.
    let why = match (error.kind(), program.contains('/')) {
        (io::ErrorKind::NotFound, true) => format!("stat {program}: no such file or directory"),
        (io::ErrorKind::NotFound, false) => "executable file not found in $PATH".to_owned(),
        (io::ErrorKind::PermissionDenied, _) => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    tell(Ok(pipe), &format!("error exec: {program:?}: {why}\n"));
    ExitCode::from(START_ERROR)
}

/// Joins a running container and executes a command in it: `VIEW PID ENTRANCE… -- COMMAND…`.
pub(crate) fn join(arguments: &[String]) -> ExitCode {
    let at = arguments.iter().position(|part| part == "--");
    let (before, after) = arguments.split_at(at.unwrap_or(arguments.len()));
    let ([view, pid, entrances @ ..], [_, program, rest @ ..]) = (before, after) else {
        return ExitCode::from(START_ERROR);
    };
    let joined = enter_all(entrances).and_then(|()| {
        let pid = pid.parse().map_err(|_| format!("{pid} is not a process id"))?;
        if view == NO_VIEW {
            return Ok(());
        }
        read(view).and_then(|view| view.join(pid)).map_err(|e| format!("cannot join it: {e}"))
    });
    let why = match joined {
        Ok(()) => format!("exec: {program:?}: {}", Command::new(program).args(rest).exec()),
        Err(why) => why,
    };
    // With the message of runc's exec.
    drop(writeln!(io::stderr(), "OCI runtime exec failed: exec failed: {why}: unknown"));
    ExitCode::from(EXEC_ERROR)
}

fn enter_all(entrances: &[String]) -> Result<(), String> {
    entrances.iter().try_for_each(|entrance| {
        // 0 stands for the writing process itself.
        fs::write(entrance, "0").map_err(|e| format!("cannot enter {entrance}: {e}"))
    })
}

fn read(view: &str) -> io::Result<View> {
    Ok(serde_json::from_slice(&fs::read(view)?)?)
}

fn report(line: &str) -> ExitCode {
    let pipe = fcntl_dupfd_cloexec(io::stdin(), 3).map_err(io::Error::from);
    tell(pipe, line);
    ExitCode::from(START_ERROR)
}

fn tell(pipe: io::Result<OwnedFd>, line: &str) {
    if let Ok(pipe) = pipe {
        // If the shim has ended, there is no reader.
        drop(fs::File::from(pipe).write_all(line.as_bytes()));
    }
}
