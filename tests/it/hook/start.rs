//! How the runner starts the hook: by its own Node.js and `hook.js`, or by `bash` and `hook.sh`,
//! with a PATH that begins with what steps have added to `GITHUB_PATH`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::rig::Rig;
use super::wait_for;
use crate::support::executable;

pub(super) const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// The runner brings its own; here it is the machine's.
pub(super) fn node() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|at| at.join("node")).find(|node| node.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must have Node.js");
        eprintln!("skipped: there is no Node.js here");
    }
    found
}

/// A volume with the scripts as they are installed, and another program in the hook's place.
fn volume(program: &str) -> tempfile::TempDir {
    let volume = tempfile::tempdir().unwrap();
    let bin = volume.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for (from, to) in [
        ("hook.js", "hook.js"),
        ("hook.package.json", "package.json"),
        ("hook.sh", "hook.sh"),
        ("summary.js", "summary.js"),
    ] {
        fs::copy(Path::new(DEPLOY).join(from), bin.join(to)).unwrap();
    }
    runnable(&bin.join("ephemon-hook"), program);
    volume
}

fn runnable(path: &Path, script: &str) {
    executable::write(path, format!("#!/bin/sh\n{script}\n").as_bytes());
}

/// As the runner does it: `INTERPRETER [ARGUMENT] SCRIPT` in the workspace.
fn start(words: &[&Path], path: &str) -> Child {
    let mut process = Command::new(words[0]);
    process.args(&words[1..]).env_clear().env("PATH", path).env("TOLD", "by the runner");
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    process.kill_on_drop(true).spawn().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

async fn play(volume: &Path, node: &Path, input: &str) -> (Option<i32>, String, String) {
    let mut child = start(&[node, &volume.join("bin/hook.js")], "/evil:/usr/bin:/bin");
    let mut stdin = child.stdin.take().unwrap();
    let told = async move {
        // A program that reads nothing may be gone already.
        drop(stdin.write_all(input.as_bytes()).await);
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), told);
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn input_output_environment_and_exit_code_pass_through_and_the_path_is_clean() {
    let Some(node) = node() else { return };
    let volume = volume("cat; echo \"$TOLD|$PATH\"; echo error >&2; exit 42");
    let long = "x".repeat(1_000_000);
    let (code, stdout, stderr) = play(volume.path(), &node, &long).await;
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(stdout.strip_prefix(&long), Some(&*format!("by the runner|{path}\n")));
    assert_eq!((code, stderr.as_str()), (Some(42), "error\n"));
}

#[tokio::test]
async fn a_hook_that_a_signal_ended_or_that_is_not_there_is_a_failure() {
    let Some(node) = node() else { return };
    for (signal, code) in [("KILL", 137), ("TERM", 143)] {
        let volume = volume(&format!("kill -{signal} $$"));
        assert_eq!(play(volume.path(), &node, "").await.0, Some(code));
    }
    let volume = volume("");
    fs::remove_file(volume.path().join("bin/ephemon-hook")).unwrap();
    let (code, stdout, _) = play(volume.path(), &node, "").await;
    assert!(code == Some(1) && stdout.starts_with("::error::the container hook"), "{stdout}");
}

#[tokio::test]
async fn the_runners_signals_are_the_hooks() {
    let Some(node) = node() else { return };
    let script = "trap 'echo interrupt' INT; trap 'echo terminate; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let volume = volume(script);
    let mut child = start(&[&node, &volume.path().join("bin/hook.js")], "/usr/bin:/bin");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    for next in [Some(Signal::INT), Some(Signal::TERM), None] {
        let line = tokio::time::timeout(Duration::from_mins(1), lines.next_line()).await;
        said.push(line.unwrap().unwrap().unwrap());
        if let Some(next) = next {
            signal(&child, next);
        }
    }
    assert_eq!(said, ["ready", "interrupt", "terminate"]);
    assert_eq!(child.wait().await.unwrap().code(), Some(5));
}

/// A step writes programs into the workspace and that directory into `GITHUB_PATH`: at the next call
/// the runner would look there for the hook's interpreter.
#[tokio::test]
async fn a_job_cannot_put_a_program_of_its_own_in_the_hooks_place() {
    let Some(node) = node() else { return };
    let volume = volume("echo the hook");
    let evil = tempfile::tempdir().unwrap();
    for name in ["bash", "sh", "node", "env", "ephemon-hook"] {
        runnable(&evil.path().join(name), "echo stolen");
    }
    let path = format!("{}:/usr/bin:/bin", evil.path().display());
    let played = async |words: &[&Path]| {
        let output = start(words, &path).wait_with_output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // What the runner finds first by the name `bash`.
    let found = std::env::split_paths(&path).map(|at| at.join("bash")).find(|bash| bash.is_file());
    let (bash, script) = (found.unwrap(), volume.path().join("bin/hook.sh"));
    assert_eq!(played(&[&bash, Path::new("-e"), &script]).await, "stolen\n");
    let script = volume.path().join("bin/hook.js");
    assert_eq!(played(&[&node, &script]).await, "the hook\n");
}

/// The directory above `bin` is a volume that jobs can write to.
#[tokio::test]
async fn node_reads_no_package_json_that_a_job_wrote() {
    let Some(node) = node() else { return };
    let volume = volume("echo the hook");
    fs::write(volume.path().join("package.json"), r#"{"type": "module"}"#).unwrap();
    assert_eq!(play(volume.path(), &node, "").await.1, "the hook\n");
    fs::remove_file(volume.path().join("bin/package.json")).unwrap();
    assert_ne!(play(volume.path(), &node, "").await.1, "the hook\n");
}

#[tokio::test]
async fn a_step_is_cancelled_through_the_starter_and_ends_with_it() {
    let (Some(node), Some(mut rig)) = (node(), Rig::start().await) else { return };
    let bin = rig.path("ephemon-bin");
    fs::copy(Path::new(DEPLOY).join("hook.js"), bin.join("hook.js")).unwrap();
    fs::copy(Path::new(DEPLOY).join("hook.package.json"), bin.join("package.json")).unwrap();
    rig.hook = vec![node, bin.join("hook.js")];
    let state = rig.prepared().await;
    let step = rig.call("run_script_step", &rig.script("echo $A; exit 9"), &state).await;
    assert!(step.code == 9 && step.stdout.starts_with("from the step\n"), "{step:?}");

    let script =
        "trap 'echo tidied; exit 5' INT; echo ready > /__w/ready; while :; do sleep 0.05; done";
    let step = rig.begin("run_script_step", &rig.script(script), &state).await;
    wait_for(&rig.path("_work/ready")).await;
    step.signal(Signal::INT);
    let called = step.finish().await;
    assert!(called.code == 5 && called.stdout.contains("tidied"), "{called:?}");

    // Killed by the kernel for want of memory, for one.
    let script = "echo $$ > /__w/pid; exec sleep 1000";
    let step = rig.begin("run_script_step", &rig.script(script), &state).await;
    wait_for(&rig.path("_work/pid")).await;
    step.signal(Signal::KILL);
    assert_eq!(step.finish().await.code, 137);
    let pid = fs::read_to_string(rig.path("_work/pid")).unwrap();
    rig.until_gone("job", &pid, "sleep").await;
    let next = rig.call("run_script_step", &rig.script("echo on"), &state).await;
    assert_eq!((next.code, next.stdout.as_str()), (0, "on\n"), "{next:?}");
    let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
}
