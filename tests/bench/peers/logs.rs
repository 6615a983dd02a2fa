//! Logs: the same file, to the same sink, by the same protocol.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::plain_node::{PlainNode, TEXT};
use crate::rig::sink::{Answers, Sink};
use crate::rig::used;
use crate::support::parts::{Part, all_there, program};
use crate::support::process::Running;
use crate::support::programs;

/// Made by its own builder, from Go modules: see `.ci/run`.
const COLLECTOR: &str = "otelcol-ephemon";
/// What the program says, below the node's root.
const LOG: &str = "said.log";
/// Text in the file.
const BYTES: usize = 200 << 20;

/// What one of them used.
struct Cost {
    wall: Duration,
    cpu_seconds: f64,
    peak_bytes: u64,
}

pub(crate) fn measure() {
    if !all_there(&[Part::Program(COLLECTOR)]) {
        return;
    }
    // It may have to be built first.
    programs::ephemon();
    println!("logs: {} MB in lines of {TEXT} bytes, OTLP over HTTP", BYTES / 1_000_000);
    println!("| | compression | MB for each second of CPU time | MB/s | peak memory |");
    println!("|---|---|---|---|---|");
    for compression in ["none", "gzip"] {
        for (name, start) in [
            ("Collector, filelog", collector as fn(&Path, &Sink, &str) -> Running),
            ("ephemon", agent),
        ] {
            let cost = run(start, compression);
            let megabytes = BYTES as f64 / 1e6;
            println!(
                "| {name} | {compression} | {:.1} | {:.1} | {:.0} MB |",
                megabytes / cost.cpu_seconds,
                megabytes / cost.wall.as_secs_f64(),
                cost.peak_bytes as f64 / 1e6
            );
        }
    }
}

/// From the start of the program until the sink has counted every line.
fn run(start: fn(&Path, &Sink, &str) -> Running, compression: &str) -> Cost {
    let node = PlainNode::new();
    let lines = BYTES / TEXT;
    node.write(lines);
    let sink = Sink::start(Answers::Counted);
    let begin = Instant::now();
    let mut program = start(node.root(), &sink, compression);
    while sink.records() < lines {
        assert!(
            program.ended().is_none(),
            "it ended with {} of {lines} lines:\n{}",
            sink.records(),
            std::fs::read_to_string(node.root().join(LOG)).unwrap_or_default()
        );
        thread::sleep(Duration::from_millis(20));
    }
    Cost {
        wall: begin.elapsed(),
        cpu_seconds: used::cpu_seconds(program.pid()),
        peak_bytes: used::peak_bytes(program.pid()),
    }
}

fn agent(root: &Path, sink: &Sink, compression: &str) -> Running {
    let mut command = Command::new(programs::ephemon());
    command
        .args(["agent", "--no-api", "--node-name", "bench", "--listen", "127.0.0.1:0"])
        .args(["--kubepods", "kubepods", "--node-root"])
        .arg(root)
        .env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", format!("http://{}/v1/logs", sink.address))
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
        // As in the image.
        .env("MALLOC_ARENA_MAX", "1")
        .stderr(File::create(root.join(LOG)).unwrap());
    Running::start(&mut command)
}

/// As its own documents set it up for Kubernetes: the container parser, and the batch processor.
fn collector(root: &Path, sink: &Sink, compression: &str) -> Running {
    let logs = root.join("var/log/pods/*/*/*.log");
    let configuration = format!(
        "\
receivers:
  filelog:
    include: [ \"{}\" ]
    start_at: beginning
    include_file_path: true
    include_file_name: false
    operators: [ {{ type: container }} ]
processors:
  batch: {{}}
exporters:
  otlphttp: {{ endpoint: \"http://{}\", compression: {compression} }}
service:
  telemetry: {{ metrics: {{ level: none }} }}
  pipelines:
    logs: {{ receivers: [filelog], processors: [batch], exporters: [otlphttp] }}
",
        logs.display(),
        sink.address
    );
    let file = root.join("collector.yaml");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new(program(COLLECTOR).unwrap());
    command.arg("--config").arg(file).stdout(Stdio::null());
    Running::start(command.stderr(File::create(root.join(LOG)).unwrap()))
}
