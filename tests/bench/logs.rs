//! From a joined line to an encoded batch; the budget is 150 MB/s a core, so that with reading and
//! parsing 100 MB/s are left.

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ephemon_mask::job::{JobMasks, Mode};
use ephemon_model::LogStream;
use ephemon_model::{ContainerType, PodRef, PodUid};
use ephemon_otlp::{Batch, Entry, Resource, Source};
use ephemon_sanitize::Sanitized;
use ephemon_sanitize::{Options, Sanitizer};

const LINES: usize = 5000;
/// A batch goes out when it is this long.
const BATCH_BYTES: usize = 1024 * 1024;

fn benches(criterion: &mut Criterion) {
    let lines = lines();
    let bytes: usize = lines.iter().map(String::len).sum();
    let resource = Arc::new(Resource::new(&source()));
    let mut group = criterion.benchmark_group("logs");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.sample_size(20);
    for values in [0, 20, 500] {
        let masks = masks(values);
        group.bench_function(BenchmarkId::new("sanitize", format!("{values}_values")), |bencher| {
            let mut sanitizer = Sanitizer::new(masks.clone(), Options::default());
            bencher.iter(|| {
                for line in &lines {
                    black_box(sanitizer.line(LogStream::Stdout, black_box(line.as_bytes())));
                }
            });
        });
        group.bench_function(BenchmarkId::new("batch", format!("{values}_values")), |bencher| {
            let mut sanitizer = Sanitizer::new(masks.clone(), Options::default());
            let mut batch = Batch::new();
            bencher.iter(|| {
                for (at, line) in lines.iter().enumerate() {
                    let line = black_box(line.as_bytes());
                    let Sanitized::Record(record) = sanitizer.line(LogStream::Stdout, line) else {
                        continue;
                    };
                    let entry = Entry {
                        time_unix_nano: 1_764_000_000_000_000_000 + at as u64,
                        observed_unix_nano: 1_764_000_000_000_000_001,
                        stream: LogStream::Stdout,
                        uid: at as u128,
                        span: None,
                        sequence: at as u64,
                        unended: false,
                        flaw: None,
                        record: &record,
                    };
                    batch.push(&resource, &entry);
                    if batch.encoded_len() >= BATCH_BYTES {
                        black_box(batch.finish());
                    }
                }
            });
        });
    }
    group.finish();
}

/// Lines of 100 bytes as builds write them: stamps, paths, words, now and then a URL.
fn lines() -> Vec<String> {
    let words = [
        "Compiling",
        "warning:",
        "unused",
        "variable",
        "src/main.rs:12:5",
        "test",
        "ok",
        "INFO",
        "Downloaded",
        "https://example.org/pkg/v1.2.3",
        "took",
        "0.35s",
        "running",
        "cache-hit",
        "npm",
        "step",
        "task-runner",
        "layer",
        "sha256:4f53cda18c2baa0c",
        "done,",
        "[12/80]",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    let line = |_| {
        let mut line = String::from("2026-11-25T15:38:12.123456Z ");
        while line.len() < 100 {
            line.push_str(random.choice(words).unwrap_or("word"));
            line.push(' ');
        }
        line.truncate(100);
        line
    };
    (0..LINES).map(line).collect()
}

fn masks(values: usize) -> JobMasks {
    let mut random = fastrand::Rng::with_seed(11);
    let masks = JobMasks::new(Mode::Masked);
    for _ in 0..values {
        let value: String = (0..24).map(|_| random.alphanumeric()).collect();
        masks.add([value.as_bytes()]).expect("few");
    }
    masks
}

fn source() -> Source {
    Source {
        pod: PodRef {
            namespace: "ci".into(),
            name: "runner-abcde".into(),
            uid: PodUid::parse("0e269fa4-f505-4963-9096-958063077203").expect("a UID"),
        },
        container: "job".into(),
        log_file_path:
            "/var/log/pods/ci_runner-abcde_0e269fa4-f505-4963-9096-958063077203/job/0.log".into(),
        container_id: None,
        container_type: Some(ContainerType::Ephemeral),
        image: Some("ghcr.io/octo/image:v1".into()),
        node: Some("node-a".into()),
        service_name: None,
        attributes: Arc::default(),
        job: None,
    }
}

criterion_group!(all, benches);
criterion_main!(all);
