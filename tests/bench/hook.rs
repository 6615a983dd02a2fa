//! What the hook and its init cost, beside the plain process in the same run.
//!
//! `cargo bench --bench hook` (needs root, for namespaces). Takes half a minute. With `--target` and
//! the flags of deploy/Dockerfile the programs are measured as they are shipped, static.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    dead_code,
    reason = "a program that prints figures, on the test rig, of which it uses a part"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ephemon_demo::api::PatchKind;
use serde_json::{Value, json};

#[path = "../it/hook/pod.rs"]
mod pod;
#[path = "../it/hook/rig.rs"]
mod rig;
#[path = "../it/support"]
mod support {
    pub(crate) mod cgroups;
    pub(crate) mod executable;
    pub(crate) mod parts;
    pub(crate) mod process;
    pub(crate) mod programs;
}

use pod::{NAMESPACE, POD};
use rig::Rig;

use crate::support::programs;

const STARTS: usize = 200;
const STEPS: usize = 150;
const JOBS: usize = 10;
const LOUD: u64 = 100_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(mut rig) = Rig::start().await else { return };
    starts();
    let state = rig.prepared().await;
    memory(&rig, "idle");
    let plain = steps(&rig, &state).await;
    memory(&rig, &format!("after {STEPS} steps"));
    collectors(&mut rig, &state, plain).await;
    loud(&rig, &state).await;
    memory(&rig, &format!("after {} MB of output", LOUD / 1_000_000));
    jobs(&rig).await;
    let size = fs::metadata(programs::init()).unwrap().len();
    println!("init: {:.2} MiB on disk", size as f64 / (1024.0 * 1024.0));
}

/// From nothing to the first line, and the same of a program that does nothing.
fn starts() {
    let start = |program: &Path, argument: &str| {
        let took = (0..STARTS).map(|_| {
            let began = Instant::now();
            let status =
                Command::new(program).env_clear().arg(argument).stdout(Stdio::null()).status();
            assert!(status.unwrap().success());
            began.elapsed()
        });
        median(took.collect())
    };
    let (hook, plain) = (start(programs::hook(), "--version"), start(Path::new("true"), ""));
    println!("start: hook {} ms, `true` {} ms (budget 5 ms)", ms(hook), ms(plain));
}

/// A step that does nothing, by the hook and by itself; the median of the plain one.
async fn steps(rig: &Rig, state: &Value) -> Duration {
    let step = rig.script("exit 0");
    let script = rig.path("_work/_temp").join("plain.sh");
    fs::write(&script, "exit 0").unwrap();
    let (mut by_hook, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        let called = rig.call("run_script_step", &step, state).await;
        assert_eq!(called.code, 0, "{called:?}");
        by_hook.push(called.took);
        let began = Instant::now();
        let status = tokio::process::Command::new("sh")
            .args(["-e", script.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output();
        assert!(status.await.unwrap().status.success());
        plain.push(began.elapsed());
    }
    let (by_hook, plain) = (median(by_hook), median(plain));
    println!(
        "script step: {} ms, the process itself {} ms, on top {} ms (budget 20 ms)",
        ms(by_hook),
        ms(plain),
        ms(by_hook.saturating_sub(plain))
    );
    plain
}

/// The same step while spans go nowhere.
async fn collectors(rig: &mut Rig, state: &Value, plain: Duration) {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let step = rig.script("exit 0");
    for (name, address) in [("dead", gone), ("silent", silent.local_addr().unwrap())] {
        rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"));
        let mut took = Vec::new();
        for _ in 0..20 {
            took.push(rig.call("run_script_step", &step, state).await.took);
        }
        let first = took[0].saturating_sub(plain);
        let next = median(took.split_off(1)).saturating_sub(plain);
        println!(
            "with a {name} collector: first step {} ms on top, next {} ms",
            ms(first),
            ms(next)
        );
    }
    rig.env.clear();
}

async fn loud(rig: &Rig, state: &Value) {
    let line = "x".repeat(99);
    let step = rig.script(&format!("yes {line} | head -c {LOUD}"));
    let called = rig.call("run_script_step", &step, state).await;
    assert_eq!(called.code, 0);
    println!("output: {:.0} MB/s", LOUD as f64 / 1e6 / called.took.as_secs_f64());
}

/// `prepare_job`, and the kubelet's part of it: from the patch to an init that listens.
async fn jobs(rig: &Rig) {
    let (mut by_hook, mut plain) = (Vec::new(), Vec::new());
    let args = json!({"container": {"image": "init"}});
    let key = (NAMESPACE.to_owned(), POD.to_owned());
    for number in 0..JOBS {
        let called = rig.call("prepare_job", &args, &Value::Null).await;
        assert_eq!(called.code, 0, "{called:?}");
        by_hook.push(called.took);
        let pod = rig.api.store().get(&key).unwrap();
        let mut container = pod["spec"]["ephemeralContainers"][0].clone();
        let name = format!("plain-{number}");
        container["name"] = json!(name);
        for variable in container["env"].as_array_mut().unwrap() {
            if variable["name"] == "EPHEMON_CONTAINER" {
                variable["value"] = json!(name);
            }
        }
        let socket = rig.path("ephemon/run").join(format!("{name}.sock"));
        let began = Instant::now();
        let patch = json!({"spec": {"ephemeralContainers": [container]}});
        rig.api.store().patch_ephemeral(&key, PatchKind::Strategic, &patch).unwrap();
        while !socket.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        plain.push(began.elapsed());
    }
    let (by_hook, plain) = (median(by_hook), median(plain));
    println!(
        "prepare_job: {} ms, the kubelet's part {} ms, on top {} ms (budget 50 ms)",
        ms(by_hook),
        ms(plain),
        ms(by_hook.saturating_sub(plain))
    );
}

fn memory(rig: &Rig, when: &str) {
    let pid = rig.pod.pid("job").unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    };
    println!(
        "init {when}: {:.2} MiB resident ({:.2} MiB its own), at most {:.2} MiB (budget 2 MB)",
        field("VmRSS:"),
        field("RssAnon:"),
        field("VmHWM:")
    );
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

fn ms(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e3)
}
