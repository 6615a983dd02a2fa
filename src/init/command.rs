//! Turns a request into a process: environment, program from `PATH`, working directory, user. All
//! problems are detected before the fork, so that each has its own error code and message.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command as Process,
};

use ephemon_contract::{Command, ErrorCode, Failure, Run, Ulimit, env};

use super::{
    become_user, ulimits,
    user::{self, Identity},
};

/// `PATH` if neither the image nor the request sets it: the default of container runtimes.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The shell according to POSIX; a distroless image has none.
const SHELL: &str = "/bin/sh";

/// A command that can be started, and a fallback if the kernel does not know its format.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The process to start.
    pub process: Process,
    program: PathBuf,
    args: Vec<OsString>,
    identity: Option<Identity>,
    env: BTreeMap<OsString, OsString>,
    cwd: Option<PathBuf>,
    limits: Vec<Ulimit>,
}

/// Whether the image has a shell.
pub(super) fn has_shell() -> bool {
    is_executable(Path::new(SHELL))
}

/// Prepares a step with these limits.
pub(super) fn prepare(run: &Run, limits: &[Ulimit]) -> Result<Prepared, Failure> {
    let identity = match &run.user {
        Some(wanted) => Some(
            user::resolve(wanted, Path::new("/etc"))
                .map_err(|unknown| Failure::new(ErrorCode::User, unknown.to_string()))?,
        ),
        None => None,
    };
    let mut env = environment(std::env::vars_os(), run);
    if let Some(home) = identity.as_ref().and_then(|identity| identity.home.as_ref())
        && !run.env.iter().any(|(name, _)| name == "HOME")
    {
        // The container's HOME belongs to its own user.
        env.insert("HOME".into(), home.into());
    }
    let words = argv(&run.command, has_shell())?;
    let cwd = match &run.cwd {
        Some(cwd) => Some(directory(cwd)?),
        None => None,
    };
    let name = words.first().filter(|name| !name.is_empty());
    let name =
        name.ok_or_else(|| Failure::new(ErrorCode::CommandNotFound, "the command is empty"))?;
    let path = env.get(OsStr::new("PATH")).map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
    let program = find(name, path, cwd.as_deref())?;
    let args: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    let process = build(&program, &args, &env, cwd.as_deref(), identity.as_ref(), limits);
    Ok(Prepared { process, program, args, identity, env, cwd, limits: limits.to_vec() })
}

// === impl Prepared ===

impl Prepared {
    /// For a file that the kernel cannot execute (ENOEXEC: a script without `#!`): a shell runs it,
    /// as `execvp` does.
    pub(super) fn by_shell(&self) -> Process {
        let mut args = vec![OsString::from("sh"), self.program.clone().into_os_string()];
        args.extend(self.args.iter().skip(1).cloned());
        let (cwd, identity) = (self.cwd.as_deref(), self.identity.as_ref());
        build(Path::new(SHELL), &args, &self.env, cwd, identity, &self.limits)
    }

    /// The failure that the error of starting the process stands for.
    pub(super) fn failure(&self, error: &io::Error) -> Failure {
        let program = self.program.display();
        let code = match error.raw_os_error() {
            Some(libc_code::EACCES | libc_code::ENOEXEC) => ErrorCode::CommandNotExecutable,
            // The file exists, so its interpreter or loader is missing.
            Some(libc_code::ENOENT) => ErrorCode::CommandNotFound,
            _ => ErrorCode::System,
        };
        Failure::new(code, format!("cannot start {program}: {error}"))
    }
}

/// Error numbers with which `exec` reports the cause.
mod libc_code {
    use rustix::io::Errno;

    pub(super) const EACCES: i32 = Errno::ACCESS.raw_os_error();
    pub(super) const ENOENT: i32 = Errno::NOENT.raw_os_error();
    pub(super) const ENOEXEC: i32 = Errno::NOEXEC.raw_os_error();
}

