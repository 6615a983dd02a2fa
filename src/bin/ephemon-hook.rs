//! `ephemon-hook`: the GitHub Actions runner's container hook.

use std::process::ExitCode;

#[expect(clippy::print_stderr, reason = "the program's one word to the person who started it")]
fn main() -> ExitCode {
    eprintln!("ephemon-hook: not yet: this release has the node agent only (`ephemon agent`)");
    ExitCode::from(2)
}
