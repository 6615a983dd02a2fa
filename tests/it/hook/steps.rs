//! Hard steps: many, long, loud, stubborn, and those that leave something behind.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::rig::{Called, Rig};
use super::{again_if, wait_for};
use crate::support::process::memory;

/// The most memory a process has had, in KiB.
fn peak(pid: u32) -> Option<u64> {
    Some(memory(pid, "VmHWM")? / 1024)
}

#[tokio::test]
async fn a_step_that_ignores_every_signal_is_over_before_the_runner_kills_the_hook() {
    // Init has 0.7 s to kill it and to say so; then the hook gives up, 0.8 s before the runner kills it. On a
    // busy machine that may be too little, but not every time. A hook that the runner kills has said nothing,
    // unless it is killed between its sentence and its end.
    let is_late = |(_, called): &(Rig, Called)| {
        let has_given_up = called.stdout.contains("the step was cancelled but did not end in time");
        match called.code {
            143 => has_given_up,
            137 => has_given_up || !called.stdout.contains("::error::"),
            _ => false,
        }
    };
    let called = again_if(is_late, async || {
        let rig = Rig::start().await?;
        let state = rig.prepared().await;
        let script = "trap '' INT TERM; echo $$ > /__w/ready; while :; do sleep 0.1; done";
        let step = rig.begin("run_script_step", &rig.script(script), &state).await;
        wait_for(&rig.path("_work/ready")).await;
        let called = step.cancel().await;
        Some((rig, called))
    });
    let Some((rig, called)) = called.await else { return };
    let sentence = "::error::the step was cancelled\n";
    assert!(called.code == 137 && called.stdout.contains(sentence), "{called:?}");
    let step = fs::read_to_string(rig.path("_work/ready")).unwrap();
    let command = rig.process("job", &step).await.join("cmdline");
    assert_eq!(fs::read_to_string(command).unwrap_or_default(), "");
}

#[tokio::test]
async fn a_hundred_steps_in_a_row_leave_init_as_it_was() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let init = rig.first_process("job").await;
    let mut after_ten = 0;
    for number in 0..100 {
        let code = number % 3;
        let step = rig.script(&format!("echo {number}; exit {code}"));
        let called = rig.call("run_script_step", &step, &state).await;
        assert_eq!(called.code, code, "{called:?}");
        assert!(called.stdout.starts_with(&format!("{number}\n")), "{called:?}");
        if number == 10 {
            after_ten = peak(init).unwrap();
        }
    }
    let grown = peak(init).unwrap().saturating_sub(after_ten);
    assert!(grown < 1024, "{grown} KiB more after a hundred steps");
    let descriptors = fs::read_dir(format!("/proc/{init}/fd")).unwrap().count();
    assert!(descriptors < 32, "{descriptors}");
}

#[tokio::test]
async fn two_hundred_megabytes_of_output_pass_through_little_memory() {
    const BYTES: u64 = 200_000_000;
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let init = rig.first_process("job").await;
    let line = "x".repeat(99);
    let script = rig.script(&format!("yes {line} | head -c {BYTES}"));
    let mut step = rig.begin("run_script_step", &script, &state).await;
    let hook = step.child.id().unwrap();
    let mut stdout = step.child.stdout.take().unwrap();
    let (mut count, mut most, mut buffer) = (0, 0, vec![0; 256 * 1024]);
    loop {
        let read = stdout.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        count += read as u64;
        most = peak(hook).unwrap_or(most);
    }
    assert_eq!((step.finish().await.code, count), (0, BYTES));
    assert!((1..64 * 1024).contains(&most), "hook: {most} KiB");
    let most = peak(init).unwrap();
    assert!(most < 24 * 1024, "init: {most} KiB");
}

#[tokio::test]
async fn daemons_neither_hold_their_step_up_nor_die_with_it() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let script = "sleep 1000 & echo $! > /__w/one\nsetsid sh -c 'echo $$ > /__w/two; exec sleep 1000' &\nwhile ! test -s /__w/two; do sleep 0.02; done; echo left";
    let step = rig.call("run_script_step", &rig.script(script), &state).await;
    assert_eq!((step.code, step.stdout.as_str()), (0, "left\n"), "{step:?}");
    let script = "for f in /__w/one /__w/two; do kill $(cat $f) && echo lived; done";
    let step = rig.call("run_script_step", &rig.script(script), &state).await;
    assert_eq!((step.code, step.stdout.as_str()), (0, "lived\nlived\n"), "{step:?}");
}

