//! `ephemon-init`: PID 1 of the ephemeral containers that the hook launches.

use std::process::ExitCode;

#[expect(clippy::print_stderr, reason = "the program's one word to the person who started it")]
fn main() -> ExitCode {
    eprintln!("ephemon-init: not yet: this release has the node agent only (`ephemon agent`)");
    ExitCode::from(2)
}
