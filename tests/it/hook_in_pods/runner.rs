//! The runner's side of a pod: its container, its files, and its calls of the hook, as user 1001 in
//! the container's own file system and network.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ephemon_demo::kubelet::paths;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::site::Site;
use crate::support::executable;
use crate::support::node::PodPlace;
use crate::support::process::{kill, until};

/// Who the runner is.
const UID: u32 = 1001;
/// Longest call.
const PATIENCE: Duration = Duration::from_mins(4);
/// Most pods in which a job is prepared, for one in which nobody is late.
const ATTEMPTS: usize = 5;
/// What the runner has below its own directory.
const WORK: &str = "/home/runner/_work";
/// Where the job works.
const WORKSPACE: &str = "/home/runner/_work/r/r";
/// What the hook warns of where a service takes more than half a minute.
const SLOW_SERVICE: &str = "does not listen on its declared port";

/// A runner's pod from inside.
pub(super) struct Runner {
    pub(super) name: String,
    pub(super) place: PodPlace,
    /// The host's process id of the runner container's first process.
    pub(super) pid: i32,
    pub(super) directory: PodDirectory,
    /// More variables for the hook.
    pub(super) env: Vec<(String, String)>,
    /// What the runner starts: the hook itself, without Node.js.
    pub(super) program: Vec<String>,
}

/// A pod's directory on the node: its emptyDir volumes and its hosts file.
#[derive(Debug, Clone)]
pub(super) struct PodDirectory {
    root: PathBuf,
    uid: String,
}

/// A call under way.
pub(super) struct Calling {
    child: Child,
    response: PathBuf,
}

/// What a call came to.
#[derive(Debug)]
pub(super) struct Called {
    /// As a shell gives it: 128 and the signal.
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) response: String,
}

// === impl Runner ===

impl Runner {
    /// Puts in place what the runner makes before its first call.
    pub(super) fn new(site: &Site, name: &str, uid: &str, pid: i32) -> Self {
        let directory = PodDirectory { root: site.node.path("/"), uid: uid.to_owned() };
        let place = PodPlace {
            uid: uid.to_owned(),
            namespace: site.namespace().to_owned(),
            name: name.to_owned(),
        };
        // What the kubelet gave the container is what the runner hands on.
        let mut env = environment_of(pid);
        env.extend([
            ("ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS".to_owned(), "150".to_owned()),
            ("GITHUB_ACTION".to_owned(), "__run".to_owned()),
            // Whose containers they are is then the test's to say; `standby` sets another number.
            ("EPHEMON_STANDBY".to_owned(), "0".to_owned()),
            ("GITHUB_REPOSITORY".to_owned(), "o/r".to_owned()),
            ("RUNNER_TEMP".to_owned(), format!("{WORK}/_temp")),
            ("GITHUB_WORKSPACE".to_owned(), WORKSPACE.to_owned()),
        ]);
        let program = vec!["/ephemon/bin/ephemon-hook".to_owned()];
        let runner = Self { name: name.to_owned(), place, pid, directory, env, program };
        for made in [
            "r/r",
            "_tool",
            "_temp/_github_home",
            "_temp/_github_workflow",
            "_temp/_runner_file_commands",
        ] {
            runner.make_directory(&runner.work(made));
        }
        runner
    }

    /// Puts in place what the hook reads before `prepare_job`: container actions, whose program is
    /// `entrypoint`, and the log with a step of each. So many containers may stand by at most.
    pub(super) fn expect(&mut self, most: usize, images: &[&str], entrypoint: &str) {
        self.env.push(("EPHEMON_STANDBY".to_owned(), most.to_string()));
        let mut steps = Vec::new();
        for (number, image) in images.iter().enumerate() {
            let manifest = format!(
                "name: x\nruns:\n  using: docker\n  image: docker://{image}\n  entrypoint: {entrypoint}\n"
            );
            self.make(&format!("_actions/o/a-{number}/v1/action.yml"), &manifest);
            steps.push(json!({"reference": {"name": format!("o/a-{number}"), "ref": "v1"}}));
        }
        let diag = self.root("/home/runner/_diag");
        fs::create_dir_all(&diag).unwrap();
        let message = json!({"steps": steps});
        let text = format!("[2026-01-01 00:00:00Z INFO Worker] Job message:\n {message:#}\n");
        fs::write(diag.join("Worker_20260101-000000-utc.log"), text).unwrap();
    }