#[tokio::test]
async fn a_step_that_closes_its_output_still_ends_by_itself() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let script = "echo last; exec >&- 2>&-; sleep 0.5; exit 3";
    let step = rig.call("run_script_step", &rig.script(script), &state).await;
    assert!(step.code == 3 && step.stdout.starts_with("last\n::error::"), "{step:?}");
}

#[tokio::test]
async fn a_hook_killed_in_a_container_step_ends_the_container() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let args = json!({
        "image": "init", "entryPoint": "sh",
        "entryPointArgs": ["-c", "\"echo", ">", "/__w/in;", "echo", "x", ">", "/__w/in;", "sleep", "1000\""],
    });
    let step = rig.begin("run_container_step", &args, &state).await;
    wait_for(&rig.path("_work/in")).await;
    step.signal(Signal::KILL);
    assert_eq!(step.finish().await.code, 137);
    rig.until_ended("step").await;
    assert!(rig.pod.pid("job").is_some());
}

#[tokio::test]
async fn what_a_killed_prepare_left_is_ended_by_a_cleanup_without_state() {
    let Some(mut rig) = Rig::start().await else { return };
    rig.set("GITHUB_RUN_ID", "7");
    rig.set("GITHUB_RUN_ATTEMPT", "1");
    let service = json!({
        "image": "slow", "entryPoint": "sleep", "entryPointArgs": ["1000"],
        "createOptions": "--health-cmd false --health-retries 1000",
    });
    let own = json!({"image": "own", "entryPointArgs": ["sleep 1000"], "environmentVariables": {"A": "b"}});
    let args = json!({"container": {"image": "init"}, "services": [service, own]});
    let prepare = rig.begin("prepare_job", &args, &Value::Null).await;
    for name in ["job", "slow"] {
        let socket = rig.path("ephemon/run").join(format!("{name}.sock"));
        while !socket.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    prepare.signal(Signal::KILL);
    assert_eq!(prepare.finish().await.code, 137);
    let cleaned = rig.call("cleanup_job", &json!({}), &Value::Null).await;
    assert_eq!((cleaned.code, cleaned.response.as_str()), (0, "{}"), "{cleaned:?}");
    for name in ["job", "slow"] {
        rig.until_ended(name).await;
    }
    assert!(rig.api.store().secrets().names().is_empty());
    assert!(!rig.runner_tmp().read_dir().unwrap().any(|_| true), "the token must be forgotten");
}

#[tokio::test]
async fn the_token_of_a_job_is_kept_beside_only_until_the_runner_has_it() {
    let Some(rig) = Rig::start().await else { return };
    rig.prepared().await;
    assert!(!rig.runner_tmp().read_dir().unwrap().any(|_| true));
}

#[tokio::test]
async fn a_hook_killed_before_it_asked_or_in_cleanup_does_no_harm() {
    let Some(rig) = Rig::start().await else { return };
    rig.api.faults().set(ephemon_demo::api::Fault::Hang);
    let args = json!({"container": {"image": "init"}});
    let before = rig.api.faults().requests();
    let prepare = rig.begin("prepare_job", &args, &Value::Null).await;
    rig.until_asked(before, 1).await;
    prepare.signal(Signal::KILL);
    assert_eq!(prepare.finish().await.code, 137);
    rig.api.faults().set(ephemon_demo::api::Fault::None);
    assert!(!rig.spec().contains("ephemeralContainers"), "{}", rig.spec());
    let state = rig.prepared().await;
    let cleanup = rig.begin("cleanup_job", &json!({}), &state).await;
    cleanup.signal(Signal::KILL);
    cleanup.finish().await;
    let again = rig.call("cleanup_job", &json!({}), &state).await;
    assert_eq!(again.code, 0, "{again:?}");
    rig.until_ended("job").await;
}
