//! The scenarios again, on cgroup v2: the same code in a machine of its own.
//!
//! The harness runs tests in order of name, and this is the longest: by its name it begins early, and `.ci/run`
//! has it beside all others. It keeps nobody waiting: the machine has a kernel of its own, by whose counters
//! its scenarios measure, and takes one processor.

use std::time::Duration;

use crate::support::parts::{all_there, in_vm};
use crate::support::vm;

/// Many times what all take on an idle machine.
const LIMIT: Duration = Duration::from_mins(35);

#[test]
fn every_scenario_holds_there_too() {
    in_a_machine(&["containers::", "churn::", "limits::"]);
}

fn in_a_machine(filters: &[&str]) {
    if in_vm() || !all_there(&vm::needs()) {
        return;
    }
    let report = vm::run(filters, LIMIT);
    eprintln!("{}", report.output);
    assert_eq!(report.code, 0, "the tests in the machine failed");
    for filter in filters {
        assert!(report.output.contains(&format!("test {filter}")), "no test of {filter} ran");
    }
}
