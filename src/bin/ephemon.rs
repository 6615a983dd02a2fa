//! `ephemon`: the node agent and the demo.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // The demo's helpers run in containers whose CPU time is counted: they come before all else.
    if let Some(code) = ephemon::demo::part::run(std::env::args_os()) {
        return code;
    }
    ephemon::cli::Cli::parse().run()
}
