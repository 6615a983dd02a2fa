//! `ephemon-demo`: the demo, and the embedded node's helper processes.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The helpers run in containers whose CPU time is counted, so they come before everything else.
    ephemon_demo::part::run(std::env::args_os()).unwrap_or_else(ephemon_demo::main)
}
