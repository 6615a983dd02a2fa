//! Containers that stand by for container actions: who takes them, and who does not.

mod job;

use std::fs;

use ephemon_demo::api::{Answer, Rule};
use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::rig::{Called, Rig};
use super::{again_if, until};
use job::{
    action, containers, given_up, had_no_time, names, rig, standing_by, standing_by_beside, told,
    until_ready, until_taken, used,
};

#[tokio::test]
async fn steps_take_what_stands_by_and_nothing_of_them_is_in_a_spec() {
    let all = ["job", "standby", "standby-2", "standby-3", "standby-4"];
    // The hook tells only of what it finds at once, and a step that is over does not wait for long for what
    // is behind it. On a busy machine both may come too late.
    let is_late =
        |(told, given_up): &(Option<String>, Vec<String>)| told.is_none() || !given_up.is_empty();
    let seen = again_if(is_late, async || {
        let (rig, state) = standing_by(2, &["tool", "tool", "tool", "other"]).await?;
        let made = [("job", "job"), ("standby", "standby"), ("standby-2", "standby")];
        let made = made.map(|(name, role)| (name.to_owned(), role.to_owned()));
        assert_eq!(containers(&rig), made);
        until_ready(&rig, "standby").await;
        let script = "echo $INPUT_X in $PWD $CI; env | grep -c EPHEMON_CONTAINER; exit 4";
        let called = rig.call("run_container_step", &action("tool", script), &state).await;
        assert_eq!(called.code, 4, "{called:?}");
        assert!(called.stdout.contains("of the step in /__w/r/r no\n0\n"), "{called:?}");
        rig.until_ended("standby").await;
        assert!(rig.pod.ended().contains(&("standby".to_owned(), 4)), "{:?}", rig.pod.ended());
        let after_one = names(&rig);
        for image in ["tool", "tool", "other"] {
            let called = rig.call("run_container_step", &action(image, "true"), &state).await;
            assert_eq!(called.code, 0, "{called:?}");
        }
        let (told, given_up, used) = (told(&rig), given_up(&rig), used(&rig));
        // An agent may pull them beside the job's own.
        assert!(told.as_deref().is_none_or(|told| told == "tool other"), "{told:?}");
        if given_up.is_empty() {
            // Behind the first step is one for the third, and behind the second one for the last. Then there
            // is no step left to stand by for.
            assert_eq!(after_one, all[..4]);
            assert_eq!(names(&rig), all);
            assert_eq!(used, all[1..]);
        } else {
            assert_eq!(used[..2], all[1..3]);
            assert!(used.iter().all(|one| !given_up.contains(one)), "{used:?}, {given_up:?}");
        }
        let spec = rig.spec();
        for text in ["hunter2", "of the step", "INPUT_X"] {
            assert!(!spec.contains(text), "{text}");
        }
        assert_eq!(rig.call("cleanup_job", &json!({}), &state).await.code, 0);
        rig.until_ended("job").await;
        assert!(!rig.runner_tmp().read_dir().unwrap().any(|_| true), "the book must be forgotten");
        Some((told, given_up))
    });
    let Some(seen) = seen.await else { return };
    assert!(!is_late(&seen), "{seen:?}");
}

#[tokio::test]
async fn what_no_step_took_ends_with_the_job_and_is_no_failure() {
    let Some((rig, state)) = standing_by(3, &["tool", "tool", "late"]).await else { return };
    until_ready(&rig, "standby").await;
    until_ready(&rig, "standby-2").await;
    let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    for container in ["standby", "standby-2"] {
        rig.until_ended(container).await;
        assert!(rig.pod.ended().contains(&(container.to_owned(), 0)), "{:?}", rig.pod.ended());
    }
    // What starts only then ends at once.
    fs::write(rig.path("late"), "").unwrap();
    rig.until_ended("standby-3").await;
    assert!(rig.pod.ended().contains(&("standby-3".to_owned(), 0)), "{:?}", rig.pod.ended());
}

#[tokio::test]
async fn without_the_setting_all_is_as_before() {
    let Some(rig) = rig(0, &["tool", "tool"]).await else { return };
    let state = rig.prepared().await;
    for _ in 0..2 {
        assert_eq!(rig.call("run_container_step", &action("tool", "true"), &state).await.code, 0);
    }
    assert_eq!(names(&rig), ["job", "step", "step-2"]);
    assert_eq!(told(&rig), None);
    assert!(!rig.runner_tmp().join(".ephemon-runner-1.standby").exists());
}

