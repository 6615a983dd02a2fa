//! Starts inits in directories of their own.

use std::{
    fs::{self, File},
    os::unix::{fs::MetadataExt, net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use ephemon_contract::{Command, Record, Reply, Request, Run, StepKind, Stop, Token, Volume, env};

use crate::support::programs;

pub(super) use super::client::Client;

/// No test waits longer for anything.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// How an init is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// As a process among others.
    Plain,
    /// As process 1 of its own PID namespace.
    Pid1,
    /// As another user.
    Uid(u32),
    /// With a log that is a full pipe.
    LogUnread,
    /// Awaiting a hook for a moment only.
    Impatient,
}

/// A running init.
pub(super) struct Init {
    directory: tempfile::TempDir,
    child: Mutex<Child>,
    start: Start,
}

pub(super) fn token() -> Token {
    Token::from_random([0x5a; 32])
}

/// A script step.
pub(super) fn shell(script: &str) -> Run {
    Run {
        command: Command::Argv(["sh", "-c", script].map(str::to_owned).to_vec()),
        env: Vec::new(),
        prepend_path: Vec::new(),
        cwd: None,
        user: None,
        name: "a step".to_owned(),
        kind: StepKind::Script,
        id: None,
        called_ns: None,
        ends_container: false,
    }
}

/// Whether other users can be played.
pub(super) fn is_root() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    there(root, "root")
}

/// Whether a PID namespace can be had.
pub(super) fn can_be_pid_1() -> bool {
    let tried = Process::new("unshare").args(["-pf", "--mount-proc", "true"]).output();
    there(tried.is_ok_and(|output| output.status.success()), "unshare -pf --mount-proc")
}

fn there(there: bool, what: &str) -> bool {
    assert!(there || std::env::var_os("CI").is_none(), "nothing may skip in CI, but: no {what}");
    if !there {
        eprintln!("skipped in part: no {what}");
    }
    there
}

/// A connection by a process of another uid, which passes on what is said: this test program itself
/// cannot change back.
pub(super) fn connect_as(uid: u32, init: &Init) -> Client {
    let script = "import socket,sys,threading\na=socket.socket(socket.AF_UNIX)\n\
                  a.connect(sys.argv[1])\nb=socket.socket(fileno=0)\n\
                  def copy(a,b):\n while c:=a.recv(65536): b.sendall(c)\n \
                  b.shutdown(socket.SHUT_WR)\n\
                  threading.Thread(target=copy,args=(b,a),daemon=True).start()\ncopy(a,b)";
    let (ours, its) = UnixStream::pair().expect("a pair");
    let mut process = Process::new("python3");
    process.args(["-c", script]).arg(init.socket()).uid(uid);
    // It ends with the connection.
    drop(process.stdin(std::os::fd::OwnedFd::from(its)).spawn().expect("python3 runs"));
    Client::new(ours)
}

// === impl Init ===

impl Init {
    pub(super) fn start(start: Start, env: &[(&str, &str)]) -> Self {
        let init = Self::start_with(start, env, &[]);
        let deadline = Instant::now() + PATIENCE;
        while !init.socket().exists() {
            assert!(Instant::now() < deadline, "no socket: {}", init.log("stderr"));
            std::thread::sleep(Duration::from_millis(2));
        }
        init
    }

