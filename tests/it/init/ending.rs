//! Steps that are ended, and the ends of containers.

use std::fs;

use ephemon_base::clock::now_ns;
use ephemon_contract::{Command, End, Record, Reply, Request, Run, Signal, Stop, env};

use super::harness::{Init, Start, shell};
use super::{again_if, signal, starts, wait_for, wait_until_dead};
use crate::support::programs;

#[test]
fn a_signal_reaches_the_whole_group_and_the_step_may_tidy_up() {
    let init = Init::start(Start::Plain, &[]);
    let ready = init.path("ready");
    let script = format!(
        "trap 'echo tidy; exit 5' INT; echo x > {}; while :; do sleep 0.02; done",
        ready.display()
    );
    let mut client = init.client();
    client.send(&Request::Run(shell(&script)));
    wait_for(&ready);
    client.send(&signal(Signal::Interrupt, Some(20_000)));
    let step = client.finish();
    assert_eq!(step.exit().end, End::Code(5));
    assert!(step.exit().cancelled);
    assert_eq!(step.stdout, b"tidy\n");
}

#[test]
fn a_step_that_ignores_signals_is_killed_when_its_time_is_over() {
    for start in starts() {
        let init = Init::start(start, &[]);
        let ready = init.path("ready");
        let script = format!(
            "trap '' INT TERM; sleep 1000 & echo x > {}; while :; do sleep 0.02; done",
            ready.display()
        );
        let mut client = init.client();
        client.send(&Request::Run(shell(&script)));
        wait_for(&ready);
        client.send(&signal(Signal::Interrupt, Some(200)));
        let step = client.finish();
        assert_eq!(step.exit().end, End::Signal(9));
        assert!(step.exit().cancelled);
    }
}

#[test]
fn nothing_of_a_cancelled_step_is_left_when_its_end_is_told() {
    for start in starts() {
        let play = || {
            let init = Init::start(start, &[]);
            let group = init.path("group");
            // What holds memory takes a while to die; much more takes a busy machine longer than init waits.
            let script = format!(
                "trap 'exit 5' INT; \
                 {{ head -c 50000000 /dev/zero; echo $$ > {}; sleep 1000; }} 2> /dev/null \
                 | tail > /dev/null 2>&1 & wait",
                group.display()
            );
            let mut client = init.client();
            client.send(&Request::Run(shell(&script)));
            wait_for(&group);
            client.send(&signal(Signal::Interrupt, Some(100)));
            // Outputs that nobody holds are over at once: the group may be a moment behind.
            let step = client.finish();
            let told_after = now_ns().saturating_sub(step.exit().ended_at_ns);
            assert!(step.exit().cancelled);
            let alive = format!("kill -s 0 -- -$(cat {})", group.display());
            (init.client().run(&shell(&alive)).exit().end, told_after)
        };
        // Init waits half a second for the rest of the group, which may be too little on a busy machine.
        let is_late =
            |(end, told_after): &(End, u64)| *end != End::Code(1) && *told_after >= 500_000_000;
        assert_eq!(again_if(is_late, play).0, End::Code(1));
    }
}

#[test]
fn the_step_ends_when_its_hook_is_gone() {
    for start in starts() {
        let init = Init::start(start, &[]);
        let (pid, tidy) = (init.path("pid"), init.path("tidy"));
        let script = format!(
            "trap 'echo x > {}; exit 1' TERM; echo $$ > {}; while :; do sleep 0.02; echo y; done",
            tidy.display(),
            pid.display()
        );
        let mut client = init.client();
        client.send(&Request::Run(shell(&script)));
        wait_for(&pid);
        drop(client);
        wait_for(&tidy);
        init.wait_for_journal("step_ended");
        let ended = init.journal();
        let cancelled =
            ended.iter().any(|record| matches!(record, Record::StepEnded { cancelled: true, .. }));
        assert!(cancelled, "{ended:?}");
        assert_eq!(init.client().run(&shell("exit 0")).exit().end, End::Code(0));
    }
}

#[test]
fn a_request_out_of_place_ends_the_step() {
    let init = Init::start(Start::Plain, &[]);
    let pid = init.path("pid");
    let mut client = init.client();
    client.send(&Request::Run(shell(&format!("echo $$ > {}; sleep 1000", pid.display()))));
    wait_for(&pid);
    client.send(&Request::Status);
    let step = client.finish_or_close();
    assert!(step.is_none_or(|exit| exit.cancelled));
    wait_until_dead(&fs::read_to_string(&pid).expect("a pid"));
}

