//! The kubelet of the hook's rig: runs each ephemeral container of one pod once, as process 1 of
//! its own namespaces with the volumes its spec names, and answers for logs and exec. What an
//! image does is in its name.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use ephemon_demo::api::{Runtime, Store};
use serde_json::{Value, json};

pub(super) const POD: &str = "runner-1";
pub(super) const NAMESPACE: &str = "default";

/// Between two looks.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// Builds a container's root and becomes its command. Mounts are `NAME PATH`, a line each; the
/// user is `UID:GID` or empty.
const CONTAINER: &str = r#"
root=$1; pod=$2; mounts=$3; user=$4; options=$5; shift 5
mount -t tmpfs tmpfs "$root"
mkdir "$root/proc"; mount -t proc proc "$root/proc"
for name in usr etc dev sys; do mkdir "$root/$name"; mount --rbind "/$name" "$root/$name"; done
for name in bin sbin lib lib64; do [ ! -L "/$name" ] || cp -P "/$name" "$root/$name"; done
mkdir -m 1777 "$root/tmp"
printf '%s\n' "$mounts" | while read -r name path; do
  [ -n "$name" ] || continue
  mkdir -p "$root$path" "$pod/$name"
  mount --bind "$pod/$name" "$root$path"
  if [ "$name" = ephemon-bin ]; then mount -o "remount,bind,ro${options:+,$options}" "$root$path"; fi
done
mount --bind "$pod/hosts" "$root/etc/hosts"
[ -z "$user" ] || set -- --userspec="$user" "$root" "$@"
[ -n "$user" ] || set -- "$root" "$@"
exec chroot "$@"
"#;

/// What the API server's stand-in asks, and what tests look at.
#[derive(Debug)]
pub(super) struct Pod {
    store: Store,
    directory: PathBuf,
    containers: Mutex<Vec<Container>>,
    /// The processes that make namespaces of containers which are not shown yet; none once all is ended,
    /// after which nothing may start.
    starting: Mutex<Option<BTreeSet<u32>>>,
}

#[derive(Debug)]
struct Container {
    name: String,
    status: Value,
    /// Of its first process by this machine's count, while it runs.
    pid: Option<u32>,
    /// Of the process that made its namespaces, and takes them along.
    maker: Option<u32>,
    env: Vec<(String, String)>,
}

// === impl Pod ===

impl Pod {
    pub(super) fn new(store: Store, directory: &Path) -> Arc<Self> {
        Arc::new(Self {
            store,
            directory: directory.to_owned(),
            containers: Mutex::default(),
            starting: Mutex::new(Some(BTreeSet::new())),
        })
    }

