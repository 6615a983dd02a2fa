//! `ephemon-init`: process 1 of the ephemeral containers that the hook creates.
//!
//! `supervisor` has the shared state and the main loop, which `signals` wake; `server` and `connection` communicate with
//! the hook; `command` and `reaper` start processes and wait for their ends; `step` forwards one
//! step's output; `tee` and `container_log` write the container's log; `journal` informs the agent;
//! `others` reads the values to mask of other containers. It uses threads, not an async runtime:
//! one for each connection, and every resource is bounded.

mod become_user;
mod cgroup;
mod command;
mod config;
mod connection;
mod container_log;
mod files;
mod forward;
mod health;
mod hosts;
mod journal;
mod memory_files;
mod others;
mod poll;
mod reaper;
mod server;
mod signals;
mod step;
mod supervisor;
mod tee;
mod ulimits;
mod user;

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use ephemon_base::clock::now_ns;
use ephemon_contract::env::NOT_FOR_STEPS;
use ephemon_contract::{Command, Record, Run, Setup};
use ephemon_mask::environment;
use ephemon_mask::shared::SharedMasks;
use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior};

use self::{
    config::{Config, Starter},
    container_log::ContainerLog,
    journal::{Journal, make_shared_directory},
    signals::Signals,
    supervisor::Supervisor,
};

/// Stack size of every thread in bytes; no call chain is deep.
const STACK_BYTES: usize = 256 * 1024;
/// Exit code of an init that cannot start; container runtimes use it for their own failures.
const EXIT_UNABLE: u8 = 125;
/// Time limit for writing the rest of the log at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Why init cannot start.
#[derive(Debug, thiserror::Error)]
enum Unable {
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error(
        "{container} has already run, and an ephemeral container runs only once; or its job ended before it started"
    )]
    RanBefore { container: String },
    #[error("cannot {act} {path}: {source}; is the volume mounted and writable?")]
    Volume { act: &'static str, path: String, source: io::Error },
    #[error("cannot {act}: {source}")]
    System { act: &'static str, source: io::Error },
    #[error("a volume of the workflow: {0}")]
    Files(String),
}

/// The program. Returns when the container ends.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os();
    args.next();
    let mut args = args.peekable();
    if args.next_if(|arg| arg == become_user::ARGUMENT).is_some() {
        return become_user::run(args);
    }
    if args.next_if(|arg| arg == ulimits::ARGUMENT).is_some() {
        return ulimits::run(args);
    }
    let config = Config::read(args, |name| std::env::var(name).ok());
    match config.map_err(Unable::from).and_then(serve) {
        Ok(code) => ExitCode::from(code),
        Err(unable) => {
            // If standard error is closed, the error cannot be reported.
            drop(writeln!(io::stderr(), "ephemon-init: {unable}"));
            ExitCode::from(EXIT_UNABLE)
        }
    }
}

fn serve(mut config: Config) -> Result<u8, Unable> {
    let volume = config.volume.clone();
    let failed = |act, path: &Path| {
        let path = path.display().to_string();
        move |source| Unable::Volume { act, path, source }
    };
    let system = |act| move |source| Unable::System { act, source };
    for directory in [volume.run(), volume.journal()] {
        make_shared_directory(&directory).map_err(failed("create", &directory))?;
    }
    match mark_done(&config) {
        // The job ended before this one started, and no step needs it.
        Err(Unable::RanBefore { .. }) if config.is_standby => return Ok(0),
        marked => marked?,
    }
    let log = ContainerLog::start().map_err(system("start a thread"))?;
    let journal_path = volume.container_journal(&config.container);
    let journal = Journal::open(&journal_path).unwrap_or_else(|error| {
        log.note(&format!(
            "events of this container are not recorded: cannot open the journal {}: {error}",
            journal_path.display()
        ));
        Journal::none()
    });
    if std::process::id() != 1 && set_child_subreaper(Some(getpid())).is_err() {
        log.note(
            "this is neither process 1 nor a subreaper: orphaned processes are not reaped here",
        );
    }
    // A step with the same uid must not read secrets from init's memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
    let signals = Signals::register().map_err(system("handle signals"))?;
    let socket = volume.socket(&config.container);
    let (listener, inode) = server::bind(&socket).map_err(failed("listen on", &socket))?;
    let notes = set_up(&mut config, &log);
    files::make_directories(&config.directories, &config.root)
        .and_then(|()| files::link(&config.links, &config.root))
        .map_err(|failure| Unable::Files(failure.text))?;
    let container = config.container.clone();
    let main_step = config.command.take().map(|argv| main_step(&config, argv));
    let supervisor = Supervisor::new(config, log, journal, inode, notes);
    let supervisor = supervisor.map_err(system("create a pipe"))?;
    let supervisor = Arc::new(supervisor);
    share_masks(&supervisor);
    if main_step.is_some() || supervisor.config.own.is_some() {
        let env: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            // Init's own variables are in no output, and other containers can read what is shared
            // here.
            .filter(|(name, _)| !NOT_FOR_STEPS.contains(&name.as_str()))
            .collect();
        let env = env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let secrets = environment::secrets(env);
        // The masks record that there are too many.
        supervisor.masks.add(secrets.iter().map(String::as_bytes)).ok();
    }
    supervisor.journal.append(&Record::ContainerStarted {
        at_ns: supervisor.started_at_ns,
        container,
        pid: std::process::id(),
        uid: supervisor.uid,
    });
    let shared = Arc::clone(&supervisor);
    spawn("accept", move || server::accept_forever(&listener, &shared))
        .map_err(system("start a thread"))?;
    if let Some(run) = main_step {
        let shared = Arc::clone(&supervisor);
        spawn("main", move || run_main_step(&shared, &run)).map_err(system("start a thread"))?;
    }
    let exit_code = supervisor.supervise(&signals);
    supervisor.journal.append(&Record::ContainerEnded {
        at_ns: now_ns(),
        exit_code,
        dropped: supervisor.journal.dropped(),
    });
    // The socket is removed with the volume at the latest.
    drop(std::fs::remove_file(&socket));
    supervisor.log.flush(FLUSH_TIMEOUT);
    Ok(exit_code)
}

