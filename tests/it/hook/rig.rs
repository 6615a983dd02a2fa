//! A runner's pod for the hook, and the runner's side of the protocol.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_demo::api::{ApiServer, Runtime, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::pod::{NAMESPACE, POD, Pod};
use crate::support::{executable, programs};

/// Everything of one pod.
pub(super) struct Rig {
    pub(super) api: ApiServer,
    pub(super) directory: TempDir,
    pub(super) pod: Arc<Pod>,
    /// What the runner's own environment has beside the usual.
    pub(super) env: Vec<(String, String)>,
    /// What the runner starts.
    pub(super) hook: Vec<PathBuf>,
    kubelet: JoinHandle<()>,
}

/// What a call of the hook came to.
#[derive(Debug)]
pub(super) struct Called {
    /// As a shell gives it: 128 and the signal.
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) response: String,
    pub(super) took: Duration,
}

/// A call under way.
pub(super) struct Calling {
    pub(super) child: Child,
    response: PathBuf,
    began: Instant,
    /// Of its standard output, before its end.
    read: Vec<u8>,
}

// === impl Rig ===

impl Rig {
    /// None where namespaces cannot be made; says so.
    pub(super) async fn start() -> Option<Self> {
        let able = std::process::Command::new("unshare").args(["-mpf", "true"]).output();
        if !able.is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "CI must be able to make namespaces");
            eprintln!("skipped: no namespaces can be made here");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in [
            "_work/_temp/_runner_file_commands",
            "_work/r/r",
            "github",
            "ephemon/bin",
            "ephemon-bin",
        ] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["ephemon/run", "ephemon/journal", "roots"] {
            fs::create_dir(at(name)).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o1777)).unwrap();
        }
        // Users of containers must get there.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(at("runner-tmp")).unwrap();
        for name in ["_work", "_work/_temp", "_work/r", "_work/r/r", "github"] {
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o777)).unwrap();
        }
        fs::write(at("summary"), "").unwrap();
        fs::write(at("hosts"), "127.0.0.1 localhost\n").unwrap();
        for (program, name) in
            [(programs::init(), "ephemon-init"), (programs::hook(), "ephemon-hook")]
        {
            executable::place(program, &at("ephemon-bin").join(name));
        }
        let store = Store::new("node", 1000);
        let volume = |name: &str| json!({"name": name, "emptyDir": {}});
        let mut volumes: Vec<Value> =
            ["work", "externals", "github", "ephemon", "ephemon-bin", "cache"]
                .into_iter()
                .map(volume)
                .collect();
        volumes.push(json!({"name": "token", "secret": {"secretName": "token"}}));
        let pod = json!({
            "metadata": {"name": POD},
            "spec": {
                // As the shipped values have it.
                "resources": {"limits": {"memory": "8Gi"}},
                "containers": [{"name": "runner", "image": "runner"}],
                "volumes": volumes,
                "nodeName": "node",
            },
        });
        store.create(NAMESPACE, pod).unwrap();
        let api = ApiServer::start(store.clone()).await.unwrap();
        api.write_kubeconfig(&at("kubeconfig")).unwrap();
        let pod = Pod::new(store, directory.path());
        api.attach(Arc::clone(&pod) as Arc<dyn Runtime>);
        let kubelet = tokio::spawn(Arc::clone(&pod).run());
        let hook = vec![programs::hook().to_owned()];
        Some(Self { api, directory, pod, env: Vec::new(), hook, kubelet })
    }

    /// Waits until the API has been asked so often after `before`: with the second request the first
    /// one has its answer.
    pub(super) async fn until_asked(&self, before: u64, times: u64) {
        let asked = self.api.faults().until_requests(before + times);
        tokio::time::timeout(Duration::from_mins(1), asked).await.expect("the hook asks");
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The pod as the API has it.
    pub(super) fn pod_object(&self) -> Value {
        let key = (NAMESPACE.to_owned(), POD.to_owned());
        (*self.api.store().get(&key).unwrap()).clone()
    }

    /// The pod's spec as text.
    pub(super) fn spec(&self) -> String {
        let key = (NAMESPACE.to_owned(), POD.to_owned());
        self.api.store().get(&key).unwrap()["spec"].to_string()
    }

    /// Sets a variable of the runner's own environment.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// The runner's own directory for temporary files.
    pub(super) fn runner_tmp(&self) -> PathBuf {
        self.path("runner-tmp")
    }

    /// Waits for a container's end.
    pub(super) async fn until_ended(&self, container: &str) {
        let ended = |pod: &Pod| pod.ended().iter().any(|(name, _)| name == container).then_some(());
        self.until(&format!("{container} lives"), ended).await;
    }

    /// Waits until a container's log has a text: the hook reads a service's only once.
    pub(super) async fn until_logged(&self, container: &str, text: &str) {
        let logged = |pod: &Pod| pod.said(container)?.contains(text).then_some(());
        self.until(&format!("{container} never says {text:?}"), logged).await;
    }

    /// The first process of a container, whose init may answer the hook before the kubelet has seen it run.
    pub(super) async fn first_process(&self, container: &str) -> u32 {
        self.until(&format!("{container} never runs"), |pod| pod.pid(container)).await
    }

    /// A process of a container by the container's own count, as its `/proc` shows it.
    pub(super) async fn process(&self, container: &str, pid: &str) -> PathBuf {
        let first = self.first_process(container).await;
        PathBuf::from(format!("/proc/{first}/root/proc/{}", pid.trim()))
    }

    /// Waits until a process of a container is no longer this program.
    pub(super) async fn until_gone(&self, container: &str, pid: &str, program: &str) {
        let command = self.process(container, pid).await.join("cmdline");
        let failure = format!("{program} lives on in {container}");
        self.until(&failure, |_| {
            let lives = fs::read_to_string(&command).is_ok_and(|line| line.contains(program));
            (!lives).then_some(())
        })
        .await;
    }

    /// Waits until the pod shows something; `failure` is said if it never does.
    async fn until<T>(&self, failure: &str, mut ask: impl FnMut(&Pod) -> Option<T>) -> T {
        let shown = async {
            loop {
                if let Some(shown) = ask(&self.pod) {
                    return shown;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = Duration::from_mins(1);
        tokio::time::timeout(patience, shown).await.unwrap_or_else(|_| panic!("{failure}"))
    }

    /// Starts a call.
    pub(super) async fn begin(&self, command: &str, args: &Value, state: &Value) -> Calling {
        let response = self.path(&format!("_work/_temp/{}.json", fastrand::u64(..)));
        fs::write(&response, "").unwrap();
        let request = json!({
            "command": command, "responseFile": response, "args": args, "state": state,
        });
        self.begin_with(&format!("{request}\n"), response).await
    }

    /// Starts a call with any input. The answer is expected in `response`.
    pub(super) async fn begin_with(&self, input: &str, response: PathBuf) -> Calling {
        let work = self.path("_work");
        let began = Instant::now();
        let mut child = Command::new(&self.hook[0])
            .args(&self.hook[1..])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", self.runner_tmp())
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("ACTIONS_RUNNER_POD_NAME", POD)
            .env("ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS", "60")
            .env("EPHEMON_VOLUME", self.path("ephemon"))
            .env("EPHEMON_STEP_SUMMARY", "true")
            .env("GITHUB_STEP_SUMMARY", self.path("summary"))
            .env("GITHUB_ACTION", "__run")
            .env("GITHUB_REPOSITORY", "o/r")
            .env("GITHUB_TOKEN", "ghs_not_for_the_spec")
            // Whose containers they are is then the test's to say; `standby` sets another number.
            .env("EPHEMON_STANDBY", "0")
            .env("RUNNER_TEMP", work.join("_temp"))
            .env("GITHUB_WORKSPACE", work.join("r/r"))
            .envs(self.env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A hook that was killed reads no more.
        drop(stdin.write_all(input.as_bytes()).await);
        Calling { child, response, began, read: Vec::new() }
    }

    /// A call from beginning to end.
    pub(super) async fn call(&self, command: &str, args: &Value, state: &Value) -> Called {
        self.begin(command, args, state).await.finish().await
    }

    /// Prepares a job of one container and no services.
    pub(super) async fn prepare(&self) -> Called {
        let args = json!({"container": {"image": "init"}, "services": []});
        let called = self.call("prepare_job", &args, &Value::Null).await;
        assert_eq!(called.code, 0, "{called:?}");
        called
    }

    /// The same; the job's state.
    pub(super) async fn prepared(&self) -> Value {
        self.prepare().await.json()["state"].clone()
    }

    /// A `prepare_job` whose answer cannot be written: the runner has no state of a job whose containers are
    /// there. The run that it sets is what the next `cleanup_job` finds them by.
    pub(super) async fn prepare_unanswered(&mut self, args: &Value) -> Called {
        self.set("GITHUB_RUN_ID", "7");
        self.set("GITHUB_RUN_ATTEMPT", "1");
        let answer = self.path("_work/_temp/gone/answer.json");
        let request = json!({"command": "prepare_job", "responseFile": answer, "args": args});
        self.begin_with(&request.to_string(), answer).await.finish().await
    }

    /// A script step of one line for `sh`.
    pub(super) fn script(&self, script: &str) -> Value {
        let name = format!("{}.sh", fastrand::u64(..));
        fs::write(self.path("_work/_temp").join(&name), script).unwrap();
        json!({
            "entryPoint": "sh", "entryPointArgs": ["-e", format!("/__w/_temp/{name}")],
            "environmentVariables": {"A": "from the step", "PASSWORD": "hunter2-secret"},
            "prependPath": [], "workingDirectory": "/__w/r/r",
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kubelet.abort();
        self.pod.kill();
    }
}

// === impl Calling ===

impl Calling {
    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Cancels it as actions/runner's `ProcessInvoker` does: a call that is not over 10 s after
    /// SIGINT is killed. One that was killed has said nothing of it.
    pub(super) async fn cancel(self) -> Called {
        let pid = self.child.id().unwrap();
        let takes_it = async {
            let takes_it = |text: String| {
                let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
                Some(u64::from_str_radix(mask.trim(), 16).unwrap() & 2 != 0)
            };
            let path = format!("/proc/{pid}/status");
            while fs::read_to_string(&path).ok().and_then(takes_it) != Some(true) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), takes_it).await.expect("it takes signals");
        self.signal(Signal::INT);
        let runner = tokio::spawn(async move {
            for (pause, signal) in [(7_500, Signal::TERM), (2_500, Signal::KILL)] {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                kill_process(pid, signal).ok();
            }
        });
        let called = self.finish().await;
        runner.abort();
        called
    }

    /// Reads standard output until it has this text.
    pub(super) async fn read_until(&mut self, text: &str) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let reading = async {
            while !String::from_utf8_lossy(&self.read).contains(text) {
                let count = stdout.read_buf(&mut self.read).await.unwrap();
                assert!(count > 0, "no {text:?} in {:?}", String::from_utf8_lossy(&self.read));
            }
        };
        tokio::time::timeout(Duration::from_mins(1), reading).await.expect("the text comes");
    }

    pub(super) async fn finish(mut self) -> Called {
        let mut stdout = std::mem::take(&mut self.read);
        let output = self.child.wait_with_output();
        let output = tokio::time::timeout(Duration::from_mins(2), output).await.unwrap().unwrap();
        let status = output.status;
        stdout.extend_from_slice(&output.stdout);
        Called {
            code: status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            // A step may have put anything in its place.
            response: Some(self.response)
                .filter(|response| response.is_file())
                .map_or_else(String::new, |response| fs::read_to_string(response).unwrap()),
            took: self.began.elapsed(),
        }
    }
}

// === impl Called ===

impl Called {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.response).unwrap()
    }
}
