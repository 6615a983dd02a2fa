//! The scenarios again, on cgroup v2: the same code in a machine of its own.
//!
//! The harness runs tests in order of name on as many threads as there are processors, and this is
//! the longest: by its name it begins early. What measures waits for it.

use std::time::Duration;

use crate::support::parts::{all_there, beside_others, in_vm};
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
    // It measures by its own kernel and clock, and waits for what is.
    let _beside = beside_others();
    let report = vm::run(filters, LIMIT);
    eprintln!("{}", report.output);
    assert_eq!(report.code, 0, "the tests in the machine failed");
    for filter in filters {
        assert!(report.output.contains(&format!("test {filter}")), "no test of {filter} ran");
    }
}
