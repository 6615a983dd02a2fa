//! `ephemon`: the node agent, and the entry to the demo.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    ephemon_agent::cli::Cli::parse().run()
}
