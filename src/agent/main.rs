//! `ephemon`: the node agent, and the entry to the demo.

use std::process::ExitCode;

fn main() -> ExitCode {
    ephemon_agent::cli::Cli::run_process()
}