fn build(
    program: &Path,
    args: &[OsString],
    env: &BTreeMap<OsString, OsString>,
    cwd: Option<&Path>,
    identity: Option<&Identity>,
    limits: &[Ulimit],
) -> Process {
    let mut name = args.first().map(OsString::as_os_str);
    let mut process = if let Some(identity) = identity {
        name = None;
        become_user::command(identity, program, args)
    } else {
        let mut process = Process::new(program);
        if let Some(name) = name {
            process.arg0(name);
        }
        process.args(args.iter().skip(1));
        process
    };
    if !limits.is_empty() {
        process = ulimits::limited(limits, &process, name);
    }
    process.env_clear().envs(env);
    if let Some(cwd) = cwd {
        process.current_dir(cwd);
    }
    process
}

/// The container's environment, overridden by the request's, with the prepended part of `PATH`.
fn environment(
    own: impl Iterator<Item = (OsString, OsString)>,
    run: &Run,
) -> BTreeMap<OsString, OsString> {
    let mut all: BTreeMap<OsString, OsString> =
        own.filter(|(name, _)| !env::NOT_FOR_STEPS.iter().any(|hidden| name == hidden)).collect();
    // A name with `=` or NUL would change another variable, or end the environment.
    let valid = |name: &str, value: &str| {
        !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
    };
    all.extend(
        run.env
            .iter()
            .filter(|(name, value)| valid(name, value))
            .map(|(name, value)| (name.into(), value.into())),
    );
    let path = all.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
    for front in run.prepend_path.iter().rev().filter(|front| !front.contains('\0')) {
        let mut longer = OsString::from(front);
        longer.push(":");
        longer.push(&path);
        *path = longer;
    }
    all
}

fn argv(command: &Command, shell: bool) -> Result<Vec<String>, Failure> {
    let argv = match command {
        Command::Argv(argv) => argv.clone(),
        Command::Line(line) if shell => {
            // A single command replaces the shell. For a list, `exec` would run only the first
            // command: `false; true` and `a && b` are complete only if the shell stays.
            let exec = if line.contains([';', '&', '|', '\n']) { "" } else { "exec " };
            vec![SHELL.to_owned(), "-c".to_owned(), format!("{exec}{line}")]
        }
        Command::Line(line) => shlex::split(line).ok_or_else(|| {
            Failure::new(ErrorCode::CommandNotFound, "the command line has an unclosed quote")
        })?,
        Command::Own => {
            let text = "the container was not created with a command that waits for the hook";
            return Err(Failure::new(ErrorCode::CommandNotFound, text));
        }
    };
    if argv.iter().any(|arg| arg.contains('\0')) {
        return Err(Failure::new(ErrorCode::CommandNotFound, "an argument contains a NUL byte"));
    }
    Ok(argv)
}

fn directory(cwd: &str) -> Result<PathBuf, Failure> {
    let failure = |why: String| {
        Failure::new(
            ErrorCode::WorkingDirectory,
            format!("cannot use the working directory {cwd}: {why}"),
        )
    };
    match std::fs::metadata(cwd) {
        Ok(metadata) if metadata.is_dir() => Ok(PathBuf::from(cwd)),
        Ok(_) => Err(failure("not a directory".to_owned())),
        Err(error) => Err(failure(error.to_string())),
    }
}

/// Finds the file of a program: in `PATH`, or directly if its name contains a slash.
fn find(name: &str, path: &OsStr, cwd: Option<&Path>) -> Result<PathBuf, Failure> {
    let at = |directory: &Path| match cwd {
        Some(cwd) => cwd.join(directory).join(name),
        None => directory.join(name),
    };
    let mut there = None;
    if name.contains('/') {
        let file = at(Path::new(""));
        if is_executable(&file) {
            return Ok(file);
        }
        there = file.exists().then_some(file);
    } else {
        for directory in path.as_bytes().split(|byte| *byte == b':') {
            let file = at(Path::new(OsStr::from_bytes(directory)));
            if is_executable(&file) {
                return Ok(file);
            }
            if there.is_none() && file.is_file() {
                there = Some(file);
            }
        }
    }
    Err(match there {
        Some(file) => Failure::new(
            ErrorCode::CommandNotExecutable,
            format!("{} is not executable", file.display()),
        ),
        None => Failure::new(ErrorCode::CommandNotFound, format!("{name}: command not found")),
    })
}