    /// Whether the pod has a user namespace of its own.
    pub(super) fn has_users(&self) -> bool {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
        of(&self.pid.to_string()) != of("self")
    }

    /// A path below the runner's work directory, on the node.
    pub(super) fn work(&self, name: &str) -> PathBuf {
        self.directory.volume("work").join(name)
    }

    /// Writes a file as the runner does: its own, mode 0644.
    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.work(name), text).unwrap();
        chown(self.work(name), Some(UID), Some(UID)).unwrap();
    }

    /// Writes a program as the runner does, and the directory it is in.
    pub(super) fn make(&self, name: &str, text: &str) {
        self.make_directory(self.work(name).parent().unwrap());
        executable::write(&self.work(name), text.as_bytes());
        chown(self.work(name), Some(UID), Some(UID)).unwrap();
    }

    /// What a file below the work directory holds.
    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.work(name)).unwrap_or_default()
    }

    fn make_directory(&self, path: &Path) {
        fs::create_dir_all(path).unwrap();
        let root = self.directory.volume("");
        for part in path.ancestors().filter(|part| part.starts_with(&root) && *part != root) {
            // The volumes' own directories are the kubelet's.
            if part.parent() != Some(root.as_path()) {
                chown(part, Some(UID), Some(UID)).unwrap();
                fs::set_permissions(part, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
    }

    /// A file of the runner's container, as this machine sees it.
    pub(super) fn root(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    /// Starts a call.
    pub(super) fn begin(&self, command: &str, args: &Value, state: &Value) -> Calling {
        let name = format!("_temp/{:016x}.json", fastrand::u64(..));
        self.write(&name, "");
        let request = json!({
            "command": command, "responseFile": format!("{WORK}/{name}"), "args": args, "state": state,
        });
        let mut child = Command::new("nsenter")
            .args(["--target", &self.pid.to_string(), "--mount", "--net", "--uts", "--pid"])
            .args(self.has_users().then_some("--user"))
            .args(["--setuid", &UID.to_string(), "--setgid", &UID.to_string()])
            .arg(format!("--wd={}", self.root(WORK).display()))
            .args(&self.program)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A hook that was killed reads no more.
        drop(stdin.write_all(format!("{request}\n").as_bytes()));
        Calling { child, response: self.work(&name) }
    }

    /// A call from beginning to end.
    pub(super) fn call(&self, command: &str, args: &Value, state: &Value) -> Called {
        self.begin(command, args, state).finish()
    }

    /// Prepares a job and returns its state.
    pub(super) fn prepare(&self, container: &Value, services: &[Value]) -> Value {
        let called = self.prepare_called(container, services);
        assert_eq!(called.code, 0, "{called:?}");
        called.json()["state"].clone()
    }

    /// Prepares a job.
    pub(super) fn prepare_called(&self, container: &Value, services: &[Value]) -> Called {
        let args = json!({"container": container, "services": services});
        self.call("prepare_job", &args, &Value::Null)
    }

    /// Runs a script by a shell of the image.
    pub(super) fn script(&self, state: &Value, script: &str) -> Called {
        self.call("run_script_step", &self.script_args(script), state)
    }

    /// What the runner asks for with a script step.
    pub(super) fn script_args(&self, script: &str) -> Value {
        let name = format!("{:016x}.sh", fastrand::u64(..));
        self.write(&format!("_temp/{name}"), script);
        json!({
            "entryPoint": "sh", "entryPointArgs": ["-e", format!("/__w/_temp/{name}")],
            "environmentVariables": {
                "GITHUB_OUTPUT": "/github/file_commands/set_output",
                "GITHUB_ENV": "/github/file_commands/set_env",
                "HOME": "/github/home",
            },
            "prependPath": [], "workingDirectory": "/__w/r/r",
        })
    }
}

/// A container as the runner asks for it, with what is given over the usual.
pub(super) fn container(image: &str, over: &Value) -> Value {
    let mut container = json!({
        "image": image, "dockerfile": null, "entryPointArgs": [], "entryPoint": null,
        "workingDirectory": null, "createOptions": null, "registry": null,
        "environmentVariables": {}, "portMappings": [],
        "systemMountVolumes": [], "userMountVolumes": [],
    });
    for (key, value) in over.as_object().unwrap() {
        container[key] = value.clone();
    }
    container
}

/// A job's container.
pub(super) fn job(image: &str, options: &str) -> Value {
    let over = json!({
        "workingDirectory": "/__w/r/r", "createOptions": options,
        "environmentVariables": {"HOME": "/github/home", "FROM_JOB": "of the job"},
    });
    container(image, &over)
}

/// The environment that a process was started with.
fn environment_of(pid: i32) -> Vec<(String, String)> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let entries = bytes.split(|byte| *byte == 0).filter_map(|entry| str::from_utf8(entry).ok());
    entries
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

// === impl PodDirectory ===

impl PodDirectory {
    /// An emptyDir volume.
    pub(super) fn volume(&self, name: &str) -> PathBuf {
        paths::empty_dir(&self.root, &self.uid, name)
    }

    /// The one file that is `/etc/hosts` in all containers.
    pub(super) fn hosts(&self) -> PathBuf {
        paths::pod(&self.root, &self.uid).join("etc-hosts")
    }
}

// === impl Calling ===

impl Calling {
    /// A signal to the hook alone, as the runner sends it.
    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.hook()).unwrap(), signal).unwrap();
    }

    /// The hook's process: `nsenter` waits for it outside the container's process namespace.
    fn hook(&self) -> i32 {
        let pid = self.child.id();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let first = || fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok();
        until(PATIENCE, first).expect("the hook runs")
    }

    pub(super) fn finish(self) -> Called {
        let pid = self.child.id().cast_signed();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(self.child.wait_with_output()));
        let output = receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            kill(pid);
            let output = receiver.recv().unwrap().unwrap();
            panic!("the hook did not end: {output:?}")
        });
        let output = output.unwrap();
        let status = output.status;
        Called {
            code: status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            // The kubelet removes the file with a pod that was deleted meanwhile. Without it `json` fails.
            response: fs::read_to_string(self.response).unwrap_or_default(),
        }
    }
}

