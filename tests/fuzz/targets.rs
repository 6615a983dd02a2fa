//! What must hold of any bytes at all, by who sends them: for the fuzzer and for the tests.

mod advice;
mod collector;
mod commands;
mod hook;
mod init;
mod journal;
mod logs;
mod masks;
mod pods;
mod runtime;

/// A target: its name, and what is done to an input. It panics where a promise is broken.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them. The name is also that of its directory of seeds.
pub(crate) const ALL: [Target; 14] = [
    // From a container's log.
    ("line", logs::line),
    ("follower", logs::follower),
    ("link", logs::link),
    ("masker", masks::masker),
    ("sanitizer", masks::sanitizer),
    ("commands", commands::commands),
    // From the pod's shared volume.
    ("journal", journal::journal),
    // Between hook and init.
    ("wire", init::wire),
    ("session", init::session),
    // From the runner.
    ("request", hook::request),
    // From the API server, the kubelet's names, the kernel.
    ("pod", pods::pod),
    // From the container runtime.
    ("runtime", runtime::runtime),
    // From a collector.
    ("collector", collector::collector),
    // From Prometheus, and from what claims to be an agent.
    ("advice", advice::advice),
];

/// The first line, and the rest.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (value, rest) = data.split_at(end);
    (value, rest.get(1..).unwrap_or_default())
}

/// Pieces by their own lengths, of two bytes each; the last is what is left.
fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk() {
        let (piece, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        pieces.push(piece);
        data = rest;
    }
    pieces
}

fn contains(text: &[u8], value: &[u8]) -> bool {
    text.windows(value.len()).any(|window| window == value)
}
