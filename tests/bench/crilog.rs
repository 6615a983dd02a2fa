//! Following containers' logs: how fast whole lines come out of a file, and whether any line of a
//! thousand containers is lost that live for 50 ms and whose logs are deleted at once.
//!
//! `cargo bench --bench crilog`. Budget: ≥ 200 MB/s on one core, no line lost.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ephemon_crilog::{Checkpoints, Choice, Follower, Options};

const FILE_BYTES: usize = 200 * 1024 * 1024;
const BUDGET_MB_S: f64 = 200.0;
const CONTAINERS: usize = 1000;
const LINES: usize = 100;
const AT_ONCE: usize = 20;
const LIFE: Duration = Duration::from_millis(50);

fn main() -> std::io::Result<()> {
    let memory = Path::new("/dev/shm");
    let home = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    speed(&home.path().join("speed"))?;
    bursts(&home.path().join("bursts"))
}

fn pod(pods: &Path, number: usize) -> std::path::PathBuf {
    pods.join(format!("ci_runner-{number}_0e269fa4-f505-4963-9096-{number:012}"))
}

fn speed(pods: &Path) -> std::io::Result<()> {
    let directory = pod(pods, 0).join("job");
    fs::create_dir_all(&directory)?;
    let mut file = BufWriter::new(File::create(directory.join("0.log"))?);
    let (mut written, mut lines) = (0, 0_u64);
    while written < FILE_BYTES {
        let line = format!("2026-11-23T12:16:41.{lines:09}Z stdout F {:<53}\n", "some text");
        written += line.len();
        lines += 1;
        file.write_all(line.as_bytes())?;
    }
    file.flush()?;
    let mut follower = Follower::new(Options::new(pods), Checkpoints::none());
    let (mut got, mut text, mut last) = (0_u64, 0, None);
    let start = Instant::now();
    while got < lines {
        follower.turn(&mut |_| Choice::Take, 1024 * 1024, &mut |line| {
            got += 1;
            text += line.text.len();
            last = Some(line.position);
        });
        if let Some(position) = &last {
            follower.ack(position);
        }
    }
    let took = start.elapsed().as_secs_f64();
    let rate = written as f64 / 1e6 / took;
    let verdict = if rate >= BUDGET_MB_S { "within" } else { "OVER" };
    println!(
        "follow, parse, join: {rate:.0} MB/s, {:.1} million lines/s ({verdict} the budget of {BUDGET_MB_S} MB/s; {text} bytes of text)",
        got as f64 / 1e6 / took
    );
    Ok(())
}

/// Each container writes its lines over its life; then its directory is gone.
fn live(pods: &Path, number: usize) -> std::io::Result<()> {
    let pod = pod(pods, number);
    let directory = pod.join("job");
    fs::create_dir_all(&directory)?;
    let mut file = File::create(directory.join("0.log"))?;
    for line in 0..LINES {
        writeln!(file, "2026-11-23T12:16:41.{line:09}Z stdout F line {line} of {number}")?;
        if line % 10 == 0 {
            std::thread::sleep(LIFE / 10);
        }
    }
    drop(file);
    fs::remove_dir_all(pod)
}

fn bursts(pods: &Path) -> std::io::Result<()> {
    fs::create_dir_all(pods)?;
    let options = Options { orphaned: Duration::from_millis(500), ..Options::new(pods) };
    let mut follower = Follower::new(options, Checkpoints::none());
    follower.turn(&mut |_| Choice::Take, 0, &mut |_| {});
    let done = AtomicBool::new(false);
    let (mut lines, mut complete, mut finished) = (0_usize, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let numbers: Vec<usize> = (0..CONTAINERS).collect();
            for batch in numbers.chunks(AT_ONCE) {
                std::thread::scope(|scope| {
                    for number in batch {
                        scope.spawn(|| live(pods, *number));
                    }
                });
            }
            done.store(true, Ordering::Release);
        });
        let mut until = None;
        while until.is_none_or(|until| Instant::now() < until) && finished < CONTAINERS {
            follower.wait(Duration::from_millis(20), None);
            let mut positions = Vec::new();
            follower.turn(&mut |_| Choice::Take, 1024 * 1024, &mut |line| {
                lines += 1;
                positions.push(line.position);
            });
            for position in &positions {
                follower.ack(position);
            }
            for log in follower.finished() {
                finished += 1;
                complete += usize::from(log.complete);
            }
            if done.load(Ordering::Acquire) && until.is_none() {
                until = Some(Instant::now() + Duration::from_secs(10));
            }
        }
    });
    let lost = CONTAINERS * LINES - lines;
    println!(
        "{CONTAINERS} containers of {LIFE:?}, {AT_ONCE} at once, deleted at once: {lines} lines, {lost} lost, {complete} logs proven complete"
    );
    Ok(())
}
