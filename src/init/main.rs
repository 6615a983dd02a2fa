//! `ephemon-init`: PID 1 of the ephemeral containers that the hook launches.

use std::process::ExitCode;

fn main() -> ExitCode {
    ephemon_init::main()
}
