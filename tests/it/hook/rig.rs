//! A runner's pod for the hook: the API stand-in, a kubelet of few words that runs the real init
//! in a mount namespace of its own, and the runner's side of the protocol.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ephemon::demo::api::{ApiServer, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

pub(super) const POD: &str = "runner-1";
const NAMESPACE: &str = "default";

/// Builds a container's root and becomes its command.
const CONTAINER: &str = r#"
root=$1; pod=$2; shift 2
mount -t tmpfs tmpfs "$root"
for name in usr etc proc dev sys; do mkdir "$root/$name"; mount --rbind "/$name" "$root/$name"; done
for name in bin sbin lib lib64; do [ ! -L "/$name" ] || cp -P "/$name" "$root/$name"; done
mkdir "$root/tmp" "$root/__w" "$root/__e" "$root/github" "$root/ephemon"
mount --bind "$pod/_work" "$root/__w"
mount --bind "$pod/github" "$root/github"
mount --bind "$pod/ephemon" "$root/ephemon"
mount --bind "$pod/hosts" "$root/etc/hosts"
exec chroot "$root" "$@"
"#;

/// Everything of one pod.
pub(super) struct Rig {
    pub(super) api: ApiServer,
    pub(super) directory: TempDir,
    kubelet: JoinHandle<()>,
    statuses: Statuses,
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
}

type Statuses = Arc<Mutex<Vec<Value>>>;

// === impl Rig ===

