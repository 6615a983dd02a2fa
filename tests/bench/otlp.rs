//! What it costs to bring requests to a collector, and to keep them on the node's disk.
//!
//! `cargo bench --bench otlp`. Takes half a minute. The spool's figures are the disk's below
//! `TMPDIR` more than ours.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a program that prints figures, on the test rig, of which it uses a part"
)]

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use ephemon_export::spool::{Limits, Spool};
use ephemon_export::{Destination, Fate, Options, Payload, Sender};
use ephemon_otel::Signal;
use ephemon_otel::config::{Config, Exporter};
use ephemon_self_metrics::SelfMetrics;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

#[path = "../it/support"]
mod support {
    pub(crate) mod collector;
    pub(crate) mod ports;
}

use support::collector::{Collector, Wire};

const LIMITS: Limits = Limits { bytes: 4 << 30, age: Duration::from_hours(1) };

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for (what, body, records) in [("1 MiB", 1 << 20, 256), ("64 KiB", 64 << 10, 1024)] {
        spool(&format!("{what} requests, each synced"), body, records, true);
        spool(&format!("{what} requests, synced every 4 MiB"), body, records, false);
    }
    for wire in [Wire::Grpc, Wire::Http] {
        for gzip in ["none", "gzip"] {
            for (what, lines) in [("100 records", 100), ("5000 records", 5000)] {
                send(wire, gzip, what, lines).await;
            }
        }
    }
}

fn spool(what: &str, body: usize, records: usize, synced: bool) {
    let home = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(home.path(), LIMITS).unwrap();
    let body = vec![b'x'; body];
    let mib = (body.len() * records) as f64 / f64::from(1 << 20);
    let started = Instant::now();
    for _ in 0..records {
        spool.append(1, 100, &body, SystemTime::now()).unwrap();
        if synced {
            spool.sync().unwrap();
        }
    }
    spool.sync().unwrap();
    let append = mib / started.elapsed().as_secs_f64();
    drop(spool);
    let started = Instant::now();
    let mut spool = Spool::open(home.path(), LIMITS).unwrap();
    let opened = started.elapsed();
    let mut read = 0;
    while let Some(record) = spool.read(SystemTime::now()).unwrap() {
        spool.acknowledge(record.sequence).unwrap();
        read += 1;
    }
    assert_eq!(read, records);
    let drain = mib / started.elapsed().as_secs_f64();
    println!(
        "spool, {what}: append {append:.0} MiB/s, drain {drain:.0} MiB/s, open {:.1} ms",
        opened.as_secs_f64() * 1e3
    );
}

/// As many requests as go in three seconds, with a full queue all the time.
async fn send(wire: Wire, gzip: &str, what: &str, records: u64) {
    let collector = Collector::start(wire, None).await;
    let (config, _) = Config::from_env(|name| {
        Some(match name.strip_prefix("OTEL_EXPORTER_OTLP_")? {
            "ENDPOINT" => collector.endpoint(),
            "PROTOCOL" => collector.protocol().to_owned(),
            "COMPRESSION" => gzip.to_owned(),
            _ => return None,
        })
    });
    let Exporter::Otlp(target) = config.logs else { panic!("no endpoint") };
    let destination = Destination::collector(Signal::Logs, &target);
    let self_metrics = SelfMetrics::new().unwrap();
    let (outbox, sender) = Sender::new(destination, None, Options::default(), self_metrics);
    let run = tokio::spawn(sender.run(std::future::pending()));
    let payload = payload(records);
    let mut open = VecDeque::new();
    let (mut sent, cpu, started) = (0_u32, cpu_seconds(), Instant::now());
    while started.elapsed() < Duration::from_secs(3) {
        match outbox.offer(payload.clone()) {
            Ok(receipt) if open.len() < 16 => {
                open.push_back(receipt);
                continue;
            }
            Ok(receipt) => open.push_back(receipt),
            Err(_) => {}
        }
        if let Some(receipt) = open.pop_front() {
            assert_eq!(receipt.await, Fate::Acknowledged);
            sent += 1;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = f64::from(sent) / seconds;
    let mib = rate * payload.body.len() as f64 / f64::from(1 << 20);
    let busy = (cpu_seconds() - cpu) / seconds * 100.0;
    println!(
        "{wire:?}, gzip {gzip}, {what} ({} KiB): {rate:.0} requests/s, {mib:.0} MiB/s, \
         {busy:.0} % CPU with the collector",
        payload.body.len() >> 10
    );
    run.abort();
}

fn payload(records: u64) -> Payload {
    let record = |number: u64| {
        let line = format!("2026-11-25T12:00:00Z step {number}: compiled crate_{number} in 12 ms");
        let body = AnyValue { value: Some(Value::StringValue(line)) };
        LogRecord { time_unix_nano: number, body: Some(body), ..LogRecord::default() }
    };
    let log_records = (0..records).map(record).collect();
    let scope = ScopeLogs { log_records, ..ScopeLogs::default() };
    let resource = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    Payload::of(&ExportLogsServiceRequest { resource_logs: vec![resource] }, records)
}

/// Of this process so far.
fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}
