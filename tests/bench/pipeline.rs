//! The agent's whole way of a log, from file to collector, as a process: what a core brings through,
//! what a megabyte a second costs, and what it holds in memory while the collector is silent.
//!
//! `cargo bench --bench pipeline`, or with the names of some of them: `-- throughput steady silent`

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    dead_code,
    reason = "a program that prints figures, on the test rig, of which it uses a part"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::programs;

#[path = "../it/support"]
mod support {
    pub(crate) mod cgroups;
    pub(crate) mod parts;
    pub(crate) mod process;
    pub(crate) mod programs;
}

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";
/// Bytes of a line's text.
const TEXT: usize = 100;
/// Text written for the throughput, and while the collector is silent.
const MUCH: usize = 400 << 20;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let all: [(&str, fn()); 3] =
        [("throughput", throughput), ("steady", steady), ("silent", silent)];
    for (name, measure) in all {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            measure();
        }
    }
}

/// Everything is in the file before the agent starts.
fn throughput() {
    let node = Node::new();
    let lines = MUCH / TEXT;
    node.write(lines);
    let sink = Sink::start(false);
    let agent = Agent::start(&node, sink.address);
    let begin = Instant::now();
    agent.wait_for_lines(lines);
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), agent.cpu_seconds());
    let megabytes = MUCH as f64 / 1e6;
    println!(
        "{lines} lines of {TEXT} bytes: {:.0} MB/s, {:.0} MB for each second of CPU time",
        megabytes / wall,
        megabytes / cpu
    );
}

/// A megabyte a second, in ten parts.
fn steady() {
    let node = Node::new();
    let sink = Sink::start(false);
    let agent = Agent::start(&node, sink.address);
    node.write(1);
    agent.wait_for_lines(1);
    let (begin, before) = (Instant::now(), agent.cpu_seconds());
    for part in 1..=200_u32 {
        node.write(1_000_000 / TEXT / 10);
        thread::sleep((begin + Duration::from_millis(100) * part) - Instant::now());
    }
    let used = (agent.cpu_seconds() - before) / begin.elapsed().as_secs_f64();
    println!("1 MB/s for 20 s: {:.2} % of a core", used * 100.0);
}

/// The collector takes connections and never answers.
fn silent() {
    let node = Node::new();
    let sink = Sink::start(true);
    let agent = Agent::start(&node, sink.address);
    node.write(1000);
    thread::sleep(Duration::from_secs(3));
    let before = agent.rss();
    for _ in 0..10 {
        node.write(MUCH / TEXT / 10);
        thread::sleep(Duration::from_millis(500));
    }
    thread::sleep(Duration::from_secs(5));
    println!(
        "a silent collector and {} MB written: {:.1} MB resident, {:.1} before",
        MUCH >> 20,
        agent.rss() as f64 / 1e6,
        before as f64 / 1e6
    );
}

/// A node of plain files with one container.
struct Node(TempDir);

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |path: &str| directory.path().join(path);
        let id = "a".repeat(64);
        let cgroup = at(&format!("sys/fs/cgroup/kubepods/burstable/pod{UID}/{id}"));
        for path in ["var/log/containers", "proc", &format!("var/log/pods/ci_r_{UID}/job")] {
            fs::create_dir_all(at(path)).expect("a node");
        }
        fs::create_dir_all(&cgroup).expect("a cgroup");
        fs::write(at("sys/fs/cgroup/cgroup.controllers"), "cpu\n").expect("a hierarchy");
        fs::write(cgroup.join("cpu.stat"), "usage_usec 1\n").expect("a cgroup");
        fs::write(cgroup.join("cgroup.events"), "populated 1\n").expect("a cgroup");
        let link = at(&format!("var/log/containers/r_ci_job-{id}.log"));
        let node = Self(directory);
        File::create(node.log()).expect("a log");
        symlink(node.log(), link).expect("a link");
        node
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn log(&self) -> PathBuf {
        self.root().join(format!("var/log/pods/ci_r_{UID}/job/0.log"))
    }

    fn write(&self, lines: usize) {
        let text =
            "a line of a compiler about a file and what it thinks of it, and how long it took; "
                .repeat(2);
        let record = format!("2026-11-25T12:00:00.123456789Z stdout F {}\n", &text[..TEXT]);
        let mut log = OpenOptions::new().append(true).open(self.log()).expect("the log");
        let block = record.repeat(1000.min(lines));
        for _ in 0..lines / 1000 {
            log.write_all(block.as_bytes()).expect("room for the log");
        }
        log.write_all(record.repeat(lines % 1000).as_bytes()).expect("room for the log");
    }
}

/// The agent as a process; killed when dropped.
struct Agent {
    child: Child,
    address: SocketAddr,
}

impl Agent {
    fn start(node: &Node, collector: SocketAddr) -> Self {
        let mut child = Command::new(programs::ephemon())
            .args(["agent", "--no-api", "--node-name", "bench", "--listen", "127.0.0.1:0"])
            .args(["--kubepods", "kubepods", "--node-root"])
            .arg(node.root())
            .env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", format!("http://{collector}/v1/logs"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent");
        let log = BufReader::new(child.stderr.take().expect("its log"));
        let mut lines = log.lines().map_while(Result::ok);
        let address = lines
            .find_map(|line| line.split_once("listening on http://")?.1.trim().parse().ok())
            .expect("an address");
        thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn wait_for_lines(&self, lines: usize) {
        let wanted = lines as f64;
        while self.figure("ephemon_container_log_delivered_lines_total") < wanted {
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn figure(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(self.address).expect("the agent");
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("the agent");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("the agent");
        let line = page.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    fn stat(&self) -> procfs::process::Stat {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        procfs::process::Process::new(pid).and_then(|process| process.stat()).expect("its stat")
    }

    fn cpu_seconds(&self) -> f64 {
        let stat = self.stat();
        (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64
    }

    fn rss(&self) -> u64 {
        self.stat().rss * procfs::page_size()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Takes every request, or none.
struct Sink {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Sink {
    fn start(silent: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                thread::spawn(move || serve(stream, silent));
            }
        });
        Self { address, over }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address).ok();
    }
}

fn serve(stream: TcpStream, silent: bool) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok()?;
        if silent {
            thread::sleep(Duration::from_mins(10));
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    }
}