    /// Starts every ephemeral container once.
    pub(super) async fn run(self: Arc<Self>) {
        let key = (NAMESPACE.to_owned(), POD.to_owned());
        let mut changes = self.store.changes();
        loop {
            changes.mark_unchanged();
            let pod = self.store.get(&key).unwrap();
            for container in pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten() {
                if self.status(container["name"].as_str().unwrap()).is_none() {
                    self.begin(container);
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Names of containers that are over, with their exit codes.
    pub(super) fn ended(&self) -> Vec<(String, i64)> {
        let containers = self.containers.lock().unwrap();
        let ended = containers.iter().filter_map(|container| {
            let code = container.status.pointer("/state/terminated/exitCode")?.as_i64()?;
            Some((container.name.clone(), code))
        });
        ended.collect()
    }

    /// The first process of a container that runs.
    pub(super) fn pid(&self, container: &str) -> Option<u32> {
        let containers = self.containers.lock().unwrap();
        containers.iter().find(|known| known.name == container)?.pid
    }

    /// What a container has said so far, in CRI's format, once it has a log.
    pub(super) fn said(&self, container: &str) -> Option<String> {
        fs::read_to_string(self.log_path(container)).ok()
    }

    /// Ends every container with all its processes, for good.
    pub(super) fn kill(&self) {
        for maker in self.starting.lock().unwrap().take().into_iter().flatten() {
            kill(maker);
        }
        for container in self.containers.lock().unwrap().iter() {
            // The first process by itself as well: one that became another user is not taken along.
            for pid in [container.pid, container.maker].into_iter().flatten() {
                kill(pid);
            }
        }
    }

    fn log_path(&self, container: &str) -> PathBuf {
        self.directory.join("roots").join(format!("{container}.log"))
    }

    fn status(&self, name: &str) -> Option<Value> {
        let containers = self.containers.lock().unwrap();
        containers.iter().find(|known| known.name == name).map(|known| known.status.clone())
    }

    fn begin(self: &Arc<Self>, container: &Value) {
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        self.publish(container["name"].as_str().unwrap(), &creating, None, Vec::new());
        let (pod, container) = (Arc::clone(self), container.clone());
        std::thread::spawn(move || {
            let late = container["image"].as_str().unwrap().starts_with("late");
            while late && !pod.directory.join("late").exists() {
                if !pod.directory.exists() {
                    return;
                }
                std::thread::sleep(PAUSE);
            }
            pod.start(&container);
        });
    }

    fn start(self: &Arc<Self>, container: &Value) {
        let name = container["name"].as_str().unwrap();
        let image = container["image"].as_str().unwrap().split(':').next().unwrap();
        let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
        let start_error = |message: &str| json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": message}});
        let has_init = container["command"][0].as_str().is_some_and(|path| path.ends_with("-init"));
        // As if the node's agent had put init in front.
        let asks_init = container["env"]
            .as_array()
            .is_some_and(|env| env.iter().any(|variable| variable["name"] == "EPHEMON_INIT"));
        let mut command = words(container, "command");
        let state = match image {
            "missing" => waiting("ErrImagePull", "manifest unknown"),
            "private" => waiting(
                "ImagePullBackOff",
                "Back-off pulling image: pull access denied, repository does not exist or may require authorization",
            ),
            "offline" => return self.tries(name),
            "never" => waiting("ErrImageNeverPull", "not present"),
            "broken" => start_error("no such file"),
            "foreign" if has_init || asks_init => {
                start_error("exec /ephemon/bin/ephemon-init: exec format error")
            }
            "mute" if has_init => {
                command = vec!["sleep".to_owned(), "1000".to_owned()];
                Value::Null
            }
            _ => Value::Null,
        };
        if !state.is_null() {
            return self.publish(name, &state, None, Vec::new());
        }
        let env = match self.env(container) {
            Ok(env) => env,
            Err(message) => {
                let state = waiting("CreateContainerConfigError", &message);
                return self.publish(name, &state, None, Vec::new());
            }
        };
        if command.is_empty() {
            // The image's own entrypoint: a shell that gets the arguments.
            command = ["sh", "-c", "eval \"$*\"", "sh"].map(str::to_owned).to_vec();
        }
        command.extend(words(container, "args"));
        let options = if image == "noexec" { "noexec" } else { "" };
        let mut child = {
            let mut starting = self.starting.lock().unwrap();
            let Some(starting) = starting.as_mut() else { return };
            let child = self.command(container, name, options, &command, &env).spawn().unwrap();
            starting.insert(child.id());
            child
        };
        let log = Arc::new(Mutex::new(fs::File::create(self.log_path(name)).unwrap()));
        let pipes: [(&str, Box<dyn Read + Send>); 2] = [
            ("stdout", Box::new(child.stdout.take().unwrap())),
            ("stderr", Box::new(child.stderr.take().unwrap())),
        ];
        let copies = pipes.map(|(stream, pipe)| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || copy(stream, pipe, &log))
        });
        let root = self.root(name);
        let first = loop {
            let first = first_process(child.id(), &root);
            if first.is_some() || child.try_wait().unwrap().is_some() {
                break first;
            }
            std::thread::sleep(PAUSE);
        };
        let state = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        self.publish(name, &state, first.map(|first| (first, child.id())), env);
        if let Some(starting) = &mut *self.starting.lock().unwrap() {
            starting.remove(&child.id());
        }
        let status = child.wait().unwrap();
        drop(copies.map(std::thread::JoinHandle::join));
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        let reason = if code == 0 { "Completed" } else { "Error" };
        let state = json!({"terminated": {"exitCode": code, "reason": reason}});
        self.publish(name, &state, None, Vec::new());
    }

    /// Tries to pull, as the kubelet tells of them: for longer than a hook waits, but no longer than the pod
    /// lives.
    fn tries(&self, name: &str) {
        for reason in ["ErrImagePull", "ImagePullBackOff"].into_iter().cycle().take(400) {
            if self.starting.lock().unwrap().is_none() {
                return;
            }
            let message = "dial tcp: lookup r.io: no such host";
            let state = json!({"waiting": {"reason": reason, "message": message}});
            self.publish(name, &state, None, Vec::new());
            // The kubelet's own pause is ten seconds. The hook sees the newest state only, and on a busy
            // machine not each: then it sees the next.
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
    }

    fn root(&self, name: &str) -> PathBuf {
        self.directory.join("roots").join(name)
    }

    fn command(
        &self,
        container: &Value,
        name: &str,
        options: &str,
        command: &[String],
        env: &[(String, String)],
    ) -> Command {
        let root = self.root(name);
        fs::create_dir(&root).unwrap();
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let mounts = mounts.map(|mount| {
            let name = match mount["name"].as_str().unwrap() {
                "work" => "_work",
                name => name,
            };
            format!("{name} {}\n", mount["mountPath"].as_str().unwrap())
        });
        let id = |field: &str| container["securityContext"][field].as_i64();
        let user = id("runAsUser").map(|uid| format!("{uid}:{}", id("runAsGroup").unwrap_or(0)));
        let mut process = Command::new("unshare");
        process.args(["-mpf", "--kill-child", "sh", "-euc", CONTAINER, "sh"]);
        process.arg(root).arg(&self.directory).arg(mounts.collect::<String>());
        process.arg(user.unwrap_or_default()).arg(options).args(command);
        process.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(env.iter().cloned());
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process
    }

    /// As the kubelet makes it; a Secret that is not there is an error.
    fn env(&self, container: &Value) -> Result<Vec<(String, String)>, String> {
        let mut env = Vec::new();
        for source in container["envFrom"].as_array().into_iter().flatten() {
            let secret = source["secretRef"]["name"].as_str().unwrap().to_owned();
            let values = self.store.secrets().values(&(NAMESPACE.to_owned(), secret.clone()));
            let values = values.ok_or_else(|| format!("secret {secret:?} not found"))?;
            env.extend(values.into_iter().map(|(k, v)| (k, String::from_utf8(v).unwrap())));
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let text = |field: &str| variable[field].as_str().unwrap().to_owned();
            env.push((text("name"), text("value").replace("$$", "$")));
        }
        Ok(env)
    }

    fn publish(
        &self,
        name: &str,
        state: &Value,
        pids: Option<(u32, u32)>,
        env: Vec<(String, String)>,
    ) {
        let (pid, maker) = pids.unzip();
        let status = json!({
            "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": state, "containerID": format!("containerd://{name}"),
        });
        let mut all = self.containers.lock().unwrap();
        let container = Container { name: name.to_owned(), status, pid, maker, env };
        match all.iter_mut().find(|known| known.name == name) {
            Some(old) => *old = container,
            None => all.push(container),
        }
        let statuses: Vec<&Value> = all.iter().map(|known| &known.status).collect();
        let key = (NAMESPACE.to_owned(), POD.to_owned());
        let status = json!({"phase": "Running", "ephemeralContainerStatuses": statuses});
        // Under the lock, so that the last word is the newest.
        self.store.set_status(&key, status).unwrap();
    }
}

impl Runtime for Pod {
    fn log(&self, _: &(String, String), container: &str) -> Option<PathBuf> {
        Some(self.log_path(container)).filter(|path| path.is_file())
    }

    fn is_running(&self, _: &(String, String), container: &str) -> bool {
        self.pid(container).is_some()
    }

    fn exec(
        &self,
        _: &(String, String),
        container: &str,
        command: &[String],
    ) -> std::io::Result<Command> {
        let containers = self.containers.lock().unwrap();
        let known = containers.iter().find(|known| known.name == container);
        let (pid, env) = known.and_then(|known| Some((known.pid?, &known.env))).unwrap();
        let mut process = Command::new("nsenter");
        process.args(["-t", &pid.to_string(), "-m", "-p", "-r", "-w", "--"]).args(command);
        process.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(env.iter().cloned());
        Ok(process)
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // One that has ended is ended.
    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL).ok();
}

/// The first process of the namespaces that `maker` made, once its root is the container's: before
/// that it must not be entered.
fn first_process(maker: u32, root: &Path) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{maker}/task/{maker}/children")).ok()?;
    let first: u32 = children.split_whitespace().next()?.parse().ok()?;
    let seen = fs::read_link(format!("/proc/{first}/root")).ok()?;
    (seen == root).then_some(first)
}

fn words(container: &Value, field: &str) -> Vec<String> {
    let list = container[field].as_array().into_iter().flatten();
    list.map(|word| word.as_str().unwrap().replace("$$", "$")).collect()
}

/// Writes CRI's format.
fn copy(stream: &str, pipe: impl Read, log: &Mutex<fs::File>) {
    let mut lines = BufReader::with_capacity(64 * 1024, pipe);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let tag = if line.ends_with(b"\n") { "F" } else { "P" };
        let mut record = format!("2026-01-01T00:00:00.000000000Z {stream} {tag} ").into_bytes();
        record.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(&line));
        record.push(b'\n');
        log.lock().unwrap().write_all(&record).unwrap();
        line.clear();
    }
}