// === impl Called ===

impl Called {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.response).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What a step printed. While a container starts, the hook says every few seconds what it waits for, and
    /// the kubelet's reason, which may pass; how often depends on the machine.
    pub(super) fn printed(&self) -> String {
        let is_progress = |line: &str| {
            let said = line.split_once(" (container ").filter(|(image, _)| !image.contains(' '));
            let said = said.and_then(|(_, rest)| rest.split_once("): "));
            said.is_some_and(|(_, said)| said.ends_with(" s so far)") || !said.contains(' '))
        };
        self.stdout.split_inclusive('\n').filter(|line| !is_progress(line.trim_end())).collect()
    }

    /// The warnings that it printed for the run's page.
    pub(super) fn warnings(&self) -> Vec<&str> {
        self.stdout.lines().filter(|line| line.starts_with("::warning::")).collect()
    }

    /// Whether a service took so long that the hook went on without it.
    pub(super) fn has_slow_service(&self) -> bool {
        self.stdout.contains(SLOW_SERVICE)
    }

    /// Whether it printed such an error for the run's page.
    pub(super) fn says(&self, words: &str) -> bool {
        self.stdout.lines().any(|line| line.starts_with("::error::") && line.contains(words))
    }
}

/// Prepares a job in a pod of its own, in another one where the hook went on without what a busy machine was too
/// late with, by design. `attempt` is given a number for the pod's name.
pub(super) fn prepared_in_time(
    is_late: impl Fn(&Called) -> bool,
    attempt: impl Fn(usize) -> (Runner, Called),
) -> (Runner, Called) {
    let mut said = String::new();
    for number in 1..=ATTEMPTS {
        let (runner, called) = attempt(number);
        assert_eq!(called.code, 0, "{called:?}");
        if !is_late(&called) {
            return (runner, called);
        }
        said = called.stdout;
    }
    panic!("in time in no attempt: {said}");
}

#[test]
fn what_a_step_printed_is_without_the_hooks_progress() {
    let waits = "busybox:1 (container step): the kubelet pulls the image, or starts the container";
    let reason = "busybox:1 (container step): CreateContainerError";
    let own =
        "on (5 s so far)\nthe job (container step): Error\na:1 (container step): it fails\nend";
    let stdout = format!("{waits} (5 s so far)\n{reason}\n{reason} (10 s so far)\n{own}");
    let called = Called { code: 0, stdout, stderr: String::new(), response: String::new() };
    assert_eq!(called.printed(), own);
}