impl Rig {
    /// None where namespaces cannot be made; says so.
    pub(super) async fn start() -> Option<Self> {
        let able = std::process::Command::new("unshare").args(["-m", "true"]).output();
        if !able.is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "CI must be able to make mount namespaces");
            eprintln!("skipped: no mount namespace can be made here");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["_work/_temp/_runner_file_commands", "_work/r/r", "github", "ephemon/bin"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["ephemon/run", "ephemon/journal", "roots"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("hosts"), "127.0.0.1 localhost\n").unwrap();
        for (program, name) in [
            (env!("CARGO_BIN_EXE_ephemon-init"), "ephemon-init"),
            (env!("CARGO_BIN_EXE_ephemon-hook"), "ephemon-hook"),
        ] {
            fs::copy(program, at("ephemon/bin").join(name)).unwrap();
        }
        let store = Store::new("node", 1000);
        let volume = |name: &str| json!({"name": name, "emptyDir": {}});
        let volumes: Vec<Value> =
            ["work", "externals", "github", "ephemon"].into_iter().map(volume).collect();
        let pod = json!({
            "metadata": {"name": POD},
            "spec": {
                "containers": [{"name": "runner", "image": "runner"}],
                "volumes": volumes,
                "nodeName": "node",
            },
        });
        store.create(NAMESPACE, pod).unwrap();
        let api = ApiServer::start(store.clone()).await.unwrap();
        api.write_kubeconfig(&at("kubeconfig")).unwrap();
        let statuses = Statuses::default();
        let kubelet =
            tokio::spawn(run_kubelet(store, directory.path().to_owned(), Arc::clone(&statuses)));
        Some(Self { api, directory, kubelet, statuses })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The pod's spec as text.
    pub(super) fn spec(&self) -> String {
        let key = (NAMESPACE.to_owned(), POD.to_owned());
        self.api.store().get(&key).unwrap()["spec"].to_string()
    }

    /// Names of containers that are over, with their exit codes.
    pub(super) fn ended(&self) -> Vec<(String, i64)> {
        let statuses = self.statuses.lock().unwrap();
        let ended = statuses.iter().filter_map(|status| {
            let code = status.pointer("/state/terminated/exitCode")?.as_i64()?;
            Some((status["name"].as_str()?.to_owned(), code))
        });
        ended.collect()
    }

    /// Starts a call.
    pub(super) async fn begin(&self, command: &str, args: &Value, state: &Value) -> Calling {
        let response = self.path(&format!("_work/_temp/{}.json", fastrand::u64(..)));
        fs::write(&response, "").unwrap();
        let request = json!({
            "command": command, "responseFile": response, "args": args, "state": state,
        });
        let work = self.path("_work");
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ephemon-hook"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("ACTIONS_RUNNER_POD_NAME", POD)
            .env("ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS", "5")
            .env("EPHEMON_VOLUME", self.path("ephemon"))
            .env("EPHEMON_STEP_SUMMARY", "true")
            .env("GITHUB_STEP_SUMMARY", self.path("summary"))
            .env("GITHUB_ACTION", "__run")
            .env("GITHUB_REPOSITORY", "o/r")
            .env("GITHUB_TOKEN", "ghs_not_for_the_spec")
            .env("RUNNER_TEMP", work.join("_temp"))
            .env("GITHUB_WORKSPACE", work.join("r/r"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A hook that was killed reads no more.
        drop(stdin.write_all(format!("{request}\n").as_bytes()).await);
        Calling { child, response, began }
    }

    /// A call from beginning to end.
    pub(super) async fn call(&self, command: &str, args: &Value, state: &Value) -> Called {
        self.begin(command, args, state).await.finish().await
    }

    /// Prepares a job of one container and no services; its state.
    pub(super) async fn prepared(&self) -> Value {
        let args = json!({"container": {"image": "init"}, "services": []});
        let called = self.call("prepare_job", &args, &Value::Null).await;
        assert_eq!(called.code, 0, "{called:?}");
        called.json()["state"].clone()
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
    }
}

// === impl Calling ===

impl Calling {
    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(super) async fn finish(self) -> Called {
        let output = self.child.wait_with_output();
        let output = tokio::time::timeout(Duration::from_mins(2), output).await.unwrap().unwrap();
        let status = output.status;
        Called {
            code: status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            response: fs::read_to_string(self.response).unwrap(),
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

/// Starts every ephemeral container once. What an image does is in its name.
async fn run_kubelet(store: Store, directory: PathBuf, statuses: Statuses) {
    let key = (NAMESPACE.to_owned(), POD.to_owned());
    let mut changes = store.changes();
    loop {
        changes.mark_unchanged();
        let pod = store.get(&key).unwrap();
        for container in pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten() {
            let name = container["name"].as_str().unwrap().to_owned();
            if statuses.lock().unwrap().iter().any(|status| status["name"] == name.as_str()) {
                continue;
            }
            let image = container["image"].as_str().unwrap();
            let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
            let state = match image.split(':').next().unwrap() {
                "missing" => waiting("ErrImagePull", "manifest unknown"),
                "never" => waiting("ErrImageNeverPull", "not present"),
                "broken" => {
                    json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}})
                }
                _ => json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
            };
            let runs = state.get("running").is_some();
            publish(&store, &statuses, &name, &state);
            if runs {
                let child = start(&directory, container);
                let (store, statuses, name) = (store.clone(), Arc::clone(&statuses), name.clone());
                tokio::spawn(async move {
                    let code = child.await;
                    let reason = if code == 0 { "Completed" } else { "Error" };
                    let state = json!({"terminated": {"exitCode": code, "reason": reason}});
                    publish(&store, &statuses, &name, &state);
                });
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn publish(store: &Store, statuses: &Statuses, name: &str, state: &Value) {
    let status = json!({
        "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": state, "containerID": format!("containerd://{name}"),
    });
    let mut all = statuses.lock().unwrap();
    match all.iter_mut().find(|status| status["name"] == name) {
        Some(old) => *old = status,
        None => all.push(status),
    }
    let key = (NAMESPACE.to_owned(), POD.to_owned());
    let status = json!({"phase": "Running", "ephemeralContainerStatuses": *all});
    drop(all);
    store.set_status(&key, status).unwrap();
}

/// Runs a container's command in its own root; its exit code.
fn start(directory: &Path, container: &Value) -> impl Future<Output = i32> + Send + use<> {
    let words = |field: &str| -> Vec<String> {
        let list = container[field].as_array().into_iter().flatten();
        list.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut command = words("command");
    if command.is_empty() {
        // The image's own entrypoint: a shell that gets the arguments.
        command = vec!["sh".to_owned(), "-c".to_owned(), "eval \"$*\"".to_owned(), "sh".to_owned()];
    }
    command.extend(words("args"));
    let root = directory.join("roots").join(container["name"].as_str().unwrap());
    fs::create_dir(&root).unwrap();
    let mut process = Command::new("unshare");
    process.args(["-m", "sh", "-euc", CONTAINER, "sh"]).arg(&root).arg(directory).args(&command);
    process.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").kill_on_drop(true);
    for variable in container["env"].as_array().into_iter().flatten() {
        process.env(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
    }
    let log = fs::File::create(
        directory.join("roots").join(format!("{}.log", container["name"].as_str().unwrap())),
    )
    .unwrap();
    process.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let mut child = process.spawn().unwrap();
    async move {
        let status = child.wait().await.unwrap();
        status.code().unwrap_or(137)
    }
}
