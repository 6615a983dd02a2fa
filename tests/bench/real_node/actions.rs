//! What a container action costs beside its own process: with and without a container that stands by
//! for it, one alone and ten in a row, and with an image that is not on the node.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::runner::{Runner, container, job};
use crate::site::Site;
use crate::support::process::until;
use crate::support::real_node::registry::{REGISTRY, SLOWNESS};
use crate::support::workflow_images::BUSYBOX;

/// Steps in a row.
const ROW: usize = 10;
/// Longest wait for what stands by.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) fn measure() {
    let Some(site) = Site::start() else { return };
    for most in [0, 2, ROW] {
        let mut runner = site.runner(&format!("runner-{most}"));
        runner.expect(most, &[BUSYBOX; ROW], "echo");
        let prepared = Instant::now();
        let state = runner.prepare(&job(BUSYBOX, ""), &[]);
        println!("at most {most} stand by: prepare_job {} ms", ms(prepared.elapsed()));
        let sockets = runner.directory.volume("ephemon/run");
        let waiting = || {
            let all = fs::read_dir(&sockets).unwrap().flatten();
            all.map(|one| one.path())
                .filter(|path| path.extension().is_some_and(|end| end == "sock"))
                .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
                .filter(|name| name.starts_with("standby"))
                .count()
        };
        until(PATIENCE, || (waiting() == most).then_some(())).expect("they stand by");
        println!("  all of them ready after {} ms", ms(prepared.elapsed()));
        // What the hook itself and its init need for a step, without a container of its own.
        let script = median((0..ROW).map(|_| timed(&runner, false, &state)).collect());
        println!("  script step `echo`: {} ms", ms(script));
        let alone = timed(&runner, true, &state);
        println!(
            "  action `echo`, one alone: {} ms, {} ms over the script step",
            ms(alone),
            over(alone, script)
        );
        // The kubelet has settled by then, as it has between steps of a job.
        thread::sleep(Duration::from_secs(3));
        let row: Vec<Duration> = (0..ROW - 1).map(|_| timed(&runner, true, &state)).collect();
        let each: Vec<String> = row.iter().map(|took| ms(*took)).collect();
        println!("  nine more in a row: {} ms", each.join(", "));
        println!(
            "  median {} ms, {} ms over the script step",
            ms(median(row.clone())),
            over(median(row), script)
        );
        assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    }
    absent(&site);
}

/// The image is in a registry that takes its time, and the steps before the action take longer.
fn absent(site: &Site) {
    for most in [0, 1] {
        let mut runner = site.runner(&format!("absent-{most}"));
        let image = format!("{REGISTRY}/slow/bench-{most}:1");
        runner.expect(most, &[&image], "echo");
        let state = runner.prepare(&job(BUSYBOX, ""), &[]);
        thread::sleep(4 * SLOWNESS);
        let over = json!({"entryPoint": "echo", "entryPointArgs": ["on"]});
        let began = Instant::now();
        let called = runner.call("run_container_step", &container(&image, &over), &state);
        let took = began.elapsed();
        assert_eq!((called.code, called.stdout.lines().last()), (0, Some("on")), "{called:?}");
        println!(
            "image absent, at most {most} stand by: action `echo` {} ms, {} ms after the job was prepared",
            ms(took),
            ms(4 * SLOWNESS)
        );
        assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    }
}

fn over(took: Duration, step: Duration) -> String {
    ms(took.saturating_sub(step))
}

fn timed(runner: &Runner, is_action: bool, state: &Value) -> Duration {
    let (command, args) = if is_action {
        let over = json!({"entryPoint": "echo", "entryPointArgs": ["on"]});
        ("run_container_step", container(BUSYBOX, &over))
    } else {
        ("run_script_step", runner.script_args("echo on"))
    };
    let began = Instant::now();
    let called = runner.call(command, &args, state);
    let took = began.elapsed();
    assert_eq!((called.code, called.stdout.as_str()), (0, "on\n"), "{called:?}");
    took
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

fn ms(duration: Duration) -> String {
    format!("{:.0}", duration.as_secs_f64() * 1e3)
}