#[tokio::test]
async fn an_image_that_nobody_told_of_stands_by_after_its_first_use() {
    // A step that is over does not wait for long for what is behind it.
    let is_late = |given_up: &Vec<String>| !given_up.is_empty();
    let given_up = again_if(is_late, async || {
        let (rig, state) = standing_by(2, &[]).await?;
        assert_eq!(names(&rig), ["job"]);
        for _ in 0..2 {
            let called = rig.call("run_container_step", &action("tool", "true"), &state).await;
            assert_eq!(called.code, 0, "{called:?}");
        }
        // Its own entrypoint is not known to us, so that one has no container ahead.
        let own = json!({"image": "own", "entryPointArgs": ["true"]});
        assert_eq!(rig.call("run_container_step", &own, &state).await.code, 0);
        let given_up = given_up(&rig);
        let none_waited = given_up.iter().any(|one| one == "standby");
        let [second, last] = if none_waited { ["step-2", "step-3"] } else { ["standby", "step-2"] };
        assert_eq!(used(&rig), ["step", second, last], "{given_up:?}");
        if given_up.is_empty() {
            assert_eq!(names(&rig), ["job", "standby", "standby-2", "step", "step-2"]);
        }
        assert_eq!(rig.call("cleanup_job", &json!({}), &state).await.code, 0);
        Some(given_up)
    });
    let Some(given_up) = given_up.await else { return };
    assert!(given_up.is_empty(), "{given_up:?}");
}