#[test]
fn a_stop_ends_what_runs_and_tells_its_hook() {
    for start in starts() {
        let init = Init::start(start, &[]);
        let ready = init.path("ready");
        let mut client = init.client();
        let script =
            format!("trap '' TERM; echo x > {}; while :; do sleep 0.02; done", ready.display());
        client.send(&Request::Run(shell(&script)));
        wait_for(&ready);
        assert_eq!(init.client().ask(&Request::Stop(Stop { grace_ms: 150 })), Reply::Done);
        let step = client.finish();
        assert_eq!(step.exit().end, End::Signal(9));
        assert!(step.exit().cancelled);
        assert_eq!(init.wait(), 0);
        assert!(!init.socket().exists());
    }
}

#[test]
fn the_images_stop_signal_reaches_its_command_and_ends_the_container() {
    for start in starts() {
        for (name, number) in
            [("TERM", 15), ("INT", 2), ("QUIT", 3), ("HUP", 1), ("USR1", 10), ("WINCH", 28)]
        {
            let script = format!(
                "trap 'exit {}' {number}; echo ready; while :; do sleep 0.02; done",
                40 + number
            );
            let init = Init::start_with(start, &[], &["sh", "-c", &script]);
            init.wait_for_log("stdout", "ready");
            init.signal(name);
            assert_eq!(init.wait(), 40 + number, "{name}");
        }
        // One without a name.
        let init = Init::start_with(start, &[], &["sh", "-c", "echo ready; exec sleep 1000"]);
        init.wait_for_log("stdout", "ready");
        init.signal("37");
        assert_eq!(init.wait(), 143);
    }
}

#[test]
fn a_command_that_reloads_by_a_signal_goes_on() {
    for start in starts() {
        let script = "trap 'echo reloaded' HUP; echo ready; while :; do sleep 0.02; done";
        let init = Init::start_with(start, &[], &["sh", "-c", script]);
        init.wait_for_log("stdout", "ready");
        init.signal("HUP");
        init.wait_for_log("stdout", "reloaded");
        init.terminate();
        assert_eq!(init.wait(), 143);
    }
}

#[test]
fn a_job_containers_steps_get_sigterm_whatever_its_images_stop_signal_is() {
    let init = Init::start(Start::Plain, &[(env::ROLE, "job")]);
    let ready = init.path("ready");
    let mut client = init.client();
    let script = format!(
        "trap 'exit 41' TERM; trap 'exit 42' QUIT; echo x > {}; while :; do sleep 0.02; done",
        ready.display()
    );
    client.send(&Request::Run(shell(&script)));
    wait_for(&ready);
    init.signal("QUIT");
    assert_eq!(client.finish().exit().end, End::Code(41));
    assert_eq!(init.wait(), 0);
}

#[test]
fn sigterm_ends_an_idle_container_at_once() {
    for start in starts() {
        let init = Init::start(start, &[]);
        init.terminate();
        assert_eq!(init.wait(), 0);
    }
}

#[test]
fn the_container_ends_with_the_step_that_it_was_for() {
    for start in starts() {
        let init = Init::start(start, &[]);
        let run = Run { ends_container: true, ..shell("echo last; exit 33") };
        assert_eq!(init.client().run(&run).exit().end, End::Code(33));
        assert_eq!(init.wait(), 33);
    }
}

#[test]
fn a_step_that_cannot_start_ends_its_container_too() {
    let init = Init::start(Start::Plain, &[]);
    let command = Command::Argv(vec!["no-such-program".to_owned()]);
    let run = Run { ends_container: true, command, ..shell("") };
    assert!(matches!(init.client().ask(&Request::Run(run)), Reply::Error(_)));
    assert_eq!(init.wait(), 127);
}

#[test]
fn a_given_command_is_the_containers_main_process() {
    for start in starts() {
        let init = Init::start_with(
            start,
            &[],
            &["sh", "-c", "echo '::add-mask::s3cret'; echo s3cret; exit 12"],
        );
        assert_eq!(init.wait(), 12);
        assert_eq!(init.log("stdout"), "::add-mask::***\n***\n");
    }
}

#[test]
fn a_given_command_that_is_not_there_is_said_plainly() {
    let init = Init::start_with(Start::Plain, &[], &["no-such-program"]);
    assert_eq!(init.wait(), 127);
    assert_eq!(init.log("stderr"), "[ephemon-init] no-such-program: command not found\n");
}

#[test]
fn a_container_that_ran_does_not_run_again() {
    let init = Init::start(Start::Plain, &[]);
    init.kill();
    let (code, text) = init.start_again();
    assert_eq!(code, 125);
    assert!(text.contains("has already run"), "{text}");
}

#[test]
fn what_init_is_not_told_is_named_in_one_line() {
    let output =
        std::process::Command::new(programs::init()).env_clear().output().expect("it runs");
    assert_eq!(output.status.code(), Some(125));
    let text = String::from_utf8(output.stderr).expect("utf-8");
    assert_eq!(
        text,
        "ephemon-init: EPHEMON_CONTAINER is not set; the hook sets it in the container's spec\n"
    );
}
