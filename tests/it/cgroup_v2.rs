//! The scenarios again, on cgroup v2: the same code in a machine of its own.
//!
//! The harness runs tests in order of name on as many threads as there are processors, and this is
//! the longest: by its name it begins early. What measures waits for it.

use std::time::Duration;

use crate::support::parts::{Part, all_there, alone, in_vm};
use crate::support::vm;

/// Many times what each takes on an idle machine.
const LIMIT: Duration = Duration::from_mins(35);

#[test]
fn every_scenario_holds_there_too() {
    in_a_machine(&["containers::", "churn::", "limits::"]);
}

fn in_a_machine(filters: &[&str]) {
    let parts = [Part::WritableCgroups, Part::Program(vm::PROGRAM)];
    if in_vm() || !all_there(&parts) {
        return;
    }
    if let Some(why) = vm::cannot_run_here() {
        // Also in CI: there is nothing to install that would help.
        eprintln!("skipped: {why}");
        return;
    }
    let _alone = alone();
    let report = vm::run(filters, LIMIT);
    eprintln!("{}", report.output);
    assert_eq!(report.code, Some(0), "the tests in the machine failed");
    assert!(report.output.contains("test result: ok."), "no test ran");
}
