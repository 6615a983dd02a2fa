//! `ephemon-hook`: the GitHub Actions runner's container hook.

use std::process::ExitCode;

fn main() -> ExitCode {
    ephemon_hook::main()
}
