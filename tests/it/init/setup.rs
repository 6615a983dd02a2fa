//! What init sets up for a container: limits, directories in memory, who its command is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ephemon_contract::{Command, Health, HealthReport, Probe, Reply, Request, Run};

use super::harness::{Client, Init, Start, can_be_pid_1, is_root, shell};
use crate::support::executable;

/// An init with these arguments, its socket there.
fn start(start: Start, args: &[&str]) -> Init {
    let init = Init::start_with(start, &[], args);
    super::wait_for(&init.socket());
    init
}

/// A connection, and what init says of its setup.
fn greeted(init: &Init) -> (Client, Vec<String>) {
    let mut client = init.connect();
    let reply = client.greet();
    let Some(Reply::Welcome(welcome)) = reply else { panic!("{reply:?}") };
    (client, welcome.notes)
}

fn said(init: &Init, run: &Run) -> String {
    String::from_utf8(init.client().run(run).stdout).expect("text")
}

#[test]
fn limits_are_those_of_everything_that_init_starts_and_not_its_own() {
    let init = start(Start::Plain, &["--ulimit", "nofile=40:50", "--ulimit", "core=0"]);
    let (mut client, notes) = greeted(&init);
    assert!(notes.is_empty(), "{notes:?}");
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; echo \"$0\"";
    let mut run = shell(script);
    assert_eq!(said(&init, &run), "40\n50\n0\nsh\n");
    // A shell reads a script that the kernel cannot execute.
    let path = init.path("script");
    executable::write(&path, b"ulimit -n\n");
    run.command = Command::Argv(vec![path.display().to_string()]);
    assert_eq!(said(&init, &run), "40\n");
    let probe = Probe::Command(Command::Argv(
        ["sh", "-c", "test $(ulimit -n) = 40"].map(str::to_owned).to_vec(),
    ));
    let health =
        Health { probe, interval_ms: 10, timeout_ms: 60_000, retries: 1, start_period_ms: 0 };
    let reply = client.ask(&Request::Health(health));
    assert!(matches!(reply, Reply::Health(HealthReport { healthy: true, .. })), "{reply:?}");
    if is_root() {
        let run = Run { user: Some("1234:1234".to_owned()), ..shell("id -u; ulimit -n") };
        assert_eq!(said(&init, &run), "1234\n40\n");
    }
    assert_eq!(init.stop(), 0);
}

#[test]
fn a_limit_that_cannot_be_had_is_said_and_is_as_high_as_can_be() {
    let init = start(Start::Plain, &["--ulimit", "nofile=999999999999"]);
    let (_, notes) = greeted(&init);
    let note = "--ulimit nofile=999999999999:999999999999 is reduced to nofile=";
    assert!(notes.len() == 1 && notes[0].starts_with(note), "{notes:?}");
    init.wait_for_log("stderr", note);
    let limit: u64 = said(&init, &shell("ulimit -n")).trim().parse().expect("a number");
    assert!(limit < 999_999_999_999, "{limit}");
}

#[test]
fn a_program_that_is_missing_or_wrong_has_its_usual_code_below_limits() {
    let init = start(Start::Plain, &["--ulimit", "core=0"]);
    let mut run = shell("");
    run.command = Command::Argv(vec!["/no/such/program".to_owned()]);
    assert!(matches!(init.client().ask(&Request::Run(run)), Reply::Error(_)));
}

#[test]
fn memory_is_mounted_where_init_may_and_a_directory_is_made_where_not() {
    let root = tempfile::tempdir().expect("a directory");
    let made = root.path().join("made/of/memory");
    let tmpfs = format!("{}:size=1m", made.display());
    let args = ["--tmpfs", &tmpfs, "--shm-size", "1"];
    if is_root() && can_be_pid_1() {
        let init = start(Start::Pid1, &args);
        assert!(greeted(&init).1.is_empty());
        let script = format!("stat -f -c %T {0}; stat -c %a {0}", made.display());
        assert_eq!(said(&init, &shell(&script)), "tmpfs\n1777\n");
    }
    let elsewhere = tempfile::tempdir().expect("a directory");
    let path = elsewhere.path().display().to_string();
    let init = start(Start::Plain, &["--root", &path, "--tmpfs", "/made/here"]);
    let (_, notes) = greeted(&init);
    assert!(notes.len() == 1 && notes[0].contains("--tmpfs /made/here"), "{notes:?}");
    let there = fs::metadata(elsewhere.path().join("made/here")).expect("a directory");
    assert_eq!(there.permissions().mode() & 0o7777, 0o1777);
}

#[test]
fn a_containers_own_command_is_who_it_was_said_to_be() {
    if !is_root() {
        return;
    }
    let script =
        "id -u > \"$EPHEMON_VOLUME_FOR_TEST/who\"; id -g >> \"$EPHEMON_VOLUME_FOR_TEST/who\"";
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
    let volume = directory.path().display().to_string();
    let env = [("EPHEMON_VOLUME_FOR_TEST", volume.as_str())];
    let args = ["--user", "4242:17", "--", "sh", "-c", script];
    let init = Init::start_with(Start::Plain, &env, &args);
    assert_eq!(init.wait(), 0, "{}", init.log("stderr"));
    let who = fs::read_to_string(directory.path().join("who")).expect("a file");
    assert_eq!(who, "4242\n17\n");
}
