//! libFuzzer's part: it calls this with one input after the other.
//!
//! `EPHEMON_FUZZ_TARGET` names the target, `EPHEMON_FUZZ_SECONDS` how much CPU time it gets. Both this
//! and the time of one input are counted by the kernel: on a machine that others use, too, a minute of
//! the clock may be any part of one.

#![no_main]

#[path = "targets.rs"]
mod targets;

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::Duration;
use std::{env, panic, process, slice};

use rustix::time::{ClockId, clock_gettime};

use targets::{ALL, Target};

/// Most CPU time of one input. None is longer than 4 KiB.
const LONGEST: Duration = Duration::from_secs(5);

/// The target, and when it is done.
struct Run {
    target: Target,
    seconds: Option<u64>,
}

static RUN: LazyLock<Run> = LazyLock::new(|| {
    // A panic that somebody catches is a finding, too.
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        tell(info);
        process::abort();
    }));
    let name = env::var("EPHEMON_FUZZ_TARGET").unwrap_or_default();
    let target = ALL.into_iter().find(|(known, _)| *known == name);
    let names = ALL.map(|(name, _)| name).join(", ");
    let target = target.unwrap_or_else(|| panic!("EPHEMON_FUZZ_TARGET must be one of {names}"));
    let seconds = env::var("EPHEMON_FUZZ_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("EPHEMON_FUZZ_SECONDS is a number"));
    Run { target, seconds }
});

unsafe extern "C" {
    /// Without what is registered for an exit, which libFuzzer takes for a finding.
    fn _exit(code: i32) -> !;
}

/// What libFuzzer calls for each input.
///
/// # Safety
///
/// `data` points to `size` bytes that stay as they are during the call.
#[unsafe(no_mangle)]
unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> i32 {
    let input: &[u8] = match size {
        0 => &[],
        // SAFETY: see above.
        _ => unsafe { slice::from_raw_parts(data, size) },
    };
    let Run { target: (name, run), seconds } = *RUN;
    let before = used();
    run(input);
    let used = used();
    assert!(
        used.saturating_sub(before) < LONGEST,
        "the input took {:?}",
        used.saturating_sub(before)
    );
    if seconds.is_some_and(|seconds| used.as_secs() >= seconds) {
        let mut out = std::io::stderr().lock();
        drop(writeln!(out, "{name}: nothing found in {} s of CPU time", used.as_secs()));
        // SAFETY: it takes a number and does not come back.
        unsafe { _exit(0) };
    }
    0
}

/// CPU time of this process.
fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
