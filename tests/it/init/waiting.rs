//! Containers whose hook was killed: they end by themselves, and not with success.

use ephemon_contract::{Record, Reply, Request, Run, Stop, env};

use super::harness::{self, Init, Start, shell};

const JOB: [(&str, &str); 1] = [(env::ROLE, "job")];
const STEP: [(&str, &str); 1] = [(env::ROLE, "step")];
const STANDBY: [(&str, &str); 1] = [(env::ROLE, "standby")];

#[test]
fn a_container_that_no_hook_comes_to_ends_and_is_no_success() {
    for role in [JOB, STEP] {
        let init = Init::start_with(Start::Impatient, &role, &[]);
        assert_eq!(init.wait(), 143);
        init.wait_for_log("stderr", "no hook connected");
        let last = init.journal().pop();
        assert!(matches!(last, Some(Record::ContainerEnded { exit_code: 143, .. })), "{last:?}");
        assert!(!init.socket().exists());
    }
}

#[test]
fn a_container_that_a_hook_has_come_to_or_that_has_its_own_command_waits_for_no_other() {
    let job = Init::start(Start::Impatient, &JOB);
    drop(job.client());
    let own = Init::start_with(Start::Impatient, &STEP, &["sleep", "6"]);
    let unread = Init::start_with(Start::Impatient, &[(env::ROLE, "service")], &[]);
    assert_eq!(own.wait(), 0, "it lives as long as its command, which is longer than it waits");
    assert_eq!((job.stop(), unread.stop()), (0, 0));
}

#[test]
fn a_hook_that_proves_nothing_does_not_count() {
    let init = Init::start(Start::Impatient, &JOB);
    let _silent = init.connect();
    let mut unproven = init.connect();
    unproven.agree(&harness::token()).expect("keys");
    assert_eq!(init.wait(), 143);
}

#[test]
fn a_step_container_ends_with_the_hook_that_was_killed_before_it_ran_anything() {
    let init = Init::start(Start::Plain, &STEP);
    let mut hook = init.client();
    assert_eq!(hook.ask(&Request::Mask(vec!["hunter2".to_owned()])), Reply::Done);
    drop(hook);
    assert_eq!(init.wait(), 143);
    init.wait_for_log("stderr", "disconnected before it ran a command");
}

#[test]
fn the_exit_code_of_a_step_that_ran_or_could_not_run_is_the_containers() {
    for (script, code) in [(shell("exit 7"), 7), (shell("exit 0"), 0)] {
        let init = Init::start(Start::Plain, &STEP);
        let run = Run { ends_container: true, ..script };
        drop(init.client().run(&run));
        assert_eq!(init.wait(), code);
    }
    let init = Init::start(Start::Plain, &STEP);
    let mut run = Run { ends_container: true, ..shell("") };
    run.cwd = Some("/no/such".to_owned());
    assert!(matches!(init.client().ask(&Request::Run(run)), Reply::Error(_)));
    assert_eq!(init.wait(), 126);
}

#[test]
fn a_step_container_that_is_told_to_end_before_its_step_is_no_success() {
    let (asked, killed) = (Init::start(Start::Plain, &STEP), Init::start(Start::Plain, &STEP));
    killed.terminate();
    assert_eq!(killed.wait(), 143);
    assert_eq!(asked.client().ask(&Request::Stop(Stop { grace_ms: 0 })), Reply::Done);
    assert_eq!(asked.wait(), 143);
}

#[test]
fn a_container_that_stood_by_and_was_not_needed_is_no_failure() {
    let (asked, killed) =
        (Init::start(Start::Plain, &STANDBY), Init::start(Start::Plain, &STANDBY));
    killed.terminate();
    assert_eq!(killed.wait(), 0);
    assert_eq!(asked.client().ask(&Request::Stop(Stop { grace_ms: 0 })), Reply::Done);
    assert_eq!(asked.wait(), 0);
    assert_eq!(Init::start_with(Start::Impatient, &STANDBY, &[]).wait(), 0);
    // One that a step has taken is that step's.
    let taken = Init::start(Start::Plain, &STANDBY);
    let run = Run { ends_container: true, ..shell("exit 7") };
    drop(taken.client().run(&run));
    assert_eq!(taken.wait(), 7);
    let left = Init::start(Start::Plain, &STANDBY);
    drop(left.client());
    assert_eq!(left.wait(), 143, "its hook was killed");
}