    pub(super) fn start_with(start: Start, env: &[(&str, &str)], command: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("hosts"), "127.0.0.1\tlocalhost\n").expect("a file");
        if let Start::Uid(uid) = start {
            std::os::unix::fs::chown(directory.path(), Some(uid), None).expect("an owner");
        }
        let child =
            Self::process(directory.path(), start, env, command).spawn().expect("it starts");
        Self { directory, child: Mutex::new(child), start }
    }

    fn process(root: &Path, start: Start, env: &[(&str, &str)], command: &[&str]) -> Process {
        let mut program = programs::init().to_owned();
        if let Start::Uid(_) = start {
            // A program in a directory that others may not enter cannot be started by them. Copied by
            // another process: a file that this one writes may be open in a child of another test.
            program = root.join("ephemon-init");
            let copied =
                Process::new("cp").arg(programs::init()).arg(&program).status().expect("cp runs");
            assert!(copied.success());
        }
        let mut process = match start {
            Start::Pid1 => {
                let mut process = Process::new("unshare");
                process.args(["-pf", "--mount-proc", "--kill-child", "--"]).arg(&program);
                process
            }
            _ => Process::new(&program),
        };
        if let Start::Uid(uid) = start {
            process.uid(uid).gid(uid);
        }
        let log = |name| File::create(root.join(name)).expect("a file");
        process
            .args(["--hosts".as_ref(), root.join("hosts").as_os_str()])
            .args(["--patience", if start == Start::Impatient { "5000" } else { "30000" }])
            // More options of init may stand before the command.
            .args(command.first().is_none_or(|word| !word.starts_with("--")).then_some("--"))
            .args(command)
            .env(env::CONTAINER, "job")
            .env(env::VOLUME, root)
            .env(env::HOOK_KEY, token().hook_key().to_string())
            .env(env::CONTAINER_KEY, token().container_key("job").expose())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stderr(log("stderr"));
        match start {
            Start::LogUnread => process.stdout(Stdio::piped()),
            _ => process.stdout(log("stdout")),
        };
        process
    }

    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(super) fn socket(&self) -> PathBuf {
        Volume::new(self.root()).socket("job")
    }

    /// A connection that has said nothing yet.
    pub(super) fn connect(&self) -> Client {
        Client::new(UnixStream::connect(self.socket()).expect("connected"))
    }

    /// A connection that was let in.
    pub(super) fn client(&self) -> Client {
        let mut client = self.connect();
        let reply = client.greet();
        assert!(matches!(reply, Some(Reply::Welcome(_))), "{reply:?}");
        client
    }

    /// A connection that was let in, perhaps after earlier ones were given up.
    pub(super) fn client_when_free(&self) -> Client {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut client = self.connect();
            match client.greet() {
                Some(Reply::Welcome(_)) => return client,
                other => assert!(Instant::now() < deadline, "{other:?}"),
            }
        }
    }

    /// What the container's log holds.
    pub(super) fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).expect("a log")).into_owned()
    }

    pub(super) fn wait_for_log(&self, name: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log(name).contains(text) {
            assert!(Instant::now() < deadline, "{}", self.log(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn journal(&self) -> Vec<Record> {
        let text = fs::read(Volume::new(self.root()).container_journal("job")).expect("a journal");
        text.split_inclusive(|byte| *byte == b'\n')
            .map(|line| Record::from_line(line).expect("a record"))
            .collect()
    }

    pub(super) fn wait_for_journal(&self, text: &str) {
        let path = Volume::new(self.root()).container_journal("job");
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(&path).is_ok_and(|journal| journal.contains(text)) {
            assert!(Instant::now() < deadline, "no {text} in the journal");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to stop; its exit code.
    pub(super) fn stop(&self) -> i32 {
        assert_eq!(self.client().ask(&Request::Stop(Stop { grace_ms: 5000 })), Reply::Done);
        self.wait()
    }

    /// Its exit code, when it has ended by itself.
    pub(super) fn wait(&self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.lock().expect("no panic").try_wait().expect("a child");
            if let Some(status) = ended {
                return status.code().expect("an exit code");
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// SIGTERM, as the runtime sends it if the image does not say otherwise.
    pub(super) fn terminate(&self) {
        self.signal("TERM");
    }

    /// A signal to init, by the name that `kill` has for it.
    pub(super) fn signal(&self, name: &str) {
        let own = self.child.lock().expect("no panic").id();
        let pid = match self.start {
            Start::Pid1 => {
                let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
                children.expect("children").trim().to_owned()
            }
            _ => own.to_string(),
        };
        let status = Process::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(status.success());
    }

    /// SIGKILL.
    pub(super) fn kill(&self) {
        let mut child = self.child.lock().expect("no panic");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    /// Starts the same container again; its exit code and what it said.
    pub(super) fn start_again(&self) -> (i32, String) {
        let mut child =
            Self::process(self.root(), Start::Plain, &[], &[]).spawn().expect("it starts");
        let code = child.wait().expect("ended").code().expect("an exit code");
        (code, self.log("stderr"))
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(child.kill());
        drop(child.wait());
    }
}