#[tokio::test]
async fn steps_at_one_time_never_share_one() {
    const ALL: usize = 6;
    const AHEAD: [&str; 3] = ["standby", "standby-2", "standby-3"];
    let script = format!(
        "mktemp /__w/here/XXXXXX > /dev/null; while test $(ls /__w/here | wc -l) -lt {ALL}; do sleep 0.02; done"
    );
    let action = action("tool", &script);
    // Where others hold the book for too long, a step takes none.
    let has_all = |used: &Vec<String>| AHEAD.iter().all(|one| used.contains(&(*one).into()));
    let is_late = |used: &Vec<String>| !has_all(used);
    let used = again_if(is_late, async || {
        let (rig, state) = standing_by(AHEAD.len(), &["tool"; ALL]).await?;
        for container in AHEAD {
            until_ready(&rig, container).await;
        }
        fs::create_dir(rig.path("_work/here")).unwrap();
        let calls = (0..ALL).map(|_| rig.call("run_container_step", &action, &state));
        let mut is_held = false;
        for called in join_all(calls).await {
            assert_eq!(called.code, 0, "{called:?}");
            is_held |= called.stdout.contains("another call of the hook holds the book");
        }
        let mut used = used(&rig);
        used.sort();
        used.dedup();
        assert_eq!(used.len(), ALL, "{used:?}");
        assert!(has_all(&used) || is_held, "{used:?}");
        assert_eq!(rig.call("cleanup_job", &json!({}), &state).await.code, 0);
        Some(used)
    });
    let Some(used) = used.await else { return };
    assert!(has_all(&used), "{used:?}");
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_fails_its_own_step_only() {
    let Some((rig, state)) = standing_by(2, &["missing", "tool"]).await else { return };
    assert_eq!(rig.call("run_script_step", &rig.script("true"), &state).await.code, 0);
    until_ready(&rig, "standby-2").await;
    assert_eq!(rig.call("run_container_step", &action("tool", "true"), &state).await.code, 0);
    let called = rig.call("run_container_step", &action("missing", "true"), &state).await;
    assert_eq!(called.code, 1, "{called:?}");
    let error = "::error::missing (container standby) does not start: ErrImagePull: manifest unknown; check its name and tag";
    assert!(called.stdout.contains(error), "{called:?}");
    assert_eq!(used(&rig)[0], "standby-2");
    assert_eq!(rig.call("cleanup_job", &json!({}), &state).await.code, 0);
}

#[tokio::test]
async fn a_step_waits_for_its_container_that_is_still_starting() {
    let Some((rig, state)) = standing_by(1, &["late"]).await else { return };
    let step = rig.begin("run_container_step", &action("late", "echo here"), &state).await;
    fs::write(rig.path("late"), "").unwrap();
    let called = step.finish().await;
    assert!(called.code == 0 && called.stdout.contains("here\n"), "{called:?}");
    assert_eq!(used(&rig), ["standby"]);
}

#[tokio::test]
async fn a_step_whose_container_has_died_gets_another() {
    let Some((rig, state)) = standing_by(1, &["tool"]).await else { return };
    until_ready(&rig, "standby").await;
    let pid = i32::try_from(rig.first_process("standby").await).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    rig.until_ended("standby").await;
    let called = rig.call("run_container_step", &action("tool", "echo here"), &state).await;
    assert!(called.code == 0 && called.stdout.contains("here\n"), "{called:?}");
    assert_eq!(used(&rig), ["step"]);
}

#[tokio::test]
async fn a_step_that_differs_from_what_stands_by_gets_its_own() {
    let Some((mut rig, state)) = standing_by(1, &["tool"]).await else { return };
    until_ready(&rig, "standby").await;
    let template = json!({"spec": {"containers": [
        {"name": "$step", "securityContext": {"runAsUser": 1234}},
    ]}});
    fs::write(rig.path("template.yaml"), template.to_string()).unwrap();
    let path = rig.path("template.yaml");
    rig.set("EPHEMON_HOOK_TEMPLATE", path.to_str().unwrap());
    let called = rig.call("run_container_step", &action("tool", "id -u"), &state).await;
    assert!(called.code == 0 && called.stdout.contains("1234\n"), "{called:?}");
    assert_eq!(used(&rig), ["step"]);
}

#[tokio::test]
async fn what_the_api_server_refuses_of_them_it_does_not_refuse_of_the_step() {
    // If the first step is over before the next one's container is asked for, the second step is refused
    // its own.
    let is_late = |second: &Called| second.code != 0;
    let second = again_if(is_late, async || {
        let (rig, state) = standing_by(1, &["tool", "tool"]).await?;
        until_ready(&rig, "standby").await;
        let asked = "patch pods/ephemeralcontainers";
        rig.api.faults().add(Rule { asked, times: 1, answer: Answer::Status(403, None) });
        let step = action("tool", "true");
        let first = rig.call("run_container_step", &step, &state).await;
        assert_eq!(first.code, 0, "{first:?}");
        let second = rig.call("run_container_step", &step, &state).await;
        assert_eq!(used(&rig), ["standby", "step"]);
        let is_refused = second.code == 1 && second.stdout.contains("HTTP 403");
        let was_late = given_up(&rig) == ["standby-2"];
        assert!(second.code == 0 || is_refused && was_late, "{second:?}");
        Some(second)
    });
    let Some(second) = second.await else { return };
    assert_eq!(second.code, 0, "{second:?}");
}

#[tokio::test]
async fn steps_that_fail_before_they_run_take_up_no_place() {
    // A step that is over does not wait for long for what is behind it. The first two are given up in any
    // case: of a step that fails the hook does not ask for what is behind it.
    let is_late = |given_up: &Vec<String>| given_up.iter().any(|one| one == "standby-3");
    let given_up = again_if(is_late, async || {
        let (rig, state) = standing_by(1, &[]).await?;
        for (image, code) in [("missing", 1), ("missing", 1), ("tool", 0), ("tool", 0)] {
            let called = rig.call("run_container_step", &action(image, "true"), &state).await;
            assert_eq!(called.code, code, "{called:?}");
        }
        let given_up = given_up(&rig);
        let last = if is_late(&given_up) { "step-4" } else { "standby-3" };
        assert_eq!(used(&rig), ["step", "step-2", "step-3", last], "{given_up:?}");
        Some(given_up)
    });
    let Some(given_up) = given_up.await else { return };
    assert!(!is_late(&given_up), "{given_up:?}");
}

#[tokio::test]
async fn a_service_may_be_called_as_they_are() {
    let service = json!({"image": "standby", "entryPointArgs": ["exec sleep 1000"]});
    let Some((rig, state)) = standing_by_beside(&[service], 1, &["tool"]).await else { return };
    let roles: Vec<_> = containers(&rig).into_iter().map(|(_, role)| role).collect();
    assert_eq!(roles.iter().filter(|role| *role == "standby").count(), 1, "{:?}", containers(&rig));
    assert_eq!(rig.call("run_container_step", &action("tool", "true"), &state).await.code, 0);
    assert_eq!(used(&rig), ["standby-2"]);
}

#[tokio::test]
async fn a_step_that_is_cancelled_ends_what_it_took() {
    let Some((rig, state)) = standing_by(1, &["tool"]).await else { return };
    until_ready(&rig, "standby").await;
    let script = "trap 'echo tidied; exit 5' INT; touch /__w/begun; while :; do sleep 0.02; done";
    let step = rig.begin("run_container_step", &action("tool", script), &state).await;
    until(|| rig.path("_work/begun").exists()).await;
    let called = step.cancel().await;
    assert!(called.code == 5 && called.stdout.contains("tidied\n"), "{called:?}");
    rig.until_ended("standby").await;
}

#[tokio::test]
async fn a_step_that_is_cancelled_while_it_waits_ends_what_it_took() {
    let Some((rig, state)) = standing_by(1, &["late"]).await else { return };
    let step = rig.begin("run_container_step", &action("late", "true"), &state).await;
    until_taken(&rig, "standby").await;
    let called = step.cancel().await;
    assert_ne!(called.code, 0, "{called:?}");
    assert_eq!(used(&rig), ["standby"], "the call says what it was about");
    fs::write(rig.path("late"), "").unwrap();
    rig.until_ended("standby").await;
    assert!(rig.pod.ended().contains(&("standby".to_owned(), 0)), "{:?}", rig.pod.ended());
}

#[tokio::test]
async fn what_a_killed_step_had_taken_ends_with_the_job() {
    let Some((rig, state)) = standing_by(1, &["late"]).await else { return };
    let step = rig.begin("run_container_step", &action("late", "true"), &state).await;
    until_taken(&rig, "standby").await;
    step.signal(Signal::KILL);
    step.finish().await;
    assert_eq!(rig.call("cleanup_job", &json!({}), &state).await.code, 0);
    fs::write(rig.path("late"), "").unwrap();
    rig.until_ended("standby").await;
    assert!(rig.pod.ended().contains(&("standby".to_owned(), 0)), "{:?}", rig.pod.ended());
}

#[tokio::test]
async fn who_removes_a_socket_does_not_bring_a_steps_environment_into_a_spec() {
    let Some((mut rig, state)) = standing_by(1, &["tool"]).await else { return };
    until_ready(&rig, "standby").await;
    // Half of it is how long an init may be silent: this one for ever, the step's own for a moment.
    rig.set("ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS", "20");
    fs::remove_file(rig.path("ephemon/run/standby.sock")).unwrap();
    let called = rig.call("run_container_step", &action("tool", "echo here"), &state).await;
    assert!(called.code == 0 && called.stdout.contains("here\n"), "{called:?}");
    assert!(!called.stdout.contains("runs without it"), "{called:?}");
    assert_eq!(used(&rig), ["step"]);
}

#[tokio::test]
async fn a_prepare_job_that_fails_at_its_end_leaves_none_behind() {
    // The hook waits neither for the runner's files nor for the API server for long: then there may be none
    // to leave behind.
    let all = ["job", "standby", "standby-2"];
    let is_late = |rig: &Rig| names(rig) != all;
    let failed = again_if(is_late, async || {
        let mut rig = rig(2, &["tool", "late"]).await?;
        let called = rig.prepare_unanswered(&json!({"container": {"image": "init"}})).await;
        assert_eq!(called.code, 1, "{called:?}");
        let names = names(&rig);
        assert!(names == all || had_no_time(&rig, &called), "{names:?}: {called:?}");
        assert!(names.iter().eq(all.iter().take(names.len())), "{names:?}");
        Some(rig)
    });
    let Some(rig) = failed.await else { return };
    assert_eq!(names(&rig), all);
    assert_eq!(rig.call("cleanup_job", &json!({}), &Value::Null).await.code, 0);
    fs::write(rig.path("late"), "").unwrap();
    for container in all {
        rig.until_ended(container).await;
    }
    assert!(!rig.runner_tmp().read_dir().unwrap().any(|_| true), "nothing is kept");
}
