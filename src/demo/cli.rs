//! The program `ephemon-demo`, which `ephemon demo` executes.

use std::process::ExitCode;

use clap::Parser as _;

use crate::{Args, run};

#[derive(Debug, clap::Parser)]
#[command(name = "ephemon-demo", bin_name = "ephemon demo", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// Runs the demo according to the command line. Errors go to standard error as one sentence.
pub fn main() -> ExitCode {
    let args = Cli::parse().args;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start the runtime: {error}")),
    };
    runtime.block_on(run(args)).unwrap_or_else(|error| failed(&error.to_string()))
}

#[expect(clippy::print_stderr, reason = "the program's last message, with or without a log")]
fn failed(why: &str) -> ExitCode {
    eprintln!("ephemon: {why}");
    ExitCode::FAILURE
}
