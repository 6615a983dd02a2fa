//! What a step says and how it ends: exact codes, whole output, daemons that hold it open.

use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use ephemon_contract::{Command, End, ErrorCode, Reply, Request, Run, StepKind};

use super::harness::{Client, Init, PATIENCE, Start, shell};
use super::{again_if, starts, wait_for};
use crate::support::executable;
use crate::support::process::until;

#[test]
fn exit_codes_signals_and_both_outputs_are_exact() {
    for start in starts() {
        let init = Init::start(start, &[]);
        let mut client = init.client();
        for code in [0, 1, 42, 255] {
            let step = client.run(&shell(&format!("printf out; printf err >&2; exit {code}")));
            assert_eq!(step.exit().end, End::Code(code));
            assert_eq!(
                (step.stdout.as_slice(), step.stderr.as_slice()),
                (&b"out"[..], &b"err"[..])
            );
            assert!(!step.exit().cancelled && !step.exit().left_open);
        }
        for number in [9, 15, 11, 40] {
            let step = client.run(&shell(&format!("kill -{number} $$")));
            assert_eq!(step.exit().end, End::Signal(number), "{start:?}");
        }
    }
}

#[test]
fn what_the_hook_asks_of_the_container_is_not_in_its_log() {
    let init = Init::start(Start::Plain, &[]);
    let mut client = init.client();
    let asked = Run { kind: StepKind::Internal, ..shell("echo for the hook; printf rest >&2") };
    let step = client.run(&asked);
    assert_eq!(
        (step.stdout.as_slice(), step.stderr.as_slice()),
        (&b"for the hook\n"[..], &b"rest"[..])
    );
    client.run(&shell("echo of the job"));
    init.wait_for_log("stdout", "of the job\n");
    assert_eq!(init.log("stdout"), "of the job\n");
    assert_eq!(init.log("stderr"), "");
}

#[test]
fn a_script_without_an_interpreter_line_is_read_by_the_shell() {
    let init = Init::start(Start::Plain, &[]);
    let script = init.path("script");
    executable::write(&script, b"echo \"$0 $1\"\n");
    let script = script.display().to_string();
    let run = Run { command: Command::Argv(vec![script.clone(), "one".to_owned()]), ..shell("") };
    assert_eq!(init.client().run(&run).stdout, format!("{script} one\n").into_bytes());
}

#[test]
fn a_line_is_parsed_as_a_shell_does() {
    let init = Init::start(Start::Plain, &[]);
    let line = |line: &str| Run { command: Command::Line(line.to_owned()), ..shell("") };
    let step = init.client().run(&line("printf '%s|' 'a b' \"c $X\" d\\ e"));
    assert_eq!(step.stdout, b"a b|c |d e|");
}

#[test]
fn environment_path_and_directory_are_the_steps_own() {
    let init = Init::start(Start::Plain, &[]);
    let run = Run {
        env: vec![
            ("A".to_owned(), "käse".to_owned()),
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        ],
        prepend_path: vec!["/first".to_owned(), "/second".to_owned()],
        cwd: Some("/usr".to_owned()),
        ..shell("pwd; echo $A; echo $PATH; env | grep -c TOKEN_SHA; cat; readlink /proc/self/fd/0")
    };
    let step = init.client().run(&run);
    let out = String::from_utf8(step.stdout).expect("utf-8");
    assert_eq!(out, "/usr\nkäse\n/first:/second:/usr/bin:/bin\n0\n/dev/null\n");
}

#[test]
fn what_cannot_start_says_why_and_has_the_shells_exit_code() {
    let init = Init::start(Start::Plain, &[]);
    let mut client = init.client();
    let plain = init.path("plain");
    fs::write(&plain, "data").expect("a file");
    let mut failure = |run: &Run| match client.ask(&Request::Run(run.clone())) {
        Reply::Error(failure) => (failure.code, failure.code.exit_code()),
        other => panic!("{other:?}"),
    };
    let argv =
        |program: &str| Run { command: Command::Argv(vec![program.to_owned()]), ..shell("") };
    assert_eq!(failure(&argv("no-such-program")), (ErrorCode::CommandNotFound, 127));
    assert_eq!(
        failure(&argv(&plain.display().to_string())),
        (ErrorCode::CommandNotExecutable, 126)
    );
    let cwd = Some("/no/such/directory".to_owned());
    assert_eq!(failure(&Run { cwd, ..shell("true") }), (ErrorCode::WorkingDirectory, 126));
    let user = Some("no-such-user".to_owned());
    assert_eq!(failure(&Run { user, ..shell("true") }), (ErrorCode::User, 126));
    assert_eq!(client.run(&shell("exit 3")).exit().end, End::Code(3));
}