/// Passes each value to mask to the agent.
fn share_masks(supervisor: &Supervisor) {
    let config = &supervisor.config;
    let path = config.volume.container_masks(&config.container);
    match SharedMasks::open(&path) {
        Ok(shared) => supervisor.masks.listen(move |value| shared.tell(value)),
        Err(error) => supervisor.log.note(&format!(
            "values to mask are not passed to the agent: cannot open {}: {error}",
            path.display()
        )),
    }
}

/// Creates the marker that this container has run, or finds it. Created at the start, because a
/// container that is killed can do nothing at its end.
fn mark_done(config: &Config) -> Result<(), Unable> {
    let path = config.volume.done(&config.container);
    match OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::EXIST.raw_os_error()) => {
            Err(Unable::RanBefore { container: config.container.clone() })
        }
        Err(source) => {
            Err(Unable::Volume { act: "write", path: path.display().to_string(), source })
        }
    }
}

/// Applies the setup as far as possible, and keeps the limits that can be set. Differences from the
/// request go to the hook and to the container's log.
fn set_up(config: &mut Config, log: &ContainerLog) -> Vec<String> {
    let mut notes = memory_files::set_up(&config.setup, &config.root);
    let (ulimits, limited) = ulimits::settle(&config.setup.ulimits);
    config.setup.ulimits = ulimits;
    notes.extend(limited);
    if config.starter == Starter::Agent {
        notes.extend(keep_user(&mut config.setup));
    }
    for note in &notes {
        log.note(note);
    }
    notes
}

/// Keeps the image's user where init cannot become the one by name, because without init the image's
/// own command runs so, too. Says so. A name that the image does not have stays an error.
fn keep_user(setup: &mut Setup) -> Option<String> {
    let identity = user::resolve(setup.user.as_deref()?, Path::new("/etc")).ok()?;
    if become_user::is_possible(&identity) {
        return None;
    }
    let name = setup.user.take()?;
    let why = "the image's own user cannot become another; it runs as the image's own user (use the numeric user ID)";
    Some(format!("option --user {name} is ignored: {why}"))
}

/// The container's own command as a step.
fn main_step(config: &Config, argv: Vec<String>) -> Run {
    Run {
        command: Command::Argv(argv),
        env: Vec::new(),
        prepend_path: Vec::new(),
        cwd: None,
        user: config.setup.user.clone(),
        name: config.container.clone(),
        kind: config.kind,
        id: None,
        called_ns: None,
        ends_container: true,
    }
}

fn run_main_step(supervisor: &Arc<Supervisor>, run: &Run) {
    supervisor.others.learn(&supervisor.masks);
    match step::run(supervisor, run, None) {
        Ok((exit, begun)) => {
            supervisor.finish(exit.end.exit_code(), Duration::ZERO);
            drop(begun);
        }
        Err(failure) => {
            supervisor.log.note(&failure.text);
            supervisor.finish(failure.code.exit_code(), Duration::ZERO);
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(work).map(drop)
}
