//! `ephemon`: the node agent and the demo.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    ephemon::cli::Cli::parse().run()
}