/// Whether a file has any execute bit. Whether this user may execute it is decided by the kernel.
fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use ephemon_contract::StepKind;

    use super::*;

    fn run(env: &[(&str, &str)], prepend: &[&str]) -> Run {
        Run {
            command: Command::Argv(vec!["true".to_owned()]),
            env: env.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            prepend_path: prepend.iter().map(|&p| p.to_owned()).collect(),
            cwd: None,
            user: None,
            name: String::new(),
            kind: StepKind::Script,
            id: None,
            called_ns: None,
            ends_container: false,
        }
    }

    #[test]
    fn the_request_lies_over_the_container_and_the_keys_are_left_out() {
        let own = [("PATH", "/bin"), ("A", "image"), (env::CONTAINER_KEY, "x"), ("B", "image")];
        let own = own.iter().map(|(a, b)| (OsString::from(a), OsString::from(b)));
        let all = environment(own, &run(&[("A", "step"), ("BAD=", "x"), ("", "x")], &["/a", "/b"]));
        let all: Vec<_> =
            all.iter().map(|(a, b)| (a.to_str().unwrap(), b.to_str().unwrap())).collect();
        assert_eq!(all, [("A", "step"), ("B", "image"), ("PATH", "/a:/b:/bin")]);
    }

    #[test]
    fn without_any_path_there_is_the_usual_one() {
        let all = environment(std::iter::empty(), &run(&[], &["/x"]));
        assert_eq!(all.get(OsStr::new("PATH")).unwrap(), &*format!("/x:{DEFAULT_PATH}"));
    }

    #[test]
    fn a_line_goes_to_the_shell_or_is_split_without_one() {
        let line = Command::Line("echo 'a b' \"c\"".to_owned());
        assert_eq!(argv(&line, true).unwrap(), ["/bin/sh", "-c", "exec echo 'a b' \"c\""]);
        assert_eq!(argv(&line, false).unwrap(), ["echo", "a b", "c"]);
        for list in ["a; b", "a && b", "a || b", "a | b", "a\nb"] {
            let line = Command::Line(list.to_owned());
            assert_eq!(argv(&line, true).unwrap(), ["/bin/sh", "-c", list]);
        }
        assert!(argv(&Command::Line("echo 'a".to_owned()), false).is_err());
        assert!(argv(&Command::Argv(vec!["a\0b".to_owned()]), true).is_err());
    }

    #[test]
    fn each_way_a_program_cannot_be_found_has_its_code() {
        let directory = tempfile::tempdir().expect("a directory");
        let plain = directory.path().join("plain");
        std::fs::write(&plain, "x").expect("a file");
        let path = directory.path().as_os_str();
        let code = |name: &str| find(name, path, None).expect_err("a failure").code;
        assert_eq!(code("nothing"), ErrorCode::CommandNotFound);
        assert_eq!(code("plain"), ErrorCode::CommandNotExecutable);
        assert_eq!(code(plain.to_str().unwrap()), ErrorCode::CommandNotExecutable);
        assert_eq!(code("/nowhere/x"), ErrorCode::CommandNotFound);
        std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        assert_eq!(find("plain", path, None), Ok(plain.clone()));
        assert_eq!(
            find("./plain", OsStr::new("/bin"), Some(directory.path())).unwrap().file_name(),
            plain.file_name()
        );
        assert_eq!(directory_code("/etc/passwd"), ErrorCode::WorkingDirectory);
        assert_eq!(directory_code("/nowhere"), ErrorCode::WorkingDirectory);
    }

    fn directory_code(path: &str) -> ErrorCode {
        directory(path).expect_err("a failure").code
    }
}
