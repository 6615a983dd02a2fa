//! What runs inside the containers of the tests: one small static program, told what to use up.
//!
//! Built by `support::guest` with plain rustc, so it has no dependencies. As `pause` it is the
//! sandbox.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Linux, x86-64 and arm64 differ.
const O_DIRECT: i32 = if cfg!(target_arch = "aarch64") {
    0x1_0000
} else {
    0x4000
};

fn main() {
    let words: Vec<String> = env::args().collect();
    if words[0].ends_with("pause") {
        loop {
            thread::park();
        }
    }
    let mut words = words[1..].iter().map(String::as_str);
    while let Some(verb) = words.next() {
        let mut word = || words.next().expect("a value");
        match verb {
            // join FILE,FILE...: enters cgroups by their cgroup.procs, before all else.
            "join" => word()
                .split(',')
                .for_each(|procs| fs::write(procs, "0").expect("join")),
            // burn MS: one CPU for so long by the wall clock.
            "burn" => burn(Duration::from_millis(number(word()) as u64)),
            // sleep MS: nothing.
            "sleep" => thread::sleep(Duration::from_millis(number(word()) as u64)),
            // wait FILE: until it is there, looking every millisecond.
            "wait" => {
                let file = word();
                while !fs::exists(file).expect("look") {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            // memory MIB: touches so much and keeps it to the end.
            "memory" => std::mem::forget(touched(number(word()) << 20)),
            // pids N: so many processes beside this one, at once, for 0.3 s.
            "pids" => pids(number(word())),
            // write FILE MIB: written past the page cache, so that the writer is charged.
            "write" => write(word(), number(word())),
            // exit CODE
            "exit" => std::process::exit(number(word()) as i32),
            other => panic!("unknown word {other}"),
        }
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn burn(length: Duration) {
    let start = Instant::now();
    let mut sum = 0_u64;
    while start.elapsed() < length {
        for step in 0..1000 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(step));
        }
    }
}

fn touched(bytes: usize) -> Vec<u8> {
    let mut block = vec![0_u8; bytes];
    for page in block.chunks_mut(4096) {
        page[0] = 1;
    }
    black_box(block)
}

fn pids(count: usize) {
    let own = env::current_exe().expect("own path");
    let children: Vec<_> = (0..count)
        .map(|_| {
            Command::new(&own)
                .args(["sleep", "300"])
                .spawn()
                .expect("spawn")
        })
        .collect();
    for mut child in children {
        child.wait().expect("wait");
    }
}

fn write(path: &str, mib: usize) {
    let direct = OpenOptions::new()
        .write(true)
        .create(true)
        .custom_flags(O_DIRECT)
        .open(path);
    let mut file = direct.or_else(|_| File::create(path)).expect("create");
    // O_DIRECT wants memory aligned to the device's blocks.
    let block = vec![7_u8; (1 << 20) + 4096];
    let skip = block.as_ptr().align_offset(4096);
    for _ in 0..mib {
        if file.write_all(&block[skip..skip + (1 << 20)]).is_err() {
            file = File::create(path).expect("create");
        }
    }
    file.sync_all().expect("sync");
}
