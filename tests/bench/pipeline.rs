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

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::plain_node::{PlainNode, TEXT};
use crate::rig::sink::{Answers, Sink};
use crate::rig::used;
use crate::support::programs;

#[path = "../it/support"]
mod support {
    pub(crate) mod cgroups;
    pub(crate) mod parts;
    pub(crate) mod process;
    pub(crate) mod programs;
}

#[path = "rig"]
mod rig {
    pub(crate) mod plain_node;
    pub(crate) mod sink;
    pub(crate) mod used;
}

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
    let node = PlainNode::new();
    let lines = MUCH / TEXT;
    node.write(lines);
    let sink = Sink::start(Answers::AtOnce);
    let agent = Agent::start(&node, sink.address);
    let begin = Instant::now();
    agent.wait_for_lines(lines);
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), used::cpu_seconds(agent.pid()));
    let megabytes = MUCH as f64 / 1e6;
    println!(
        "{lines} lines of {TEXT} bytes: {:.0} MB/s, {:.0} MB for each second of CPU time",
        megabytes / wall,
        megabytes / cpu
    );
}

/// A megabyte a second, in ten parts.
fn steady() {
    let node = PlainNode::new();
    let sink = Sink::start(Answers::AtOnce);
    let agent = Agent::start(&node, sink.address);
    node.write(1);
    agent.wait_for_lines(1);
    let (begin, before) = (Instant::now(), used::cpu_seconds(agent.pid()));
    for part in 1..=200_u32 {
        node.write(1_000_000 / TEXT / 10);
        thread::sleep((begin + Duration::from_millis(100) * part) - Instant::now());
    }
    let used = (used::cpu_seconds(agent.pid()) - before) / begin.elapsed().as_secs_f64();
    println!("1 MB/s for 20 s: {:.2} % of a core", used * 100.0);
}

/// The collector takes connections and never answers.
fn silent() {
    let node = PlainNode::new();
    let sink = Sink::start(Answers::Never);
    let agent = Agent::start(&node, sink.address);
    node.write(1000);
    thread::sleep(Duration::from_secs(3));
    let before = used::resident_bytes(agent.pid());
    for _ in 0..10 {
        node.write(MUCH / TEXT / 10);
        thread::sleep(Duration::from_millis(500));
    }
    thread::sleep(Duration::from_secs(5));
    println!(
        "a silent collector and {} MB written: {:.1} MB resident, {:.1} before",
        MUCH >> 20,
        used::resident_bytes(agent.pid()) as f64 / 1e6,
        before as f64 / 1e6
    );
}

/// The agent as a process; killed when dropped.
struct Agent {
    child: Child,
    address: SocketAddr,
}

impl Agent {
    fn start(node: &PlainNode, collector: SocketAddr) -> Self {
        let mut child = Command::new(programs::ephemon())
            .args(["agent", "--no-api", "--node-name", "bench", "--listen", "127.0.0.1:0"])
            .args(["--kubepods", "kubepods", "--node-root"])
            .arg(node.root())
            .env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", format!("http://{collector}/v1/logs"))
            // As in the image.
            .env("MALLOC_ARENA_MAX", "1")
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

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
