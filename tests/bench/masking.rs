//! What masking brings through when a job tells the most values that it may, of the kinds that cost
//! most: in the agent, line by line, and in init. A line that costs more than it may is withheld.
//! The budget is 20 MB/s for each.
//!
//! `cargo bench --bench masking`, or with parts of the names of some: `-- 'bytes, everywhere'`

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program that prints figures"
)]

use std::time::Duration;

use ephemon_mask::job::{JobMasks, Mode};
use ephemon_mask::{Masks, work_for};
use ephemon_model::LogStream;
use ephemon_sanitize::Sanitized;
use ephemon_sanitize::{Options, Sanitizer};
use rustix::time::{ClockId, clock_gettime};

/// Bytes of text of each kind.
const TEXT: usize = 4 << 20;
/// Values that the agent takes of a pod, and init of a job.
const AGENT: usize = 2048;
const INIT: usize = 4096;
/// Bytes that the longest of so many may have.
const LONG: usize = 120;

/// Values, and a text that is made for them.
struct Case {
    name: &'static str,
    values: fn(usize) -> Vec<Vec<u8>>,
    text: fn(usize) -> Vec<u8>,
}

const CASES: [Case; 10] = [
    Case { name: "random values, a build's text", values: random, text: build },
    Case { name: "3 bytes, sparse", values: |most| dense(most, 26, 3), text: |_| letters(26) },
    Case { name: "3 bytes, everywhere", values: |most| dense(most, 13, 3), text: |_| letters(13) },
    Case { name: "4 bytes, everywhere", values: |most| dense(most, 7, 4), text: |_| letters(7) },
    Case { name: "aaaa, one in another", values: nested, text: |_| vec![b'a'; TEXT] },
    Case { name: "aaaa, nearly", values: nearly_nested, text: |_| vec![b'a'; TEXT] },
    Case { name: "of a and b", values: of_two, text: |_| letters(2) },
    Case { name: "of the text, nearly", values: near_misses, text: periodic },
    Case { name: "random values, nearly tokens", values: random, text: nearly_tokens },
    Case { name: "of the text, one beginning", values: beginnings, text: |_| vec![b'a'; TEXT] },
];

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    println!("{:<32} {:>12} {:>12}  withheld", "", "agent, MB/s", "init, MB/s");
    for Case { name, values, text } in &CASES {
        if !asked.is_empty() && !asked.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let (agent, agent_withheld) = agent(&values(AGENT), &text(AGENT));
        let (init, init_withheld) = init(&values(INIT), &text(INIT));
        println!("{name:<32} {agent:>12.0} {init:>12.0}  {agent_withheld} and {init_withheld}");
    }
    told_one_by_one();
}

/// Lines of 200 bytes through a sanitizer: MB/s, and how many were withheld.
fn agent(values: &[Vec<u8>], text: &[u8]) -> (f64, usize) {
    let masks = JobMasks::new(Mode::Masked);
    masks.add(values.iter().map(Vec::as_slice)).expect("no more than are kept");
    let mut sanitizer = Sanitizer::new(masks, Options::default());
    let mut withheld = 0;
    let took = best(|| {
        withheld = 0;
        for line in text.chunks(200) {
            if let Sanitized::Record(record) = sanitizer.line(LogStream::Stdout, line) {
                withheld += usize::from(record.withheld.is_some());
            }
        }
    });
    (text.len() as f64 / 1e6 / took.as_secs_f64(), withheld)
}

/// The same as init masks it.
fn init(values: &[Vec<u8>], text: &[u8]) -> (f64, usize) {
    let masks = Masks::default();
    masks.add(values.iter().map(Vec::as_slice)).expect("no more than are kept");
    let matcher = masks.matcher().expect("no more than are kept");
    let mut out = Vec::with_capacity(2 * text.len());
    let mut withheld = 0;
    let took = best(|| {
        withheld = 0;
        out.clear();
        for line in text.chunks(200) {
            withheld += usize::from(matcher.mask(line, work_for(line.len()), &mut out).is_err());
        }
    });
    (text.len() as f64 / 1e6 / took.as_secs_f64(), withheld)
}

fn best(mut run: impl FnMut()) -> Duration {
    let once = |_| {
        let begin = worked();
        run();
        worked().saturating_sub(begin)
    };
    (0..3).map(once).min().expect("three")
}

/// CPU time of this thread: others may have the cores meanwhile.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// All that init takes, each told by a line of its own.
fn told_one_by_one() {
    for (name, values) in [("random", random(INIT)), ("of one beginning", beginnings(INIT))] {
        let masks = Masks::default();
        let begin = worked();
        for value in &values {
            masks.add([value.as_slice()]).expect("no more than are kept");
        }
        let took = worked().saturating_sub(begin);
        let forms = masks.matcher().expect("no more than are kept").forms();
        println!("{INIT} values told one by one, {name}: {took:.0?} ({forms} forms)");
    }
}

fn random(most: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(11);
    (0..most).map(|_| (0..40).map(|_| random.alphanumeric() as u8).collect()).collect()
}

fn build(_: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let words =
        ["Compiling ", "warning: ", "src/main.rs:12:5 ", "ok ", "took 0.35s ", "sha256:4f53 "];
    let mut text = Vec::with_capacity(TEXT + 32);
    while text.len() < TEXT {
        text.extend_from_slice(random.choice(words).unwrap_or("word ").as_bytes());
    }
    text
}

fn nearly_tokens(_: usize) -> Vec<u8> {
    b"eyJ.sk-ghp_://@AKIA xoxb-npm_".iter().copied().cycle().take(TEXT).collect()
}

/// Words of so many of the first letters, one after the other.
fn dense(most: usize, letters: usize, length: u32) -> Vec<Vec<u8>> {
    let word = |n: usize| {
        let letter = |place| b'a' + u8::try_from(n / letters.pow(place) % letters).unwrap_or(0);
        (0..length).map(letter).collect()
    };
    (0..most.min(letters.pow(length))).map(word).collect()
}

fn letters(letters: u8) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(3);
    (0..TEXT).map(|_| b'a' + random.u8(..letters)).collect()
}

fn nested(_: usize) -> Vec<Vec<u8>> {
    (4..=256).map(|length| vec![b'a'; length]).collect()
}

/// Each is the text but for its last byte, which stands before the text's.
fn nearly_nested(_: usize) -> Vec<Vec<u8>> {
    (4..=255).map(|length| [vec![b'a'; length], vec![b'A']].concat()).collect()
}

fn of_two(most: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(5);
    (0..most).map(|_| (0..40).map(|_| b'a' + random.u8(..2)).collect()).collect()
}

/// A text that comes again and again after so many bytes.
fn periodic(most: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(9);
    let period: Vec<u8> = (0..most).map(|_| b'a' + random.u8(..2)).collect();
    period.iter().copied().cycle().take(TEXT).collect()
}

fn near_misses(most: usize) -> Vec<Vec<u8>> {
    let text = periodic(most);
    (0..most).map(|at| [&text[at..at + LONG], b"A".as_slice()].concat()).collect()
}

/// Long ones of the same beginning, that the text has everywhere.
fn beginnings(most: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(13);
    let tail = |_| (0..16).map(|_| random.alphanumeric() as u8).collect::<Vec<_>>();
    (0..most).map(tail).map(|tail| [vec![b'a'; LONG - 16], tail].concat()).collect()
}
