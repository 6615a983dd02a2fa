//! What is read of a container, from plain files.

use super::*;

/// A container with plain files, which has run for a minute.
struct Steady {
    root: tempfile::TempDir,
    container: Container,
    now: Instant,
    cpu_us: u64,
}

impl Steady {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let id = ContainerId::parse(&"a".repeat(64)).unwrap();
        let pod = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let life = Life::new(SystemTime::now(), now);
        let container = Container::new(id, pod, PathBuf::from("c"), life);
        let now = now + STEADY_AFTER;
        std::fs::create_dir(root.path().join("c")).unwrap();
        let mut steady = Self { root, container, now, cpu_us: 0 };
        steady.put(1);
        steady.container.open(&Hierarchy::V2 { root: steady.root.path().to_owned() });
        steady
    }

    /// Sets every value that the kernel would report, except the CPU time.
    fn put(&self, figure: u64) {
        let put = |name: &str, text: &str| {
            std::fs::write(self.root.path().join("c").join(name), text).unwrap();
        };
        put("cpu.stat", &format!("usage_usec {}\n", self.cpu_us));
        for name in ["memory.current", "memory.peak", "pids.current", "pids.max"] {
            put(name, &format!("{figure}\n"));
        }
        put("io.pressure", &format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={figure}\n"));
        put("memory.stat", &format!("anon {figure}\nfile 0\ninactive_file 0\n"));
    }

    /// Samples after this time.
    fn sample(&mut self, later: Duration) -> [Option<u64>; 4] {
        self.now += later;
        assert_eq!(self.container.sample(self.now, &mut Vec::new()), Reading::Read(0));
        self.figures()
    }

    /// Memory, working set, peak, tasks.
    fn figures(&self) -> [Option<u64>; 4] {
        let Usage { memory, pids, .. } = &self.container.usage;
        [memory.usage_bytes, memory.working_set_bytes, memory.peak_bytes, pids.current]
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_steady_container_is_read_in_full_every_five_seconds_and_for_what_moves_in_between() {
    let mut steady = Steady::new();
    assert_eq!(steady.sample(SECOND), [Some(1); 4]);
    steady.put(2);
    assert_eq!(steady.sample(SECOND), [Some(1); 4], "it has not run");
    steady.cpu_us += 1;
    steady.put(3);
    assert_eq!(steady.sample(SECOND), [Some(3), Some(3), Some(1), Some(3)]);
    steady.put(4);
    steady.sample(SECOND);
    steady.sample(SECOND);
    assert_eq!(steady.sample(SECOND), [Some(4); 4], "five seconds later all is read");
    assert_eq!(steady.container.usage.cpu.usage_ns, Some(1000));
}

#[test]
fn a_container_that_does_not_run_is_read_in_full_every_half_minute() {
    let mut steady = Steady::new();
    assert_eq!(steady.sample(SECOND), [Some(1); 4]);
    steady.put(2);
    for _ in 0..29 {
        assert_eq!(steady.sample(SECOND), [Some(1); 4]);
    }
    let waited = steady.container.usage.pressure.io.waiting_us;
    assert_eq!(waited, Some(2), "who waits uses no CPU time");
    assert_eq!(steady.sample(SECOND), [Some(2); 4]);
    // Once it runs again, five seconds after the last complete reading at most.
    steady.cpu_us += 1;
    steady.put(3);
    steady.sample(SECOND);
    for _ in 0..4 {
        steady.sample(SECOND);
    }
    assert_eq!(steady.figures(), [Some(3); 4]);
}

#[test]
fn memory_is_held_from_reading_to_reading() {
    let mut steady = Steady::new();
    let mut read = |second, bytes| {
        let container = &mut steady.container;
        container.read_at = container.life.created() + Duration::from_secs(second);
        container.usage.memory.usage_bytes = Some(bytes);
        container.add_up_memory();
        container.usage.memory.byte_ms
    };
    // 1 s of 50, 1 s of 100, 2 s of 200.
    assert_eq!(read(1, 100), Some(50_000));
    assert_eq!(read(2, 200), Some(150_000));
    assert_eq!(read(2, 200), Some(150_000));
    assert_eq!(read(1, 200), Some(150_000), "a clock set back");
    assert_eq!(read(4, 0), Some(550_000));
}

#[test]
fn what_was_missed_is_bounded_by_what_the_node_has() {
    let mut container = Steady::new().container;
    container.usage.cpu.usage_ns = Some(3_600_000_000_000);
    let now = container.cpu_at + SECOND;
    assert_eq!(container.missed_cpu_ns(now, 2), 2_000_000_000, "found running just now");
    container.cpu_at += Duration::from_hours(2);
    let missed = container.missed_cpu_ns(container.cpu_at + SECOND, 2);
    assert_eq!(missed, 500_000_000, "half a CPU until then");
}

#[test]
fn the_final_reading_is_in_full_and_takes_the_limits_too() {
    let mut steady = Steady::new();
    steady.sample(SECOND);
    steady.put(7);
    let reading = steady.container.read_final(steady.now + SECOND, &mut Vec::new());
    assert_eq!(reading, Reading::Read(0));
    // Gauges have the values from before the end.
    assert_eq!(steady.figures(), [Some(1), Some(1), Some(7), Some(1)]);
    assert_eq!(steady.container.usage.pids.limit, Some(ephemon_model::Limit::At(7)));
}
