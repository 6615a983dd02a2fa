//! Runs a step as another user. The standard library can set a user and a group for a child, but
//! not its supplementary groups. So init starts its own program again, and that process changes the
//! user and executes the step.

use std::{
    ffi::{OsStr, OsString},
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

use ephemon_contract::ErrorCode;
use rustix::{
    io::Errno,
    process::{Gid, Uid, getegid, geteuid},
    thread::{CapabilitySet, capabilities, set_thread_gid, set_thread_groups, set_thread_uid},
};

use super::user::Identity;

/// First argument of the intermediate process.
pub(super) const ARGUMENT: &str = "--become";

/// The command for the intermediate process.
pub(super) fn command(identity: &Identity, program: &Path, args: &[OsString]) -> Command {
    let groups: Vec<String> = identity.groups.iter().map(u32::to_string).collect();
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(ARGUMENT)
        .arg(format!("{}:{}:{}", identity.uid, identity.gid, groups.join(",")))
        .arg(program)
        .args(args);
    command
}

/// Whether a process of this one's user and capabilities can become another user (`setuid(2)`,
/// `setgid(2)`), or is that user already.
pub(super) fn is_possible(identity: &Identity) -> bool {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    (geteuid().as_raw(), getegid().as_raw()) == (identity.uid, identity.gid)
        || capabilities(None).is_ok_and(|own| own.effective.contains(needed))
}

/// The intermediate process: `--become UID:GID:GROUP,... PROGRAM ARGV0 ARGUMENT...`. Returns only
/// if it failed.
pub(super) fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (code, text) = match (args.next().as_deref().and_then(parse), args.next()) {
        (Some(identity), Some(program)) => match change(&identity) {
            Ok(()) => execute(&program, args),
            Err(error) => {
                (ErrorCode::User, format!("cannot become user {}: {error}", identity.uid))
            }
        },
        _ => (ErrorCode::User, format!("{ARGUMENT} is for internal use only")),
    };
    // If standard error is closed, the error cannot be reported.
    drop(writeln!(std::io::stderr(), "ephemon-init: {text}"));
    ExitCode::from(code.exit_code())
}

/// Replaces this process by a program: `ARGV0 ARGUMENT...`. A file that the kernel cannot execute
/// is run by a shell, as `execvp` does. Returns only if that failed.
pub(super) fn execute(
    program: &OsStr,
    mut args: impl Iterator<Item = OsString>,
) -> (ErrorCode, String) {
    let mut command = Command::new(program);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    let args: Vec<OsString> = args.collect();
    let mut error = command.args(&args).exec();
    if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) {
        error = Command::new("/bin/sh").arg0("sh").arg(program).args(&args).exec();
    }
    let code = match error.raw_os_error() {
        Some(2) => ErrorCode::CommandNotFound,
        _ => ErrorCode::CommandNotExecutable,
    };
    (code, format!("cannot start {}: {error}", program.display()))
}

/// Of the calling thread: it is the only one, and the program that it executes inherits the user.
fn change(identity: &Identity) -> rustix::io::Result<()> {
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    if geteuid().is_root() {
        set_thread_groups(&groups)?;
    }
    set_thread_gid(Gid::from_raw(identity.gid))?;
    set_thread_uid(Uid::from_raw(identity.uid))
}

fn parse(text: &OsStr) -> Option<Identity> {
    let mut parts = text.to_str()?.split(':');
    let uid = parts.next()?.parse().ok()?;
    let gid = parts.next()?.parse().ok()?;
    let groups = parts.next()?.split(',').filter(|group| !group.is_empty());
    let groups = groups.map(|group| group.parse().ok()).collect::<Option<_>>()?;
    Some(Identity { uid, gid, groups, home: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_the_way_through_an_argument() {
        for groups in [vec![], vec![7], vec![7, 8]] {
            let identity = Identity { uid: 1, gid: 2, groups, home: None };
            let command = command(&identity, Path::new("/bin/x"), &["x".into()]);
            let args: Vec<&OsStr> = command.get_args().collect();
            assert_eq!(parse(args[1]), Some(identity));
            assert_eq!(args[2..], ["/bin/x", "x"]);
        }
        assert_eq!(parse(OsStr::new("1:2")), None);
        assert_eq!(parse(OsStr::new("a:2:")), None);
    }
}
