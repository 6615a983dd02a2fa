//! The programs of the demo's containers: `ephemon-workload DO [AMOUNT…] [+ DO …]`, one after the
//! other.

use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ephemon_base::{clock::unix_time, duration};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::time::{ClockId, clock_gettime};

use super::helper;

/// The command's name in a pod's spec, which the embedded kubelet recognises.
pub(super) const NAME: &str = "ephemon-workload";

/// What `listen` sends to every client.
pub(super) const ANSWER: &str = "the cache is warm\n";
const MIB: usize = 1024 * 1024;
/// One page: memory is allocated when it is written.
const PAGE: usize = 4096;
/// Wall time between checks of the clock while using CPU time.
const SPIN: u32 = 2_000;

/// Runs the steps; the exit code is the last one's.
pub(super) fn run(arguments: &[String]) -> ExitCode {
    let mut code = 0;
    for step in arguments.split(|part| part == "+") {
        let words: Vec<_> = step.iter().map(String::as_str).collect();
        match act(&words) {
            Some(Ok(next)) => code = next,
            Some(Err(e)) => {
                complain(&format!("{}: {e}", words.join(" ")));
                return ExitCode::FAILURE;
            }
            None => {
                complain(&format!("no such work: {}", words.join(" ")));
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::from(code)
}

/// `None` if the words are not valid.
fn act(words: &[&str]) -> Option<io::Result<u8>> {
    match words {
        ["burn", time] => burn(duration::parse(time)?, 100),
        ["burn", time, percent] => burn(duration::parse(time)?, percent.parse().ok()?),
        ["burn-until", millis] => burn_until(millis.parse().ok()?),
        ["sleep", time] => thread::sleep(duration::parse(time)?),
        ["hold", mib, time] => hold(mib.parse().ok()?, duration::parse(time)?),
        ["eat", mib] => hold(mib.parse().ok()?, Duration::ZERO),
        _ => return act_or_fail(words),
    }
    Some(Ok(0))
}

/// Work that can fail or has an exit code.
fn act_or_fail(words: &[&str]) -> Option<io::Result<u8>> {
    let done = |()| 0;
    Some(match words {
        ["serve"] => serve().map(done),
        ["repeat", pipe] => repeat(Path::new(pipe)).map(done),
        ["listen", port] => listen(port.parse().ok()?).map(done),
        ["fetch", host, port] => fetch(host, port.parse().ok()?).map(done),
        ["io", mib] => write_and_read(mib.parse().ok()?).map(done),
        ["processes", count, time] => processes(count.parse().ok()?, time).map(done),
        ["threads", count, time] => threads(count.parse().ok()?, duration::parse(time)?).map(done),
        ["say", lines, text @ ..] => say(lines.parse().ok()?, &text.join(" ")).map(done),
        ["exit", code] => Ok(code.parse().ok()?),
        _ => return None,
    })
}

/// Uses this much CPU time, at this share of a CPU.
fn burn(amount: Duration, percent: u32) {
    let share = f64::from(percent.clamp(1, 100)) / 100.0;
    let start = Instant::now();
    loop {
        let used = cpu_time();
        if used >= amount {
            return;
        }
        let due = start.elapsed().mul_f64(share);
        if percent < 100 && used > due {
            thread::sleep((used.saturating_sub(due)).div_f64(share).max(Duration::from_millis(5)));
        } else {
            spin();
        }
    }
}

/// Uses CPU time until the clock shows this many milliseconds since 1970, so that several end at
/// once.
fn burn_until(millis: u64) {
    let until = Duration::from_millis(millis);
    while unix_time(SystemTime::now()).is_some_and(|now| now < until) {
        spin();
    }
}

fn spin() {
    for n in 0..SPIN {
        black_box(n);
    }
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// Waits for SIGTERM, like a well-behaved service.
fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate())?.recv().await;
        Ok(())
    })
}

/// Prints every line that is written into a named pipe, which it creates, until SIGTERM.
fn repeat(path: &Path) -> io::Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, path, FileType::Fifo, mode, 0)?;
    // A write end of its own, so that the pipe is not closed when a writer ends.
    let held = fs::File::options().read(true).write(true).open(path)?;
    let mut pipe = fs::File::open(path)?;
    let copying = thread::spawn(move || io::copy(&mut pipe, &mut io::stdout()));
    serve()?;
    // What was written before the end is printed first.
    drop(held);
    copying.join().map_err(|_| io::Error::other("the copying thread failed"))?.map(drop)
}

/// Answers every connection with a line, until SIGTERM.
fn listen(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut out = io::stdout();
    writeln!(out, "listening on port {port}")?;
    out.flush()?;
    thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            // A client that has disconnected tries again.
            drop(peer.write_all(ANSWER.as_bytes()));
        }
    });
    serve()
}

/// Prints the response of a server.
fn fetch(host: &str, port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect((host, port))?;
    io::copy(&mut stream, &mut io::stdout()).map(drop)
}

/// Allocates memory, page by page, and keeps it for a while.
fn hold(mib: usize, time: Duration) {
    let mut held = Vec::new();
    for _ in 0..mib {
        let mut block = vec![0_u8; MIB];
        for page in block.chunks_mut(PAGE) {
            page.fill(1);
        }
        held.push(block);
    }
    thread::sleep(time);
    black_box(held);
}

/// Writes a file to the disk and reads it back.
fn write_and_read(mib: usize) -> io::Result<()> {
    let name = "ephemon-workload.data";
    let mut file = fs::File::create(name)?;
    let block = vec![7_u8; MIB];
    for _ in 0..mib {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    fs::File::open(name)?.read_to_end(&mut Vec::new())?;
    fs::remove_file(name)
}

fn processes(count: usize, time: &str) -> io::Result<()> {
    let child = || {
        Command::new("/proc/self/exe")
            .args([helper::NAME, "workload", "sleep", time])
            .stdin(Stdio::null())
            .spawn()
    };
    let children = (0..count).map(|_| child()).collect::<io::Result<Vec<_>>>()?;
    for mut child in children {
        child.wait()?;
    }
    Ok(())
}

fn threads(count: usize, time: Duration) -> io::Result<()> {
    let sleeper = || thread::Builder::new().spawn(move || thread::sleep(time));
    let threads = (0..count).map(|_| sleeper()).collect::<io::Result<Vec<_>>>()?;
    for thread in threads {
        // A sleeping thread cannot panic.
        drop(thread.join());
    }
    Ok(())
}

fn say(lines: u64, text: &str) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for nth in 1..=lines {
        writeln!(out, "{text} {nth}")?;
    }
    out.flush()
}

fn complain(text: &str) {
    drop(writeln!(io::stderr(), "{NAME}: {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_make_no_sense_are_no_work() {
        for bad in [&["fly"][..], &["burn"], &["burn", "x"], &["exit", "300"], &[]] {
            assert!(act(bad).is_none(), "{bad:?}");
        }
        assert_eq!(act(&["exit", "3"]).unwrap().unwrap(), 3);
    }
}
