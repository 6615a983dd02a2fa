//! `ephemon-init`: process 1 of the ephemeral containers that the hook creates.

use std::process::ExitCode;

fn main() -> ExitCode {
    ephemon_init::main()
}
