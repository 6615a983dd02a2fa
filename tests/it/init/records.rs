//! What is left of a step: the masked log and the journal.

use std::{fs, thread};

use ephemon_contract::{End, Record, Reply, Request, Run, StepKind, Volume};
use ephemon_mask::shared::SharedMasks;

use super::harness::{Init, Start, shell};

#[test]
fn the_hook_gets_the_raw_output_and_the_log_a_masked_one() {
    let init = Init::start(Start::Plain, &[]);
    let mut client = init.client();
    assert_eq!(client.ask(&Request::Mask(vec!["hunter2-hunter2".to_owned()])), Reply::Done);
    let script = "printf 'a hunt'; sleep 0.1; echo er2-hunter2 b; echo aHVudGVyMi1odW50ZXIy >&2; \
                  echo '::add-mask::learned'; echo learned";
    let step = client.run(&shell(script));
    assert_eq!(step.stdout, b"a hunter2-hunter2 b\n::add-mask::learned\nlearned\n");
    assert_eq!(client.run(&shell("echo learned by all steps")).stdout, b"learned by all steps\n");
    // Once it ends, init waits for its log for a second only.
    init.wait_for_log("stdout", "by all steps\n");
    init.wait_for_log("stderr", "\n");
    init.stop();
    assert_eq!(init.log("stdout"), "a *** b\n::add-mask::***\n***\n*** by all steps\n");
    assert_eq!(init.log("stderr"), "***\n");
}

#[test]
fn a_step_that_runs_masks_what_is_told_in_another_container_meanwhile() {
    let init = Init::start(Start::Plain, &[]);
    let go = init.path("go");
    let script = format!(
        "echo begun; until [ -e {} ]; do sleep 0.05; done; sleep 0.2; echo told-elsewhere",
        go.display()
    );
    let other = Volume::new(init.root()).container_masks("other");
    thread::scope(|scope| {
        scope.spawn(|| {
            init.wait_for_log("stdout", "begun");
            SharedMasks::open(&other).unwrap().tell(Some(b"told-elsewhere"));
            fs::write(&go, "").unwrap();
        });
        assert_eq!(init.client().run(&shell(&script)).stdout, b"begun\ntold-elsewhere\n");
    });
    init.wait_for_log("stdout", "begun\n***\n");
    init.stop();
    assert_eq!(init.log("stdout"), "begun\n***\n");
}

#[test]
fn a_log_that_nobody_reads_does_not_stop_a_step() {
    let init = Init::start(Start::LogUnread, &[]);
    let mut client = init.client();
    let step = client.run(&shell("head -c 2000000 /dev/zero | tr '\\0' '\\n'"));
    assert_eq!(step.stdout.len(), 2_000_000);
    assert!(client.log_dropped_bytes() > 0);
}

#[test]
fn the_journal_tells_what_ran_and_what_it_used() {
    let init = Init::start(Start::Plain, &[]);
    let run = Run {
        name: "Build it".to_owned(),
        id: Some("build".to_owned()),
        called_ns: Some(4711),
        ..shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 2")
    };
    let exit = *init.client().run(&run).exit();
    assert!(exit.process.user_us + exit.process.system_us > 0);
    assert!(exit.process.max_rss_bytes > 100_000);
    assert_eq!(init.stop(), 0);
    let journal = init.journal();
    let [started, step_started, step_ended, ended] = journal.as_slice() else {
        panic!("{journal:?}")
    };
    assert!(matches!(started, Record::ContainerStarted { container, .. } if container == "job"));
    let Record::StepStarted { step: 1, name, kind, id, called_ns, .. } = step_started else {
        panic!("{step_started:?}")
    };
    assert_eq!(
        (name.as_str(), *kind, id.as_deref()),
        ("Build it", StepKind::Script, Some("build"))
    );
    assert_eq!(*called_ns, Some(4711));
    assert_eq!(
        *step_ended,
        Record::StepEnded {
            at_ns: exit.ended_at_ns,
            step: 1,
            duration_ns: exit.duration_ns,
            end: End::Code(2),
            cancelled: false,
            process: exit.process,
            cgroup: exit.cgroup,
        }
    );
    assert!(matches!(ended, Record::ContainerEnded { exit_code: 0, dropped: 0, .. }));
}
