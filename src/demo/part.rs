//! The hidden subcommand with which the embedded node's helper processes run: `ephemon-demo` again,
//! so that they need no other program on the machine.

use std::ffi::OsString;
use std::io::Read;
use std::process::ExitCode;

use super::helper::NAME;
use super::{shim, view, workload};

/// Runs a helper if the arguments (beginning with the program's own name) request one.
///
/// Must be called before anything else, because helpers run in containers whose CPU time is
/// counted.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()?.to_str() != Some(NAME) {
        return None;
    }
    let kind = arguments.next();
    let rest: Vec<_> = arguments.map(|part| part.to_string_lossy().into_owned()).collect();
    Some(match kind.as_ref().and_then(|kind| kind.to_str()) {
        Some("shim") => shim::run(),
        Some("enter") => shim::stage::enter(&rest),
        Some("exec") => shim::stage::exec(&rest),
        Some("join") => shim::stage::join(&rest),
        Some("see") => ExitCode::from(u8::from(!view::check(&rest))),
        Some("workload") => workload::run(&rest),
        Some("pause") => loop {
            std::thread::park();
        },
        Some("wait") => {
            // Whoever started it ends it, with a signal or by exiting.
            drop(std::io::stdin().read_to_end(&mut Vec::new()));
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(2),
    })
}