#[test]
fn fifty_megabytes_arrive_whole_and_the_container_log_has_them_too() {
    for start in starts() {
        let bytes: u64 = 50_000_000;
        let play = || {
            let init = Init::start(start, &[]);
            let mut client = init.client();
            let step = client.run(&shell(&format!("yes 0123456789abcdef | head -c {bytes}")));
            assert_eq!(step.exit().end, End::Code(0));
            assert_eq!(step.stdout.len() as u64, bytes);
            let line = b"0123456789abcdef\n";
            assert!(step.stdout.chunks(line.len()).all(|chunk| line.starts_with(chunk)));
            let dropped = client.log_dropped_bytes();
            drop(client);
            let logged = || fs::metadata(init.path("stdout")).unwrap().len();
            if dropped == 0 {
                // Once it ends, init waits for its log for a second only.
                until(PATIENCE, || (logged() >= bytes).then_some(())).expect("a whole log");
            }
            assert_eq!(init.stop(), 0);
            (dropped, logged())
        };
        // Init drops what its log does not take within a second, as on a busy machine, and counts it.
        let is_late = |(dropped, _): &(u64, u64)| *dropped > 0;
        let (dropped, logged) = again_if(is_late, play);
        // The copy for the log ends its last line.
        assert!((bytes..=bytes + 1).contains(&logged), "{logged}; {dropped} dropped");
    }
}

#[test]
fn a_hook_that_reads_slowly_gets_everything() {
    let init = Init::start(Start::Plain, &[]);
    let mut client = init.client();
    client.send(&Request::Run(shell("head -c 3000000 /dev/zero; echo done >&2")));
    let waiting = || rustix::io::ioctl_fionread(&client.stream).unwrap();
    until(PATIENCE, || (waiting() > 50_000).then_some(())).expect("init sends what it has");
    let step = client.finish();
    assert_eq!(step.stdout.len(), 3_000_000);
    assert_eq!(step.stderr, b"done\n");
}

#[test]
fn a_daemon_left_behind_neither_holds_the_step_up_nor_dies() {
    for start in starts() {
        let init = Init::start(start, &[]);
        let go = init.path("go");
        let said = init.path("said");
        let script = format!(
            "(while [ ! -e {go} ]; do sleep 0.02; done; echo still here; echo x > {said}) & echo started",
            go = go.display(),
            said = said.display(),
        );
        let step = init.client().run(&shell(&script));
        assert_eq!(step.stdout, b"started\n");
        assert!(step.exit().left_open);
        assert!(!said.exists());
        fs::write(&go, "").expect("a file");
        wait_for(&said);
        init.wait_for_log("stdout", "still here");
    }
}

#[test]
fn orphans_are_reaped() {
    for start in starts() {
        let init = Init::start(start, &[]);
        let pids = init.path("pids");
        // Each inner shell ends at once, so its sleep is nobody's child.
        let script = format!(
            "for i in 1 2 3 4 5; do sh -c 'sleep 0.05 & echo $! >> {}'; done; exec >&- 2>&-",
            pids.display()
        );
        let mut client = init.client();
        assert_eq!(client.run(&shell(&script)).exit().end, End::Code(0));
        let count = "for f in /proc/[0-9]*/stat; do cat $f 2>/dev/null; done | grep -c 'sleep) Z'";
        let deadline = Instant::now() + Duration::from_mins(1);
        let own = fs::read_to_string(&pids).expect("pids");
        loop {
            let left = if start == Start::Pid1 {
                String::from_utf8(client.run(&shell(count)).stdout).expect("utf-8").trim() != "0"
            } else {
                own.lines().any(|pid| Path::new(&format!("/proc/{pid}")).exists())
            };
            if !left {
                break;
            }
            assert!(Instant::now() < deadline, "zombies are left");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_step_that_closes_its_output_runs_to_its_own_end() {
    let init = Init::start(Start::Plain, &[]);
    let step = init.client().run(&shell("echo before; exec >&- 2>&-; sleep 0.3; exit 7"));
    assert_eq!(step.stdout, b"before\n");
    assert_eq!(step.exit().end, End::Code(7));
    assert!(step.exit().duration_ns >= 300_000_000);
}

#[test]
fn two_hundred_steps_in_a_row_leave_nothing_behind() {
    let init = Init::start(Start::Plain, &[]);
    let mut client = init.client();
    let count = shell("ls /proc/$PPID/fd | wc -l; grep Threads /proc/$PPID/status");
    // On a busy machine the step counts while init has not closed its ends of the step's own pipes.
    let open = |client: &mut Client| {
        let counts = (0..5).map(|_| client.run(&count).stdout);
        String::from_utf8(counts.min().expect("five")).expect("utf-8")
    };
    let before = open(&mut client);
    for _ in 0..200 {
        assert_eq!(client.run(&shell("exit 0")).exit().end, End::Code(0));
    }
    assert_eq!(open(&mut client), before);
}
