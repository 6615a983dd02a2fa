//! Init in front of an image's own command, as the agent puts it there.

use std::time::{Duration, Instant};

use ephemon_contract::{Command, IN_FRONT, Reply, Request, Run, env};

use super::harness::{Init, PATIENCE, Start, is_root, shell};

fn in_front(role: &str, setup: &str, own: &[&str]) -> Init {
    in_front_as(Start::Plain, role, setup, own)
}

fn in_front_as(start: Start, role: &str, setup: &str, own: &[&str]) -> Init {
    let env = [(env::ROLE, role), (env::INIT, setup), ("SECRET_TOKEN", "hunter2-of-the-secret")];
    let init = Init::start_with(start, &env, &[&[IN_FRONT, "--"], own].concat());
    let deadline = Instant::now() + PATIENCE;
    while !init.socket().exists() {
        assert!(Instant::now() < deadline, "no socket: {}", init.log("stderr"));
        std::thread::sleep(Duration::from_millis(2));
    }
    init
}

#[test]
fn in_a_step_it_waits_for_the_hook_and_has_the_containers_environment() {
    let script = "echo \"$0 $1 $SECRET_TOKEN $FROM_HOOK ${EPHEMON_INIT-none}\"; exit 3";
    let init = in_front("step", "[]", &["sh", "-c", script, "own", "words"]);
    let run = Run {
        command: Command::Own,
        env: vec![("FROM_HOOK".to_owned(), "of the hook".to_owned())],
        ends_container: true,
        ..shell("")
    };
    let step = init.client().run(&run);
    let text = String::from_utf8_lossy(&step.stdout);
    assert_eq!(text, "own words hunter2-of-the-secret of the hook none\n");
    assert_eq!(init.wait(), 3);
    init.wait_for_log("stdout", "own words *** of the hook none");
}

#[test]
fn in_a_service_it_runs_at_once_with_its_setup_and_can_be_stopped() {
    let script = "ulimit -n; exec sleep 1000";
    let init = in_front("service", r#"["--ulimit","nofile=77:78"]"#, &["sh", "-c", script]);
    init.wait_for_log("stdout", "77\n");
    assert_eq!(init.stop(), 143);
}

#[test]
fn a_user_by_name_is_taken_where_init_may_and_else_the_images_own_is_kept_and_said() {
    if !is_root() {
        return;
    }
    let own = ["sh", "-c", "id -u; exec sleep 1000"];
    let init = in_front("service", r#"["--user","nobody"]"#, &own);
    init.wait_for_log("stdout", "65534\n");
    assert_eq!(init.stop(), 143);
    let init = in_front_as(Start::Uid(4242), "service", r#"["--user","nobody"]"#, &own);
    init.wait_for_log("stdout", "4242\n");
    init.wait_for_log("stderr", "option --user nobody is ignored");
    assert_eq!(init.stop(), 143);
    // As with Docker.
    let own = [IN_FRONT, "--", "true"];
    let env = [(env::ROLE, "service"), (env::INIT, r#"["--user","no-such-user"]"#)];
    assert_ne!(Init::start_with(Start::Plain, &env, &own).wait(), 0);
}

#[test]
fn an_init_without_such_a_command_says_so() {
    let init = Init::start(Start::Plain, &[(env::ROLE, "step")]);
    let run = Run { command: Command::Own, ..shell("") };
    let reply = init.client().ask(&Request::Run(run));
    let says = |text: &str| text.contains("was not created with a command");
    assert!(matches!(&reply, Reply::Error(failure) if says(&failure.text)), "{reply:?}");
}
